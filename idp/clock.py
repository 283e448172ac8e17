"""The only source of time. Tests set it; a linter rule bans every other one.

All instants are whole seconds of Unix time (`int`), in UTC: they mean the same in SQLite, PostgreSQL and a JWT.
"""

import time as _time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

_read: Callable[[], float] = _time.time


def now() -> int:
    """Seconds since the epoch."""
    return int(_read())


def text(instant: int) -> str:
    """An instant as RFC 3339 text in UTC, for journals and answers meant for machines."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def fixed(instant: int) -> Iterator[Callable[[int], None]]:
    """Hold the clock at `instant` for a test; the value given is a function that moves it forward by seconds."""
    global _read
    before, current = _read, [instant]

    def advance(seconds: int) -> None:
        current[0] += seconds

    _read = lambda: current[0]  # noqa: E731
    try:
        yield advance
    finally:
        _read = before
