"""Issuing, redeeming, rotating and revoking: every decision about codes and tokens, with no framework in sight.

Order at the token endpoint: read and check → sign → claim, insert and commit in one short transaction. A lost claim
throws the signature away; no write lock is held while a key signs. Codes and tokens are stored hashed.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from idp import clock
from idp.audit import CodeIssued, GrantRevoked, TokensIssued, record
from idp.db import Database, Executor
from idp.directory.clients import Clients, Relying
from idp.errors import Stale
from idp.keys.jwt import sign_jwt
from idp.keys.ring import Ring
from idp.login import assurance
from idp.login.assurance import Levels, Proven
from idp.models import Grant, Token
from idp.oidc import claims
from idp.oidc.errors import OAuthError
from idp.oidc.request import AuthorizationRequest
from idp.sealing import fingerprint, token
from idp.settings import Tokens as Lifetimes

ID_TOKEN_SECONDS = 300
MAX_WRONG_VERIFIERS = 5
MAX_TOKEN = 128
MAX_VERIFIER = 128

_GRANT, _TOKEN = Grant.__table__.c, Token.__table__.c
_BY_CODE = claims.with_person([*_GRANT], Grant.__table__).where(_GRANT.code_hash == bindparam("hash"))
_BY_TOKEN = claims.with_person(
    [
        *_GRANT,
        _TOKEN.kind,
        _TOKEN.used_at,
        _TOKEN.scope.label("token_scope"),
        _TOKEN.expires_at.label("token_expires_at"),
    ],
    Token.__table__.join(Grant, _GRANT.id == _TOKEN.grant_id),
).where(_TOKEN.hash == bindparam("hash"), _TOKEN.kind == bindparam("kind"))
_CLAIM_CODE = (
    update(Grant)
    .where(
        _GRANT.code_hash == bindparam("hash"),
        _GRANT.code_used_at.is_(None),
        _GRANT.revoked_at.is_(None),
        _GRANT.code_expires_at > bindparam("now"),
        _GRANT.code_failures < MAX_WRONG_VERIFIERS,
    )
    .values(code_used_at=bindparam("now"))
    .returning(_GRANT.id)
)
_WRONG_VERIFIER = (
    update(Grant).where(_GRANT.code_hash == bindparam("hash")).values(code_failures=_GRANT.code_failures + 1)
)
_CLAIM_REFRESH = (
    update(Token)
    .where(
        _TOKEN.hash == bindparam("hash_"),
        _TOKEN.kind == "refresh",
        _TOKEN.used_at.is_(None),
        _TOKEN.expires_at > bindparam("now"),
        select(_GRANT.id).where(_GRANT.id == _TOKEN.grant_id, _GRANT.revoked_at.is_(None)).exists(),
    )
    .values(used_at=bindparam("now"))
    .returning(_TOKEN.grant_id)
)
_REVOKE = (
    update(Grant)
    .where(_GRANT.id == bindparam("grant"), _GRANT.revoked_at.is_(None))
    .values(revoked_at=bindparam("now"))
    .returning(_GRANT.id)
)
_INSERT_GRANT = insert(Grant)
_INSERT_TOKEN = insert(Token)


def _invalid_grant(cause: str) -> OAuthError:
    """One answer for everything that is wrong with a code or refresh token; the cause is for the journal."""
    return OAuthError("invalid_grant", "the code or token is not valid, or no longer", cause=cause)


@dataclass(frozen=True)
class Bearer:
    """A living access token, with the person it speaks for. `row` holds what claims are made of."""

    client_id: str
    scope: tuple[str, ...]
    expires_at: int
    row: Any


class Tokens:
    """Codes, access tokens and refresh tokens of one installation."""

    def __init__(
        self, database: Database, ring: Ring, clients: Clients, levels: Levels, lifetimes: Lifetimes, issuer: str
    ) -> None:
        self._database, self._ring, self._clients, self._levels = database, ring, clients, levels
        self._life, self._issuer = lifetimes, issuer

    def issue_code(
        self,
        on: Executor,
        request: AuthorizationRequest,
        *,
        account_id: str,
        session_id: str,
        auth_time: int,
        proofs: Sequence[Proven],
        address: str,
    ) -> str:
        """A code for a request, in the open transaction (RFC 6749 §4.1.2). Raises `Stale` when the client is gone."""
        now, code, grant_id = clock.now(), token(), secrets.token_hex(16)
        lasting = "offline_access" in request.scope
        scope = " ".join(request.scope)
        row = {
            "id": grant_id,
            "account_id": account_id,
            "client_id": request.client_id,
            "session_id": session_id,
            "scope": scope,
            "redirect_uri": request.redirect_uri,
            "nonce": request.nonce,
            "challenge": request.code_challenge,
            "auth_time": auth_time,
            "acr": self._levels.name(assurance.level(proofs)),
            "amr": " ".join(assurance.amr(proofs)),
            "code_hash": fingerprint(code),
            "code_expires_at": now + self._life.code_seconds,
            "code_failures": 0,
            "created_at": now,
            "expires_at": now
            + (self._life.refresh_seconds if lasting else self._life.code_seconds + self._life.access_seconds),
        }
        try:
            on.execute(_INSERT_GRANT, row)
        except IntegrityError as e:
            raise Stale("client_removed") from e  # a moment ago, by another process
        record(
            on,
            CodeIssued(account=account_id, client=request.client_id, address=address, grant=grant_id, scope=scope),
            now,
        )
        return code

    def redeem(self, client: Relying, code: str, redirect_uri: str | None, verifier: str | None) -> dict[str, Any]:
        """The token answer for a code (RFC 6749 §4.1.3, RFC 7636 §4.6). Raises `OAuthError`.

        A second use of a code is refused and revokes everything that the first one gave.
        """
        hashed, now = _fingerprint(code), clock.now()
        row = self._read(_BY_CODE, {"hash": hashed})
        if row is None or row.client_id != client.id:
            raise _invalid_grant("code_unknown" if row is None else "code_of_another_client")
        if row.code_used_at is not None:
            self._replayed(row, "code_replayed")
        if row.revoked_at is not None or now >= row.code_expires_at or row.code_failures >= MAX_WRONG_VERIFIERS:
            raise _invalid_grant("code_over")
        if redirect_uri != row.redirect_uri:
            raise _invalid_grant("redirect_uri_differs")
        if not _verifier_matches(row.challenge, verifier):
            with self._database.begin() as c:
                c.execute(_WRONG_VERIFIER, {"hash": hashed})
            raise _invalid_grant("verifier_wrong")
        self._require_active(row)
        scope = row.scope.split()
        made = self._make(row, scope, client, now, nonce=row.nonce, expires=row.expires_at)
        with self._database.begin() as c:
            claimed = c.execute(_CLAIM_CODE, {"hash": hashed, "now": now}).scalar()
            if claimed:
                self._store(c, row, made, "authorization_code", now)
        if not claimed:
            self._replayed(row, "code_replayed")
        return made.answer

    def refresh(self, client: Relying, refresh_token: str, scope: str | None) -> dict[str, Any]:
        """The token answer for a refresh token, which is used up by it (RFC 6749 §6, RFC 9700 §4.14.2).

        A second use of a generation is refused and revokes the family. Raises `OAuthError`.
        """
        hashed, now = _fingerprint(refresh_token), clock.now()
        row = self._read(_BY_TOKEN, {"hash": hashed, "kind": "refresh"})
        if row is None or row.client_id != client.id:
            raise _invalid_grant("refresh_unknown" if row is None else "refresh_of_another_client")
        if row.used_at is not None:
            self._replayed(row, "refresh_replayed")
        if row.revoked_at is not None or now >= row.token_expires_at or now >= row.expires_at:
            raise _invalid_grant("refresh_over")
        self._require_active(row)
        granted = row.scope.split()
        wanted = granted if scope is None else list(dict.fromkeys(scope.split()))
        if not wanted or not set(granted).issuperset(wanted):
            raise OAuthError("invalid_scope", "scope exceeds what was granted")
        made = self._make(row, [s for s in granted if s in wanted], client, now, nonce=None, expires=row.expires_at)
        with self._database.begin() as c:
            claimed = c.execute(_CLAIM_REFRESH, {"hash_": hashed, "now": now}).scalar()
            if claimed:
                self._store(c, row, made, "refresh_token", now)
        if not claimed:
            self._replayed(row, "refresh_replayed")
        return made.answer

    def bearer(self, access_token: str) -> Bearer:
        """The living access token of that text. Raises `OAuthError("invalid_token")` (RFC 6750 §3.1)."""
        row = self._read(_BY_TOKEN, {"hash": _fingerprint(access_token), "kind": "access"})
        now = clock.now()
        if (
            row is None
            or row.revoked_at is not None
            or now >= row.token_expires_at
            or row.state != "active"
            or self._clients.get(row.client_id) is None
        ):
            raise OAuthError("invalid_token", "the access token is unknown, expired or revoked", status=401)
        return Bearer(row.client_id, tuple(row.token_scope.split()), row.token_expires_at, row)

    def user_info(self, access_token: str) -> dict[str, Any]:
        """The UserInfo answer for an access token. Raises `OAuthError`."""
        bearer = self.bearer(access_token)
        if "openid" not in bearer.scope:
            raise OAuthError("insufficient_scope", "the access token lacks the scope openid", status=403)
        return claims.user_info(bearer.row, bearer.scope)

    def _read(self, statement: Any, values: dict[str, Any]) -> Any:
        with self._database.read() as c:
            return c.execute(statement, values).one_or_none()

    def _require_active(self, row: Any) -> None:
        if row.state != "active":
            self._revoke(row, "account_not_active")
            raise _invalid_grant("account_not_active")

    def _replayed(self, row: Any, cause: str) -> None:
        self._revoke(row, cause)
        raise _invalid_grant(cause)

    def _revoke(self, row: Any, cause: str) -> None:
        with self._database.begin() as c:
            if c.execute(_REVOKE, {"grant": row.id, "now": clock.now()}).scalar():
                record(c, GrantRevoked(account=row.account_id, client=row.client_id, grant=row.id, cause=cause))

    def _make(
        self, row: Any, scope: Sequence[str], client: Relying, now: int, *, nonce: str | None, expires: int
    ) -> "_Made":
        access = token()
        answer: dict[str, Any] = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": self._life.access_seconds,
            "scope": " ".join(scope),
        }
        if "openid" in scope:  # a refresh may ask for less
            body = claims.id_token(row, scope, issuer=self._issuer, now=now, lifetime=ID_TOKEN_SECONDS)
            body["at_hash"] = _b64(hashlib.sha256(access.encode()).digest()[:16])
            if nonce is not None:
                body["nonce"] = nonce
            answer["id_token"] = sign_jwt(self._ring.signing(client.id_token_alg), body, "JWT")
        rows = [_row(access, row.id, "access", answer["scope"], now + self._life.access_seconds)]
        if "offline_access" in row.scope.split() and "refresh_token" in client.grants:
            answer["refresh_token"] = token()
            until = min(now + self._life.refresh_idle_seconds, expires)
            rows.append(_row(answer["refresh_token"], row.id, "refresh", row.scope, until))
        return _Made(answer, rows)

    def _store(self, c: Connection, row: Any, made: "_Made", grant_type: str, now: int) -> None:
        c.execute(_INSERT_TOKEN, made.rows)
        record(c, TokensIssued(account=row.account_id, client=row.client_id, cause=grant_type, grant=row.id), now)


@dataclass(frozen=True)
class _Made:
    """Tokens that are signed but not yet anybody's: the answer, and the rows that will make them valid."""

    answer: dict[str, Any]
    rows: list[dict[str, Any]]


def _row(text: str, grant_id: str, kind: str, scope: str, expires_at: int) -> dict[str, Any]:
    return {"hash": fingerprint(text), "grant_id": grant_id, "kind": kind, "scope": scope, "expires_at": expires_at}


def _fingerprint(text: str) -> str:
    """The hash to look up; what is longer than anything we made is looked up as nothing."""
    return fingerprint(text) if 0 < len(text) <= MAX_TOKEN else ""


def _verifier_matches(challenge: str | None, verifier: str | None) -> bool:
    if challenge is None:
        return verifier is None
    if verifier is None or len(verifier) > MAX_VERIFIER:
        return False
    made = _b64(hashlib.sha256(verifier.encode("utf-8", "surrogatepass")).digest())
    return hmac.compare_digest(made, challenge)


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
