"""The parts of a running house, joined. `idp.app` builds it; pages and commands are handed it."""

from collections.abc import Callable
from dataclasses import dataclass

from idp.db import Database, Executor
from idp.directory import links
from idp.directory.clients import Clients
from idp.housekeeping import Housekeeping
from idp.journal import Journal
from idp.keys.ring import Ring
from idp.language import Languages
from idp.login.assurance import Levels
from idp.login.attempts import Attempts, Verifier
from idp.login.lockout import Lockout
from idp.login.registry import Methods
from idp.login.sessions import Sessions
from idp.migrate import Owner
from idp.models import Account
from idp.oidc.server import TokenEndpoint
from idp.oidc.tokens import Tokens
from idp.post import letters
from idp.post.outbox import Outbox
from idp.sealing import Mac, Sealer
from idp.settings import Settings

DAY = 86400


@dataclass(frozen=True)
class House:
    """One installation in one process. Everything in it may be used by many threads."""

    settings: Settings
    database: Database
    owners: tuple[Owner, ...]
    sealer: Sealer
    journal: Journal
    languages: Languages
    clients: Clients
    ring: Ring
    outbox: Outbox
    methods: Methods
    levels: Levels
    lockout: Lockout
    sessions: Sessions
    attempts: Attempts
    verifier: Verifier
    tokens: Tokens
    token_endpoint: TokenEndpoint
    metadata: bytes
    form_mac: Mac
    keeper: Housekeeping

    def housekeeping(self) -> dict[str, Callable[[], object]]:
        """What has to be done every second or so, by one process or by several at once.

        Each kind goes its own way: a mail server that does not answer must not keep the journal unsealed.
        """
        return {
            "journal": self.journal.seal,
            "lockout": self.lockout.sweep,
            "post": lambda: self.outbox.deliver_due(self.database),
            "keys": self.ring.tidy,
            "purge": self.keeper.hourly,
        }

    def send_activation(self, on: Executor, account: Account) -> None:
        """Write the letter with the link that activates an account into the open transaction."""
        seconds = self.settings.rules.activation.deadline_days * DAY
        secret, until = links.make(on, links.ACTIVATION, account.id, seconds)
        address = f"{self.settings.server.issuer}/activate/{secret}"
        letter = letters.activation(self.languages[account.locale], account, address, until)
        self.outbox.put(on, letter, account.id, account.email)
