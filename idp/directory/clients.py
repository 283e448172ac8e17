"""Clients: registration with strict addresses, and a frozen form that requests are judged by.

A request reads clients from memory. A version row tells when to read them anew, looked at every half second.
"""

import hmac
import re
import secrets
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from idp import clock
from idp.audit import ClientAdded, ClientRemoved, ClientSecretRotated, record
from idp.db import Database, Executor, dialect_of, insert
from idp.directory.accounts import Orm
from idp.directory.identifiers import clean_name
from idp.errors import Conflict, Invalid, NotFound
from idp.models import Client, Version
from idp.sealing import fingerprint
from idp.settings import LEVELS, is_loopback

SCOPES = ("openid", "profile", "email", "phone", "address", "entity", "roles", "offline_access")
GRANTS = ("authorization_code", "refresh_token")
AUTH_METHODS = ("client_secret_basic", "client_secret_post", "none")
ID_TOKEN_ALGS = ("RS256", "ES256")
MIN_SECRET = 32
FRESH_SECONDS = 0.5
_CLIENT_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_URI = re.compile(r"[!-~]{1,2000}")


@dataclass(frozen=True)
class Relying:
    """A client as requests see it."""

    id: str
    name: str
    secret_hash: str | None
    auth_method: str
    redirect_uris: frozenset[str]
    post_logout_redirect_uris: frozenset[str]
    grants: frozenset[str]
    scopes: frozenset[str]
    first_party: bool
    pkce: bool
    min_acr: str | None
    id_token_alg: str

    def secret_matches(self, secret: str) -> bool:
        """Compare a secret in constant time. Authlib's client authentication asks in this form."""
        return self.secret_hash is not None and hmac.compare_digest(self.secret_hash, fingerprint(secret))


