"""What staff ends by command: accounts, portals and their secrets, seen from the pages and endpoints of a running house."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from services.commands import Run, runner
from services.office import SECRETS, Office, answered, basic, open_office
from services.visitor import PASSWORD

from idp import clock, migrate, serve
from idp.db import Base
from idp.directory import accounts, clients, personal_data
from idp.errors import Conflict

BOB, NINA, DAVE = "bob@e1.example", "nina@e1.example", "dave@e1.example"
SECOND = 1.2  # what a change may take to reach every node


@pytest.fixture
def idp(office: Office, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command beside the office, on its database, as another process would."""
    monkeypatch.chdir(office.folder)
    environment = {
        "DATABASE__URL": office.url,
        "SERVER__ISSUER": office.issuer,
        "SECRETS__MASTER_FILE": office.folder / "master.key",
        "MAIL__URL": f"directory:{office.folder / 'mail'}",
        "JOURNAL__HEAD_FILE": office.folder / "journal.head",
        "LOGIN__METHODS": "password,smartcard",
    }
    return runner(monkeypatch, capsys, environment)


def waiting(office: Office) -> str:
    """Nina gets the letter that she was never sent; the path of its link."""
    with office.inside() as on:
        office.house.send_activation(on, accounts.get(on, NINA))
    return office.link(NINA)


def one(office: Office, statement: str, **values: Any) -> Any:
    return office.rows(statement, **values)[0][0]


# Disabling ----------------------------------------------------------------------------------------------------------


def test_disabling_ends_everything_of_the_account_on_every_node(office: Office, idp: Run) -> None:
    nodes = (office, office.again())
    browsers = [node.browser() for node in nodes]
    codes = [browser.sign_in(BOB).answer["code"] for browser in browsers]
    under_way = nodes[1].browser()
    consent = under_way.sign_in(BOB, client="consent1")
    tokens = answered(office.redeem(codes[0]))
    value = idp("account", "disable", BOB, "--json").value
    assert (value["email"], value["state"]) == (BOB, "disabled")
    for browser in browsers:
        assert browser.authorize(prompt="none").answer["error"] == "login_required"
    for node in nodes:
        assert node.user_info(tokens["access_token"]).status_code == 401
        assert node.browser().sign_in(BOB).outside is None
    assert answered(nodes[1].refresh(tokens["refresh_token"]))["error"] == "invalid_grant"
    assert answered(nodes[1].redeem(codes[1]))["error"] == "invalid_grant"
    assert under_way.submit(consent, "consent-allow").outside is None
    assert [e["cause"] for e in office.journal("account.disabled")] == ["command"]


def test_enabling_lets_the_person_sign_in_and_brings_nothing_back(office: Office, idp: Run) -> None:
    browser = office.browser()
    tokens = answered(office.redeem(browser.sign_in(BOB)))
    idp("account", "disable", BOB)
    assert idp("account", "enable", BOB, "--json").value["state"] == "active"
    assert browser.authorize(prompt="none").answer["error"] == "login_required"
    assert office.user_info(tokens["access_token"]).status_code == 401
    assert office.refresh(tokens["refresh_token"]).status_code == 400
    assert browser.sign_in(BOB).answer["code"]
    assert [e["account"] for e in office.journal("account.enabled")] == [office.id_of("bob")]


def test_only_what_can_be_changed_is_changed(office: Office, idp: Run) -> None:
    for words in (("enable", BOB), ("disable", "zoe@e1.example"), ("resend", BOB), ("resend", "zoe@e1.example"),
                  ("disable", "ghost@e1.example"), ("erase", "ghost@e1.example"), ("export", "ghost@e1.example")):  # fmt: skip
        said = idp("account", *words)
        assert (said.status, said.out, said.err.count("\n")) == (1, "", 1), words
    assert office.journal("account.disabled") == []


def test_a_letter_opens_no_disabled_account(office: Office, idp: Run) -> None:
    browser = office.browser()
    browser.submit(browser.visit("/lost-password"), "lost-password-submit", email=BOB)
    paths = {NINA: waiting(office), BOB: office.link(BOB)}
    for email, path in paths.items():
        page = office.browser()
        shown = page.visit(path)
        assert idp("account", "disable", email).status == 0
        assert office.browser().get(path).status_code == 400
        answer = page.submit(shown, "new-password-submit", password="Tulle;Vigne42", confirmation="Tulle;Vigne42")
        assert answer.status == 400
        assert one(office, "SELECT state FROM accounts WHERE email_key = :email", email=email) == "disabled"


def test_an_account_that_was_never_activated_waits_again_when_it_is_enabled(office: Office, idp: Run) -> None:
    idp("account", "disable", NINA)
    assert office.letters(NINA) == []
    assert idp("account", "enable", NINA, "--json").value["state"] == "pending"
    assert len(office.letters(NINA)) == 1
    assert office.browser().get(office.link(NINA)).status_code == 200


