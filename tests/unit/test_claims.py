"""What is said of a person: present exactly when it should be, absent otherwise."""

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from idp.directory.clients import SCOPES
from idp.oidc import claims
from idp.oidc.discovery import CLAIMS

PERSON: dict[str, Any] = {
    "account_id": "sub-1",
    "client_id": "web1",
    "session_id": "sid-1",
    "auth_time": 100,
    "acr": "loa3",
    "amr": "sc hwk pin mfa",
    "email": "Alice@e1.example",
    "email_verified": True,
    "username": None,
    "given_name": "Alice",
    "family_name": "Martin",
    "phone": None,
    "locale": None,
    "address": None,
    "representative_kind": None,
    "representative_number": None,
    "representative_verified": False,
    "updated_at": 50,
    "role": None,
    "suspended_at": None,
    "closed_at": None,
    "entity_id": None,
    "entity_verified": None,
    **{f"entity_{n}": None for n in ("name", "siren", "siret", "legal_form", "activity_code", "country")},
}
MEMBER = {"role": "manager", "entity_id": "e-1", "entity_name": "Étude Martin", "entity_verified": False}
DECLARED = {"representative_kind": "cpi", "representative_number": "92-1"}
ADDRESS = {
    "number": "3",
    "street": "rue Cujas",
    "box": "BP 1",
    "postal_code": "1000",
    "city": "Bruxelles",
    "country": "BE",
}


def row(**changes: Any) -> Any:
    return SimpleNamespace(**{**PERSON, **changes})


def test_authentication_is_always_told() -> None:
    told = claims.authentication(row())
    assert told == {"sub": "sub-1", "auth_time": 100, "acr": "loa3", "amr": ["sc", "hwk", "pin", "mfa"], "sid": "sid-1"}


@pytest.mark.parametrize("ended", [{"suspended_at": 1}, {"closed_at": 1}, {"suspended_at": 0}, {"entity_id": None}])
def test_entity_and_role_are_absent_without_a_living_membership(ended: dict[str, Any]) -> None:
    assert claims.standing(row(**{**MEMBER, **ended}), ("entity", "roles")) == {"roles": []}


def test_an_entity_names_every_member_unknown_ones_as_null() -> None:
    told = claims.standing(row(**MEMBER, entity_siren="552100554"), ("entity", "roles"))
    assert told == {
        "entity": {
            "id": "e-1",
            "name": "Étude Martin",
            "siren": "552100554",
            "siret": None,
            "legal_form": None,
            "activity_code": None,
            "country": None,
            "verified": False,
        },
        "role": "manager",
        "roles": [],
    }


def test_each_scope_tells_its_own_and_nothing_else() -> None:
    full = row(**MEMBER, **DECLARED, phone="+33156658998", username="alice", locale="fr", address=ADDRESS)
    expected: dict[str, set[str]] = {
        "openid": set(),
        "profile": {"name", "given_name", "family_name", "updated_at", "preferred_username", "locale"},
        "email": {"email", "email_verified"},
        "phone": {"phone_number", "phone_number_verified"},
        "address": {"address"},
        "entity": {"entity"},
        "roles": {"role", "roles", "representative"},
        "offline_access": set(),
    }
    assert expected.keys() == set(SCOPES)
    always = {"sub", "auth_time", "acr", "amr", "sid"}
    for count in (1, 2, 3):
        for scope in itertools.combinations(SCOPES, count):
            assert claims.user_info(full, scope).keys() == always.union(*(expected[s] for s in scope)), scope


def test_an_id_token_tells_nothing_personal_unasked() -> None:
    everything = row(**MEMBER, **DECLARED, address=ADDRESS)
    told = claims.id_token(everything, SCOPES, issuer="https://id.example", now=1000, lifetime=300)
    assert told.keys() == {
        "iss",
        "aud",
        "iat",
        "exp",
        "sub",
        "auth_time",
        "acr",
        "amr",
        "sid",
        "entity",
        "role",
        "roles",
        "representative",
    }
    assert (told["iss"], told["aud"], told["iat"], told["exp"]) == ("https://id.example", "web1", 1000, 1300)
    assert told.keys() <= set(CLAIMS)


def test_id_token_and_user_info_say_the_same() -> None:
    for who in (row(), row(**MEMBER), row(**DECLARED), row(**{**MEMBER, "suspended_at": 5})):
        token = claims.id_token(who, SCOPES, issuer="i", now=1, lifetime=1)
        info = claims.user_info(who, SCOPES)
        for name in ("sub", "auth_time", "acr", "amr", "sid", "entity", "role", "roles", "representative"):
            assert (name in token) is (name in info)
            assert token.get(name) == info.get(name)


def test_what_is_unknown_is_absent_not_null() -> None:
    told = claims.user_info(row(), SCOPES)
    assert None not in told.values()
    assert not {"phone_number", "preferred_username", "locale", "address", "representative"} & told.keys()
    partly = claims.personal(row(address={"box": "BP 1", "city": "Lima"}), ("address",))
    assert partly == {"address": {"formatted": "BP 1\nLima", "street_address": "BP 1", "locality": "Lima"}}


def test_who_represents_others_is_told_as_declared_until_verified() -> None:
    told = claims.standing(row(**DECLARED), ("roles",))
    assert told["representative"] == {"kind": "cpi", "number": "92-1", "verified": False}
    told = claims.standing(row(representative_kind="lawyer", representative_verified=True), ("roles",))
    assert told["representative"] == {"kind": "lawyer", "number": None, "verified": True}
    assert "representative" not in claims.standing(row(**DECLARED), ("entity",))


@pytest.mark.parametrize(("language", "country"), [("fr", "Belgique"), ("en", "Belgium"), (None, "Belgique")])
def test_an_address_is_told_as_on_an_envelope_and_in_parts(language: str | None, country: str) -> None:
    assert claims.personal(row(address=ADDRESS, locale=language), ("address",))["address"] == {
        "formatted": f"3 rue Cujas\nBP 1\n1000 Bruxelles\n{country}",
        "street_address": "3 rue Cujas\nBP 1",
        "locality": "Bruxelles",
        "postal_code": "1000",
        "country": "BE",
    }
