"""The only module that writes a claim about a person.

The same values stand in the ID token and in UserInfo: portals key on `sub` and `entity.id`. `entity` and `role` are
present when the account is an unsuspended member of an open entity, and absent otherwise, without exception.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Select, select

from idp.directory import profile
from idp.language import DEFAULT
from idp.models import Account, Entity, Grant, Membership

_ACCOUNT, _MEMBER, _ENTITY, _GRANT = (t.__table__.c for t in (Account, Membership, Entity, Grant))
_ENTITY_MEMBERS = ("name", "siren", "siret", "legal_form", "activity_code", "country")

# Everything that claims are made of, in one row: a grant, its person, and the entity she acts for.
PERSON_COLUMNS = (
    _ACCOUNT.state, _ACCOUNT.email, _ACCOUNT.email_verified, _ACCOUNT.username, _ACCOUNT.given_name,
    _ACCOUNT.family_name, _ACCOUNT.phone, _ACCOUNT.locale, _ACCOUNT.updated_at, _ACCOUNT.address,
    _ACCOUNT.representative_kind, _ACCOUNT.representative_number, _ACCOUNT.representative_verified,
    _MEMBER.role, _MEMBER.suspended_at, _ENTITY.id.label("entity_id"), _ENTITY.closed_at,
    _ENTITY.verified.label("entity_verified"), *(_ENTITY[name].label(f"entity_{name}") for name in _ENTITY_MEMBERS),
)  # fmt: skip


def with_person(columns: Collection[Any], source: Any) -> Select[Any]:
    """A SELECT of `columns` and of everything about the person, from a join that contains `grants`."""
    joined = (
        source.join(Account, _ACCOUNT.id == _GRANT.account_id)
        .outerjoin(Membership, _MEMBER.account_id == _ACCOUNT.id)
        .outerjoin(Entity, _ENTITY.id == _MEMBER.entity_id)
    )
    return select(*columns, *PERSON_COLUMNS).select_from(joined)


def authentication(row: Any) -> dict[str, Any]:
    """What the scope `openid` says: who, and how and when she proved it. `auth_time` never moves with a refresh."""
    return {
        "sub": row.account_id,
        "auth_time": row.auth_time,
        "acr": row.acr,
        "amr": row.amr.split(),
        "sid": row.session_id,
    }


def standing(row: Any, scope: Collection[str]) -> dict[str, Any]:
    """What the scopes `entity` and `roles` say: for whom she acts and as what, and whether she represents others."""
    claims: dict[str, Any] = {}
    acts = row.entity_id is not None and row.suspended_at is None and row.closed_at is None
    if acts and "entity" in scope:
        members = {name: getattr(row, f"entity_{name}") for name in _ENTITY_MEMBERS}
        claims["entity"] = {"id": row.entity_id, **members, "verified": row.entity_verified}
    if "roles" in scope:
        claims["roles"] = []
        if acts:
            claims["role"] = row.role
        if row.representative_kind is not None:
            claims["representative"] = {
                "kind": row.representative_kind,
                "number": row.representative_number,
                "verified": row.representative_verified,
            }
    return claims


def personal(row: Any, scope: Collection[str]) -> dict[str, Any]:
    """What `profile`, `email`, `phone` and `address` say (OpenID Connect Core §5.4): from UserInfo only; unknown members absent."""
    claims: dict[str, Any] = {}
    if "profile" in scope:
        claims |= {
            "name": f"{row.given_name} {row.family_name}",
            "given_name": row.given_name,
            "family_name": row.family_name,
            "updated_at": row.updated_at,
        }
        if row.username is not None:
            claims["preferred_username"] = row.username
        if row.locale is not None:
            claims["locale"] = row.locale
    if "email" in scope:
        claims |= {"email": row.email, "email_verified": row.email_verified}
    if "phone" in scope and row.phone is not None:
        claims |= {"phone_number": row.phone, "phone_number_verified": False}
    if "address" in scope and row.address:
        claims["address"] = _address(row.address, row.locale)
    return claims


def _address(kept: dict[str, str], language: str | None) -> dict[str, str]:
    """An address (OpenID Connect Core §5.1.1); `country` is the ISO code, which portals can compare."""
    members = {
        "formatted": profile.formatted(kept, language or DEFAULT),
        "street_address": profile.street_address(kept),
        "locality": kept.get("city"),
        "postal_code": kept.get("postal_code"),
        "country": kept.get("country"),
    }
    return {name: value for name, value in members.items() if value}


def id_token(row: Any, scope: Collection[str], *, issuer: str, now: int, lifetime: int) -> dict[str, Any]:
    """The claims of an ID token (OpenID Connect Core §2), apart from `nonce` and `at_hash`."""
    return {
        "iss": issuer,
        "aud": row.client_id,
        "iat": now,
        "exp": now + lifetime,
        **authentication(row),
        **standing(row, scope),
    }


def user_info(row: Any, scope: Collection[str]) -> dict[str, Any]:
    """The claims of the UserInfo answer (OpenID Connect Core §5.3)."""
    return {**authentication(row), **personal(row, scope), **standing(row, scope)}
