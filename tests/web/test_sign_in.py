"""Signing in with a password: what the person does, and what the portal learns of her."""

import base64
import hashlib

import pytest
from services.office import ISSUER, Office, Opens, answered
from services.visitor import PASSWORD, Browser

from idp import clock

NOW = 1_800_000_000


@pytest.mark.requirement("R6", "R22", "R90")
def test_the_page_asks_for_address_and_password_and_leads_to_the_portal(office: Office) -> None:
    browser = office.browser()
    page = browser.authorize()
    fields = {attributes.get("name"): attributes for tag, attributes in page.tags if tag == "input"}
    assert fields["email"]["autocomplete"] == "username"
    assert fields["password"]["autocomplete"] == "current-password"
    assert fields["password"]["type"] == "password"
    assert "/lost-password" in page.links
    assert "Portal web1" in page.text
    done = browser.submit(page, "login-submit", email="alice@e1.example", password=PASSWORD)
    assert done.outside is not None
    assert done.outside.startswith("https://web1.example/cb?")
    assert done.answer.keys() == {"code", "state", "iss"}
    assert (done.answer["state"], done.answer["iss"]) == ("a state", ISSUER)


@pytest.mark.requirement("R67", "R89")
def test_the_card_stands_beside_the_password_as_a_link(opened: Opens) -> None:
    browser = opened(login={"methods": ["password", "smartcard"]}).browser()
    page = browser.authorize()
    card = [link for link in page.links if link.endswith("/smartcard")]
    assert len(card) == 1
    assert "smartcard" not in page.form("login-submit").action
    other = browser.visit(card[0])
    assert other.status == 200
    assert [link for link in other.links if link.endswith("/password")]


@pytest.mark.parametrize("language", ["fr", "en"])
def test_a_wrong_password_is_refused_in_a_sentence_and_the_address_is_kept(office: Office, language: str) -> None:
    browser = office.browser()
    page = browser.authorize(ui_locales=language)
    page = browser.submit(page, "login-submit", email="alice@e1.example", password="Vigne;Tulle43")
    assert page.status == 200
    assert "form-error" in page.ids
    assert page.form("login-submit").fields["email"] == "alice@e1.example"
    assert page.form("login-submit").fields["password"] == ""
    assert f'<html lang="{language}">' in page.text
    assert {"role": "alert"}.items() <= next(a for _, a in page.tags if a.get("id") == "form-error").items()
    assert browser.submit(page, "login-submit", email="alice@e1.example", password=PASSWORD).answer["code"]


def test_the_claims_of_a_manager_are_exactly_those_promised(office: Office) -> None:
    with clock.fixed(NOW):
        tokens = office.tokens("alice")
        told = office.claims(tokens["id_token"])
        asked = office.user_info(tokens["access_token"]).get_json()
    assert tokens.keys() == {"access_token", "token_type", "expires_in", "scope", "id_token", "refresh_token"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 300)
    entity = office.rows("SELECT id FROM entities")[0][0]
    session = office.rows("SELECT id FROM sessions")[0][0]
    common = {
        "sub": office.id_of("alice"),
        "auth_time": NOW,
        "acr": "loa1",
        "amr": ["pwd"],
        "sid": session,
        "entity": {
            "id": entity,
            "name": "Étude Martin",
            "siren": "552100554",
            "siret": None,
            "legal_form": None,
            "activity_code": None,
            "country": "FR",
            "verified": False,
        },
        "role": "manager",
        "roles": [],
    }
    half = hashlib.sha256(tokens["access_token"].encode()).digest()[:16]
    at_hash = base64.urlsafe_b64encode(half).rstrip(b"=").decode()
    protocol = {"iss": ISSUER, "aud": "web1", "iat": NOW, "exp": NOW + 300, "nonce": "a nonce", "at_hash": at_hash}
    assert told == {**common, **protocol}
    person = {
        "name": "Alice Martin",
        "given_name": "Alice",
        "family_name": "Martin",
        "locale": "fr",
        "updated_at": office.rows("SELECT updated_at FROM accounts WHERE email_key = 'alice@e1.example'")[0][0],
        "email": "alice@e1.example",
        "email_verified": True,
    }
    assert asked == {**common, **person}


@pytest.mark.parametrize(("name", "role"), [("amir", "manager"), ("bob", "collaborator"), ("bea", "collaborator")])
def test_every_member_carries_the_entity_and_her_role(office: Office, name: str, role: str) -> None:
    tokens = office.tokens(name)
    for claims in (office.claims(tokens["id_token"]), office.user_info(tokens["access_token"]).get_json()):
        assert claims["entity"]["name"] == "Étude Martin"
        assert (claims["role"], claims["roles"]) == (role, [])


