"""Time comes from one place, in whole seconds of UTC."""

import time

import pytest

from idp import clock


def test_now_is_whole_seconds_of_unix_time() -> None:
    before = int(time.time())  # noqa: TID251  the very thing that the clock reads
    now = clock.now()
    assert isinstance(now, int)
    assert before <= now <= before + 2


def test_an_instant_is_written_in_utc_whatever_the_zone_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        assert clock.text(0) == "1970-01-01T00:00:00Z"
        assert clock.text(2_208_988_800) == "2040-01-01T00:00:00Z"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_held_clock_stands_still_until_it_is_moved() -> None:
    with clock.fixed(1_000) as advance:
        assert [clock.now(), clock.now()] == [1_000, 1_000]
        advance(59)
        assert clock.now() == 1_059
        advance(-60)
        assert clock.now() == 999


def test_a_held_clock_runs_on_afterwards_even_when_the_test_failed() -> None:
    with pytest.raises(ZeroDivisionError), clock.fixed(1_000):
        _ = 1 / 0
    assert clock.now() > 1_000_000_000


def test_held_clocks_nest() -> None:
    with clock.fixed(1_000):
        with clock.fixed(2_000):
            assert clock.now() == 2_000
        assert clock.now() == 1_000
