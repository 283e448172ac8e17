"""Protocol errors by their registered codes (RFC 6749 §4.1.2.1 and §5.2, RFC 6750 §3.1, OpenID Connect Core §3.1.2.6)."""

from idp.errors import Refusal


class OAuthError(Refusal):
    """An error that the client is told: `code` is registered, `description` is plain ASCII for its author.

    `cause` goes to the journal and may say more.
    """

    def __init__(self, code: str, description: str, *, status: int = 400, cause: str = "") -> None:
        super().__init__(cause or code, description)
        self.code = code
        self.description = description
        self.status = status


class Unredirectable(OAuthError):
    """The request names no client and address that could be trusted with an answer: a page of ours says why."""
