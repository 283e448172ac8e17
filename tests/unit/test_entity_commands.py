"""What staff does with an entity by command; the rule of the last manager holds for staff too."""

from typing import Any

import pytest
from services.commands import Run, runner
from services.office import Office

ALICE, AMIR, BOB, DAVE = (f"{name}@e1.example" for name in ("alice", "amir", "bob", "dave"))


@pytest.fixture
def idp(office: Office, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `idp entity …` beside the office, on its database, as another process would."""
    monkeypatch.chdir(office.folder)
    environment = {
        "DATABASE__URL": office.url,
        "SERVER__ISSUER": office.issuer,
        "SECRETS__MASTER_FILE": office.folder / "master.key",
        "JOURNAL__HEAD_FILE": office.folder / "journal.head",
    }
    return runner(monkeypatch, capsys, environment, "entity")


def members(value: Any) -> dict[str, tuple[str, bool]]:
    return {m["email"]: (m["role"], m["suspended"]) for m in value["members"]}


@pytest.mark.requirement("R38", "R39", "R48")
def test_staff_changes_members_as_managers_do(idp: Run, office: Office) -> None:
    [found] = idp("list", "--json").value
    e1 = found["id"]
    assert idp("show", e1, "--json").value == found
    assert (found["verified"], found["closed"]) == (False, False)
    for act, after in {
        "promote": ("manager", False),
        "suspend": ("manager", True),
        "resume": ("manager", False),
        "demote": ("collaborator", False),
    }.items():
        assert members(idp(act, e1, BOB, "--json").value)[BOB] == after
    assert BOB not in members(idp("detach", e1, BOB, "--json").value)
    assert members(idp("attach", e1, DAVE, "--role", "collaborator", "--json").value)[DAVE] == ("collaborator", False)
    assert idp("verify", e1, "--json").value["verified"] is True
    assert office.claims(office.tokens("dave")["id_token"])["entity"]["verified"] is True
    closed = idp("close", e1, "--json").value
    assert (closed["closed"], closed["members"]) == (True, [])
    assert "by" not in office.journal("entity.closed")[0]
    assert "entity" not in office.claims(office.tokens("dave")["id_token"])


@pytest.mark.requirement("R39")
def test_staff_leaves_no_entity_without_a_manager_either(idp: Run) -> None:
    [found] = idp("list", "--json").value
    e1 = found["id"]
    assert idp("demote", e1, AMIR, "--json").status == 0
    for act in ("demote", "suspend", "detach"):
        said = idp(act, e1, ALICE)
        assert (said.status, said.out, said.err.count("\n")) == (1, "", 1)
        assert "name another manager first" in said.err
    assert members(idp("show", e1, "--json").value)[ALICE] == ("manager", False)


def test_what_staff_cannot_mean_is_refused_in_one_line(idp: Run) -> None:
    [found] = idp("list", "--json").value
    e1 = found["id"]
    for words in (
        ("promote", e1, DAVE),
        ("promote", e1, "nobody@e1.example"),
        ("promote", "unknown", BOB),
        ("promote", e1, ALICE),
        ("verify", "unknown"),
        ("close", "unknown"),
    ):
        said = idp(*words)
        assert (said.status, said.out, said.err.count("\n")) == (1, "", 1), words
    assert idp("promote", e1).status == 2
    idp("close", e1)
    assert idp("close", e1).status == 1
    assert idp("attach", e1, DAVE, "--role", "manager").status == 1
