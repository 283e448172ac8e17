"""Authlib's authorization server at the token endpoint: client authentication, dispatch of grants, OAuth errors.

The grant classes are thin: they authenticate the client and call `idp.oidc.tokens`, which owns every decision. What
Authlib is lenient about is closed here: parameters in the address, repeated parameters, two ways of authentication in
one request, credentials that are no text.
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidRequestError, UnauthorizedClientError
from authlib.oauth2.rfc6749.grants import BaseGrant, TokenEndpointMixin
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload

from idp.directory.clients import Clients, Relying
from idp.oidc.errors import OAuthError
from idp.oidc.tokens import Tokens

MAX_BODY = 64 * 1024
MAX_PARAMETERS = 100
METHODS = ("client_secret_basic", "client_secret_post", "none")
Report = Callable[[OAuthError, str | None], None]


@dataclass(frozen=True)
class Answer:
    """What to send: status, a JSON object, and headers."""

    status: int
    body: Mapping[str, Any]
    headers: Sequence[tuple[str, str]]


class TokenEndpoint:
    """The token endpoint (RFC 6749 §3.2) over one Authlib server. Shared by all threads."""

    def __init__(self, issuer: str, clients: Clients, tokens: Tokens, report: Report) -> None:
        self._server = _Server(issuer, clients, tokens, report)

    def __call__(self, body: bytes, authorization: str | None, query: bytes) -> Answer:
        """Answer a POST: its form body, its Authorization header and what stood in the address."""
        answer: Answer = self._server.create_token_response((body, authorization, query))
        return answer


class _Request(OAuth2Request):  # type: ignore[misc]
    """A token request for Authlib, from the form alone."""

    def __init__(self, uri: str, form: dict[str, str], authorization: str | None) -> None:
        super().__init__("POST", uri, headers={"Authorization": authorization} if authorization else {})
        self.payload = BasicOAuth2Payload(form)
        self._form = form

    @property
    def form(self) -> dict[str, str]:
        return self._form


class _Client:
    """A client in the shape that Authlib asks."""

    def __init__(self, relying: Relying) -> None:
        self.relying = relying

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == self.relying.auth_method

    def check_client_secret(self, secret: str) -> bool:
        return self.relying.secret_matches(secret)


class _Server(AuthorizationServer):  # type: ignore[misc]
    def __init__(self, issuer: str, clients: Clients, tokens: Tokens, report: Report) -> None:
        super().__init__()
        self._uri, self._clients, self.tokens, self._report = f"{issuer}/token", clients, tokens, report
        self.register_grant(_CodeGrant)
        self.register_grant(_RefreshGrant)
        self.register_client_auth_method("client_secret_basic", _basic)

    def query_client(self, client_id: str) -> _Client | None:
        relying = self._clients.get(client_id)
        return _Client(relying) if relying else None

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        pass

    def create_oauth2_request(self, request: tuple[bytes, str | None, bytes]) -> _Request:
        body, authorization, query = request
        refused = _malformed(body, query)
        form = {} if refused else dict(_pairs(body))
        made = _Request(self._uri, form, authorization)
        made.refused = refused or _ambiguous(form, authorization)
        return made

    def get_token_grant(self, request: _Request) -> Any:
        if request.refused or "grant_type" not in request.form:
            return _Refusal(InvalidRequestError(request.refused or "grant_type is missing"))
        return super().get_token_grant(request)

    def handle_response(self, status: int, body: Any, headers: Sequence[tuple[str, str]]) -> Answer:
        return Answer(status, body, headers)

    def handle_error_response(self, request: _Request, error: OAuth2Error) -> Answer:
        if isinstance(error, InvalidClientError):  # one answer, whether the client exists or not
            error.status_code, error.description = 401, "client authentication failed"
        cause = error.__cause__ if isinstance(error.__cause__, OAuthError) else None
        seen = cause or OAuthError(error.error, error.description or "", status=error.status_code)
        self._report(seen, request.client.id if request.client else request.form.get("client_id"))
        answer: Answer = super().handle_error_response(request, error)
        return answer


class _Refusal:
    """Stands where a grant would, for a request that names none."""

    def __init__(self, error: OAuth2Error) -> None:
        self._error = error

    def validate_token_request(self) -> None:
        raise self._error


class _Grant(BaseGrant, TokenEndpointMixin):  # type: ignore[misc]
    """A grant of the token endpoint: authenticates the client, then lets `decide` answer."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def validate_token_request(self) -> None:
        client: Relying = self.authenticate_token_endpoint_client().relying
        self.request.client = client
        if self.GRANT_TYPE not in client.grants:
            raise UnauthorizedClientError(f"this client may not use grant_type {self.GRANT_TYPE}")

    def create_token_response(self) -> tuple[int, dict[str, Any], Any]:
        try:
            return (
                200,
                self.decide(self.server.tokens, self.request.client, self.request.form),
                self.TOKEN_RESPONSE_HEADER,
            )
        except OAuthError as e:
            raise OAuth2Error(e.description, error=e.code, status_code=e.status) from e

    def decide(self, tokens: Tokens, client: Relying, form: Mapping[str, str]) -> dict[str, Any]:
        """The answer, or an `OAuthError`."""
        raise OAuthError("unsupported_grant_type", "this grant type is not supported")


