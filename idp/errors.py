"""What can be refused, and how. `idp.web.pages` turns each of these into a page, JSON or a redirect, in one table.

Functions raise one of these when they refuse; none returns a boolean for a verification.
Any other exception is a bug: the person sees a bland page with a reference number.
"""


class Refusal(Exception):
    """The common kind: `cause` is a stable word for the journal, never shown to the person."""

    def __init__(self, cause: str, detail: str = "") -> None:
        super().__init__(cause if not detail else f"{cause}: {detail}")
        self.cause = cause
        self.detail = detail


class Refused(Refusal):
    """A sign-in or another proof failed. One neutral text for the person, `cause` in the journal.

    `message` is a sentence that may be shown to the person (a card that expired, say); without it the page
    says only that the sign-in failed. `account_id` names the account for the journal where the method found it.
    """

    def __init__(self, cause: str, detail: str = "", *, message: str | None = None, account_id: str | None = None):
        super().__init__(cause, detail)
        self.message = message
        self.account_id = account_id


class Blocked(Refused):
    """The account (or the address that looks like one) is blocked after too many wrong passwords."""


class Throttled(Refusal):
    """Too many failures from one network address: 429 with Retry-After `retry_after` (seconds, at least 1)."""

    def __init__(self, cause: str, retry_after: int) -> None:
        super().__init__(cause)
        self.retry_after = max(1, retry_after)


class NotFound(Refusal):
    """Nothing of that name exists for this person."""


class Forbidden(Refusal):
    """The person is known but may not do this."""


class Conflict(Refusal):
    """The change contradicts what is stored (a second account with one address, a second entity for an account)."""


class Stale(Refusal):
    """A link or a form that is no longer, or was never, valid in this browser. The person begins anew."""


class Invalid(Refusal):
    """A value that a person typed cannot be accepted.

    `field` names it; `message` says what to do, an English text with named `values`, translated where it is shown.
    """

    def __init__(self, field: str, message: str, cause: str = "invalid", **values: object) -> None:
        super().__init__(cause, f"{field}: {message % values if values else message}")
        self.field = field
        self.message = message
        self.values = values


class Unavailable(Refusal):
    """Something the answer needs (database, key store, a free hashing place) is not there now: 503, retry later."""

    def __init__(self, cause: str, detail: str = "", retry_after: int = 2) -> None:
        super().__init__(cause, detail)
        self.retry_after = retry_after


class Misconfigured(Exception):
    """Start-up is refused; the text names the setting and says what to do."""