@pytest.mark.requirement("R19")
def test_a_new_activation_letter_is_sent_on_request(office: Office, idp: Run) -> None:
    first = waiting(office)
    assert idp("account", "resend", NINA, "--json").value["state"] == "pending"
    assert len(office.letters(NINA)) == 2
    assert office.link(NINA) != first


def test_a_block_by_wrong_passwords_ends_no_tokens(office: Office, idp: Run) -> None:
    tokens = office.tokens("bob")
    for _ in range(5):
        office.browser().sign_in(BOB, "wrong")
    assert idp("account", "show", BOB, "--json").value["blocked"] is True
    assert office.refresh(tokens["refresh_token"]).status_code == 200
    value = idp("account", "unblock", BOB, "--json").value
    assert (value["blocked"], value["failed_attempts"]) == (False, 0)
    assert office.browser().sign_in(BOB).answer["code"]


# Erasing and showing ------------------------------------------------------------------------------------------------


def test_erasing_leaves_only_the_id_in_the_journal(office: Office, idp: Run) -> None:
    browser = office.browser()
    tokens = answered(office.redeem(browser.sign_in(BOB)))
    browser.submit(browser.visit("/lost-password"), "lost-password-submit", email=BOB)
    for _ in range(2):
        office.browser().sign_in(BOB, "wrong")
    bob = office.id_of("bob")
    assert idp("account", "erase", BOB, "--json").value["state"] == "erased"
    assert office.user_info(tokens["access_token"]).status_code == 401
    assert office.refresh(tokens["refresh_token"]).status_code == 400
    assert browser.authorize(prompt="none").answer["error"] == "login_required"
    assert office.browser().sign_in(BOB).outside is None
    tables = office.house.database.engine.dialect.get_table_names
    with office.house.database.read() as c:
        kept = {name: str(c.exec_driver_sql(f'SELECT * FROM "{name}"').all()) for name in tables(c)}
    assert {name for name, text in kept.items() if bob in text} == {"journal"}
    assert {name for name, text in kept.items() if BOB in text or "Durand" in text} == set()
    assert idp("account", "show", BOB).status == 1
    assert idp("account", "add", BOB, "--given-name", "B", "--family-name", "D", "--json").value["id"] != bob


def test_the_only_manager_of_others_is_not_erased(office: Office, idp: Run) -> None:
    tokens = office.tokens("amir")
    assert idp("account", "erase", "alice@e1.example").status == 0
    said = idp("account", "erase", "amir@e1.example")
    assert (said.status, said.err.count("\n")) == (1, 1)
    assert "manager" in said.err
    assert office.user_info(tokens["access_token"]).status_code == 200
    assert one(office, "SELECT count(*) FROM memberships") == 3
    assert len(office.journal("account.erased")) == 1


def test_two_managers_erased_at_once_never_leave_the_others_alone(office: Office) -> None:
    def erase(account_id: str) -> str:
        try:
            with office.inside() as on:
                personal_data.erase(on, account_id, "command")
        except Conflict as e:
            return e.cause
        return "erased"

    managers = [office.id_of(name) for name in ("alice", "amir")]
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(erase, managers)) == ["erased", "last_manager"]
    assert one(office, "SELECT count(*) FROM memberships WHERE role = 'manager'") == 1


def test_an_entity_is_closed_with_its_last_member(office: Office, idp: Run) -> None:
    made = idp("entity", "add", "Solo", "--manager", DAVE, "--json").value
    assert idp("account", "erase", DAVE).status == 0
    assert one(office, "SELECT closed_at FROM entities WHERE id = :id", id=made["id"]) is not None
    assert one(office, "SELECT count(*) FROM entities WHERE closed_at IS NULL") == 1


def test_the_export_holds_everything_but_secrets(office: Office, idp: Run) -> None:
    browser = office.browser()
    code = browser.sign_in(BOB, client="web1").answer["code"]
    tokens = answered(office.redeem(code))
    browser.submit(browser.visit("/lost-password"), "lost-password-submit", email=BOB)
    said = idp("account", "export", BOB, "--json")
    value = said.value
    assert value["account"]["given_name"] == "Bob"
    assert value["membership"][0]["role"] == "collaborator"
    assert [len(value[name]) for name in ("sessions", "grants", "links", "letters")] == [1, 1, 1, 1]
    assert {token["kind"] for token in value["tokens"]} == {"access", "refresh"}
    assert value["sessions"][0]["created_at"].endswith("Z")
    assert {"login.succeeded", "tokens.issued"} <= {entry["event"] for entry in value["journal"]}
    assert value["means"]["password"]
    assert [e["account"] for e in office.journal("account.exported")] == [value["id"]]
    secret = [code, *tokens.values(), *browser.cookies.values(), PASSWORD, "$argon2"]
    hashes = {str(row[0]) for table, column in (("sessions", "secret_hash"), ("grants", "code_hash"), ("tokens", "hash"),
                                                ("links", "hash"), ("attempts", "browser_hash"))
              for row in office.rows(f"SELECT {column} FROM {table}")}  # fmt: skip
    texts = [text for text in (*secret, *hashes) if isinstance(text, str) and len(text) > 6 and text != "Bearer"]
    texts.remove(tokens["scope"])
    assert [text for text in texts if text in said.out] == []
    assert json.loads(idp("account", "export", BOB).out)["account"] == value["account"]