@pytest.mark.parametrize("how", ["none", "suspended", "closed"])
def test_without_a_living_membership_entity_and_role_are_absent(office: Office, how: str) -> None:
    if how == "suspended":
        office.execute("UPDATE memberships SET suspended_at = 1 WHERE account_id = :id", id=office.id_of("bob"))
    elif how == "closed":
        office.execute("UPDATE entities SET closed_at = 1")
    tokens = office.tokens("dave" if how == "none" else "bob")
    for claims in (office.claims(tokens["id_token"]), office.user_info(tokens["access_token"]).get_json()):
        assert "entity" not in claims
        assert "role" not in claims
        assert claims["roles"] == []


def test_a_suspension_shows_at_once_in_user_info_and_at_the_next_refresh(office: Office) -> None:
    tokens = office.tokens("bob")
    office.execute("UPDATE memberships SET suspended_at = 1 WHERE account_id = :id", id=office.id_of("bob"))
    assert "entity" not in office.user_info(tokens["access_token"]).get_json()
    fresh = office.claims(answered(office.refresh(tokens["refresh_token"]))["id_token"])
    assert "entity" not in fresh
    assert "role" not in fresh


def test_only_what_was_asked_for_is_told(office: Office) -> None:
    tokens = office.tokens(scope="openid")
    assert tokens.keys() == {"access_token", "token_type", "expires_in", "scope", "id_token"}
    assert office.user_info(tokens["access_token"]).get_json().keys() == {"sub", "auth_time", "acr", "amr", "sid"}
    assert not {"entity", "role", "roles", "email", "name"} & office.claims(tokens["id_token"]).keys()


def test_a_scope_that_is_unknown_or_not_allowed_is_dropped_and_the_answer_says_so(office: Office) -> None:
    assert office.tokens(scope="admin openid email unknown")["scope"] == "openid email"


def test_a_refresh_moves_neither_the_moment_of_sign_in_nor_the_session(office: Office) -> None:
    with clock.fixed(NOW) as advance:
        tokens = office.tokens()
        first = office.claims(tokens["id_token"])
        advance(3600)
        again = office.claims(answered(office.refresh(tokens["refresh_token"]))["id_token"])
    same = ("iss", "sub", "aud", "auth_time", "acr", "amr", "sid", "entity", "role", "roles")
    assert {n: again[n] for n in same} == {n: first[n] for n in same}
    assert again["iat"] == NOW + 3600
    assert "nonce" not in again


# A living session -------------------------------------------------------------------------------------------------


def test_a_living_session_answers_without_a_page_and_with_the_same_session(office: Office) -> None:
    with clock.fixed(NOW) as advance:
        browser = office.browser()
        first = office.claims(answered(office.redeem(browser.sign_in()))["id_token"])
        advance(60)
        silent = browser.authorize("web2", prompt="none")
        second = office.claims(answered(office.redeem(silent, "web2"))["id_token"])
    assert [second[n] for n in ("sub", "sid", "auth_time")] == [first[n] for n in ("sub", "sid", "auth_time")]
    assert second["aud"] == "web2"


def test_prompt_none_without_a_session_comes_back_with_login_required(office: Office) -> None:
    answer = office.browser().authorize(prompt="none").answer
    assert answer == {"error": "login_required", "state": "a state", "iss": ISSUER}


def test_prompt_none_with_anything_else_is_no_request(office: Office) -> None:
    assert office.browser().authorize(prompt="none login").answer["error"] == "invalid_request"
    assert office.browser().authorize(prompt="whatever").answer["error"] == "invalid_request"


@pytest.mark.parametrize("changes", [{"prompt": "login"}, {"prompt": "select_account"}, {"max_age": "0"}, {"max_age": "1"}])  # fmt: skip
def test_a_fresh_sign_in_is_asked_for_and_its_moment_is_new(office: Office, changes: dict[str, str]) -> None:
    with clock.fixed(NOW) as advance:
        browser = office.browser()
        first = office.claims(answered(office.redeem(browser.sign_in()))["id_token"])
        advance(2)
        page = browser.authorize(**changes)
        assert "login-submit" in page.ids
        done = browser.submit(page, "login-submit", email="alice@e1.example", password=PASSWORD)
        second = office.claims(answered(office.redeem(done))["id_token"])
    assert (first["auth_time"], second["auth_time"]) == (NOW, NOW + 2)
    assert second["amr"] == ["pwd"]


def test_a_fresh_sign_in_that_may_show_no_page_is_refused(office: Office) -> None:
    with clock.fixed(NOW) as advance:
        browser = office.browser()
        browser.sign_in()
        advance(2)
        assert browser.authorize(prompt="none", max_age="1").answer["error"] == "login_required"
        assert browser.authorize(prompt="none", max_age="2").answer["code"]


