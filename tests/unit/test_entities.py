"""The whole life of a membership, rule by rule, on both databases."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from idp import clock, journal
from idp.db import Database
from idp.directory import accounts, entities, joining
from idp.directory.entities import COMMAND, By
from idp.errors import Conflict, Forbidden, Invalid, NotFound, Refusal, Stale
from idp.models import Account, Entity, JoinRequest, Membership

NAMES = ("alice", "amir", "bob", "bea", "carol", "chad", "dave", "erin")
NOW = 1_795_170_000


class World:
    """E1 with the managers alice and amir and the collaborators bob and bea; E2 with carol and chad; dave and erin alone."""

    def __init__(self, on: Session) -> None:
        self.on = on
        self.ids: dict[str, str] = {}
        for name in NAMES:
            made = accounts.add(on, f"{name}@e.example", name.title(), "Test")
            accounts.activate(on, made)
            self.ids[name] = made.id
        on.flush()
        self.e1 = entities.add(on, "E1", self.account("alice"), siren="552100554").id
        self.e2 = entities.add(on, "E2", self.account("carol")).id
        for entity, name, role in (
            (self.e1, "amir", "manager"),
            (self.e1, "bob", "collaborator"),
            (self.e1, "bea", "collaborator"),
            (self.e2, "chad", "collaborator"),
        ):
            entities.attach(on, entities.get(on, entity), self.account(name), role)
        on.commit()

    def account(self, name: str) -> Account:
        return accounts.get(self.on, f"{name}@e.example")

    def by(self, name: str) -> By:
        return By(self.ids[name], "192.0.2.1")

    def act(self, who: str, act: str, whom: str) -> None:
        entities.change(self.on, self.by(who), self.e1, self.ids[whom], act)
        self.on.commit()

    def ask(self, who: str = "dave", manager: str = "alice") -> str:
        asked = joining.ask(self.on, self.by(who), f"{manager}@e.example")
        self.on.commit()
        assert asked is not None
        return asked.id

    def decide(self, who: str, request: str, *, accept: bool = True) -> None:
        joining.decide(self.on, self.by(who), self.e1, request, accept=accept)
        self.on.commit()

    def refuses(self, kind: type[Refusal], cause: str, do: Any, *given: Any, **named: Any) -> None:
        """The refusal, and that nothing changed by it and nothing was journaled."""
        before = (self.members(self.e1), self.members(self.e2), self.states(), len(self.events()))
        with pytest.raises(kind, match=cause):
            do(*given, **named)
        self.on.rollback()
        assert before == (self.members(self.e1), self.members(self.e2), self.states(), len(self.events()))

    def members(self, entity: str) -> dict[str, str]:
        self.on.expire_all()
        found = self.on.execute(select(Membership).where(Membership.entity_id == entity)).unique().scalars()
        names = {value: key for key, value in self.ids.items()}
        return {names[m.account_id]: m.role + (" suspended" if m.suspended_at else "") for m in found}

    def states(self) -> list[str]:
        return sorted(self.on.execute(select(JoinRequest.state)).scalars())

    def events(self) -> list[dict[str, Any]]:
        return list(journal.entries(self.on))

    def last(self) -> dict[str, Any]:
        found: dict[str, Any] = self.events()[-1]
        return found


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    with clock.fixed(NOW), Session(database.engine) as on:
        yield World(on)


E1 = {"alice": "manager", "amir": "manager", "bob": "collaborator", "bea": "collaborator"}


@pytest.mark.requirement("R45", "R40")
def test_whoever_creates_an_entity_is_its_manager(world: World) -> None:
    made = entities.create(world.on, world.by("dave"), " Atelier Perrin ", siren=" 123 ", country="")
    world.on.commit()
    assert (made.name, made.siren, made.country, made.verified) == ("Atelier Perrin", "123", None, False)
    assert world.members(made.id) == {"dave": "manager"}
    by = {"by": world.ids["dave"], "address": "192.0.2.1"}
    events = world.events()[-2:]
    assert [e["event"] for e in events] == ["entity.added", "member.attached"]
    assert all(by.items() <= e.items() for e in events)


@pytest.mark.requirement("R40")
def test_nobody_creates_or_asks_for_a_second_entity(world: World) -> None:
    world.refuses(Conflict, "entity_taken", entities.create, world.on, world.by("bob"), "Second")
    world.refuses(Conflict, "entity_taken", joining.ask, world.on, world.by("bob"), "carol@e.example")
    world.refuses(Conflict, "entity_taken", joining.ask, world.on, world.by("bob"), "nobody@e.example")
    taken = (world.on, entities.get(world.on, world.e2), world.account("bob"), "collaborator")
    world.refuses(Conflict, "entity_taken", entities.attach, *taken)


@pytest.mark.parametrize(
    ("name", "numbers", "field"),
    [
        ("", {}, "name"),
        ("x" * 201, {}, "name"),
        ("E\u202e1", {}, "name"),
        ("E\x001", {}, "name"),
        ("E3", {"siren": "1" * 61}, "siren"),
        ("E3", {"legal_form": "a\nb"}, "legal_form"),
    ],
)
def test_what_no_entity_can_be_called_is_refused(world: World, name: str, numbers: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        entities.create(world.on, world.by("dave"), name, **numbers)
    assert refused.value.field == field
    world.on.rollback()
    edited = (world.on, world.by("alice"), world.e1, name)
    world.refuses(Invalid, field, entities.edit, *edited, **numbers)


@pytest.mark.requirement("R46", "C14")
def test_a_manager_changes_what_the_entity_says_and_what_was_verified_is_so_no_more(world: World) -> None:
    entities.verify(world.on, world.e1)
    world.on.commit()
    assert world.last()["event"] == "entity.verified"
    entities.edit(world.on, world.by("alice"), world.e1, "E1", siren="552100554")
    assert entities.get(world.on, world.e1).verified
    entities.edit(world.on, world.by("alice"), world.e1, "E1 SA", siren="552100554", siret="55210055400013")
    world.on.commit()
    found = entities.get(world.on, world.e1)
    assert (found.name, found.siret, found.verified) == ("E1 SA", "55210055400013", False)
    assert (world.last()["event"], world.last()["fields"]) == ("entity.changed", "name siret")


@pytest.mark.requirement("R38", "R39")
def test_a_manager_promotes_demotes_suspends_resumes_and_detaches(world: World) -> None:
    expected = {
        ("promote", "bob"): "manager",
        ("suspend", "bob"): "manager suspended",
        ("resume", "bob"): "manager",
        ("demote", "bob"): "collaborator",
    }
    events = {"promote": "promoted", "suspend": "suspended", "resume": "resumed", "demote": "demoted"}
    for (act, whom), after in expected.items():
        world.act("alice", act, whom)
        assert world.members(world.e1) == {**E1, whom: after}
        said = {"event": f"member.{events[act]}", "account": world.ids["bob"], "by": world.ids["alice"]}
        assert said.items() <= world.last().items()
    world.act("alice", "detach", "bob")
    assert world.members(world.e1) == {n: r for n, r in E1.items() if n != "bob"}
    assert (world.last()["event"], world.last()["cause"]) == ("member.detached", "detached")


def test_an_act_that_changes_nothing_is_refused(world: World) -> None:
    for act, whom in (("promote", "amir"), ("demote", "bob"), ("resume", "bob"), ("fire", "bob")):
        world.refuses(Conflict, "unchanged", world.act, "alice", act, whom)
    world.act("alice", "suspend", "bob")
    world.refuses(Conflict, "unchanged", world.act, "alice", "suspend", "bob")


@pytest.mark.requirement("R38")
@pytest.mark.parametrize("act", entities.ACTS)
def test_only_a_manager_acts_and_only_in_the_own_entity(world: World, act: str) -> None:
    for whom in ("bea", "bob", "alice"):
        world.refuses(Forbidden, "not_manager", world.act, "bob", act, whom)
    for who in ("carol", "chad", "dave"):
        world.refuses(NotFound, "entity_of_others", world.act, who, act, "bob")
    for whom in ("carol", "chad", "dave"):
        world.refuses(NotFound, "member_unknown", world.act, "alice", act, whom)
    world.act("amir", "suspend", "alice")
    world.refuses(Forbidden, "not_manager", world.act, "alice", act, "bob")


def test_a_manager_whose_account_was_disabled_does_nothing(world: World) -> None:
    world.account("alice").state = "disabled"
    world.on.commit()
    world.refuses(Forbidden, "not_manager", world.act, "alice", "promote", "bob")
    world.refuses(Forbidden, "account_inactive", entities.leave, world.on, world.by("alice"), world.e1)


@pytest.mark.requirement("R39", "C15")
def test_the_last_manager_stays_until_the_entity_is_closed(world: World) -> None:
    world.act("alice", "demote", "amir")
    for act in ("demote", "suspend", "detach"):
        world.refuses(Conflict, "last_manager", world.act, "alice", act, "alice")
        staff = (world.on, COMMAND, world.e1, world.ids["alice"], act)
        world.refuses(Conflict, "last_manager", entities.change, *staff)
    world.refuses(Conflict, "last_manager", entities.leave, world.on, world.by("alice"), world.e1)
    entities.close(world.on, world.by("alice"), world.e1)
    world.on.commit()
    assert world.members(world.e1) == {}


@pytest.mark.parametrize("gone", ["suspended", "disabled"])
def test_a_manager_who_cannot_act_does_not_count_as_another_one(world: World, gone: str) -> None:
    if gone == "suspended":
        world.act("alice", "suspend", "amir")
    else:
        world.account("amir").state = "disabled"
        world.on.commit()
    world.refuses(Conflict, "last_manager", world.act, "alice", "demote", "alice")
    world.act("alice", "detach", "amir")
    assert set(world.members(world.e1)) == {"alice", "bob", "bea"}


def test_a_member_leaves_even_when_suspended(world: World) -> None:
    world.act("alice", "suspend", "bob")
    entities.leave(world.on, world.by("bob"), world.e1)
    world.on.commit()
    assert "bob" not in world.members(world.e1)
    assert (world.last()["cause"], world.last()["by"]) == ("left", world.ids["bob"])
    world.refuses(NotFound, "member_unknown", entities.leave, world.on, world.by("bob"), world.e1)


@pytest.mark.requirement("R47", "R48")
def test_closing_detaches_everybody_and_cancels_what_waits(world: World) -> None:
    request = world.ask()
    detached = entities.close(world.on, world.by("amir"), world.e1)
    assert {a.email for a in detached} == {f"{name}@e.example" for name in E1}
    world.on.commit()
    assert (world.members(world.e1), world.states()) == ({}, ["cancelled"])
    assert world.members(world.e2) == {"carol": "manager", "chad": "collaborator"}
    last = world.last()
    assert (last["event"], last["members"], last["requests"]) == ("entity.closed", 4, 1)
    causes = [e["cause"] for e in world.events() if e["event"] in ("member.detached", "join.cancelled")]
    assert causes == ["closed"] * 4 + ["entity_closed"]
    assert entities.get(world.on, world.e1).closed_at == NOW
    world.refuses(Conflict, "entity_closed", entities.close, world.on, COMMAND, world.e1)
    world.refuses(Conflict, "entity_closed", world.decide, "alice", request)
    world.refuses(Conflict, "entity_closed", entities.verify, world.on, world.e1)
    into = (world.on, entities.get(world.on, world.e1), world.account("dave"), "manager")
    world.refuses(Conflict, "entity_closed", entities.attach, *into)


def test_closing_is_for_its_managers_alone(world: World) -> None:
    world.refuses(Forbidden, "not_manager", entities.close, world.on, world.by("bob"), world.e1)
    world.refuses(NotFound, "entity_of_others", entities.close, world.on, world.by("carol"), world.e1)
    world.refuses(NotFound, "entity_unknown", entities.close, world.on, COMMAND, "unknown")


@pytest.mark.requirement("R49", "R51", "R54")
def test_an_accepted_request_makes_a_collaborator(world: World) -> None:
    asked = joining.ask(world.on, world.by("dave"), "ALICE@e.example")
    assert asked is not None
    assert {m.email for m in asked.managers} == {"alice@e.example", "amir@e.example"}
    assert asked.expires_at == NOW + 14 * 86400
    world.on.commit()
    assert [account.email for _, account in joining.waiting(world.on, world.e1)] == ["dave@e.example"]
    world.decide("amir", asked.id)
    assert world.members(world.e1) == {**E1, "dave": "collaborator"}
    assert [e["event"] for e in world.events()[-3:]] == ["join.asked", "join.accepted", "member.attached"]
    assert list(joining.waiting(world.on, world.e1)) == []
    row = world.on.get(JoinRequest, asked.id)
    assert row is not None
    assert (row.state, row.decided_at, row.decided_by) == ("accepted", NOW, world.ids["amir"])


@pytest.mark.requirement("R54")
def test_a_refused_request_leaves_the_person_outside(world: World) -> None:
    world.decide("alice", world.ask(), accept=False)
    assert (world.members(world.e1), world.states()) == (E1, ["refused"])
    assert world.last()["event"] == "join.refused"


@pytest.mark.requirement("R50")
def test_an_address_that_manages_nothing_gets_no_request_and_no_refusal(world: World) -> None:
    world.act("alice", "suspend", "amir")
    for name in ("nobody", "bob", "amir", "erin", "dave"):
        assert joining.ask(world.on, world.by("dave"), f"{name}@e.example") is None
    entities.close(world.on, COMMAND, world.e1)
    assert joining.ask(world.on, world.by("dave"), "alice@e.example") is None
    assert world.states() == []
    with pytest.raises(Invalid):
        joining.ask(world.on, world.by("dave"), "no address")


@pytest.mark.requirement("R49")
def test_one_request_waits_for_each_account(world: World) -> None:
    first = world.ask()
    assert joining.ask(world.on, world.by("dave"), "amir@e.example") is None
    world.ask(manager="carol")
    assert world.states() == ["cancelled", "pending"]
    assert [e["cause"] for e in world.events() if e["event"] == "join.cancelled"] == ["replaced"]
    world.refuses(Stale, "request_over", world.decide, "alice", first)
    world.ask("erin")
    assert world.states() == ["cancelled", "pending", "pending"]


def test_more_than_five_requests_a_day_reach_nobody(world: World) -> None:
    for manager in ("alice", "carol", "alice", "carol", "alice"):
        world.ask(manager=manager)
    assert joining.ask(world.on, world.by("dave"), "carol@e.example") is None


@pytest.mark.requirement("R54")
def test_a_request_is_decided_once(world: World) -> None:
    request = world.ask()
    world.decide("alice", request)
    world.act("alice", "detach", "dave")
    for who in ("alice", "amir"):
        world.refuses(Stale, "request_over", world.decide, who, request)
        world.refuses(Stale, "request_over", world.decide, who, request, accept=False)


def test_a_request_ends_after_fourteen_days(world: World) -> None:
    request = world.ask()
    with clock.fixed(NOW + 14 * 86400):
        assert list(joining.waiting(world.on, world.e1)) == []
        world.refuses(Stale, "request_over", world.decide, "alice", request)
        world.ask()
    assert world.states() == ["expired", "pending"]
    with clock.fixed(NOW + 28 * 86400 - 1):
        world.decide("alice", joining.waiting(world.on, world.e1)[0][0].id)


@pytest.mark.requirement("R54")
def test_only_a_current_manager_of_that_entity_decides(world: World) -> None:
    request = world.ask()
    world.refuses(Forbidden, "not_manager", world.decide, "bob", request)
    for who in ("dave", "carol", "erin"):
        world.refuses(NotFound, "entity_of_others", world.decide, who, request)
    foreign = (world.on, world.by("carol"), world.e2, request)
    world.refuses(NotFound, "request_unknown", joining.decide, *foreign, accept=True)
    world.refuses(NotFound, "request_unknown", world.decide, "alice", "0" * 32)
    world.act("amir", "demote", "alice")
    world.refuses(Forbidden, "not_manager", world.decide, "alice", request)
    world.decide("amir", request)


def test_a_request_that_was_withdrawn_cannot_be_accepted(world: World) -> None:
    request = world.ask()
    joining.withdraw(world.on, world.by("dave"))
    world.on.commit()
    assert (world.last()["event"], world.last()["cause"]) == ("join.cancelled", "withdrawn")
    world.refuses(Stale, "request_over", world.decide, "alice", request)
    joining.withdraw(world.on, world.by("dave"))


@pytest.mark.requirement("R40")
def test_creating_an_entity_cancels_the_waiting_request(world: World) -> None:
    request = world.ask()
    entities.create(world.on, world.by("dave"), "Own")
    world.on.commit()
    assert (world.states(), world.last()["cause"]) == (["cancelled"], "attached")
    world.refuses(Stale, "request_over", world.decide, "alice", request)


@pytest.mark.requirement("C18")
def test_after_a_detachment_no_manager_has_power_over_the_person(world: World) -> None:
    world.act("alice", "suspend", "bob")
    world.act("amir", "detach", "bob")
    for act in entities.ACTS:
        world.refuses(NotFound, "member_unknown", world.act, "alice", act, "bob")
    entities.attach(world.on, entities.get(world.on, world.e2), world.account("bob"), "collaborator")
    world.on.commit()
    assert world.members(world.e2)["bob"] == "collaborator"


def test_the_same_numbers_and_name_make_another_entity(world: World) -> None:
    made = entities.create(world.on, world.by("dave"), "E1", siren="552100554")
    world.on.commit()
    assert made.id != world.e1
    assert {e.id for e in entities.listed(world.on)} == {world.e1, world.e2, made.id}
    assert entities.size(world.on, world.e1) == 4
    assert isinstance(entities.get(world.on, made.id), Entity)