def test_the_export_forgets_no_table_of_the_house() -> None:
    tied = {
        table.name
        for table in Base.metadata.tables.values()
        if not table.name.startswith("idp_")
        and any(key.column.table.name in ("accounts", "grants") for key in table.foreign_keys)
    }
    named = {model.__tablename__ for _, model in personal_data._TABLES}
    assert tied == named | {"tokens"}


# Portals ------------------------------------------------------------------------------------------------------------


def test_a_removed_client_is_forgotten_by_every_node(office: Office, idp: Run) -> None:
    nodes = (office, office.again())
    browser = office.browser()
    tokens = answered(office.redeem(browser.sign_in()))
    other = office.tokens(client="web2")
    assert all(node.user_info(tokens["access_token"]).status_code == 200 for node in nodes)
    value = idp("client", "remove", "web1", "--json").value
    assert value["client_id"] == "web1"
    assert "client_secret" not in value
    for node in nodes:
        assert node.user_info(tokens["access_token"]).status_code == 401
        assert node.refresh(tokens["refresh_token"]).status_code in (400, 401)
    time.sleep(SECOND)
    for node in nodes:
        assert answered(node.refresh(tokens["refresh_token"]))["error"] == "invalid_client"
        page = node.browser().authorize()
        assert (page.outside, "oauth-error" in page.ids) == (None, True)
        assert node.user_info(other["access_token"]).status_code == 200
    assert one(office, "SELECT count(*) FROM grants WHERE client_id = 'web1'") == 0
    assert [e["client"] for e in office.journal("client.removed")] == ["web1"]
    assert idp("client", "remove", "web1").status == 1


def test_whoever_comes_from_a_client_that_was_removed_a_moment_ago_is_told_calmly(office: Office, idp: Run) -> None:
    signed_in, fresh, under_way = office.browser(), office.browser(), office.browser()
    signed_in.sign_in()
    page = under_way.authorize()
    assert idp("client", "remove", "web1").status == 0
    pages = (signed_in.authorize(), fresh.authorize(), under_way.submit(page, "login-submit"))
    assert {(page.status, page.outside) for page in pages} == {(400, None)}
    assert one(office, "SELECT count(*) FROM grants WHERE client_id = 'web1'") == 0


def test_a_new_secret_is_shown_once_and_the_old_one_is_dead(office: Office, idp: Run) -> None:
    nodes = (office, office.again())
    tokens = office.tokens()
    assert nodes[1].refresh("x").status_code == 400  # the client is known there
    value = idp("client", "rotate-secret", "web1", "--json").value
    fresh = value["client_secret"]
    assert len(fresh) >= clients.MIN_SECRET
    assert fresh not in idp("client", "show", "web1").out
    time.sleep(SECOND)
    for node in nodes:
        assert answered(node.refresh(tokens["refresh_token"]))["error"] == "invalid_client"
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    new = {"Authorization": basic("web1", fresh)}
    assert nodes[1].browser().post("/token", form, headers=new).status_code == 200
    assert fresh not in str(office.rows("SELECT * FROM clients"))
    assert len(office.journal("client.secret_rotated")) == 1
    for name in ("spa1", "nobody"):
        assert idp("client", "rotate-secret", name).status == 1
    assert SECRETS["web1"] != fresh


# A fresh house ------------------------------------------------------------------------------------------------------


def test_a_fresh_installation_knows_nobody_however_often_it_starts(empty_url: str, tmp_path: Path) -> None:
    for _ in range(2):
        fresh = open_office(empty_url, tmp_path)
        migrate.upgrade(fresh.house.database, fresh.house.owners)
        fresh.house.ring.first_start()
        serve.ready(fresh.house)
        fresh.house.keeper.hourly()
        assert [one(fresh, f"SELECT count(*) FROM {table}") for table in ("accounts", "clients", "links")] == [0, 0, 0]
        fresh.close()


# Housekeeping -------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R20")
def test_purge_does_at_once_what_happens_every_hour(office: Office, idp: Run) -> None:
    with clock.fixed(clock.now() + 4 * 86400):
        done = idp("purge", "--json").value
        assert done["accounts"] == 1
        assert set(done) >= {
            "attempts",
            "sessions",
            "tokens",
            "grants",
            "links",
            "letters",
            "join_requests",
            "smartcard",
        }
        assert "accounts: 0\n" in idp("purge").out
    assert idp("account", "show", NINA).status == 1
