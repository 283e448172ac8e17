"""The token endpoint: codes and refresh tokens work once, for their client, in time, and a replay kills their family."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from services.office import SECRETS, Office, Opens, answered, basic
from services.visitor import VERIFIER
from werkzeug.test import TestResponse

from idp import clock

NOW = 1_800_000_000


def refused(response: TestResponse, code: str, status: int = 400) -> None:
    assert (response.status_code, answered(response)["error"]) == (status, code), response.get_data(as_text=True)
    assert "access_token" not in answered(response)
    assert response.headers["Cache-Control"] == "no-store"


def code_of(office: Office) -> str:
    return office.browser().sign_in().answer["code"]


@pytest.mark.parametrize("later", [1, 30, 600])
def test_a_used_code_is_refused_and_the_tokens_of_its_first_use_die(office: Office, later: int) -> None:
    with clock.fixed(NOW) as advance:
        code = code_of(office)
        first = answered(office.redeem(code))
        assert office.user_info(first["access_token"]).status_code == 200
        advance(later)
        refused(office.redeem(code), "invalid_grant")
        assert office.user_info(first["access_token"]).status_code == 401
        refused(office.refresh(first["refresh_token"]), "invalid_grant")
    assert [e["cause"] for e in office.journal("grant.revoked")] == ["code_replayed"]


def test_fifty_redemptions_of_one_code_at_once_give_one_answer_whose_tokens_die(office: Office) -> None:
    code = code_of(office)
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: office.redeem(code), range(50)))
    good = [answered(a) for a in answers if a.status_code == 200]
    assert sorted({a.status_code for a in answers}) == [200, 400]
    assert len(good) == 1
    assert {answered(a)["error"] for a in answers if a.status_code == 400} == {"invalid_grant"}
    assert office.user_info(good[0]["access_token"]).status_code == 401
    refused(office.refresh(good[0]["refresh_token"]), "invalid_grant")
    assert office.rows("SELECT count(*) FROM tokens")[0][0] == 2


def test_fifty_refreshes_of_one_token_at_once_leave_no_living_child(office: Office) -> None:
    first = office.tokens()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: office.refresh(first["refresh_token"]), range(50)))
    good = [answered(a) for a in answers if a.status_code == 200]
    assert len(good) == 1
    assert {a.status_code for a in answers} == {200, 400}
    for tokens in (first, *good):
        refused(office.refresh(tokens["refresh_token"]), "invalid_grant")
        assert office.user_info(tokens["access_token"]).status_code == 401
    assert office.rows("SELECT count(*) FROM tokens WHERE kind = 'refresh'")[0][0] == 2


def test_a_code_of_another_client_is_refused_and_stays_good_for_its_own(office: Office) -> None:
    code = code_of(office)
    good = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": "https://web1.example/cb",
        "code_verifier": VERIFIER,
    }
    refused(office.token("web2", good), "invalid_grant")
    refused(office.token("spa1", good), "invalid_grant")
    refused(office.token("web1", {**good, "client_id": "spa1"}), "invalid_request")
    refused(office.token("spa1", {**good, "client_id": "web1"}), "invalid_client", 401)
    assert office.token("web1", good).status_code == 200


def test_a_code_is_over_after_its_minute(office: Office) -> None:
    with clock.fixed(NOW) as advance:
        early, late = code_of(office), code_of(office)
        advance(59)
        assert office.redeem(early).status_code == 200
        advance(2)
        refused(office.redeem(late), "invalid_grant")


def test_a_code_needs_its_verifier_and_dies_after_five_wrong_ones(office: Office) -> None:
    code = code_of(office)
    for wrong in ("", "b" * 43, VERIFIER[:-1], VERIFIER + "a", VERIFIER.upper()):
        refused(office.redeem(code, code_verifier=wrong), "invalid_grant")
    refused(office.redeem(code), "invalid_grant")


def test_four_wrong_verifiers_leave_the_code_to_its_owner(office: Office) -> None:
    code = code_of(office)
    for _ in range(4):
        refused(office.redeem(code, code_verifier="b" * 43), "invalid_grant")
    assert office.redeem(code).status_code == 200


@pytest.mark.parametrize(
    "address", ["", "https://web1.example/cb/", "https://web1.example/CB", "https://web2.example/cb"]
)
def test_a_code_needs_the_redirect_address_of_its_request(office: Office, address: str) -> None:
    code = code_of(office)
    refused(office.redeem(code, redirect_uri=address), "invalid_grant")
    assert office.redeem(code).status_code == 200


NO_CLIENT = [
    pytest.param({}, {"client_id": "web1"}, id="its name alone"),
    pytest.param({"Authorization": basic("web1", "")}, {}, id="an empty secret"),
    pytest.param({"Authorization": basic("web1", "wrong")}, {}, id="a wrong secret"),
    pytest.param({"Authorization": basic("web1", SECRETS["web2"])}, {}, id="the secret of another"),
    pytest.param({"Authorization": basic("web1", "é")}, {}, id="a secret beyond ASCII"),
    pytest.param({"Authorization": basic("web1\0", SECRETS["web1"])}, {}, id="NUL in its name"),
    pytest.param({"Authorization": "Basic d2ViMTr/"}, {}, id="a secret that is no UTF-8"),
    pytest.param({"Authorization": "Basic !!!"}, {}, id="no base64"),
    pytest.param({"Authorization": "Basic"}, {}, id="nothing after Basic"),
    pytest.param({"Authorization": "Bearer " + SECRETS["web1"]}, {"client_id": "web1"}, id="another scheme"),
    pytest.param({"Authorization": basic("web1", "s" * 20000)}, {}, id="an endless secret"),
    pytest.param({}, {"client_id": "web1", "client_secret": SECRETS["web1"]}, id="its secret in the body"),
    pytest.param({}, {"client_id": "web1", "client_secret": "é\xff"}, id="bytes in the body"),
    pytest.param({}, {"client_id": "nobody", "client_secret": SECRETS["web1"]}, id="an unknown name"),
    pytest.param({}, {}, id="nothing at all"),
]


@pytest.mark.parametrize(("headers", "data"), NO_CLIENT)
def test_a_client_that_does_not_prove_itself_gets_nothing(
    office: Office, headers: dict[str, str], data: dict[str, str]
) -> None:
    code = code_of(office)
    good = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": "https://web1.example/cb",
        "code_verifier": VERIFIER,
    }
    refused(office.token(None, {**good, **data}, headers=headers), "invalid_client", 401)
    assert office.redeem(code).status_code == 200


def test_two_ways_of_authentication_at_once_are_refused(office: Office) -> None:
    code = code_of(office)
    refused(office.redeem(code, client_secret=SECRETS["web1"]), "invalid_request")


def test_a_refresh_token_works_once_and_its_second_use_kills_the_family(office: Office) -> None:
    tokens = [office.tokens(client="spa1")]
    for _ in range(2):
        tokens.append(answered(office.refresh(tokens[-1]["refresh_token"], "spa1")))
    assert len({t["refresh_token"] for t in tokens}) == 3
    assert office.user_info(tokens[2]["access_token"]).status_code == 200
    refused(office.refresh(tokens[0]["refresh_token"], "spa1"), "invalid_grant")
    refused(office.refresh(tokens[2]["refresh_token"], "spa1"), "invalid_grant")
    assert office.user_info(tokens[2]["access_token"]).status_code == 401
    assert [e["cause"] for e in office.journal("grant.revoked")] == ["refresh_replayed"]


def test_tokens_cannot_stand_for_one_another(office: Office) -> None:
    spa, web = office.tokens(client="spa1"), office.tokens(client="web1")
    refused(office.refresh(spa["refresh_token"], "web1"), "invalid_grant")
    refused(office.refresh(web["refresh_token"], "web2"), "invalid_grant")
    refused(office.refresh(web["access_token"]), "invalid_grant")
    refused(office.redeem(web["refresh_token"]), "invalid_grant")
    for wrong in (web["refresh_token"], web["id_token"], "", "nothing", "x" * 5000):
        assert office.user_info(wrong).status_code == 401
    assert office.refresh(web["refresh_token"]).status_code == 200
    assert office.refresh(spa["refresh_token"], "spa1").status_code == 200


def test_a_refresh_may_narrow_the_scope_and_never_widen_it(office: Office) -> None:
    first = office.tokens(scope="openid email offline_access")
    for wide in ("openid admin", "openid email profile", "profile", "OPENID"):
        refused(office.refresh(first["refresh_token"], scope=wide), "invalid_scope")
    many = answered(office.refresh(first["refresh_token"], scope=" ".join(["openid"] * 5000)))
    assert many["scope"] == "openid"
    assert set(office.user_info(many["access_token"]).get_json()) == {"sub", "auth_time", "acr", "amr", "sid"}
    whole = answered(office.refresh(many["refresh_token"], scope=""))
    assert whole["scope"] == "openid email offline_access"


def test_a_token_narrowed_to_less_than_openid_opens_no_user_info(office: Office) -> None:
    first = office.tokens(scope="openid email offline_access")
    narrow = answered(office.refresh(first["refresh_token"], scope="email"))
    assert "id_token" not in narrow
    answer = office.user_info(narrow["access_token"])
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


def test_a_family_ends_at_its_absolute_limit_although_it_is_used_every_hour(opened: Opens) -> None:
    office = opened(tokens={"refresh_seconds": 5 * 3600, "refresh_idle_seconds": 7200})
    with clock.fixed(NOW) as advance:
        tokens = office.tokens()
        for _ in range(4):
            advance(3600)
            tokens = answered(office.refresh(tokens["refresh_token"]))
        advance(3601)
        refused(office.refresh(tokens["refresh_token"]), "invalid_grant")


def test_a_refresh_token_that_idles_too_long_is_over(opened: Opens) -> None:
    office = opened(tokens={"refresh_idle_seconds": 7200})
    with clock.fixed(NOW) as advance:
        tokens = office.tokens()
        advance(7201)
        refused(office.refresh(tokens["refresh_token"]), "invalid_grant")


def test_a_disabled_person_gets_no_more_tokens_and_the_old_ones_die(office: Office) -> None:
    tokens, waiting = office.tokens("bob"), office.browser().sign_in("bob@e1.example").answer["code"]
    office.disable("bob")
    refused(office.refresh(tokens["refresh_token"]), "invalid_grant")
    refused(office.redeem(waiting), "invalid_grant")
    assert office.user_info(tokens["access_token"]).status_code == 401


def test_a_person_whose_state_alone_changed_gets_no_more_tokens(office: Office) -> None:
    tokens = office.tokens("bob")
    office.execute("UPDATE accounts SET state = 'disabled' WHERE id = :id", id=office.id_of("bob"))
    assert office.user_info(tokens["access_token"]).status_code == 401
    refused(office.refresh(tokens["refresh_token"]), "invalid_grant")
    office.execute("UPDATE accounts SET state = 'active' WHERE id = :id", id=office.id_of("bob"))
    refused(office.refresh(tokens["refresh_token"]), "invalid_grant")


def test_tokens_of_a_client_that_is_gone_are_dead(office: Office) -> None:
    tokens = office.tokens()
    office.execute("DELETE FROM clients WHERE id = 'web1'")
    other = office.again()
    refused(other.refresh(tokens["refresh_token"]), "invalid_client", 401)
    assert other.user_info(tokens["access_token"]).status_code == 401


def test_requests_in_another_dress_are_refused(office: Office) -> None:
    browser = office.browser()
    form = {"grant_type": "refresh_token", "refresh_token": office.tokens()["refresh_token"]}
    key = {"Authorization": basic("web1", SECRETS["web1"])}
    assert browser.get("/token", headers=key).status_code == 405
    assert browser.get("/token", query_string=form, headers=key).status_code == 405
    refused(browser.post("/token", query_string=form, headers=key, content_type="application/x-www-form-urlencoded"), "invalid_request")  # fmt: skip
    refused(browser.post("/token", form, query_string={"x": "1"}, headers=key), "invalid_request")
    refused(browser.post("/token", json=form, headers=key), "invalid_request", 415)
    body = "&".join(f"{k}={v}" for k, v in form.items())
    refused(browser.post("/token", body, headers=key, content_type="text/plain"), "invalid_request", 415)
    twice = body + "&grant_type=refresh_token"
    refused(browser.post("/token", twice, headers=key, content_type="application/x-www-form-urlencoded"), "invalid_request")  # fmt: skip
    big = browser.post("/token", {**form, "pad": "x" * 1_000_000}, headers=key)
    assert big.status_code == 413
    assert browser.post("/token", form, headers=key).status_code == 200


@pytest.mark.parametrize("grant", ["password", "client_credentials", "implicit", "urn:ietf:params:oauth:grant-type:jwt-bearer", "none", "é"])  # fmt: skip
def test_grants_that_are_not_offered_are_refused(office: Office, grant: str) -> None:
    form = {"grant_type": grant, "username": "alice@e1.example", "password": "Vigne;Tulle42"}
    refused(office.token("web1", form), "unsupported_grant_type")


def test_an_expired_access_token_opens_nothing(office: Office) -> None:
    with clock.fixed(NOW) as advance:
        tokens = office.tokens()
        advance(299)
        assert office.user_info(tokens["access_token"]).status_code == 200
        advance(1)
        answer = office.user_info(tokens["access_token"])
        assert answer.status_code == 401
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_a_token_in_the_address_or_the_body_is_not_taken(office: Office) -> None:
    token, browser = office.tokens()["access_token"], office.browser()
    assert browser.get("/userinfo", query_string={"access_token": token}).status_code == 401
    assert browser.post("/userinfo", {"access_token": token}).status_code == 401
    assert browser.post("/userinfo", headers={"Authorization": f"Bearer {token}"}).status_code == 200