class _CodeGrant(_Grant):
    GRANT_TYPE = "authorization_code"

    def decide(self, tokens: Tokens, client: Relying, form: Mapping[str, str]) -> dict[str, Any]:
        if "code" not in form:
            raise OAuthError("invalid_request", "code is missing")
        return tokens.redeem(client, form["code"], form.get("redirect_uri"), form.get("code_verifier"))


class _RefreshGrant(_Grant):
    GRANT_TYPE = "refresh_token"

    def decide(self, tokens: Tokens, client: Relying, form: Mapping[str, str]) -> dict[str, Any]:
        if "refresh_token" not in form:
            raise OAuthError("invalid_request", "refresh_token is missing")
        return tokens.refresh(client, form["refresh_token"], form.get("scope"))


def _malformed(body: bytes, query: bytes) -> str | None:
    """Why a request cannot be read at all."""
    try:
        names = [name for name, _ in _pairs(body)]
        in_address = [name for name, _ in parse_qsl(query.decode("ascii"), keep_blank_values=True)]
    except ValueError:
        return "the body must be a form in UTF-8"
    if len(set(names)) != len(names):
        return "a parameter is given twice"
    if in_address:
        return "parameters belong into the body, not into the address"
    return None


def _pairs(body: bytes) -> list[tuple[str, str]]:
    """Form fields; empty ones count as absent (RFC 6749 §3.2)."""
    pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    return [(name, value) for name, value in pairs if value]


def _ambiguous(form: Mapping[str, str], authorization: str | None) -> str | None:
    """A client uses one way of authentication in a request (RFC 6749 §2.3)."""
    if authorization is None:
        return None
    if "client_secret" in form:
        return "more than one way of client authentication"
    client_id, _ = _credentials(authorization)
    if client_id is not None and form.get("client_id", client_id) != client_id:
        return "client_id differs from the authenticated client"
    return None


def _basic(query_client: Callable[[str], _Client | None], request: _Request) -> _Client | None:
    """`client_secret_basic`, whose two parts are form-encoded (RFC 6749 §2.3.1)."""
    authorization = request.headers.get("Authorization")
    if authorization is None:
        return None
    client_id, secret = _credentials(authorization)
    client = query_client(client_id) if client_id and secret else None
    if client is None or not client.check_client_secret(secret or ""):
        raise InvalidClientError(status_code=401, description="client authentication failed")
    return client


def _credentials(authorization: str) -> tuple[str | None, str | None]:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None, None
    try:
        client_id, _, secret = base64.b64decode(value, validate=True).decode("utf-8").partition(":")
        return unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except (binascii.Error, ValueError):
        return None, None
