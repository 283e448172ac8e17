"""The `idp` command as a script calls it: one JSON value, exit statuses, and nothing half done after a refusal."""

import json
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from services.commands import Run, runner
from sqlalchemy import create_engine, text

from idp.db import Database, listen, options, prepare
from idp.settings import build

PASSWORD = "Tulle;Vigne42"


@pytest.fixture
def idp(empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command of an installation in an empty folder, on each engine."""
    monkeypatch.chdir(tmp_path)
    run = runner(monkeypatch, capsys, {"DATABASE__URL": empty_url})
    assert set(run("migrate", "--json").value) == {"core", "password", "smartcard"}
    return run


def add(idp: Run, email: str, **more: str) -> Any:
    return idp("account", "add", email, "--given-name", "Alice", "--family-name", "Martin", "--password-stdin", "--json",
               given=more.get("password", PASSWORD) + "\n").value  # fmt: skip


def test_an_account_with_a_password_is_active_at_once(idp: Run) -> None:
    made = add(idp, "Alice@e1.example")
    assert made["state"] == "active"
    assert (made["blocked"], made["failed_attempts"], made["entity"], made["role"]) == (False, 0, None, None)
    assert made["methods"] == ["password"]
    assert idp("account", "show", "alice@E1.example", "--json").value == made
    assert idp("account", "list", "--json").value == [made]


def test_an_account_without_a_password_gets_a_letter_and_waits(idp: Run, tmp_path: Path) -> None:
    made = idp("account", "add", "nina@e1.example", "--given-name", "Nina", "--family-name", "Roux", "--json").value
    assert (made["state"], made["methods"]) == ("pending", [])
    events = [entry["event"] for entry in idp("journal", "show", "--json").value]
    assert events == ["account.added"]


@pytest.mark.requirement("R87")
def test_a_refused_password_leaves_no_account_behind(idp: Run) -> None:
    said = idp(
        "account", "add", "a@e1.example", "--given-name", "A", "--family-name", "B", "--password-stdin", given="weak"
    )
    assert (said.status, said.out) == (1, "")
    assert said.err.count("\n") == 1
    assert "a digit" in said.err
    assert "a lower-case letter" not in said.err
    assert idp("account", "list", "--json").value == []
    assert add(idp, "a@e1.example")["state"] == "active"


def test_one_trailing_newline_of_a_password_is_dropped_and_no_more(idp: Run) -> None:
    words = ("account", "add", "a@e1.example", "--given-name", "A", "--family-name", "B", "--password-stdin", "--json")
    assert idp(*words, given=PASSWORD + "\n\n").status == 1
    assert idp(*words, given=PASSWORD).value["state"] == "active"


def test_an_address_is_taken_once_however_it_is_spelt(idp: Run) -> None:
    add(idp, "alice@e1.example")
    said = idp("account", "add", "ALICE@E1.EXAMPLE", "--given-name", "A", "--family-name", "B")
    assert (said.status, said.out) == (1, "")
    assert "exists" in said.err


def test_an_entity_knows_its_members_and_nobody_belongs_to_two(idp: Run) -> None:
    for name in ("alice", "bob"):
        add(idp, f"{name}@e1.example")
    made = idp("entity", "add", "Acme", "--manager", "alice@e1.example", "--siren", "123456", "--json").value
    assert (made["name"], made["siren"], made["siret"], made["verified"]) == ("Acme", "123456", None, False)
    assert made["members"] == [{"email": "alice@e1.example", "role": "manager", "suspended": False}]
    both = idp("entity", "attach", made["id"], "bob@e1.example", "--role", "collaborator", "--json").value
    assert [m["role"] for m in both["members"]] == ["manager", "collaborator"]
    assert idp("entity", "show", made["id"], "--json").value == both
    assert idp("account", "show", "bob@e1.example", "--json").value["role"] == "collaborator"
    refused = idp("entity", "add", "Other", "--manager", "bob@e1.example")
    assert (refused.status, "belongs to an entity already" in refused.err) == (1, True)
    assert "Other" not in idp("journal", "show", "--json").out


def test_a_client_shows_its_secret_once(idp: Run) -> None:
    words = ("client", "add", "Portal", "--redirect-uri", "https://p.example/cb", "--json")
    made = idp(*words).value
    assert len(made["client_secret"]) >= 32
    assert (made["auth_method"], made["grants"], made["pkce"], made["id_token_alg"], made["first_party"]) == (
        "client_secret_basic", ["authorization_code", "refresh_token"], True, "RS256", False,
    )  # fmt: skip
    shown = idp("client", "show", made["client_id"], "--json").value
    assert "client_secret" not in shown
    assert idp("client", "list", "--json").value == [shown]
    own = idp(*words, "--client-id", "bench", "--client-secret-stdin", given="s" * 32 + "\n").value
    assert (own["client_id"], own["client_secret"]) == ("bench", "s" * 32)
    assert idp(*words, "--client-id", "bench").status == 1


@pytest.mark.parametrize(
    "more",
    [
        ("--redirect-uri", "http://p.example/cb"),
        ("--redirect-uri", "https://p.example/cb#fragment"),
        ("--redirect-uri", "https://user@p.example/cb"),
        ("--redirect-uri", "javascript:alert(1)"),
        ("--redirect-uri", "https://*.example/cb"),
        ("--client-id", "a b"),
        ("--auth-method", "none", "--no-pkce"),
    ],
)
def test_what_a_client_may_not_be_is_refused_in_one_line(idp: Run, more: tuple[str, ...]) -> None:
    said = idp("client", "add", "Portal", "--redirect-uri", "https://p.example/cb", *more)
    assert (said.status, said.out, said.err.count("\n")) == (1, "", 1)
    assert idp("client", "list", "--json").value == []


def test_wrong_usage_is_told_from_a_refusal(idp: Run) -> None:
    assert idp("client", "show").status == 2
    assert idp("no-such-command").status == 2
    assert idp("client", "show", "nobody").status == 1


def test_people_read_sentences(idp: Run) -> None:
    add(idp, "alice@e1.example")
    assert idp("account", "list").out.startswith("alice@e1.example: Alice Martin, active (")
    assert idp("client", "list").out == "no client\n"
    assert "password: idp_password:Password" in idp("plugins").out


def test_the_journal_tells_what_was_done_to_it(idp: Run, empty_url: str, tmp_path: Path) -> None:
    for name in ("alice", "bob"):
        add(idp, f"{name}@e1.example")
    whole = idp("journal", "verify", "--json").value
    assert whole == {"ok": True, "events": 6, "first_broken": None, "reason": None}
    prepare(empty_url)
    engine = create_engine(empty_url, **options(empty_url))
    listen(engine, "full")
    with Database(engine).begin() as c:
        c.execute(text("UPDATE journal SET cause = 'another' WHERE id = 3"))
    engine.dispose()
    said = idp("journal", "verify", "--json")
    assert (said.status, json.loads(said.out)["first_broken"]) == (1, 3)
    assert stat.S_IMODE((tmp_path / "var/journal.head").stat().st_mode) == 0o600
    shown = idp("journal", "show", "--last", "2", "--json").value
    assert [(entry["seq"], entry["event"]) for entry in shown] == [(5, "account.activated"), (6, "password.changed")]


@pytest.mark.parametrize(
    ("variable", "value", "word"),
    [
        ("IDP_SERVER__ISUER", "https://id.example", "isuer"),
        ("IDP_LOCKOUT__MAX_ATTEMPTS", "0", "lockout.max_attempts"),
        ("IDP_SERVER__ISSUER", "http://id.example", "server.issuer"),
        ("IDP_SERVER__ISSUER", "https://id.example", "secrets.master_file"),
        ("IDP_LOGIN__METHODS", "password,unknown", "unknown is not installed"),
        ("IDP_SMARTCARD__SIGNER_PORT", "1", "signer_port"),
    ],
)
def test_a_wrong_setting_is_named_and_nothing_starts(
    idp: Run, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, word: str
) -> None:
    monkeypatch.setenv(variable, value)
    said = idp("serve")
    assert (said.status, said.out) == (1, "")
    assert word in said.err


def test_a_taken_port_is_said_in_one_line(idp: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("IDP_SERVER__LISTEN", f"127.0.0.1:{taken.getsockname()[1]}")
        said = idp("serve")
    assert said.status == 1
    assert "cannot listen" in said.err.splitlines()[-1]


def test_an_https_issuer_needs_transport(idp: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    master = tmp_path / "master"
    master.write_text("m" * 64)
    master.chmod(0o600)
    monkeypatch.setenv("IDP_SERVER__ISSUER", "https://id.example")
    monkeypatch.setenv("IDP_SECRETS__MASTER_FILE", str(master))
    monkeypatch.setenv("IDP_SERVER__LISTEN", "0.0.0.0:8000")
    assert "trusted_proxies" in idp("serve").err
    monkeypatch.setenv("IDP_SERVER__LISTEN", "127.0.0.1:8000")
    assert "no active signing key" in idp("serve").err
    assert build({"server": {"issuer": "https://id.example"}}).server.secure
