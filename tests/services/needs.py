"""What a test needs from the machine, and the one line that says so when it is not there."""

import shutil
import socket
from pathlib import Path
from typing import NoReturn

import pytest


def missing(what: str, package: str) -> NoReturn:
    """Fail the test with one line that names the package to install."""
    pytest.fail(f"{what} is missing; install it: apt-get install {package}", pytrace=False)


def program(names: tuple[str, ...], package: str, folders: tuple[Path, ...] = ()) -> str:
    """The path of the first of the programs that is installed, on PATH or in one of the folders."""
    for name in names:
        found = shutil.which(name) or next((str(f / name) for f in folders if (f / name).exists()), None)
        if found:
            return found
    missing(names[0], package)


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
