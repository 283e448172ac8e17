"""The truth table of `next_step`: for every situation of a sign-in, what comes next."""

import dataclasses
import itertools
from typing import Any

import pytest

from idp.login.assurance import Proven, level
from idp.login.flow import UNMET, Challenge, Complete, Consent, Demand, Issue, Offer, Refuse, Situation, Step, next_step
from idp.login.method import Kind, Readiness, Strength

# Four methods: two that can begin a sign-in, and two made up that can only follow one.
PASSWORD = Strength(("pwd",), frozenset({Kind.KNOWLEDGE}), asks_identifier=True)
CARD = Strength(("sc", "hwk", "pin"), frozenset({Kind.POSSESSION, Kind.KNOWLEDGE}), phishing_resistant=True, finds_account=True)  # fmt: skip
CODE = Strength(("otp",), frozenset({Kind.POSSESSION}))
QUESTION = Strength(("kba",), frozenset({Kind.KNOWLEDGE}))
STRENGTHS = {"password": PASSWORD, "card": CARD, "code": CODE, "question": QUESTION}
LETTERS = {"E": Readiness.ENROLLED, "A": Readiness.AVAILABLE, "U": Readiness.UNAVAILABLE, "?": None}


def proof(name: str) -> Proven:
    return Proven.of(name, STRENGTHS[name], None, 1)


PWD, SC, OTP = proof("password"), proof("card"), proof("code")


def offers(words: str) -> list[Offer]:
    """`password:E card:A` – methods and the person's readiness for each; `?` while nobody is known."""
    pairs = [word.split(":") for word in words.split()]
    return [Offer(name, STRENGTHS[name], LETTERS[ready]) for name, ready in pairs]


def asked(*methods: str) -> Challenge:
    return Challenge(methods)


NOBODY = "password:? card:?"
ALONE = "password:?"
BOTH = "password:E card:E"
NO_CARD = "password:E card:A"
TWO = "password:? code:?"
WITH_CODE = "password:E code:E"
NO_CODE = "password:E code:A"

