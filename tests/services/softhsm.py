"""A SoftHSM of the test's own: a folder of tokens that no other test sees.

A process reads `SOFTHSM2_CONF` once, when it loads the module. A test that makes several stores therefore hands
`SoftHsm.environment` to the programs that it starts, and loads no PKCS#11 module itself.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.needs import missing, program

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN, SO_PIN = "246813", "87654321"


@dataclass(frozen=True)
class SoftHsm:
    """A store of tokens: `configuration` is its `softhsm2.conf`, `module` the PKCS#11 library."""

    configuration: Path
    module: Path = MODULE

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a program that uses this store."""
        return {**os.environ, "SOFTHSM2_CONF": str(self.configuration)}

    def token(self, label: str, pin: str = PIN) -> None:
        """Make an empty token."""
        tool = program(("softhsm2-util",), "softhsm2")
        command = [tool, "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", SO_PIN]
        subprocess.run(command, env=self.environment, check=True, capture_output=True)


@pytest.fixture
def softhsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    """An empty store; `SOFTHSM2_CONF` names it while the test runs."""
    if not MODULE.exists():
        missing("SoftHSM", "softhsm2")
    program(("softhsm2-util",), "softhsm2")
    tokens = tmp_path / "tokens"
    tokens.mkdir(mode=0o700)
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {tokens}\n"
        "objectstore.backend = file\n"
        "log.level = ERROR\n"
        "slots.removable = false\n"
        "library.reset_on_fork = true\n"
    )
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    return SoftHsm(configuration)
