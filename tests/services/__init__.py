"""What tests start for real: PostgreSQL, SoftHSM tokens, Chromium, a mail server.

A service that is missing fails the test with one line that says what to install; nothing is skipped.
"""