@pytest.mark.parametrize("age", ["-1", "abc", "1000000000000", "1.5", "0x10", " 1", "١"])
def test_a_max_age_that_is_no_number_of_seconds_is_refused(office: Office, age: str) -> None:
    assert office.browser().authorize(max_age=age).answer["error"] == "invalid_request"


def test_another_person_may_sign_in_when_a_fresh_sign_in_is_asked_for(office: Office) -> None:
    browser = office.browser()
    alice = office.claims(answered(office.redeem(browser.sign_in()))["id_token"])
    page = browser.authorize(prompt="login")
    done = browser.submit(page, "login-submit", email="bob@e1.example", password=PASSWORD)
    bob = office.claims(answered(office.redeem(done))["id_token"])
    assert bob["sub"] == office.id_of("bob")
    assert bob["sid"] != alice["sid"]
    assert [e["cause"] for e in office.journal("session.ended")] == ["replaced"]


def test_a_hint_that_names_somebody_else_is_not_answered_for_the_person_who_is_there(office: Office) -> None:
    alice = office.browser()
    own = answered(office.redeem(alice.sign_in()))["id_token"]
    of_bob = office.tokens("bob")["id_token"]
    assert alice.authorize(prompt="none", id_token_hint=own).answer["code"]
    assert alice.authorize(prompt="none", id_token_hint=of_bob).answer["error"] == "login_required"
    page = alice.authorize(id_token_hint=of_bob)
    assert "login-submit" in page.ids
    done = alice.submit(page, "login-submit", email="alice@e1.example", password=PASSWORD)
    assert done.answer["error"] == "login_required"


# Levels of assurance ----------------------------------------------------------------------------------------------


def test_the_lowest_known_level_named_is_demanded_and_unknown_ones_are_ignored(office: Office) -> None:
    for values in ("loa1", "loa3 loa1", "urn:what loa1", "urn:what"):
        tokens = office.tokens(acr_values=values)
        assert office.claims(tokens["id_token"])["acr"] == "loa1"


def test_a_level_that_nobody_can_reach_comes_back_as_unmet(office: Office) -> None:
    for browser in (office.browser(), signed_in(office)):
        for demand in ("loa2", "loa3", "loa3 loa2"):
            answer = browser.authorize(acr_values=demand).answer
            assert (answer["error"], answer["iss"]) == ("unmet_authentication_requirements", ISSUER)


def test_the_minimum_of_a_client_counts_whatever_the_request_says(office: Office) -> None:
    office.execute("UPDATE clients SET min_acr = 'loa3' WHERE id = 'web1'")
    strict = office.again()
    for values in (None, "loa1"):
        answer = strict.browser().authorize(acr_values=values).answer
        assert answer["error"] == "unmet_authentication_requirements"


def test_whoever_has_no_card_cannot_step_up(opened: Opens) -> None:
    office = opened(login={"methods": ["password", "smartcard"]})
    assert signed_in(office).authorize(acr_values="loa3").answer["error"] == "unmet_authentication_requirements"


def test_a_card_is_asked_for_where_it_is_demanded_and_the_password_does_not_stand_beside_it(opened: Opens) -> None:
    office = opened(login={"methods": ["password", "smartcard"]})
    browser = office.browser()
    page = browser.authorize(acr_values="loa3")
    assert page.status == 200
    assert "login-submit" not in page.ids
    assert not [link for link in page.links if link.endswith("/password")]
    ticket = page.path.rpartition("/")[2]
    token = page.forms[-1].fields["csrf_token"]
    answer = browser.post(
        f"/login/{ticket}/password", {"csrf_token": token, "email": "alice@e1.example", "password": PASSWORD}
    )
    assert answer.status_code == 404
    assert "session" not in " ".join(browser.cookies)


def test_levels_carry_the_names_of_the_installation(opened: Opens) -> None:
    office = opened(acr={"loa1": "eidas1"})
    assert office.claims(office.tokens(acr_values="eidas1")["id_token"])["acr"] == "eidas1"


def signed_in(office: Office) -> Browser:
    browser = office.browser()
    assert browser.sign_in().answer["code"]
    return browser


# Giving up --------------------------------------------------------------------------------------------------------


def test_whoever_cancels_comes_back_to_the_portal_with_access_denied(office: Office) -> None:
    browser = office.browser()
    page = browser.authorize()
    cancel = next(form for form in page.forms if form.action.startswith("/cancel/"))
    answer = browser.post(cancel.action, cancel.fields)
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("https://web1.example/cb?error=access_denied&")
    assert browser.get(page.path).status_code == 400
    assert browser.post(cancel.action, cancel.fields).status_code == 400
