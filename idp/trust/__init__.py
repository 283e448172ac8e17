"""Which certification authorities the office trusts for cards, and whether a card's certificate may sign in.

`anchors` keeps the authorities, `chain.verify` judges a certificate against them, `profile` says what a login
certificate looks like, `revocation` reads lists of revoked certificates, `dev` makes authorities and cards for trials.
"""
