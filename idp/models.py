"""Every table of the house, on one page. Plugins keep their own (`idp_<method>_…`).

Instants are Unix seconds; ids are opaque text; secrets appear only as hashes or sealed. A row that answers
"may this still be used" carries the instant of its end, so that the answer never waits for a clean-up.
"""

from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, LargeBinary, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from idp.db import Base, Counted, Instant

ACCOUNT_STATES = ("pending", "active", "disabled")
ROLES = ("manager", "collaborator")
TITLES = ("mr", "ms")
REPRESENTATIVES = ("cpi", "lawyer", "l422-5", "other")
REQUEST_STATES = ("pending", "accepted", "refused", "expired", "cancelled")
STAFF = ("support", "security", "administrator")


def one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    """A column holds one of the words, or null."""
    return CheckConstraint(f"{column} IN ({', '.join(repr(v) for v in values)})", name=column)


class Account(Base):
    """A natural person who can sign in. `id` is the `sub` of every token."""

    __tablename__ = "accounts"
    __table_args__ = (one_of("state", ACCOUNT_STATES), one_of("staff", STAFF))

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    email: Mapped[str] = mapped_column(Text)
    email_key: Mapped[str] = mapped_column(Text, unique=True)  # folded: the one key for every look-up
    email_verified: Mapped[bool] = mapped_column(server_default=text("false"))
    username: Mapped[str | None] = mapped_column(Text)
    username_key: Mapped[str | None] = mapped_column(Text, unique=True)
    given_name: Mapped[str] = mapped_column(Text)
    family_name: Mapped[str] = mapped_column(Text)
    title: Mapped[str | None] = mapped_column(String(8))
    phone: Mapped[str | None] = mapped_column(Text)  # mobile, E.164
    phone_office: Mapped[str | None] = mapped_column(Text)  # E.164
    address: Mapped[dict[str, str] | None] = mapped_column(JSON)  # the fields that were filled in
    representative_kind: Mapped[str | None] = mapped_column(String(16))
    representative_number: Mapped[str | None] = mapped_column(Text)
    representative_verified: Mapped[bool] = mapped_column(server_default=text("false"))
    locale: Mapped[str | None] = mapped_column(String(8))
    state: Mapped[str] = mapped_column(String(10), server_default=text("'pending'"))
    staff: Mapped[str | None] = mapped_column(String(16))
    created_at: Mapped[int] = mapped_column(Instant)
    updated_at: Mapped[int] = mapped_column(Instant)
    # Grows when everything that was signed in is ended: what was proven before does not count any more.
    epoch: Mapped[int] = mapped_column(server_default=text("0"))

    membership: Mapped["Membership | None"] = relationship(back_populates="account", lazy="joined")


class Entity(Base):
    """A legal person. Portals key on `id`, never on names or numbers."""

    __tablename__ = "entities"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    siren: Mapped[str | None] = mapped_column(Text)
    siret: Mapped[str | None] = mapped_column(Text)
    legal_form: Mapped[str | None] = mapped_column(Text)
    activity_code: Mapped[str | None] = mapped_column(Text)
    country: Mapped[str | None] = mapped_column(Text)
    verified: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[int] = mapped_column(Instant)
    closed_at: Mapped[int | None] = mapped_column(Instant)

    memberships: Mapped[list["Membership"]] = relationship(
        back_populates="entity", order_by="Membership.created_at, Membership.role.desc(), Membership.account_id"
    )


class Membership(Base):
    """One account in one entity. The key is the account: nobody belongs to two."""

    __tablename__ = "memberships"
    __table_args__ = (one_of("role", ROLES),)

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    entity_id: Mapped[str] = mapped_column(ForeignKey("entities.id", ondelete="CASCADE"), index=True)
    role: Mapped[str] = mapped_column(String(16))
    suspended_at: Mapped[int | None] = mapped_column(Instant)
    created_at: Mapped[int] = mapped_column(Instant)

    account: Mapped[Account] = relationship(back_populates="membership")
    entity: Mapped[Entity] = relationship(back_populates="memberships", lazy="joined")


