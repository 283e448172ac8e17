"""The ring by state: who signs, who is published, what is refused, and what happens when many change it at once."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import orjson
import pytest
from sqlalchemy import select

from idp import clock
from idp.db import Database
from idp.errors import Conflict, NotFound, Refusal, Refused, Unavailable
from idp.keys import published
from idp.keys.ring import RETIRED_SECONDS, Ring
from idp.keys.software import SoftwareStore
from idp.models import JournalEntry
from idp.models import SigningKey as Row
from idp.sealing import Sealer

NOW = 1_800_000_000
Advance = Callable[[int], None]


@pytest.fixture
def advance() -> Iterator[Advance]:
    with clock.fixed(NOW) as advance:
        yield advance


def open_ring(database: Database) -> Ring:
    """A ring as one more process would have it."""
    return Ring(database, SoftwareStore(database, Sealer(b"m" * 32)))


@pytest.fixture
def ring(database: Database, advance: Advance) -> Ring:
    return open_ring(database)


def kids(ring: Ring, state: str, alg: str = "ES256") -> list[str]:
    return [key.kid for key in ring.listed() if key.state == state and key.alg == alg]


def journal(database: Database) -> list[tuple[str, str]]:
    with database.read() as c:
        rows = c.execute(select(JournalEntry.event, JournalEntry.details).order_by(JournalEntry.id)).all()
    return [(row.event, orjson.loads(row.details)["kid"]) for row in rows]


def key_set(ring: Ring) -> list[dict[str, str]]:
    keys = orjson.loads(ring.published())["keys"]
    assert isinstance(keys, list)
    return keys


# -- the first start --------------------------------------------------------------------------------------------------


def test_the_first_start_makes_an_active_and_a_next_key_of_each_algorithm(ring: Ring, database: Database) -> None:
    ring.first_start()
    assert sorted((k.alg, k.state, k.store) for k in ring.listed()) == [
        ("ES256", "active", "software"),
        ("ES256", "next", "software"),
        ("RS256", "active", "software"),
        ("RS256", "next", "software"),
    ]
    assert sorted(event for event, _ in journal(database)) == ["key.activated"] * 2 + ["key.created"] * 4
    assert ring.signing("RS256").alg == "RS256"
    assert ring.signing("ES256").kid == kids(ring, "active")[0]


def test_a_second_start_changes_nothing(ring: Ring, database: Database) -> None:
    ring.first_start()
    before = ring.listed()
    open_ring(database).first_start()
    assert ring.listed() == before


def test_a_ring_whose_keys_were_all_revoked_is_not_started_anew(ring: Ring) -> None:
    ring.revoke(ring.create("ES256"))
    ring.first_start()
    assert [k.state for k in ring.listed()] == ["gone"]


def test_of_several_processes_that_start_at_once_one_makes_the_keys(database: Database, advance: Advance) -> None:
    rings = [open_ring(database) for _ in range(4)]
    together = Barrier(4)

    def start(ring: Ring) -> str:
        together.wait()
        ring.first_start()
        return ring.signing("RS256").kid

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(start, rings))) == 1
    with database.read() as c:
        rows = c.execute(select(Row.state, Row.sealed)).all()
    assert sorted(row.state for row in rows) == ["active", "active", "next", "next"]
    assert all(row.sealed for row in rows)


# -- rotation ---------------------------------------------------------------------------------------------------------


def test_a_next_key_signs_once_every_portal_can_know_it(ring: Ring, advance: Advance) -> None:
    ring.first_start()
    (old,), (young,) = kids(ring, "active"), kids(ring, "next")
    advance(published.KEY_SET_SECONDS - 1)
    with pytest.raises(Conflict, match="next_key_too_young"):
        ring.rotate("ES256")
    assert ring.signing("ES256").kid == old
    advance(1)
    ring.rotate("ES256")
    assert ring.signing("ES256").kid == young
    assert kids(ring, "retired") == [old]
    (fresh,) = kids(ring, "next")
    assert fresh not in {old, young}
    assert len(kids(ring, "active", "RS256")) == len(kids(ring, "next", "RS256")) == 1
    assert kids(ring, "retired", "RS256") == []


def test_a_refused_rotation_leaves_no_key_behind(ring: Ring, database: Database) -> None:
    ring.first_start()
    with pytest.raises(Conflict):
        ring.rotate()
    with database.read() as c:
        assert len(c.execute(select(Row.kid)).all()) == 4


def test_a_rotation_in_haste_takes_a_young_key(ring: Ring) -> None:
    ring.first_start()
    before = {alg: ring.signing(alg).kid for alg in ("RS256", "ES256")}
    ring.rotate(now=True)
    for alg, kid in before.items():
        assert ring.signing(alg).kid != kid
        assert kids(ring, "retired", alg) == [kid]
        assert len(kids(ring, "next", alg)) == 1


def test_a_rotation_needs_a_next_key(ring: Ring) -> None:
    with pytest.raises(Conflict, match="no_next_key"):
        ring.rotate("ES256", now=True)


def test_a_next_key_can_be_activated_by_name(ring: Ring, advance: Advance) -> None:
    ring.first_start()
    (old,) = kids(ring, "active")
    made = ring.create("ES256")
    with pytest.raises(Conflict, match="next_key_too_young"):
        ring.activate(made)
    ring.activate(made, now=True)
    assert ring.signing("ES256").kid == made
    assert kids(ring, "retired") == [old]
    with pytest.raises(Conflict, match="key_not_next"):
        ring.activate(old, now=True)


def test_rotations_at_once_leave_one_active_key(ring: Ring, database: Database) -> None:
    ring.first_start()
    together = Barrier(4)

    def rotate(_: int) -> None:
        mine = open_ring(database)
        together.wait()
        mine.rotate("ES256", now=True)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(rotate, range(4)))
    assert len(kids(ring, "active")) == 1
    assert len(kids(ring, "retired")) == 4
    assert len(kids(ring, "next")) == 1


def test_activations_at_once_of_one_key_succeed_once(ring: Ring, database: Database) -> None:
    made = ring.create("ES256")
    together = Barrier(4)

    def activate(_: int) -> str:
        mine = open_ring(database)
        together.wait()
        try:
            mine.activate(made, now=True)
            return "activated"
        except Refusal as e:
            return e.cause

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(activate, range(4))) == ["activated"] + ["key_not_next"] * 3
    assert [event for event, _ in journal(database)].count("key.activated") == 1


# -- the end of a key -------------------------------------------------------------------------------------------------


def test_after_a_retired_active_key_the_next_one_signs(ring: Ring, advance: Advance) -> None:
    ring.first_start()
    (old,), (young,) = kids(ring, "active"), kids(ring, "next")
    with pytest.raises(Conflict, match="next_key_too_young"):
        ring.retire(old)
    advance(published.KEY_SET_SECONDS)
    ring.retire(old)
    assert ring.signing("ES256").kid == young
    ring.find(old)
    with pytest.raises(Conflict, match="key_not_in_use"):
        ring.retire(old)


def test_an_algorithm_without_an_active_key_signs_with_no_other(ring: Ring) -> None:
    ring.first_start()
    ring.retire(kids(ring, "next")[0])
    ring.retire(kids(ring, "active")[0])
    with pytest.raises(Unavailable, match="no_active_key: ES256"):
        ring.signing("ES256")
    with pytest.raises(Unavailable, match="no_active_key: PS256"):
        ring.signing("PS256")
    assert ring.signing("RS256").alg == "RS256"


def test_a_revoked_key_is_gone_at_once_with_its_private_half(ring: Ring, database: Database) -> None:
    ring.first_start()
    (bad,), (young,) = kids(ring, "active"), kids(ring, "next")
    ring.revoke(bad)
    assert ring.signing("ES256").kid == young
    assert len(kids(ring, "next")) == 1
    assert bad not in {key["kid"] for key in key_set(ring)}
    with pytest.raises(Refused, match="unknown_key"):
        ring.find(bad)
    with database.read() as c:
        assert c.execute(select(Row.sealed).where(Row.kid == bad)).scalar_one() is None
    assert ("key.gone", bad) in journal(database)


def test_a_revocation_may_be_repeated_and_is_recorded_once(ring: Ring, database: Database) -> None:
    kid = ring.create("ES256")
    ring.revoke(kid)
    ring.revoke(kid)
    assert journal(database).count(("key.gone", kid)) == 1


def test_an_unknown_key_is_named_in_the_refusal(ring: Ring) -> None:
    for change in (ring.activate, ring.retire, ring.revoke):
        with pytest.raises(NotFound, match="key_unknown: nobody"):
            change("nobody")


def test_a_retired_key_goes_when_what_it_signed_is_over(ring: Ring, database: Database, advance: Advance) -> None:
    ring.first_start()
    (old,) = kids(ring, "active")
    ring.rotate("ES256", now=True)
    advance(RETIRED_SECONDS - 1)
    assert ring.tidy() == 0
    ring.find(old)
    advance(1)
    assert ring.tidy() == 1
    assert ring.tidy() == 0
    assert kids(ring, "gone") == [old]
    with pytest.raises(Refused, match="unknown_key"):
        ring.find(old)
    assert journal(database)[-1] == ("key.gone", old)
    with database.read() as c:
        assert c.execute(select(Row.sealed).where(Row.kid == old)).scalar_one() is None


# -- what is published ------------------------------------------------------------------------------------------------


def test_the_key_set_has_public_members_only(ring: Ring) -> None:
    ring.first_start()
    for alg in ("PS256", "EdDSA"):
        ring.create(alg)
    keys = key_set(ring)
    assert len({key["kid"] for key in keys}) == len(keys) == 6
    members = {"RSA": {"n", "e"}, "EC": {"crv", "x", "y"}, "OKP": {"crv", "x"}}
    for key in keys:
        assert set(key) == {"kty", "use", "alg", "kid"} | members[key["kty"]]
        assert key["use"] == "sig"
    assert {key["alg"]: key["kty"] for key in keys} == {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}


def test_the_key_set_lists_next_active_and_retired_keys(ring: Ring) -> None:
    ring.first_start()
    ring.rotate("ES256", now=True)
    listed = {key.kid for key in ring.listed()}
    assert {key["kid"] for key in key_set(ring)} == listed
    assert len(listed) == 5


def test_another_process_sees_a_change_within_half_a_second(
    ring: Ring, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring.first_start()
    other = open_ring(database)
    before = other.signing("ES256").kid
    at = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: at[0])
    other._lookout.seen(anew=True)
    ring.rotate("ES256", now=True)
    assert other.signing("ES256").kid == before
    at[0] += published.LOOK_EVERY
    assert other.signing("ES256").kid == ring.signing("ES256").kid != before
    assert other.published() == ring.published()


def test_a_process_that_never_loaded_a_revoked_key_signs_with_its_successor(ring: Ring, database: Database) -> None:
    ring.first_start()
    other = open_ring(database)
    other.published()
    ring.revoke(ring.signing("ES256").kid)
    assert other.signing("ES256").kid == ring.signing("ES256").kid


def test_the_key_set_is_served_while_the_database_is_away(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    ring.first_start()
    known = ring.published()
    ring._lookout.forget()

    def away() -> None:
        raise Unavailable("database_unavailable")

    monkeypatch.setattr(ring._lookout, "_look", away)
    assert ring.published() == known
    with pytest.raises(Unavailable, match="database_unavailable"):
        ring.signing("ES256")
