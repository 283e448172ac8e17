"""A program that guesses wrong at one account, as one of many processes of an attack.

Usage: `python guesser.py DATABASE_URL MAX ROUNDS GO`. It begins when the file GO exists and prints how many of its
guesses were let through to a check.
"""

import sys
import time
from pathlib import Path

from sqlalchemy import create_engine

from idp.db import Database, listen, options
from idp.errors import Blocked, Throttled
from idp.login.lockout import Lockout
from idp.sealing import Mac

KEY = b"l" * 32


def main(url: str, maximum: int, rounds: int, go: Path) -> None:
    """Guess, and print how many guesses were checked."""
    engine = create_engine(url, **options(url))
    listen(engine, "full")
    database = Database(engine)
    lockout = Lockout(database, Mac(KEY), maximum, 0)
    while not go.exists():
        time.sleep(0.01)
    checked = 0
    for _ in range(rounds):
        try:
            taken = lockout.reserve("192.0.2.1", "bob", None)
        except (Blocked, Throttled):
            continue
        checked += 1
        time.sleep(0.02)  # as long as a hash
        with database.begin() as c:
            lockout.failed(c, taken)
    print(checked)
    engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
