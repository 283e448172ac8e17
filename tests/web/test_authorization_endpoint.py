"""The authorization endpoint: what it answers, what it answers only on a page of ours, and what it never answers."""

import socket
from urllib.parse import urlencode

import pytest
from services.office import ISSUER, Office, answered
from services.visitor import CHALLENGE, PASSWORD, Browser, Page, question

from idp import clock
from idp.directory import clients
from idp.errors import Invalid


def own_error(page: Page, code: str = "invalid_request") -> None:
    """An error page of ours: nobody is sent anywhere, nothing is stored."""
    assert (page.status, page.outside) == (400, None)
    assert "oauth-error" in page.ids
    assert code in page.text
    assert "Location" not in page.headers


NOT_REGISTERED = [
    "https://web1.example/cb/",
    "https://web1.example/cb?x=1",
    "https://web1.example/cb#f",
    "https://WEB1.example/cb",
    "https://web1.example:443/cb",
    "https://web1.example/cb/../cb",
    "https://web1.example/c%62",
    "https://web1.example.evil.example/cb",
    "https://user@web1.example/cb",
    "https://web1.example@evil.example/cb",
    "http://web1.example/cb",
    "https://web2.example/cb",
    "https://web1.example/cb\0",
    " https://web1.example/cb",
    "https://web1.example\\@evil.example/cb",
    "javascript:alert(1)",
    "//web1.example/cb",
    "",
    None,
]


@pytest.mark.parametrize("address", NOT_REGISTERED)
def test_only_the_registered_address_letter_for_letter_gets_an_answer(office: Office, address: str | None) -> None:
    for browser in (office.browser(), signed_in(office)):
        own_error(browser.authorize(redirect_uri=address))
        own_error(browser.authorize(redirect_uri=address, response_type="foo", scope="", prompt="none"))
    assert office.journal("request.refused")[-1]["cause"] == "redirect_uri_unregistered"
    assert office.rows("SELECT count(*) FROM attempts WHERE finished_at IS NULL")[0][0] == 0


def signed_in(office: Office) -> Browser:
    browser = office.browser()
    assert browser.sign_in().answer["code"]
    return browser


@pytest.mark.parametrize("client", ["nobody", "", None, "WEB1", "web1 ", "web1\0", "<script>alert(1)</script>", "x" * 5000])  # fmt: skip
def test_an_unknown_client_gets_a_page_of_ours(office: Office, client: str | None) -> None:
    page = office.browser().authorize(client_id=client)
    own_error(page)
    assert "<script>alert" not in page.text


def test_an_unknown_response_type_leads_nowhere_foreign(office: Office) -> None:
    own_error(office.browser().authorize(response_type="foo", redirect_uri="https://evil.example/"))


@pytest.mark.parametrize("client", ["web1", "spa1"])
@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge": None},
        {"code_challenge": ""},
        {"code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": "s256"},
        {"code_challenge": CHALLENGE[:-1]},
        {"code_challenge": CHALLENGE + "="},
        {"code_challenge": CHALLENGE + "A"},
        {"code_challenge": CHALLENGE[:-1] + "+"},
        {"code_challenge": CHALLENGE[:-1] + "\n"},
    ],
    ids=str,
)
def test_every_client_needs_a_challenge_by_sha_256(office: Office, client: str, changes: dict[str, str | None]) -> None:
    answer = office.browser().authorize(client, **changes).answer
    assert (answer["error"], answer["state"], answer["iss"]) == ("invalid_request", "a state", ISSUER)


@pytest.mark.parametrize("kind", ["token", "id_token", "code token", "code id_token", "none", "Code", "code code", "é"])
def test_response_types_that_are_not_offered_come_back(office: Office, kind: str) -> None:
    assert office.browser().authorize(response_type=kind).answer["error"] == "unsupported_response_type"


@pytest.mark.parametrize("mode", ["fragment", "web_message", "foo", "query.jwt"])
def test_response_modes_that_are_not_offered_come_back(office: Office, mode: str) -> None:
    assert office.browser().authorize(response_mode=mode).answer["error"] == "invalid_request"


@pytest.mark.parametrize("state", ["plain", "a b+c&d=e%20f", "é€𝄞", '"<>\\', " ", "\u2028", "x" * 2000])
def test_the_state_comes_back_letter_for_letter_with_the_issuer(office: Office, state: str) -> None:
    for answer in (
        office.browser().sign_in(state=state).answer,
        office.browser().authorize(prompt="none", state=state).answer,
        office.browser().authorize(response_type="foo", state=state).answer,
    ):
        assert (answer["state"], answer["iss"]) == (state, ISSUER)


def test_without_a_state_none_comes_back(office: Office) -> None:
    assert office.browser().sign_in(state=None).answer.keys() == {"code", "iss"}


def test_parameters_in_any_order_and_unknown_ones_do_no_harm(office: Office) -> None:
    pairs = [*reversed(question().items()), ("extra", "foobar"), ("extra", "again"), ("display", "popup"), ("claims_locales", "se"), ("ui_locales", "se zz-zz x"), ("login_hint", "alice@e1.example")]  # fmt: skip
    browser = office.browser()
    page = browser.visit(f"/authorize?{urlencode(pairs)}")
    assert page.form("login-submit").fields["email"] == "alice@e1.example"
    assert browser.submit(page, "login-submit", email="alice@e1.example", password=PASSWORD).answer["code"]


