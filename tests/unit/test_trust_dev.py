"""Cards for trials, made on real SoftHSM tokens, and judged like any other card.

The PKCS#11 module reads its configuration once in a process, so every recipe runs in a process of its own.
"""

import base64
import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import pem
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key
from services.softhsm import MODULE, PIN, SoftHsm

from idp import clock
from idp.errors import Conflict, Refused
from idp.trust import anchors, chain, dev
from idp.trust.certificate import read

MakeCard = Callable[..., dict[str, str]]
CERTS = """
import sys
from idp.errors import Refusal
from idp.trust.commands import certs
try:
    certs()
except Refusal as e:
    sys.exit(e.cause)
"""
# What is on the token, and a signature made by the key beside the certificate.
LOOK = """
import base64, hashlib, json, sys
import pkcs11
from pkcs11 import Attribute, Mechanism, ObjectClass
module, label, pin = sys.argv[1:]
out = []
with pkcs11.lib(module).get_token(token_label=label).open(user_pin=pin) as session:
    for certificate in list(session.get_objects({Attribute.CLASS: ObjectClass.CERTIFICATE})):
        found = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.ID: certificate[Attribute.ID]}
        (key,) = list(session.get_objects(found))
        ec = key.key_type is pkcs11.KeyType.EC
        content = hashlib.sha256(b"hello").digest() if ec else b"hello"
        signature = key.sign(content, mechanism=Mechanism.ECDSA if ec else Mechanism.SHA256_RSA_PKCS)
        out.append({
            "sha256": hashlib.sha256(certificate[Attribute.VALUE]).hexdigest(),
            "label": certificate[Attribute.LABEL],
            "extractable": key[Attribute.EXTRACTABLE],
            "sensitive": key[Attribute.SENSITIVE],
            "signature": base64.b64encode(signature).decode(),
        })
print(json.dumps(out))
"""


def run(softhsm: SoftHsm, script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, env=softhsm.environment, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A fresh development authority."""
    dev.authority(tmp_path / "ca")
    return tmp_path / "ca"


@pytest.fixture
def make(softhsm: SoftHsm, folder: Path) -> MakeCard:
    """`idp certs dev-card` with the given options."""

    def card(*options: str, token: str = "carte A", name: str = "Alice Martin") -> dict[str, str]:
        done = run(
            softhsm, CERTS, "dev-card", folder, "--token", token, "--pin", PIN, "--name", name, "--json", *options
        )
        assert done.returncode == 0, done.stderr
        value: dict[str, str] = json.loads(done.stdout)
        return value

    return card


def judge(folder: Path, card: dict[str, str]) -> chain.CardCertificate:
    crl = (folder / "issuing.crl").read_bytes()
    anchor = anchors.build((folder / "issuing.pem").read_bytes(), "dev", crl=crl)
    _, _, der = pem.unarmor(Path(card["certificate"]).read_bytes())
    return chain.verify(der, clock.now(), (anchor,))


def cause(folder: Path, card: dict[str, str]) -> str:
    with pytest.raises(Refused) as caught:
        judge(folder, card)
    return caught.value.cause


def test_the_authority_is_made_once_with_private_keys(tmp_path: Path) -> None:
    made = dev.authority(tmp_path)
    assert made["anchor"] == str(tmp_path / "issuing.pem")
    for name in ("root.key", "issuing.key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(Conflict):
        dev.authority(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_authority_and_its_list_serve_for_years(tmp_path: Path) -> None:
    dev.authority(tmp_path)
    file, crl = (tmp_path / "issuing.pem").read_bytes(), (tmp_path / "issuing.crl").read_bytes()
    for years in (0, 9):
        anchors.build(file, "dev", crl=crl, at=clock.now() + years * 365 * 86400)
    root = anchors.build((tmp_path / "root.pem").read_bytes(), "root")
    assert read(root.certificate).subject == "Poterne development root"


@pytest.mark.parametrize(("alg", "key"), [("ES256", "secp256r1"), ("RS256", "rsa")])
def test_a_card_may_sign_in_and_keeps_its_key(
    make: MakeCard, softhsm: SoftHsm, folder: Path, alg: str, key: str
) -> None:
    card = make("--alg", alg)
    found = judge(folder, card)
    assert (found.subject, found.sha256, found.revocation_checked) == ("Alice Martin", card["sha256"], True)
    assert read(found.der).key == key
    assert card["certificate"] == str(folder / f"{card['sha256']}.pem")
    done = run(softhsm, LOOK, MODULE, "carte A", PIN)
    (seen,) = json.loads(done.stdout)
    assert (seen["sha256"], seen["label"]) == (card["sha256"], "Alice Martin")
    assert (seen["extractable"], seen["sensitive"]) == (False, True)
    verify_signature(found.public_key, base64.b64decode(seen["signature"]))


def verify_signature(public_key: bytes, signature: bytes) -> None:
    key: Any = load_der_public_key(public_key)
    if isinstance(key, ec.EllipticCurvePublicKey):
        numbers = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
        key.verify(encode_dss_signature(*numbers), b"hello", ec.ECDSA(hashes.SHA256()))
    else:
        key.verify(signature, b"hello", padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--expired", "certificate_expired"),
        ("--signature-only", "certificate_not_for_login"),
        ("--revoked", "certificate_revoked"),
    ],
)
def test_an_odd_card_is_refused_for_its_oddity(make: MakeCard, folder: Path, option: str, expected: str) -> None:
    assert cause(folder, make(option)) == expected
    judge(folder, make(name="Bob"))


def test_revocations_add_up(make: MakeCard, folder: Path) -> None:
    first, second = make("--revoked"), make("--revoked", token="carte B")
    assert cause(folder, first) == cause(folder, second) == "certificate_revoked"


def test_a_recipe_that_cannot_work_says_why(make: MakeCard, softhsm: SoftHsm, folder: Path, tmp_path: Path) -> None:
    make()
    base = ("dev-card", folder, "--token", "carte A", "--name", "Eve")
    assert run(softhsm, CERTS, *base, "--pin", "999999").stderr == "invalid\n"
    assert run(softhsm, CERTS, *base, "--pin", PIN, "--name", "x" * 65).stderr == "invalid\n"
    assert run(softhsm, CERTS, "dev-card", tmp_path / "none", *base[2:], "--pin", PIN).stderr == "authority_missing\n"
    assert run(softhsm, CERTS, "dev", folder).stderr == "file_exists\n"
    assert len(list(folder.glob("*.pem"))) == 3  # root, issuing, and the one good card
