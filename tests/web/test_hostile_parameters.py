"""Thousands of made-up requests at every door: whatever is sent, the answer is never a fault of ours."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from services.office import Office
from services.visitor import PASSWORD, VERIFIER, Browser, Page, question

REQUESTS = 400  # for each door and each database

# Text that browsers and attackers send: any sign, and what parsers trip over.
PIECES = ["\0", "\r\n", "%00", "%", "é", "😀", "\u202e", "\uffff", "'", '"', "<script>", "{{7*7}}", "%s%n", "../", "//", "\\", "#", "@", " ", "=", "&", ";", "none", "null", "-1", "9" * 30, "openid", "S256", "code", "x" * 5000]  # fmt: skip
TEXT = st.one_of(
    st.sampled_from(PIECES),
    st.text(max_size=40),
    st.lists(st.sampled_from(PIECES), max_size=5).map("".join),
    st.binary(max_size=40),
)
AUTHORIZE = ["client_id", "redirect_uri", "response_type", "scope", "state", "nonce", "code_challenge", "code_challenge_method", "response_mode", "prompt", "max_age", "acr_values", "ui_locales", "login_hint", "id_token_hint", "display", "claims", "request", "request_uri", "resource", "x"]  # fmt: skip
TOKEN = ["grant_type", "code", "redirect_uri", "code_verifier", "refresh_token", "scope", "client_id", "client_secret", "client_assertion", "client_assertion_type", "x"]  # fmt: skip
LOGOUT = ["id_token_hint", "client_id", "post_logout_redirect_uri", "state", "ui_locales", "logout_hint"]
HEADERS = ["Authorization", "Origin", "Sec-Fetch-Site", "Accept-Language", "User-Agent", "Cookie", "Content-Type", "X-Forwarded-For", "Accept"]  # fmt: skip

SCHEMES = st.sampled_from(["Basic ", "Bearer ", "DPoP ", "", "basic", "Basic d2ViMTo6Og==", "Bearer\t"])
LINE = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=60)
HEADER = st.dictionaries(st.sampled_from(HEADERS), st.tuples(SCHEMES, LINE).map("".join), max_size=2)


def changed(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names), TEXT, max_size=4)


def never_a_fault(answer: Any) -> None:
    assert answer.status_code < 500, (answer.status_code, answer.request.path, answer.get_data(as_text=True)[:300])
    assert "Traceback" not in answer.get_data(as_text=True)
    location = answer.headers.get("Location", "/")
    assert location.startswith(("/", "https://web1.example/cb?", "https://web1.example/bye", "https://id.example/")), (
        location
    )
    assert not location.startswith("//")


def many(function: Any) -> Any:
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.differing_executors]
    return settings(max_examples=REQUESTS, deadline=None, suppress_health_check=quiet, derandomize=True, database=None)(
        function
    )


@pytest.fixture
def visitor(office: Office) -> Browser:
    return office.browser()


@pytest.fixture
def signed_in(office: Office) -> Browser:
    browser = office.browser()
    browser.sign_in()
    return browser


@many
@given(changes=changed(AUTHORIZE), headers=HEADER, post=st.booleans())
def test_the_authorization_endpoint(
    visitor: Browser, signed_in: Browser, changes: dict[str, Any], headers: dict[str, str], post: bool
) -> None:
    values = {**question(), **changes}
    for browser in (visitor, signed_in):
        if post:
            never_a_fault(browser.post("/authorize", values, headers=headers, keep=False))
        else:
            answer = browser.get("/authorize", query_string=values, headers=headers, keep=False)
            never_a_fault(answer)


@many
@given(changes=changed(TOKEN), headers=HEADER, secret=st.booleans())
def test_the_token_endpoint(visitor: Browser, changes: dict[str, Any], headers: dict[str, str], secret: bool) -> None:
    good = {"grant_type": "authorization_code", "code": "x", "redirect_uri": "y", "code_verifier": VERIFIER}
    known = {"Authorization": "Basic d2ViMTp3ZWIxLXNlY3JldC1vZi1tb3JlLXRoYW4tMzItY2hhcmFjdGVycw=="} if secret else {}
    answer = visitor.post("/token", {**good, "client_id": "web1", **changes}, headers={**known, **headers}, keep=False)
    never_a_fault(answer)
    assert answer.is_json or answer.status_code == 413
    assert "access_token" not in answer.get_data(as_text=True)


@many
@given(headers=HEADER, query=changed(["access_token", "x"]), post=st.booleans())
def test_user_info(visitor: Browser, headers: dict[str, str], query: dict[str, Any], post: bool) -> None:
    answer = visitor.open("POST" if post else "GET", "/userinfo", query_string=query, headers=headers, keep=False)
    never_a_fault(answer)
    assert answer.status_code in (401, 403)


@many
@given(values=changed(LOGOUT), headers=HEADER, post=st.booleans())
def test_the_end_of_a_session(
    visitor: Browser, signed_in: Browser, values: dict[str, Any], headers: dict[str, str], post: bool
) -> None:
    for browser in (visitor, signed_in):
        if post:
            never_a_fault(browser.post("/end-session", values, headers=headers, keep=False))
        else:
            never_a_fault(browser.get("/end-session", query_string=values, headers=headers, keep=False))


def page_of(browser: Browser, door: str) -> tuple[Page, str]:
    if door == "sign-in":
        return browser.authorize(), "login-submit"
    return browser.visit("/lost-password"), "lost-password-submit"


@pytest.mark.parametrize("door", ["sign-in", "lost password"])
def test_the_forms(visitor: Browser, door: str) -> None:
    where, sent = visitor.filled(*page_of(visitor, door), email="ghost@e1.example", password=PASSWORD)

    @settings(max_examples=REQUESTS // 2, deadline=None, derandomize=True, database=None)
    @given(changes=changed(["csrf_token", "email", "password", "x"]), headers=HEADER, tail=st.one_of(st.just(""), TEXT))
    def send(changes: dict[str, Any], headers: dict[str, str], tail: str | bytes) -> None:
        never_a_fault(visitor.post(where, {**sent, **changes}, headers=headers, keep=False))
        path = where + (tail if isinstance(tail, str) else tail.decode("latin-1")).replace("?", "").replace("#", "")
        never_a_fault(visitor.open("GET", path.encode("utf-8", "replace").decode(), headers=headers, keep=False))

    send()
