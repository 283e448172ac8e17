"""Many processes guess at one account at once: exactly the maximum is checked, on both databases."""

import subprocess
import sys
from pathlib import Path

import pytest
from services import guesser
from services.databases import open_database

from idp.login.lockout import Count, Lockout
from idp.sealing import Mac

PROCESSES, ROUNDS, MAXIMUM = 12, 20, 5


@pytest.mark.requirement("C23")
def test_twelve_processes_of_twenty_wrong_guesses_get_exactly_five_checks(database_url: str, tmp_path: Path) -> None:
    go = tmp_path / "go"
    command = [sys.executable, guesser.__file__, database_url, str(MAXIMUM), str(ROUNDS), str(go)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)]
    go.touch()
    checked = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(checked) == MAXIMUM
    database = open_database(database_url)
    lockout = Lockout(database, Mac(guesser.KEY), MAXIMUM, 0)
    with database.read() as c:
        assert lockout.count(c, "bob") == Count(MAXIMUM, True)
    database.engine.dispose()
