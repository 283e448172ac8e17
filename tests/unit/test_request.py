"""The authorization request: judged in the right order, stored and read back whole, and what it demands."""

from dataclasses import replace
from typing import Any

import pytest
from services.visitor import question

from idp.directory.clients import Relying
from idp.login.assurance import Levels
from idp.login.flow import Demand
from idp.oidc.errors import Unredirectable
from idp.oidc.request import MAX_VALUE, AuthorizationRequest, RedirectError, answer, demand, parse

WEB1 = Relying(
    id="web1",
    name="Portal",
    secret_hash="x" * 64,
    auth_method="client_secret_basic",
    redirect_uris=frozenset({"https://web1.example/cb", "https://web1.example/cb?lang=fr"}),
    post_logout_redirect_uris=frozenset(),
    grants=frozenset({"authorization_code", "refresh_token"}),
    scopes=frozenset({"openid", "email", "entity", "roles", "profile", "offline_access"}),
    first_party=True,
    pkce=True,
    min_acr=None,
    id_token_alg="RS256",
)
LEVELS = Levels({})
NOW = 10_000


def judged(client: Relying = WEB1, **changes: Any) -> AuthorizationRequest:
    return parse(question(**changes).items(), {client.id: client}.get)


def error(client: Relying = WEB1, **changes: Any) -> str:
    with pytest.raises(RedirectError) as caught:
        judged(client, **changes)
    assert caught.value.redirect_uri == "https://web1.example/cb"
    return caught.value.error.code


def test_a_good_request_is_read_whole_and_survives_being_stored() -> None:
    asked = judged(prompt="login consent", max_age="60", acr_values="loa2", ui_locales="en", login_hint="a@b.example")
    assert asked.scope == ("openid", "profile", "email", "entity", "roles", "offline_access")
    assert (asked.prompt, asked.max_age, asked.acr_values) == (("login", "consent"), 60, "loa2")
    assert AuthorizationRequest.load(asked.dump()) == asked
    assert asked.origin == "https://web1.example"


def test_client_and_address_are_judged_before_everything_else() -> None:
    wrong: dict[str, Any] = {"response_type": "foo", "scope": None, "request": "x", "code_challenge": None, "state": "x" * 9000}  # fmt: skip
    for changes in ({"client_id": "nobody"}, {"redirect_uri": "https://evil.example/"}, {"redirect_uri": None}):
        with pytest.raises(Unredirectable) as caught:
            judged(**{**wrong, **changes})
        assert caught.value.cause in ("client_unknown", "redirect_uri_unregistered")


def test_a_known_parameter_given_twice_is_never_answered_elsewhere() -> None:
    for name in question():
        with pytest.raises(Unredirectable):
            parse([*question().items(), (name, "x")], {"web1": WEB1}.get)
    assert parse([*question().items(), ("unknown", "1"), ("unknown", "2")], {"web1": WEB1}.get).client_id == "web1"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": ""}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "email"}, "invalid_scope"),
        ({"scope": "openid_"}, "invalid_scope"),
        ({"request": "x"}, "request_not_supported"),
        ({"request_uri": "https://x.example/"}, "request_uri_not_supported"),
        ({"nonce": "x" * (MAX_VALUE + 1)}, "invalid_request"),
        ({"nonce": "a\0b"}, "invalid_request"),
        ({"prompt": "none consent"}, "invalid_request"),
        ({"max_age": "١"}, "invalid_request"),
        ({"max_age": "1\n"}, "invalid_request"),
    ],
)
def test_what_is_wrong_goes_back_by_its_registered_code(changes: dict[str, Any], code: str) -> None:
    assert error(**changes) == code


def test_the_client_decides_scopes_grants_and_pkce() -> None:
    assert judged(replace(WEB1, scopes=frozenset({"openid"}))).scope == ("openid",)
    assert error(replace(WEB1, grants=frozenset({"refresh_token"}))) == "unauthorized_client"
    loose = replace(WEB1, pkce=False)
    assert judged(loose, code_challenge=None, code_challenge_method=None).code_challenge is None
    assert error(loose, code_challenge=None) == "invalid_request"
    assert error(loose, code_challenge_method=None) == "invalid_request"


def test_an_answer_is_added_to_the_registered_address() -> None:
    assert answer("https://a.example/cb", "https://id.example", None, code="x") == "https://a.example/cb?code=x&iss=https%3A%2F%2Fid.example"  # fmt: skip
    assert answer("https://a.example/cb?l=fr", "https://id.example", "a&b", error="e") == "https://a.example/cb?l=fr&error=e&state=a%26b&iss=https%3A%2F%2Fid.example"  # fmt: skip


def wanted(client: Relying = WEB1, who: Any = ("alice", NOW - 50), *, subject: str | None = None, consented: bool = False, **changes: str | None) -> Demand:  # fmt: skip
    account_id, auth_time = who or (None, None)
    asked = replace(judged(client, **changes), subject=subject)
    return demand(asked, client, LEVELS, account_id=account_id, auth_time=auth_time, now=NOW, consented=consented)


@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({}, False),
        ({"max_age": "50"}, False),
        ({"max_age": "49"}, True),
        ({"max_age": "0"}, True),
        ({"prompt": "login"}, True),
        ({"prompt": "select_account"}, True),
        ({"prompt": "consent"}, False),
        ({"subject": "alice"}, False),
        ({"subject": "bob"}, True),
    ],
)
def test_when_a_fresh_sign_in_is_demanded(changes: dict[str, Any], again: bool) -> None:
    assert wanted(**changes).again is again


def test_what_else_is_demanded() -> None:
    other = replace(WEB1, first_party=False)
    assert wanted() == Demand()
    assert wanted(prompt="none").silent
    assert wanted(who=None, max_age="1", subject="bob") == Demand()
    assert wanted(other).consent
    assert not wanted(other, consented=True).consent
    assert wanted(other, consented=True, prompt="consent").consent
    assert wanted(acr_values="loa3 loa2 nonsense").level == 2
    assert wanted(replace(WEB1, min_acr="loa3"), acr_values="loa1").level == 3