def test_the_nonce_is_optional(office: Office) -> None:
    assert "nonce" not in office.claims(office.tokens(nonce=None)["id_token"])
    assert office.claims(office.tokens(nonce="n" * 384)["id_token"])["nonce"] == "n" * 384


@pytest.mark.parametrize("name", ["client_id", "redirect_uri", "scope", "state", "code_challenge", "response_type", "prompt", "request_uri"])  # fmt: skip
def test_a_parameter_given_twice_gets_a_page_of_ours(office: Office, name: str) -> None:
    value = question().get(name, "none")
    own_error(office.browser().visit(f"/authorize?{urlencode([*question(**{name: value}).items(), (name, value)])}"))


def test_a_parameter_in_address_and_body_is_refused(office: Office) -> None:
    browser = office.browser()
    query = urlencode(question())
    for body in ({}, {"client_id": "web1"}, question()):
        assert browser.post(f"/authorize?{query}", body).status_code == 400
    assert browser.post("/authorize", question(), headers={"Content-Type": "text/plain"}).status_code == 400


def test_a_request_by_post_is_answered_like_one_by_get(office: Office) -> None:
    browser = office.browser()
    moved = browser.post("/authorize", question(), headers={"Origin": "https://web1.example"})
    assert moved.status_code == 303
    page = browser.visit(moved.headers["Location"])
    assert browser.submit(page, "login-submit", email="alice@e1.example", password=PASSWORD).answer["code"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("request", "eyJhbGciOiJub25lIn0.e30."),
        ("request_uri", "urn:ietf:params:oauth:request_uri:x"),
        ("request_uri", "https://127.0.0.1:{port}/x"),
        ("request_uri", "http://127.0.0.1:{port}/x"),
    ],
)
def test_request_objects_are_refused_by_their_error_and_nothing_is_fetched(
    office: Office, name: str, value: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        answer = office.browser().authorize(**{name: value.format(port=server.getsockname()[1])}).answer
        assert answer["error"] == f"{name}_not_supported"
        with pytest.raises(TimeoutError):
            server.accept()


def test_what_a_request_says_is_shown_as_text_only(office: Office) -> None:
    evil = '"><script>alert(1)</script>'
    values = {"login_hint": evil, "ui_locales": evil, "error": evil, "error_description": evil, "error_hint": evil}
    for page in (office.browser().authorize(**values), office.browser().authorize(client_id=evil, **values)):
        assert page.status in (200, 400)
        assert evil not in page.text
        assert not [a for tag, a in page.tags if tag == "script" and "src" not in a]


@pytest.mark.parametrize("address", ["javascript:alert(1)", "https://web.example/cb#f", "http://web.example/cb", "https://*.example/cb", "https://u@web.example/cb", "/cb", "https:///cb", "data:text/html,x", "https://web.example/\ncb"])  # fmt: skip
def test_dangerous_addresses_cannot_be_registered(office: Office, address: str) -> None:
    with office.inside() as on, pytest.raises(Invalid):
        clients.add(on, "Evil", [address])


def test_a_form_cannot_change_what_the_portal_asked(office: Office) -> None:
    browser = office.browser()
    page = browser.authorize(scope="openid email")
    done = browser.submit(
        page,
        "login-submit",
        email="alice@e1.example",
        password=PASSWORD,
        client_id="web2",
        redirect_uri="https://web2.example/cb",
        scope="openid profile email entity roles offline_access",
        state="changed",
        code_challenge="A" * 43,
    )
    assert done.outside is not None
    assert done.outside.startswith("https://web1.example/cb?")
    assert done.answer["state"] == "a state"
    tokens = answered(office.redeem(done))
    assert tokens["scope"] == "openid email"


def test_a_ticket_works_only_as_it_was_made_for_its_step_and_in_its_browser(office: Office) -> None:
    browser, other = office.browser(), office.browser()
    page, foreign = browser.authorize(), other.authorize("web2")
    ticket, name = page.path.rpartition("/")[2], foreign.path.rpartition("/")[2]
    mixed = ticket.partition(".")[0] + "." + name.partition(".")[2]
    for path in (f"/login/{name}", f"/login/{mixed}", f"/consent/{ticket}", f"/login/{ticket[:-1]}", f"/login/{ticket}x", f"/login/{ticket.upper()}", "/login/é.x", "/login/.", "/login/%00"):  # fmt: skip
        assert browser.visit(path).status == 400, path
    where, sent = browser.filled(page, "login-submit", email="alice@e1.example", password=PASSWORD)
    for path in (where.replace(ticket, name), where.replace("password", "smartcard"), where.replace("password", "x")):
        assert browser.post(path, sent).status_code in (400, 404)
    assert (
        other.post(where, {**sent, "csrf_token": foreign.form("login-submit").fields["csrf_token"]}).status_code == 400
    )
    assert office.browser().post(where, sent).status_code == 400
    assert browser.submit(page, "login-submit", email="alice@e1.example", password=PASSWORD).answer["code"]


def test_an_attempt_is_over_after_its_half_hour(office: Office) -> None:
    with clock.fixed(1_800_000_000) as advance:
        browser = office.browser()
        page = browser.authorize()
        where, sent = browser.filled(page, "login-submit", email="alice@e1.example", password=PASSWORD)
        advance(1800)
        assert browser.post(where, sent).status_code == 400
        assert browser.visit(page.path).status == 400
    assert office.journal("login.succeeded") == []
