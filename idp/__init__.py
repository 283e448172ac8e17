"""Poterne: the guarded door of an intellectual-property office's procedure portals.

The floors, from the ground up (imports only go down):

0. `settings`, `rules`, `errors`, `clock`, `sealing`, `language`
1. `db`, `models`, `audit`, `migrate`
2. `directory`, `keys`, `trust`, `post`
3. `login`
4. `oidc`
5. `web`
6. `app`, `cli`

Plugins import `idp.plugin` and nothing else of the house.
"""
