"""The example portal as a process of its own, registered with a provider.

It lives at `http://127.0.0.1:PORT`, another site than the provider's `localhost`, so that cookies are not shared.
"""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest
import requests

from services.needs import free_port
from services.provider import Client, Provider

PROCEDURES = Path(__file__).parents[2] / "docs" / "examples" / "procedures" / "app.py"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"  # RFC 7636, appendix B


@dataclass(frozen=True)
class Portal:
    """A running portal."""

    address: str
    client: Client
    provider: Provider

    @property
    def sign_in(self) -> str:
        """Where its button leads."""
        return f"{self.address}/sign-in"

    def request(self, **more: str) -> str:
        """A request that this portal could send; the answer comes back to it with a state that it never gave out."""
        parameters = {
            "response_type": "code",
            "client_id": self.client.id,
            "redirect_uri": f"{self.address}/callback",
            "scope": "openid",
            "state": "journey",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **more,
        }
        return f"{self.provider.issuer}/authorize?{urlencode(parameters)}"


@contextmanager
def serving(provider: Provider, name: str, *, first_party: bool = True) -> Iterator[Portal]:
    """Register and run a portal of that name."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    client = provider.client(name, address, first_party=first_party)
    environment = {
        **os.environ,
        "PORT": str(port),
        "PROCEDURES_ISSUER": provider.issuer,
        "PROCEDURES_ADDRESS": address,
        "PROCEDURES_CLIENT_ID": client.id,
        "PROCEDURES_CLIENT_SECRET": client.secret,
        "PROCEDURES_SECRET_KEY": secrets.token_hex(32),
    }
    path = provider.folder / f"portal-{port}.log"
    with path.open("w") as log:
        process = subprocess.Popen([sys.executable, PROCEDURES], env=environment, stdout=log, stderr=log)
    try:
        _wait(address, process, path)
        yield Portal(address, client, provider)
    finally:
        process.terminate()
        process.wait(10)


def _wait(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            if requests.get(address, timeout=2).ok:
                return
        except requests.ConnectionError:
            pass
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"the portal did not start: {log.read_text('utf-8', 'replace')[-2000:]}", pytrace=False)
        time.sleep(0.05)