# What is demanded, which methods there are, the situation, and the step that follows.
# fmt: off
TABLE: list[tuple[str, dict[str, Any], str, dict[str, Any], Step]] = [
    # Nobody is known
    ("a person nobody knows is asked by every method", {}, NOBODY, {}, asked("password", "card")),
    ("the order is that of the settings", {}, "card:? password:?", {}, asked("card", "password")),
    ("a second factor does not begin", {}, "code:? password:?", {}, asked("password")),
    ("with nothing that begins nobody can", {}, "code:? question:?", {}, Refuse(UNMET)),
    ("without any method nobody can", {}, "", {}, Refuse(UNMET)),
    ("level 1 is every method's", {"level": 1}, NOBODY, {}, asked("password", "card")),
    ("level 2 is the card's alone", {"level": 2}, NOBODY, {}, asked("card")),
    ("level 3 is the card's alone", {"level": 3}, NOBODY, {}, asked("card")),
    ("level 2 begins with a password when a code can follow", {"level": 2}, TWO, {}, asked("password")),
    ("level 2 is nobody's without a second kind", {"level": 2}, ALONE, {}, Refuse(UNMET)),
    ("two things one knows are one kind", {"level": 2}, "password:? question:?", {}, Refuse(UNMET)),
    ("level 3 is nobody's without a card", {"level": 3}, TWO, {}, Refuse(UNMET)),
    ("level 2 by card or by password and code", {"level": 2}, "password:? card:? code:?", {}, asked("password", "card")),
    ("no page may be shown to a person nobody knows", {"silent": True}, NOBODY, {}, Refuse("login_required")),
    ("nor where it could not help", {"silent": True, "level": 3}, ALONE, {}, Refuse("login_required")),
    # A living session suffices
    ("a session is answered", {}, BOTH, {"session": (PWD,)}, Issue()),
    ("a session is answered without a page", {"silent": True}, BOTH, {"session": (PWD,)}, Issue()),
    ("a session needs no method", {}, "", {"session": (PWD,)}, Issue()),
    ("a card suffices for level 2", {"level": 2}, BOTH, {"session": (SC,)}, Issue()),
    ("a card suffices for level 3", {"level": 3}, BOTH, {"session": (SC,)}, Issue()),
    ("password and code suffice for level 2", {"level": 2}, BOTH, {"session": (PWD, OTP)}, Issue()),
    # Consent
    ("consent is asked for", {"consent": True}, BOTH, {"session": (PWD,)}, Consent()),
    ("consent given is enough", {"consent": True}, BOTH, {"session": (PWD,), "consented": True}, Issue()),
    ("consent is refused", {"consent": True}, BOTH, {"session": (PWD,), "refused": True}, Refuse("access_denied")),
    ("consent may not be asked for", {"consent": True, "silent": True}, BOTH, {"session": (PWD,)}, Refuse("consent_required")),
    ("consent waits for the sign-in", {"consent": True}, NOBODY, {}, asked("password", "card")),
    ("consent waits for the level", {"consent": True, "level": 3}, BOTH, {"session": (PWD,)}, asked("card")),
    ("consent given does not replace a sign-in", {}, NOBODY, {"consented": True}, asked("password", "card")),
    # A session that is too low steps up
    ("a password steps up by card", {"level": 3}, BOTH, {"session": (PWD,)}, asked("card")),
    ("a password steps up by code", {"level": 2}, WITH_CODE, {"session": (PWD,)}, asked("code")),
    ("whoever has no card cannot step up", {"level": 3}, NO_CARD, {"session": (PWD,)}, Refuse(UNMET)),
    ("whoever has no code cannot step up", {"level": 2}, NO_CODE, {"session": (PWD,)}, Refuse(UNMET)),
    ("a code does not make level 3", {"level": 3}, WITH_CODE, {"session": (PWD,)}, Refuse(UNMET)),
    ("no page may be shown for a step", {"level": 3, "silent": True}, BOTH, {"session": (PWD,)}, Refuse("login_required")),
    ("the proof of the step completes it", {"level": 3}, BOTH, {"session": (PWD,), "proofs": (SC,)}, Complete()),
    ("session and step count together", {"level": 2}, WITH_CODE, {"session": (PWD,), "proofs": (OTP,)}, Complete()),
    ("a step that brings nothing goes on", {"level": 3}, BOTH, {"session": (PWD,), "proofs": (PWD,)}, asked("card")),
    # Proofs of this attempt
    ("a password completes", {}, BOTH, {"proofs": (PWD,)}, Complete()),
    ("a card completes", {"level": 3}, BOTH, {"proofs": (SC,)}, Complete()),
    ("a password goes on to the code", {"level": 2}, WITH_CODE, {"proofs": (PWD,)}, asked("code")),
    ("or to the card", {"level": 2}, "password:E card:E code:E", {"proofs": (PWD,)}, asked("card", "code")),
    ("password and code complete", {"level": 2}, WITH_CODE, {"proofs": (PWD, OTP)}, Complete()),
    ("a password without a code is too little", {"level": 2}, NO_CODE, {"proofs": (PWD,)}, Refuse(UNMET)),
    ("what has been completed is answered", {}, BOTH, {"session": (PWD,), "proofs": (PWD,), "completed": True}, Issue()),
    ("consent comes after completing", {"consent": True}, BOTH, {"session": (PWD,), "proofs": (PWD,), "completed": True}, Consent()),
    ("completing makes a fresh sign-in", {"again": True}, BOTH, {"session": (PWD,), "proofs": (PWD,), "completed": True}, Issue()),
    # A fresh sign-in is demanded
    ("the session does not count", {"again": True}, NOBODY, {"session": (SC,)}, asked("password", "card")),
    ("nor does its level", {"again": True, "level": 3}, NOBODY, {"session": (SC,)}, asked("card")),
    ("the fresh proof counts alone", {"again": True, "level": 2}, WITH_CODE, {"session": (OTP,), "proofs": (PWD,)}, asked("code")),
    ("a fresh password completes", {"again": True}, BOTH, {"session": (SC,), "proofs": (PWD,)}, Complete()),
    ("no page, no fresh sign-in", {"again": True, "silent": True}, BOTH, {"session": (SC,)}, Refuse("login_required")),
    # Giving up
    ("cancelling denies", {}, NOBODY, {"cancelled": True}, Refuse("access_denied")),
    ("cancelling a demand nobody met yet denies", {"level": 3}, NOBODY, {"cancelled": True}, Refuse("access_denied")),
    ("cancelling a step leaves it unmet", {"level": 3}, BOTH, {"session": (PWD,), "cancelled": True}, Refuse(UNMET)),
    ("cancelling a fresh sign-in denies", {"level": 3, "again": True}, BOTH, {"session": (PWD,), "cancelled": True}, Refuse("access_denied")),
    ("cancelling denies although the session would do", {}, BOTH, {"session": (PWD,), "cancelled": True}, Refuse("access_denied")),
    ("refusing consent is no unmet step", {"level": 3}, BOTH, {"session": (PWD,), "refused": True}, Refuse("access_denied")),
]
# fmt: on


