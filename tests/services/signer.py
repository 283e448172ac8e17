"""Cards on SoftHSM tokens, and the real `idp-signer` over them with a scripted person in front of it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from services.needs import missing, program
from services.softhsm import MODULE

PIN = "4711"


@dataclass(frozen=True)
class Cards:
    """The cards of a test run, readers with all of them, and readers without any."""

    folder: Path
    sha256: dict[str, str]
    readers: Path
    empty_readers: Path

    @property
    def anchor(self) -> Path:
        """The authority to trust."""
        return self.folder / "issuing.pem"

    @property
    def revoked(self) -> Path:
        """Its list of revoked certificates."""
        return self.folder / "issuing.crl"

    def file(self, name: str) -> Path:
        """The certificate of a card."""
        return self.folder / f"{self.sha256[name]}.pem"


@dataclass(frozen=True)
class Signer:
    """A running signer. What its person does next is written down with `person`."""

    port: int
    script: Path
    cards: Cards

    def person(self, card: str, pin: str = PIN, **more: Any) -> None:
        """The person takes this card's certificate and types this PIN."""
        self.write({"consent": True, "certificate": self.cards.sha256[card], "pin": pin, **more})

    def write(self, script: dict[str, Any]) -> None:
        """Replace the script whole: the signer may be reading it."""
        draft = self.script.with_suffix(".draft")
        draft.write_text(json.dumps(script))
        draft.replace(self.script)


class RunSigner(Protocol):
    """Runs a signer that accepts one origin. Its person takes Alice's card until told otherwise."""

    def __call__(self, origin: str, port: int, *, readers: Path | None = None) -> AbstractContextManager[Signer]: ...


@pytest.fixture(scope="session")
def cards(tmp_path_factory: pytest.TempPathFactory) -> Cards:
    """The development authority and its cards, made once for each test process."""
    if not MODULE.exists():
        missing("SoftHSM", "softhsm2")
    program(("softhsm2-util",), "softhsm2")
    home = tmp_path_factory.mktemp("cards")
    readers, empty = (_store(home / name) for name in ("readers", "empty"))
    folder = home / "authority"
    maker = Path(__file__).with_name("make_cards.py")
    environment = {**os.environ, "SOFTHSM2_CONF": str(readers)}
    done = subprocess.run(
        [sys.executable, maker, folder, PIN], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return Cards(folder, json.loads((folder / "cards.json").read_text()), readers, empty)


@pytest.fixture
def run_signer(cards: Cards, tmp_path: Path) -> RunSigner:
    """Runs the signer; its log goes to `signer.log` of the test's folder."""

    @contextmanager
    def run(origin: str, port: int, *, readers: Path | None = None) -> Iterator[Signer]:
        signer = Signer(port, tmp_path / "script.json", cards)
        signer.person("alice")
        command = [sys.executable, "-m", "idp_signer", "--module", str(MODULE), "--port", str(port)]
        command += ["--allow-origin", origin, "--prompter", f"scripted:{signer.script}"]
        environment = {**os.environ, "SOFTHSM2_CONF": str(readers or cards.readers)}
        with (tmp_path / "signer.log").open("a") as log:
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line == f"idp-signer: listening on http://127.0.0.1:{port}\n", (tmp_path / "signer.log").read_text()
            yield signer
        finally:
            process.terminate()
            process.wait(10)
            process.stdout.close()

    return run


def _store(home: Path) -> Path:
    tokens = home / "tokens"
    tokens.mkdir(parents=True, mode=0o700)
    configuration = home / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
    )
    return configuration
