"""Everybody changes one entity at the same moment: the end is that of some order, one after the other.

The proof is the journal: its events of a round, in their order, are played again on paper, where each must be allowed at
its place; what comes out must be what the database holds, and every acknowledged request must have its event.
"""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from services.office import Office
from services.visitor import PASSWORD, Browser

from idp.directory import accounts, entities
from idp.journal import entries
from idp.login.method import Resets

ROUNDS = 30
MANAGERS = ("alice", "amir")
COLLABORATORS = ("bob", "bea", "carol", "chad", "erin")
NAMES = (*MANAGERS, *COLLABORATORS, "dave")
DECISIONS = {"promote": "member.promoted", "demote": "member.demoted", "suspend": "member.suspended", "detach": "member.detached"}  # fmt: skip


class Crowd:
    """The people of the office with a browser each, and the entity of one round."""

    def __init__(self, office: Office) -> None:
        self.office = office
        method = office.house.methods.resetting
        assert isinstance(method, Resets)
        with office.inside() as on:
            for name in ("carol", "chad", "erin"):
                made = accounts.add(on, f"{name}@e1.example", name.title(), "Test")
                on.flush()
                method.replace(made.id, PASSWORD)
                accounts.activate(on, made)
        self.ids: dict[str, str] = {name: office.id_of(name) for name in NAMES}
        self.names: dict[str, str] = {account_id: name for name, account_id in self.ids.items()}
        self.browsers: dict[str, Browser] = {}
        self.tokens: dict[str, str] = {}
        for name in NAMES:
            self.browsers[name] = office.browser()
            self.browsers[name].sign_in(f"{name}@e1.example")
            page = self.browsers[name].visit("/entity")
            self.tokens[name] = page.forms[0].fields["csrf_token"]
        with office.inside() as on:
            for entity in entities.listed(on):
                entities.close(on, entities.COMMAND, entity.id)

    def furnish(self, number: int) -> None:
        """A new entity, and dave's request to its managers."""
        with self.office.inside() as on:
            made = entities.add(on, f"Round {number}", accounts.by_id(on, self.ids["alice"]))
            self.entity, self.name = made.id, made.name
            entities.attach(on, made, accounts.by_id(on, self.ids["amir"]), "manager")
            for name in COLLABORATORS:
                entities.attach(on, made, accounts.by_id(on, self.ids[name]), "collaborator")
        assert self.post("dave", "/entity/join", email="alice@e1.example") == 200
        pending = self.office.rows("SELECT id FROM join_requests WHERE state = 'pending'")
        self.request: str = pending[0].id

    def clear(self) -> None:
        """Whatever is left of the round goes."""
        with self.office.inside() as on:
            if entities.get(on, self.entity).closed_at is None:
                entities.close(on, entities.COMMAND, self.entity)

    def post(self, who: str, path: str, **fields: str) -> int:
        """The status of a form that somebody sends."""
        sent = {"csrf_token": self.tokens[who], **fields}
        return int(self.browsers[who].copy().post(path, sent, keep=False).status_code)

    def act(self, who: str, act: str, whom: str) -> Callable[[], tuple[str, str, str, int]]:
        event = DECISIONS[act]
        return lambda: (who, event, whom, self.post(who, f"/entity/members/{self.ids[whom]}/{act}"))

    def moves(self, number: int) -> list[Callable[[], tuple[str, str, str, int]]]:
        """What is done at once in a round; every third time, somebody closes the entity meanwhile."""
        close = {"name": self.name, "password": PASSWORD}
        moves = [
            self.act("alice", "demote", "amir"),
            self.act("amir", "demote", "alice"),
            self.act("amir", "promote", "bob"),
            self.act("alice", "suspend", "bea"),
            self.act("alice", "detach", "carol"),
            lambda: ("alice", "join.accepted", "dave", self.post("alice", self._request(), decision="accept")),
            lambda: ("amir", "join.refused", "dave", self.post("amir", self._request(), decision="refuse")),
            lambda: ("erin", "member.detached", "erin", self.post("erin", "/entity/leave")),
            lambda: ("dave", "join.cancelled", "dave", self.post("dave", "/entity/join/withdraw")),
        ]
        if number % 3 == 0:
            moves.append(lambda: ("amir", "entity.closed", "amir", self.post("amir", "/entity/close", **close)))
        random.Random(number).shuffle(moves)
        return moves

    def _request(self) -> str:
        return f"/entity/requests/{self.request}"