@pytest.mark.parametrize(("demand", "methods", "situation", "step"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])  # fmt: skip
def test_what_comes_next(demand: dict[str, Any], methods: str, situation: dict[str, Any], step: Step) -> None:
    assert next_step(Situation(Demand(**demand), offers(methods), **situation)) == step


SESSIONS: list[tuple[Proven, ...]] = [(), (PWD,), (SC,), (PWD, OTP)]


def every_situation() -> list[Situation]:
    """Every combination of what can be demanded, offered, proven and said: some ten thousand."""
    flags = (False, True)
    demands = [Demand(*values) for values in itertools.product(range(4), flags, flags, flags)]
    menus = [offers(f"password:{p} card:{c} code:{o}") for p, c, o in ("???", "EAA", "EEA", "EAE", "EEE", "AUU")]
    return [
        Situation(demand, menu, session, proofs, completed, consented, refused, cancelled)
        for demand, menu, session, proofs in itertools.product(demands, menus, SESSIONS, SESSIONS)
        for completed in ((False, True) if session and proofs else (False,))
        for consented, refused, cancelled in ((False, False, False), (True, False, False), (False, True, False), (False, False, True))
    ]  # fmt: skip


def test_no_situation_at_all_opens_a_door_that_should_be_shut() -> None:
    situations = every_situation()
    assert len(situations) > 10_000
    for s in situations:
        step = next_step(s)
        if s.cancelled or s.refused:
            assert isinstance(step, Refuse), s
        if isinstance(step, Issue):
            assert s.session, s
            assert level(s.session) >= s.demand.level, s
            assert s.completed or not s.demand.again, s
            assert s.consented or not s.demand.consent, s
            assert s.completed or not s.proofs, s
        if isinstance(step, Complete):
            counted = s.proofs if s.demand.again else (*s.session, *s.proofs)
            assert s.proofs, s
            assert not s.completed, s
            assert level(counted) >= s.demand.level, s
        if s.demand.silent:
            assert not isinstance(step, Challenge | Consent), s
        if isinstance(step, Challenge):
            known = s.proofs or (s.session and not s.demand.again)
            for name in step.methods:
                offer = next(o for o in s.methods if o.name == name)
                assert offer.readiness is Readiness.ENROLLED or not known, s
                assert known or offer.strength.finds_account or offer.strength.asks_identifier, s
            assert step.methods, s


def test_the_answer_depends_on_the_situation_alone() -> None:
    s = Situation(Demand(level=2), offers(BOTH), session=(PWD,))
    assert next_step(s) == next_step(dataclasses.replace(s)) == asked("card")
