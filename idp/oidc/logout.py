"""RP-Initiated Logout (OpenID Connect RP-Initiated Logout 1.0): what a portal's request to sign out amounts to.

Nobody is signed out and nothing is redirected on the strength of a hint that is not genuinely ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from idp.directory.clients import ID_TOKEN_ALGS, Clients, Relying
from idp.errors import Refused
from idp.keys.jwt import verify_own
from idp.keys.ring import Ring

MAX_STATE = 4096


@dataclass(frozen=True)
class LogoutRequest:
    """A judged request. `client` is the portal that a genuine hint (or `client_id`) names, `session_id` the hint's session.

    `return_to` is where the browser may go afterwards: only an address registered by the client of a genuine hint.
    """

    client: Relying | None = None
    session_id: str | None = None
    return_to: str | None = None


def judge(values: Mapping[str, str], ring: Ring, clients: Clients, issuer: str) -> LogoutRequest:
    """Judge a request. An expired hint still names its client and session; a bad one counts as none. Never raises."""
    hint = genuine(values.get("id_token_hint"), ring, issuer)
    client_id = hint.get("aud") if hint else values.get("client_id")
    if hint and values.get("client_id", client_id) != client_id:
        return LogoutRequest()
    client = clients.get(client_id) if isinstance(client_id, str) else None
    if client is None or hint is None:
        return LogoutRequest(client)
    return LogoutRequest(client, hint.get("sid"), _return_to(values, client))


def genuine(text: str | None, ring: Ring, issuer: str) -> dict[str, Any] | None:
    """The claims of an ID token of ours that came back as a hint, expired or not; None for anything else."""
    if not text:
        return None
    try:
        claims = verify_own(ring, text, "JWT", ID_TOKEN_ALGS)
    except Refused:
        return None
    return claims if claims.get("iss") == issuer else None


def _return_to(values: Mapping[str, str], client: Relying) -> str | None:
    address, state = values.get("post_logout_redirect_uri"), values.get("state")
    if address not in client.post_logout_redirect_uris or len(state or "") > MAX_STATE:
        return None
    if state is None:
        return address
    return f"{address}{'&' if '?' in address else '?'}{urlencode({'state': state})}"