class JoinRequest(Base):
    """An account asks the managers of an entity to be let in; decided once. One pending request for each account."""

    __tablename__ = "join_requests"
    __table_args__ = (one_of("state", REQUEST_STATES),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    entity_id: Mapped[str] = mapped_column(ForeignKey("entities.id", ondelete="CASCADE"), index=True)
    state: Mapped[str] = mapped_column(String(10))
    created_at: Mapped[int] = mapped_column(Instant)
    expires_at: Mapped[int] = mapped_column(Instant)
    decided_at: Mapped[int | None] = mapped_column(Instant)
    decided_by: Mapped[str | None] = mapped_column(String(36))


class Client(Base):
    """A relying application (a portal). Lists are JSON arrays; the secret is kept as SHA-256 only."""

    __tablename__ = "clients"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    secret_hash: Mapped[str | None] = mapped_column(String(64))
    auth_method: Mapped[str] = mapped_column(String(32))
    redirect_uris: Mapped[list[str]] = mapped_column(JSON)
    post_logout_redirect_uris: Mapped[list[str]] = mapped_column(JSON)
    grants: Mapped[list[str]] = mapped_column(JSON)
    scopes: Mapped[list[str]] = mapped_column(JSON)
    first_party: Mapped[bool] = mapped_column(server_default=text("false"))
    pkce: Mapped[bool] = mapped_column(server_default=text("true"))
    min_acr: Mapped[str | None] = mapped_column(String(8))
    id_token_alg: Mapped[str] = mapped_column(String(8), server_default=text("'RS256'"))
    created_at: Mapped[int] = mapped_column(Instant)


class Consent(Base):
    """What one account allowed one client to know; scopes as a JSON array."""

    __tablename__ = "consents"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"), primary_key=True)
    scopes: Mapped[list[str]] = mapped_column(JSON)
    given_at: Mapped[int] = mapped_column(Instant)


class Attempt(Base):
    """One sign-in under way. `browser_hash` binds it to the browser that began it, `request` is the portal's question."""

    __tablename__ = "attempts"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    browser_hash: Mapped[str] = mapped_column(String(64))
    client_id: Mapped[str | None] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"))
    request: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    proofs: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    epoch: Mapped[int | None]  # of the account, when the first proof was begun
    session_id: Mapped[str | None] = mapped_column(String(32))  # what the proofs have become
    consented: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[int] = mapped_column(Instant)
    expires_at: Mapped[int] = mapped_column(Instant, index=True)
    finished_at: Mapped[int | None] = mapped_column(Instant)


class Session(Base):
    """A browser that is signed in. `id` is the `sid` of tokens; the cookie's secret is stored hashed."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    secret_hash: Mapped[str] = mapped_column(String(64), unique=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    auth_time: Mapped[int] = mapped_column(Instant)
    proofs: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    address: Mapped[str] = mapped_column(Text)
    user_agent: Mapped[str] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(Instant)
    seen_at: Mapped[int] = mapped_column(Instant)
    expires_at: Mapped[int] = mapped_column(Instant)
    ended_at: Mapped[int | None] = mapped_column(Instant)


class Grant(Base):
    """What one authorization gave: born with its code, the family of all tokens that come from it.

    A used code keeps its row, so that a replay is recognised and kills the family.
    """

    __tablename__ = "grants"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"), index=True)
    session_id: Mapped[str] = mapped_column(String(32), index=True)
    scope: Mapped[str] = mapped_column(Text)
    redirect_uri: Mapped[str] = mapped_column(Text)
    nonce: Mapped[str | None] = mapped_column(Text)
    challenge: Mapped[str | None] = mapped_column(String(43))
    auth_time: Mapped[int] = mapped_column(Instant)
    acr: Mapped[str] = mapped_column(Text)
    amr: Mapped[str] = mapped_column(Text)  # space-separated
    code_hash: Mapped[str] = mapped_column(String(64), unique=True)
    code_expires_at: Mapped[int] = mapped_column(Instant)
    code_used_at: Mapped[int | None] = mapped_column(Instant)
    code_failures: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[int] = mapped_column(Instant)
    expires_at: Mapped[int] = mapped_column(Instant, index=True)
    revoked_at: Mapped[int | None] = mapped_column(Instant)


class Token(Base):
    """An access token or one generation of a refresh token (`kind`), stored as its SHA-256."""

    __tablename__ = "tokens"
    __table_args__ = (one_of("kind", ("access", "refresh")),)

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    grant_id: Mapped[str] = mapped_column(ForeignKey("grants.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(8))
    scope: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[int] = mapped_column(Instant, index=True)
    used_at: Mapped[int | None] = mapped_column(Instant)


class GuessCount(Base):
    """Failures counted for one account, one unknown identifier or one address; keyed by a MAC, never by the text."""

    __tablename__ = "guess_counts"
    __table_args__ = (one_of("kind", ("account", "unknown", "address")),)

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    failed: Mapped[int]
    pending: Mapped[int]
    since: Mapped[int] = mapped_column(Instant)  # start of the window of an address
    changed_at: Mapped[int] = mapped_column(Instant, index=True)
    blocked_at: Mapped[int | None] = mapped_column(Instant)


class Guess(Base):
    """A check under way: a place reserved in both counts. A row that outlives a minute was lost and counts as failed."""

    __tablename__ = "guesses"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    account_key: Mapped[str] = mapped_column(String(64))
    address_key: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[int] = mapped_column(Instant, index=True)


class Link(Base):
    """A one-time link in a letter; the secret is stored hashed, `purpose` separates its uses."""

    __tablename__ = "links"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    purpose: Mapped[str] = mapped_column(String(16))
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[int] = mapped_column(Instant)
    expires_at: Mapped[int] = mapped_column(Instant)
    used_at: Mapped[int | None] = mapped_column(Instant)


class Letter(Base):
    """The outbox: a letter written in the transaction of its cause. The text is sealed, since it may hold a link."""

    __tablename__ = "letters"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(32))
    recipient: Mapped[str] = mapped_column(Text)
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[int] = mapped_column(Instant)
    next_try_at: Mapped[int | None] = mapped_column(Instant, index=True)
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    delivered_at: Mapped[int | None] = mapped_column(Instant)
    last_error: Mapped[str | None] = mapped_column(Text)


class SigningKey(Base):
    """One key of the ring. `sealed` is the private half where the store keeps it here; `public` is the JWK."""

    __tablename__ = "signing_keys"
    __table_args__ = (one_of("state", ("next", "active", "retired", "gone")),)

    kid: Mapped[str] = mapped_column(String(64), primary_key=True)
    alg: Mapped[str] = mapped_column(String(8))
    store: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(8))
    public: Mapped[dict[str, Any]] = mapped_column(JSON)
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[int] = mapped_column(Instant)
    activated_at: Mapped[int | None] = mapped_column(Instant)
    retired_at: Mapped[int | None] = mapped_column(Instant)


class Anchor(Base):
    """A certification authority that the office trusts for cards, with its own profile and revocation data (DER)."""

    __tablename__ = "anchors"
    __table_args__ = (one_of("revocation", ("require", "soft", "none")),)

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    certificate: Mapped[bytes] = mapped_column(LargeBinary)
    revocation: Mapped[str] = mapped_column(String(8))
    allow_missing_eku: Mapped[bool] = mapped_column(server_default=text("false"))
    forbid_policies: Mapped[list[str]] = mapped_column(JSON)
    crl: Mapped[bytes | None] = mapped_column(LargeBinary)
    added_at: Mapped[int] = mapped_column(Instant)


class Version(Base):
    """A number that grows with each change of a small, cached set ("clients", "keys", "anchors")."""

    __tablename__ = "versions"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    number: Mapped[int] = mapped_column(Instant)


class JournalEntry(Base):
    """One event. Rows are inserted in the transaction of their cause and never changed."""

    __tablename__ = "journal"

    id: Mapped[int] = mapped_column(Counted, primary_key=True)
    at: Mapped[int] = mapped_column(Instant)
    event: Mapped[str] = mapped_column(String(48))
    account: Mapped[str | None] = mapped_column(Text)
    client: Mapped[str | None] = mapped_column(Text)
    address: Mapped[str | None] = mapped_column(Text)
    cause: Mapped[str | None] = mapped_column(Text)
    details: Mapped[str] = mapped_column(Text)  # a JSON object, kept as text so that both engines give the same bytes


class JournalSeal(Base):
    """The chain over the journal: position `seq`, the entry it covers, a MAC over the entry and the MAC before it."""

    __tablename__ = "journal_seals"

    seq: Mapped[int] = mapped_column(Instant, primary_key=True, autoincrement=False)
    entry_id: Mapped[int] = mapped_column(Instant, unique=True)
    mac: Mapped[str] = mapped_column(String(64))


# At most one key signs for each algorithm, whatever two processes do at once.
_ACTIVE = text("state = 'active'")
Index("uq_signing_keys_active", SigningKey.alg, unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE)

_PENDING = text("state = 'pending'")
Index("uq_join_requests_pending", JoinRequest.account_id, unique=True, sqlite_where=_PENDING, postgresql_where=_PENDING)