class Clients:
    """The clients of an installation, kept in memory and read again when the version row has grown."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._known: dict[str, Relying] = {}
        self._number, self._looked = -1, float("-inf")

    def get(self, client_id: str) -> Relying | None:
        """The client of that id, or None. One that is not known is looked for anew: it may have been added just now."""
        if client_id not in self._known or time.monotonic() - self._looked > FRESH_SECONDS:
            self._refresh()
        return self._known.get(client_id)

    def _refresh(self) -> None:
        with self._lock, self._database.read() as c:
            number = c.execute(_VERSION).scalar_one_or_none() or 0
            if number != self._number:
                self._known = {row.id: _relying(row) for row in c.execute(select(*Client.__table__.c))}
                self._number = number
            self._looked = time.monotonic()


_VERSION = select(Version.number).where(Version.name == "clients")


def add(
    on: Orm,
    name: str,
    redirect_uris: Sequence[str],
    *,
    client_id: str | None = None,
    secret: str | None = None,
    auth_method: str = "client_secret_basic",
    grants: Sequence[str] = GRANTS,
    scopes: Sequence[str] = SCOPES,
    post_logout_redirect_uris: Sequence[str] = (),
    first_party: bool = False,
    pkce: bool = True,
    min_acr: str | None = None,
    id_token_alg: str = "RS256",  # noqa: S107
) -> tuple[Client, str | None]:
    """Register a client; it and its secret, which is not stored and cannot be shown again.

    Raises `Invalid` for a value that is refused, `Conflict` when the id is taken.
    """
    client_id = client_id if client_id is not None else str(uuid.uuid4())
    if not _CLIENT_ID.fullmatch(client_id):
        raise Invalid("client_id", "must have 1 to 128 letters, digits, or . _ ~ -")
    _among("auth_method", [auth_method], AUTH_METHODS)
    _among("grant", grants, GRANTS)
    _among("scope", scopes, SCOPES)
    _among("id_token_alg", [id_token_alg], ID_TOKEN_ALGS)
    if min_acr is not None:
        _among("min_acr", [min_acr], LEVELS)
    if not redirect_uris:
        raise Invalid("redirect_uri", "at least one redirect address is needed")
    for uri in (*redirect_uris, *post_logout_redirect_uris):
        check_redirect(uri)
    if auth_method == "none":
        if secret is not None:
            raise Invalid("client_secret", "a client with authentication method none has no secret")
        if not pkce:
            raise Invalid("pkce", "a client without a secret always needs PKCE")
    else:
        secret = secret if secret is not None else secrets.token_urlsafe(32)
        if not MIN_SECRET <= len(secret) <= 1000:
            raise Invalid("client_secret", f"must have at least {MIN_SECRET} characters")
    client = Client(
        id=client_id,
        name=clean_name("name", name),
        secret_hash=fingerprint(secret) if secret is not None else None,
        auth_method=auth_method,
        redirect_uris=list(dict.fromkeys(redirect_uris)),
        post_logout_redirect_uris=list(dict.fromkeys(post_logout_redirect_uris)),
        grants=list(dict.fromkeys(grants)),
        scopes=list(dict.fromkeys(scopes)),
        first_party=first_party,
        pkce=pkce,
        min_acr=min_acr,
        id_token_alg=id_token_alg,
        created_at=clock.now(),
    )
    try:
        with on.begin_nested():
            on.add(client)
    except IntegrityError as e:
        raise Conflict("client_exists", f"a client {client_id} exists") from e
    changed(on, "clients")
    record(on, ClientAdded(client=client_id))
    return client, secret


def check_redirect(uri: str) -> None:
    """Raises `Invalid` unless the address is https, or http on loopback, absolute, without fragment, user or dots."""
    try:
        parts = urlsplit(uri)
        port_ok = parts.port is None or parts.port > 0
    except ValueError as e:
        raise Invalid("redirect_uri", f"{uri!r} is not an address") from e
    if not _URI.fullmatch(uri) or not parts.hostname or not port_ok or "\\" in uri:
        raise Invalid("redirect_uri", f"{uri!r} is not an absolute address")
    if "#" in uri or "@" in parts.netloc or "*" in uri or "/../" in f"{parts.path}/":
        raise Invalid("redirect_uri", f"{uri!r} must have no fragment, user, wildcard or parent folder")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise Invalid("redirect_uri", f"{uri!r} must be https, or http on loopback")


def get(on: Orm, client_id: str) -> Client:
    """Raises `NotFound`."""
    client = on.get(Client, client_id)
    if client is None:
        raise NotFound("client_unknown", f"no client {client_id}")
    return client


def remove(on: Orm, client_id: str) -> None:
    """Remove a client with its grants, tokens, consents and sign-ins under way. Raises `NotFound`."""
    # A statement, not the ORM's delete: the database takes along what belongs to the client.
    if on.execute(delete(Client).where(Client.id == client_id).returning(Client.id)).scalar() is None:
        raise NotFound("client_unknown", f"no client {client_id}")
    changed(on, "clients")
    record(on, ClientRemoved(client=client_id))


def rotate_secret(on: Orm, client_id: str) -> str:
    """A new secret, stored nowhere; the old one is dead. Raises `NotFound`, or `Conflict` for a client without one."""
    secret = secrets.token_urlsafe(32)
    still = (Client.id == client_id) & Client.secret_hash.is_not(None)
    values = {"secret_hash": fingerprint(secret)}
    if on.execute(update(Client).where(still).values(values).returning(Client.id)).scalar() is None:
        get(on, client_id)
        raise Conflict("client_without_secret", f"client {client_id} has no secret")
    changed(on, "clients")
    record(on, ClientSecretRotated(client=client_id))
    return secret


def listed(on: Orm) -> Sequence[Client]:
    """Every client, by id."""
    return on.execute(select(Client).order_by(Client.id)).scalars().all()


def changed(on: Executor, name: str) -> None:
    """Tell every process, in the open transaction, that a cached set has changed."""
    table = insert(dialect_of(on), Version)
    on.execute(
        table.values(name=name, number=1).on_conflict_do_update(
            index_elements=["name"], set_={"number": Version.__table__.c.number + 1}
        )
    )


def _among(field: str, values: Sequence[str], known: Sequence[str]) -> None:
    for value in values:
        if value not in known:
            raise Invalid(field, f"{value!r} is unknown; known are {', '.join(known)}")


def _relying(row: Any) -> Relying:
    values: dict[str, Any] = {name: getattr(row, name) for name in Relying.__dataclass_fields__}
    values = {k: frozenset(v) if isinstance(v, list) else v for k, v in values.items()}
    return Relying(**values)
