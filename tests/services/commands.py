"""Runs the `idp` command as a script calls it, in this process: its words, its standard input, its exit status."""

import io
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from idp import cli


@dataclass
class Said:
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """The one JSON value that a command which succeeded printed."""
        assert self.status == 0, self.err
        return json.loads(self.out)


Run = Callable[..., Said]


def runner(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environment: Mapping[str, object], *group: str
) -> Run:
    """A function that runs a command (of `group`, when one is named) with these settings from the environment."""
    for name, value in environment.items():
        monkeypatch.setenv(f"IDP_{name}", str(value))

    def run(*words: str, given: str = "") -> Said:
        monkeypatch.setattr(sys, "argv", ["idp", *group, *words])
        monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return Said(int(end.value.code or 0), printed.out, printed.err)

    return run