class Paper:
    """The entity as the events tell it; every event must be allowed where it stands."""

    def __init__(self, crowd: Crowd) -> None:
        self.names = crowd.names
        self.members = {name: ["manager", "active"] for name in MANAGERS} | {
            name: ["collaborator", "active"] for name in COLLABORATORS
        }
        self.request, self.closed, self.closing = "pending", False, False

    def play(self, event: dict[str, Any]) -> None:
        kind, whom, who = event["event"], self.names.get(event["account"], ""), self.names.get(event.get("by", ""), "")
        assert not self.closed, f"{kind} after the closing"
        if event["cause"] not in ("left", "withdrawn") and not self.closing:
            assert self.members.get(who) == ["manager", "active"], f"{kind} by {who}, who is {self.members.get(who)}"
        match kind:
            case "member.promoted":
                assert self.members[whom][0] == "collaborator"
                self.members[whom][0] = "manager"
            case "member.demoted":
                assert self.members[whom][0] == "manager"
                self.members[whom][0] = "collaborator"
            case "member.suspended":
                assert self.members[whom][1] == "active"
                self.members[whom][1] = "suspended"
            case "member.detached":
                del self.members[whom]
                self.closing |= event["cause"] == "closed"
            case "member.attached":
                assert self.request == "accepted"
                self.members[whom] = [event["role"], "active"]
            case "join.accepted" | "join.refused" | "join.cancelled":
                assert self.request == "pending"
                self.request = kind.partition(".")[2]
            case "entity.closed":
                assert not self.members
                self.closed = True
        if not self.closing:
            assert ["manager", "active"] in self.members.values(), f"no manager after {kind}"


def held(crowd: Crowd) -> tuple[dict[str, list[str]], str, bool]:
    """What the database holds."""
    rows = crowd.office.rows("SELECT * FROM memberships WHERE entity_id = :id", id=crowd.entity)
    members = {crowd.names[r.account_id]: [r.role, "suspended" if r.suspended_at else "active"] for r in rows}
    [request] = crowd.office.rows("SELECT state FROM join_requests WHERE id = :id", id=crowd.request)
    [entity] = crowd.office.rows("SELECT closed_at FROM entities WHERE id = :id", id=crowd.entity)
    return members, str(request.state), entity.closed_at is not None


def at_once(moves: list[Callable[[], tuple[str, str, str, int]]]) -> list[tuple[str, str, str, int]]:
    start = Barrier(len(moves))

    def run(move: Callable[[], tuple[str, str, str, int]]) -> tuple[str, str, str, int]:
        start.wait(10)
        return move()

    with ThreadPoolExecutor(len(moves)) as pool:
        return list(pool.map(run, moves))


@pytest.mark.requirement("R38", "R39", "R47", "R48", "R54")
def test_whatever_happens_at_once_ends_as_if_one_after_the_other(office: Office) -> None:
    crowd = Crowd(office)
    ends = set()
    for number in range(ROUNDS):
        # Five requests a day is all that one person may send: the earlier rounds were another day.
        office.execute("UPDATE join_requests SET created_at = created_at - 86400")
        crowd.furnish(number)
        with office.house.database.read() as c:
            before = len(list(entries(c)))
        answers = at_once(crowd.moves(number))
        with office.house.database.read() as c:
            events = [e for e in list(entries(c))[before:] if e.get("entity") == crowd.entity]
        paper = Paper(crowd)
        for event in events:
            paper.play(event)
        assert held(crowd) == (paper.members, paper.request, paper.closed)
        acknowledged = {answer[:3] for answer in answers if answer[3] == 303}
        told = {(crowd.names[e["by"]], e["event"], crowd.names[e["account"]]) for e in events if e["cause"] not in ("closed", "entity_closed")}  # fmt: skip
        told = {t for t in told if t[1] != "member.attached"}
        # A withdrawal is answered the same when nothing was left to withdraw.
        assert told <= acknowledged
        assert acknowledged - told <= {("dave", "join.cancelled", "dave")}
        assert {a[3] for a in answers} <= {303, 400, 403, 404, 409}, answers
        ends.add((tuple(sorted(paper.members)), paper.request, paper.closed))
        crowd.clear()
    assert len(ends) > 1, "every round ended alike: nothing happened at once"


@pytest.mark.requirement("R39")
def test_two_managers_who_demote_each_other_never_leave_none(office: Office) -> None:
    crowd = Crowd(office)
    for number in range(ROUNDS):
        office.execute("UPDATE join_requests SET created_at = created_at - 86400")
        crowd.furnish(number)
        acts = ("demote", "suspend", "detach")
        moves = [crowd.act(a, acts[number % 3], b) for a, b in (MANAGERS, MANAGERS[::-1])]
        answers = at_once(moves)
        assert len([a for a in answers if a[3] == 303]) == 1, answers
        assert ["manager", "active"] in held(crowd)[0].values()
        crowd.clear()
