"""The authorization request (OpenID Connect Core §3.1.2.1, RFC 7636, RFC 9207): parsed once, frozen, stored with the attempt.

Client and redirect address are judged before everything else; until they are found good, nothing is redirected anywhere.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from idp.directory.clients import Relying
from idp.login.assurance import Levels
from idp.login.flow import Demand
from idp.oidc.errors import OAuthError, Unredirectable

MAX_VALUE = 4096
MAX_AGE = 10 * 365 * 86400
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_NUMBER = re.compile(r"[0-9]{1,12}")
_PROMPTS = frozenset({"none", "login", "consent", "select_account"})
_KNOWN = frozenset(
    {
        "response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
        "response_mode", "prompt", "max_age", "acr_values", "ui_locales", "login_hint", "id_token_hint", "display",
        "claims", "request", "request_uri",
    }
)  # fmt: skip


@dataclass(frozen=True)
class AuthorizationRequest:
    """A portal's question, valid in itself. `scope` holds only what this client may have."""

    client_id: str
    redirect_uri: str
    scope: tuple[str, ...]
    state: str | None = None
    nonce: str | None = None
    code_challenge: str | None = None
    prompt: tuple[str, ...] = ()
    max_age: int | None = None
    acr_values: str | None = None
    ui_locales: str | None = None
    login_hint: str | None = None
    subject: str | None = None  # whom a genuine id_token_hint names: nobody else is answered for

    def dump(self) -> dict[str, Any]:
        """The request for JSON."""
        return asdict(self)

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> "AuthorizationRequest":
        """A request read back from JSON."""
        return cls(**{**stored, "scope": tuple(stored["scope"]), "prompt": tuple(stored["prompt"])})

    @property
    def origin(self) -> str:
        """Scheme and host of the redirect address, for `form-action`: else the browser blocks the way back."""
        parts = urlsplit(self.redirect_uri)
        return f"{parts.scheme}://{parts.netloc}"


def parse(pairs: Iterable[tuple[str, str]], client_of: Callable[[str], Relying | None]) -> AuthorizationRequest:
    """Judge a request from its parameters.

    Raises `Unredirectable` for a page of ours, or `RedirectError` for an answer to the client.
    """
    values: dict[str, str] = {}
    for name, value in pairs:
        if name not in _KNOWN:
            continue
        if name in values:
            raise Unredirectable("invalid_request", f"{name} is given twice", cause="parameter_repeated")
        values[name] = value
    client = client_of(values.get("client_id", ""))
    if client is None:
        raise Unredirectable("invalid_request", "client_id is missing or unknown", cause="client_unknown")
    redirect_uri = values.get("redirect_uri")
    if redirect_uri not in client.redirect_uris:
        raise Unredirectable(
            "invalid_request",
            "redirect_uri is missing or is not one of the registered addresses, letter for letter",
            cause="redirect_uri_unregistered",
        )
    assert redirect_uri is not None
    values = {name: value for name, value in values.items() if value}
    state = values.get("state")
    if state is not None and len(state) > MAX_VALUE:
        raise Unredirectable("invalid_request", "state is too long", cause="state_too_long")
    try:
        return _judge(values, client, redirect_uri, state)
    except OAuthError as e:
        raise RedirectError(e, client.id, redirect_uri, state) from e


class RedirectError(Exception):
    """An error that goes back to the client's registered address."""

    def __init__(self, error: OAuthError, client_id: str, redirect_uri: str, state: str | None) -> None:
        super().__init__(str(error))
        self.error, self.client_id, self.redirect_uri, self.state = error, client_id, redirect_uri, state


def _judge(values: dict[str, str], client: Relying, redirect_uri: str, state: str | None) -> AuthorizationRequest:
    if any(len(value) > MAX_VALUE for value in values.values()):
        raise OAuthError("invalid_request", "a parameter is too long")
    if any("\0" in value for value in values.values()):
        raise OAuthError("invalid_request", "a parameter contains NUL")
    for name in ("request", "request_uri"):
        if name in values:
            raise OAuthError(f"{name}_not_supported", f"{name} is not supported")
    response_type = values.get("response_type")
    if response_type is None:
        raise OAuthError("invalid_request", "response_type is missing")
    if response_type != "code":
        raise OAuthError("unsupported_response_type", "only response_type=code is supported")
    if values.get("response_mode", "query") != "query":
        raise OAuthError("invalid_request", "only response_mode=query is supported")
    if "authorization_code" not in client.grants:
        raise OAuthError("unauthorized_client", "this client may not use the authorization code grant")
    scope = tuple(s for s in dict.fromkeys(values.get("scope", "").split()) if s in client.scopes)
    if "openid" not in scope:
        raise OAuthError("invalid_scope", "the scope openid is missing")
    return AuthorizationRequest(
        client_id=client.id,
        redirect_uri=redirect_uri,
        scope=scope,
        state=state,
        nonce=values.get("nonce"),
        code_challenge=_challenge(values, client),
        prompt=_prompt(values.get("prompt", "")),
        max_age=_max_age(values.get("max_age")),
        acr_values=values.get("acr_values"),
        ui_locales=values.get("ui_locales"),
        login_hint=values.get("login_hint"),
    )


def _challenge(values: Mapping[str, str], client: Relying) -> str | None:
    challenge, method = values.get("code_challenge"), values.get("code_challenge_method")
    if challenge is None:
        if client.pkce or method is not None:
            raise OAuthError("invalid_request", "code_challenge is missing (PKCE, RFC 7636)")
        return None
    if method != "S256":
        raise OAuthError("invalid_request", "code_challenge_method must be S256")
    if not _CHALLENGE.fullmatch(challenge):
        raise OAuthError("invalid_request", "code_challenge must be 43 characters of base64url without padding")
    return challenge


def _prompt(text: str) -> tuple[str, ...]:
    prompt = tuple(dict.fromkeys(text.split()))
    if not _PROMPTS.issuperset(prompt):
        raise OAuthError("invalid_request", "prompt has an unknown value")
    if "none" in prompt and len(prompt) > 1:
        raise OAuthError("invalid_request", "prompt=none cannot be combined")
    return prompt


def _max_age(text: str | None) -> int | None:
    if text is None:
        return None
    if not _NUMBER.fullmatch(text) or int(text) > MAX_AGE:
        raise OAuthError("invalid_request", "max_age must be a number of seconds")
    return int(text)


def demand(
    request: AuthorizationRequest,
    client: Relying,
    levels: Levels,
    *,
    account_id: str | None,
    auth_time: int | None,
    now: int,
    consented: bool,
) -> Demand:
    """What a request asks of the sign-in, given who is signed in, and when she last proved who she is (None: nobody).

    `consented`: this account has allowed this client these scopes before.
    """
    too_old = request.max_age is not None and auth_time is not None and now - auth_time > request.max_age
    other = request.subject is not None and account_id not in (None, request.subject)
    again = bool({"login", "select_account"} & set(request.prompt)) or too_old or request.max_age == 0 or other
    return Demand(
        level=levels.demanded(request.acr_values, client.min_acr),
        again=again,
        silent="none" in request.prompt,
        consent="consent" in request.prompt or not (client.first_party or consented),
    )


def answer(redirect_uri: str, issuer: str, state: str | None, **values: str) -> str:
    """The address of an answer: the registered one with our values, `state` and `iss` (RFC 9207) added."""
    values = {**values, **({"state": state} if state is not None else {}), "iss": issuer}
    return f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{urlencode(values)}"
