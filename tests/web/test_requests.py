"""Hostile and clumsy requests: headers on every answer, odd methods, odd bytes, limits, faults, and clean logs."""

import json
import logging
import re
import time

import pytest
from services.office import Office, Opens, answered, basic
from services.visitor import PASSWORD, question

from idp.oidc.tokens import Tokens

EVIL = "bob@e1.example\r\n2026-01-01 LOGIN_OK user=alice\u2028\u0085\x1b[2J\"}{'\0"
FORM = "application/x-www-form-urlencoded"


def test_every_answer_carries_the_headers_that_protect_it(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = office.browser()
    signed = office.browser()
    signed.sign_in()
    page = browser.authorize()
    style = next(str(a["href"]) for tag, a in page.tags if tag == "link" and a.get("rel") == "stylesheet")
    big = {"csrf_token": "x" * 100_000}
    answers = [
        browser.get(page.path),
        signed.get("/"),
        signed.get("/logout"),
        office.browser().sign_in(client="consent1").response,
        browser.get("/"),
        browser.get("/nowhere"),
        browser.get("/authorize"),
        browser.post("/"),
        browser.post("/lost-password", big),
        browser.post("/token"),
        browser.get("/userinfo"),
        browser.get("/jwks"),
        browser.get(style),
        browser.get("/healthz"),
        browser.get("/login/x"),
        browser.get("/", headers={"Host": "evil.example"}),
        browser.open("OPTIONS", "/login"),
    ]
    monkeypatch.setattr(Tokens, "redeem", broken)
    answers.append(office.redeem("x"))
    assert {a.status_code for a in answers} == {200, 303, 400, 401, 404, 405, 413, 415, 500}
    for answer in answers:
        headers = answer.headers
        where = f"{answer.request.path} {answer.status_code}"
        age = re.match(r"max-age=(\d+)", headers["Strict-Transport-Security"])
        assert age, where
        assert int(age[1]) >= 31536000
        assert headers["X-Content-Type-Options"] == "nosniff", where
        assert headers["Referrer-Policy"] in ("same-origin", "no-referrer"), where
        policy = headers["Content-Security-Policy"]
        for part in (
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "object-src 'none'",
            "form-action '",
        ):
            assert part in policy, where
        assert "unsafe" not in policy
        assert not re.search(r"\d\.\d", headers.get("Server", ""))
        if answer.mimetype == "text/html":
            assert headers["Cross-Origin-Opener-Policy"] == "same-origin", where
            assert headers["X-Frame-Options"] == "DENY", where
        kept = answer.request.path.startswith("/static/") or answer.request.path == "/jwks"
        assert ("no-store" in headers["Cache-Control"]) is not kept, where


def broken(*_: object, **__: object) -> None:
    raise RuntimeError("SELECT secret FROM /home/idp/table")


def test_pages_hold_no_inline_script_handler_or_style(opened: Opens) -> None:
    office = opened(login={"methods": ["password", "smartcard"]})
    browser = office.browser()
    page = browser.authorize()
    card = browser.visit(next(link for link in page.links if link.endswith("/smartcard")))
    consent = office.browser().sign_in(client="consent1")
    pages = [page, card, consent, browser.visit("/lost-password"), browser.visit("/nowhere"), browser.authorize("x")]
    for shown in pages:
        for tag, attributes in shown.tags:
            assert not [a for a in attributes if a.startswith("on") or a == "style"], (shown.path, tag, attributes)
            assert tag != "style"
            if tag == "script":
                assert str(attributes.get("src")).startswith("/static/") or attributes.get("type") == "application/json"
        assert "javascript:" not in shown.text


def test_a_form_may_lead_to_the_portal_that_asked_and_nowhere_else(office: Office) -> None:
    page = office.browser().authorize()
    assert "form-action 'self' https://web1.example;" in page.headers["Content-Security-Policy"]
    home = office.browser().visit("/lost-password")
    assert "form-action 'self';" in home.headers["Content-Security-Policy"]


def test_odd_methods_are_refused(office: Office) -> None:
    for method in ("TRACE", "CONNECT", "PROPFIND", "TRACK", "PUT", "DELETE", "X" * 100):
        for path in ("/", "/login", "/token", "/jwks", "/static/x"):
            answer = office.browser().open(method, path)
            assert answer.status_code == 405, (method, path)
            assert "Werkzeug" not in answer.get_data(as_text=True)


NOWHERE = ["/%2e%2e/", "/..%2f..%2fetc/passwd", "/login/..;/admin", "/static/../idp.toml", "/static/..%2f..%2fapp.py", "/static/%2e%2e/%2e%2e/app.py", "/static/", "/static/poterne.css", "/%252e%252e/", "/.git/config", "/debug", "/docs", "/login/%0d%0aX:%20y", "/%c0%ae/", "/%ff", "/login;x.js", "/\u2028", "/nowhere/" + "x" * 7000]  # fmt: skip


def test_paths_that_lead_nowhere_say_nothing(office: Office) -> None:
    for path in NOWHERE:
        page = office.browser().visit(path)
        assert page.status in (400, 404), path
        assert not re.search(r"Traceback|Werkzeug|Flask|Python|site-packages", page.text), path


# Faults -----------------------------------------------------------------------------------------------------------


def test_a_fault_of_ours_is_a_bland_answer_with_a_reference(
    office: Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    code = office.browser().sign_in().answer["code"]
    browser = office.browser()
    page = browser.authorize()
    with monkeypatch.context() as broken_for_now:
        broken_for_now.setattr(Tokens, "redeem", broken)
        broken_for_now.setattr("idp.web.login.house", broken)
        token, shown = office.redeem(code), browser.visit(page.path)
        where, sent = browser.filled(page, "login-submit", email="alice@e1.example", password=PASSWORD)
        posted = browser.post(where, sent)
    assert (token.status_code, token.get_json()) == (500, {"error": "server_error"})
    assert shown.status == posted.status_code == 500
    for text in (shown.text, posted.get_data(as_text=True), token.get_data(as_text=True)):
        assert not re.search(r"Traceback|SELECT|RuntimeError|/home|\.py", text)
    number = re.search(r'class="code">([0-9A-F]{8})<', shown.text)
    assert number
    assert number[1] in caplog.text
    assert office.redeem(code).status_code == 200
    assert browser.submit(page, "login-submit", email="alice@e1.example", password=PASSWORD).answer["code"]


def test_without_a_writable_database_pages_say_so_and_recover(office: Office) -> None:
    browser = office.browser()
    asking = browser.visit("/lost-password")
    tokens = office.tokens()
    office.writable(False)
    where, sent = browser.filled(asking, "lost-password-submit", email="alice@e1.example")
    answers = {
        "ask": browser.post(where, sent),
        "forged": browser.post(where, {**sent, "csrf_token": "x"}),
        "authorize": browser.get("/authorize", query_string=question()),
        "refresh": office.refresh(tokens["refresh_token"]),
    }
    assert {name: a.status_code for name, a in answers.items()} == dict.fromkeys(answers, 503)
    assert all(int(answers[name].headers["Retry-After"]) >= 1 for name in answers)
    assert answered(answers["refresh"])["error"] == "temporarily_unavailable"
    assert office.browser().get("/jwks").status_code == 200
    assert office.user_info(tokens["access_token"]).status_code == 200
    office.writable(True)
    assert office.refresh(tokens["refresh_token"]).status_code == 200
    assert browser.post(where, sent).status_code == 200


# Logs -------------------------------------------------------------------------------------------------------------


def test_no_text_from_outside_makes_a_line_of_its_own(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    browser = office.browser()
    page = browser.authorize()
    where, sent = browser.filled(page, "login-submit", email=EVIL, password="wrong")
    browser.post(
        where, sent, headers={"User-Agent": "x\x1b[2J\u0085".encode().decode("latin-1"), "X-Request-ID": "a b"}
    )
    browser.authorize(client_id=EVIL)
    office.token(None, {"grant_type": "refresh_token", "client_id": EVIL, "client_secret": "x"})
    office.token(None, {"grant_type": EVIL, "client_id": "spa1"})
    office.token(
        None, {"grant_type": "refresh_token", "refresh_token": "x"}, headers={"Authorization": basic(EVIL, "x")}
    )
    office.token(None, {"grant_type": "refresh_token", "client_id": "x" * 60000})
    browser.get("/nowhere%0d%0aforged")
    browser.get("/login/x%0d%0aforged.x")
    browser.post("/consent/%0aforged", {})
    for line in [record.getMessage() for record in caplog.records if record.name.startswith("idp")]:
        assert line.isprintable(), line
        assert len(line) < 1000, line[:200]
    for event in office.journal():
        text = json.dumps(event, ensure_ascii=False)
        assert text.isprintable(), text
        assert len(text) < 2000
    assert office.journal("login.succeeded") == []
    assert len(office.journal("login.refused")) == 1


# Sizes and odd bytes ----------------------------------------------------------------------------------------------

POSTS = ["/token", "/lost-password", "/lost-password/x", "/activate/x", "/login/x/password", "/consent/x", "/cancel/x", "/logout", "/language", "/authorize", "/end-session", "/userinfo"]  # fmt: skip


def test_bodies_beyond_every_form_are_refused_at_once(office: Office) -> None:
    browser, start = office.browser(), time.monotonic()
    bodies = [
        ("x=" + "y" * 10_000_000, FORM),
        ("&".join(f"f{n}=1" for n in range(100_000)), FORM),
        ("\r" + "x" * 3_000_000, "multipart/form-data; boundary=b"),
        ("--b\r\nContent-Disposition: form-data; name=x; filename=y\r\n\r\nz\r\n" * 10_000, "multipart/form-data; boundary=b"),
    ]  # fmt: skip
    for path in POSTS:
        statuses = {browser.post(path, body, content_type=kind).status_code for body, kind in bodies}
        assert statuses <= {400, 401, 404, 413, 415}, path
    assert time.monotonic() - start < 15


ENDLESS = {
    "an address": ("a@" + "a." * 20_000, "password"),
    "a password": ("alice@e1.example", "x" * 40_000),
    "marks": ("\u0301" * 5_000, "\u0301" * 4_000),
    "nothing": ("", ""),
    "no password": ("alice@e1.example", ""),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_endless_values_are_refused_quickly(office: Office, what: str) -> None:
    email, password = ENDLESS[what]
    browser = office.browser()
    page = browser.authorize()
    start = time.monotonic()
    done = browser.submit(page, "login-submit", email=email, password=password)
    assert (done.status, done.outside) == (200, None)
    assert "form-error" in done.ids
    assert browser.submit(browser.visit("/lost-password"), "lost-password-submit", email=email).status == 200
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("changes", [{"state": "x" * 65536}, {"nonce": "x" * 65536}, {"scope": "openid " * 10_000}, {"nonce": "x" * 5000}, {"state": "x" * 5000}, {"login_hint": "x" * 5000}, {f"p{n}": "x" for n in range(1000)}], ids=range(7))  # fmt: skip
def test_endless_requests_are_refused_and_nothing_is_kept(office: Office, changes: dict[str, str]) -> None:
    answer = office.browser().get("/authorize", query_string=question(**changes))
    assert answer.status_code in (303, 400, 404, 414)
    if len(changes) == 1:
        assert not answer.headers.get("Location", "").startswith("/login")
        assert office.rows("SELECT count(*) FROM attempts")[0][0] == 0


def test_an_endless_language_wish_costs_nothing(office: Office) -> None:
    start = time.monotonic()
    for wish in ("fr;q=0.1," * 900, "x" * 8000, "*;q=" * 2000, "en-" * 2000):
        assert office.browser().get("/lost-password", headers={"Accept-Language": wish}).status_code == 200
        assert office.browser().get("/lost-password", headers={"Cookie": f"x={wish}"}).status_code == 200
    assert time.monotonic() - start < 2


ODD = {
    "NUL": "a\0b",
    "half a sign": b"a\xed\xa0\x80b",
    "no UTF-8": b"a\xff\xfeb",
    "no character": "a\uffffb",
    "a sign beyond the first plane": "a😀b",
    "spaces": "  a b  ",
    "a line break": "a\r\nb",
    "direction": "a\u202eb",
}


@pytest.mark.parametrize("what", ODD)
def test_odd_bytes_are_answered_alike_on_every_database(office: Office, what: str) -> None:
    """SQLite and PostgreSQL differ in what they store; the answers, written down here, do not."""
    odd = ODD[what]
    browser = office.browser()
    page = browser.authorize()
    where, sent = browser.filled(page, "login-submit", password="wrong")
    asked, asking = browser.filled(browser.visit("/lost-password"), "lost-password-submit")
    assert browser.post(where, {**sent, "email": odd}).status_code == 200
    assert browser.post(where, {**sent, "email": "alice@e1.example", "password": odd}).status_code == 200
    assert browser.post(asked, {**asking, "email": odd}).status_code == 200
    for name in ("nonce", "state", "login_hint", "ui_locales", "acr_values", "id_token_hint", "display", "claims"):
        answer = browser.get("/authorize", query_string={**question(), name: odd})
        assert answer.status_code == 303, name
        target = answer.headers["Location"]
        refused = what == "NUL" and name != "display" and name != "claims"
        if not refused and target.startswith("/login/"):
            assert browser.visit(target).status == 200, name
    for name in ("scope", "prompt", "max_age", "code_challenge", "response_type", "response_mode"):
        answer = browser.get("/authorize", query_string={**question(), name: odd})
        assert answer.status_code == 303, name
        assert "error=" in answer.headers["Location"], name
    for name in ("client_id", "redirect_uri"):
        assert browser.get("/authorize", query_string={**question(), name: odd}).status_code == 400
    form = {"grant_type": "authorization_code", "code": "x", "redirect_uri": "y", "code_verifier": "z"}
    for name in (*form, "refresh_token", "scope", "client_secret"):
        assert office.browser().post("/token", {**form, "client_id": "spa1", name: odd}).status_code in (400, 401)
    made = browser.post(where, {**sent, "email": "alice@e1.example", "password": PASSWORD, "x": odd})
    assert made.status_code == 303


def test_a_nonce_beyond_ascii_is_kept_letter_for_letter(office: Office) -> None:
    for nonce in ("😀 é\u2028", "\x7f\x01", '"\\'):
        assert office.claims(office.tokens(nonce=nonce)["id_token"])["nonce"] == nonce
