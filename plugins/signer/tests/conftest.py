"""Fixtures: a software card, a store of real SoftHSM tokens, and the program running over it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID
from idp_signer.certificates import Card, now, read
from idp_signer.testing import FakeTokens
from idp_signer.webeid import Signed

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
ORIGIN = "https://id.office.test"
KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)

IssueCertificate = Callable[..., bytes]
RunSigner = Callable[..., AbstractContextManager[int]]


@pytest.fixture(scope="session")
def key() -> ec.EllipticCurvePrivateKey:
    """The private key of the software card."""
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="session")
def issue(key: ec.EllipticCurvePrivateKey) -> IssueCertificate:
    """Makes a self-signed certificate in DER; keyword arguments change what it says."""

    def make(
        public_key: Any = None,
        usage: tuple[str, ...] | None = ("digital_signature",),
        purposes: tuple[x509.ObjectIdentifier, ...] | None = None,
        authority: bool = False,
        days: int = 30,
        starts: int = -60,
        name: str = "Alice Martin",
    ) -> bytes:
        at = now()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(public_key or key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(at + timedelta(days=starts))
            .not_valid_after(at + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if usage is not None:
            flags = dict.fromkeys(KEY_USAGES, False)
            builder = builder.add_extension(x509.KeyUsage(**(flags | dict.fromkeys(usage, True))), critical=True)
        if purposes is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    return make


@pytest.fixture
def tokens(key: ec.EllipticCurvePrivateKey, issue: IssueCertificate) -> FakeTokens:
    """A fake token with one good certificate and a real P-256 key."""

    def sign(message: bytes) -> Signed:
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
        return Signed("ES256", r.to_bytes(32, "big") + s.to_bytes(32, "big"))

    return FakeTokens([Card(read(issue()), 0, b"1", "carte", b"1")], sign)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `softhsm2.conf`, tokens and `cards.json`; see `make_cards.py`."""
    assert MODULE.exists(), "install the Debian package softhsm2 for these tests"
    assert shutil.which("softhsm2-util"), "install the Debian package softhsm2 for these tests"
    directory = tmp_path_factory.mktemp("softhsm") / "store"
    script = Path(__file__).with_name("make_cards.py")
    subprocess.run([sys.executable, str(script), str(directory)], check=True, timeout=60)
    return directory


@pytest.fixture(scope="session")
def cards(store: Path) -> dict[str, str]:
    """Name of each certificate in the store → SHA-256."""
    content: dict[str, str] = json.loads((store / "cards.json").read_text())
    return content


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The file that the scripted prompter reads."""
    return tmp_path / "script.json"


@pytest.fixture
def run_signer(script: Path, tmp_path: Path) -> RunSigner:
    """Runs the program over a store's configuration and gives its port; its log goes to `signer.log`."""

    @contextmanager
    def run(conf: Path) -> Iterator[int]:
        with (tmp_path / "signer.log").open("w") as log:
            program = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "idp_signer",
                    "--module",
                    str(MODULE),
                    "--port",
                    "0",
                    "--allow-origin",
                    ORIGIN,
                    "--prompter",
                    f"scripted:{script}",
                ],
                env=os.environ | {"SOFTHSM2_CONF": str(conf)},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            assert program.stdout is not None
            line = program.stdout.readline()
            assert line.startswith("idp-signer: listening on http://127.0.0.1:"), line
            yield int(line.rsplit(":", 1)[1])
        finally:
            program.terminate()
            status = program.wait(timeout=10)
            if program.stdout is not None:
                program.stdout.close()
        assert status == 0, "the program did not end cleanly"

    return run
