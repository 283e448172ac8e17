"""The whole program as a process, over real SoftHSM tokens."""

import base64
import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from idp_signer.testing import Reply, call

PIN = "246813"
ORIGIN = "https://id.office.test"
NONCE = base64.b64encode(bytes(range(32))).decode()

RunSigner = Callable[[Path], AbstractContextManager[int]]


def authenticate(port: int) -> Reply:
    return call(port, "POST", "/v1/authenticate", {"challengeNonce": NONCE, "lang": "fr"})


def write(script: Path, certificate: str | int = 0, pin: str = PIN, **more: Any) -> None:
    script.write_text(json.dumps({"consent": True, "certificate": certificate, "pin": pin, **more}))


def check(token: dict[str, str], origin: str = ORIGIN, nonce: str = NONCE) -> str:
    """Verify a Web eID token as its description says and return the SHA-256 of its certificate. Raises when wrong."""
    assert token["format"] == "web-eid:1.0"
    assert set(token) == {"unverifiedCertificate", "algorithm", "signature", "format", "appVersion"}
    certificate = x509.load_der_x509_certificate(base64.b64decode(token["unverifiedCertificate"], validate=True))
    signature = base64.b64decode(token["signature"], validate=True)
    algorithms: dict[str, hashes.HashAlgorithm] = {
        "256": hashes.SHA256(),
        "384": hashes.SHA384(),
        "512": hashes.SHA512(),
    }
    algorithm = algorithms[token["algorithm"][2:]]

    def digest(text: str) -> bytes:
        return hashlib.new(algorithm.name, text.encode()).digest()

    signed = digest(origin) + digest(nonce)
    public = certificate.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        assert token["algorithm"] == "RS256"
        public.verify(signature, signed, padding.PKCS1v15(), algorithm)
    else:
        assert isinstance(public, ec.EllipticCurvePublicKey)
        assert token["algorithm"].startswith("ES")
        half = len(signature) // 2
        r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
        public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(algorithm))
    return certificate.fingerprint(hashes.SHA256()).hex()


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        ("auth-ec", "ES256"),
        ("auth-rsa", "RS256"),
        ("auth-ec384", "ES384"),
        ("auth-ec521", "ES512"),
        ("pin-each-time", "ES256"),
        ("hidden-public-key", "ES256"),
    ],
)
def test_a_card_on_any_token_signs_a_token_that_verifies(
    run_signer: RunSigner, store: Path, cards: dict[str, str], script: Path, name: str, algorithm: str
) -> None:
    write(script, cards[name])
    with run_signer(store / "softhsm2.conf") as port:
        reply = authenticate(port)
    assert reply.status == 200, reply.content
    assert reply.content["algorithm"] == algorithm
    assert check(reply.content) == cards[name]


def test_the_list_is_the_same_each_time_and_leaves_out_what_cannot_sign_in(
    run_signer: RunSigner, store: Path, cards: dict[str, str], script: Path
) -> None:
    expected = ["auth-ec", "auth-rsa", "auth-ec384", "auth-ec521", "pin-each-time", "hidden-public-key"]
    with run_signer(store / "softhsm2.conf") as port:
        for index, name in enumerate(expected):
            write(script, index)
            assert check(authenticate(port).content) == cards[name]
        for name in ("signature-only", "authority", "expired"):
            write(script, cards[name])
            reply = authenticate(port)
            assert (reply.status, reply.content) == (404, {"error": "no_certificate"})


def test_a_certificate_without_its_private_key_is_refused_after_the_login(
    run_signer: RunSigner, store: Path, cards: dict[str, str], script: Path
) -> None:
    write(script, cards["no-private-key"])
    with run_signer(store / "softhsm2.conf") as port:
        reply = authenticate(port)
    assert (reply.status, reply.content) == (404, {"error": "no_certificate"})


@pytest.mark.parametrize("wrong", ["000000", "1", ""])
def test_a_wrong_pin_is_said_and_the_right_one_works_afterwards(
    run_signer: RunSigner, store: Path, script: Path, wrong: str
) -> None:
    with run_signer(store / "softhsm2.conf") as port:
        write(script, pin=wrong)
        for _ in range(3):
            reply = authenticate(port)
            assert (reply.status, reply.content) == (401, {"error": "pin_incorrect", "lastTry": False})
        write(script)
        check(authenticate(port).content)


def test_neither_pin_nor_signature_is_logged(run_signer: RunSigner, store: Path, script: Path, tmp_path: Path) -> None:
    with run_signer(store / "softhsm2.conf") as port:
        write(script, pin="97531086")
        authenticate(port)
        write(script)
        token = authenticate(port).content
        script.write_text(f'{{"consent": true, "pin": ["{PIN}"]}}')
        broken = authenticate(port)
    log = (tmp_path / "signer.log").read_text()
    assert (broken.status, broken.content) == (500, {"error": "internal_error"})
    assert "POST /v1/authenticate" in log
    assert "97531086" not in log
    assert PIN not in log
    assert token["signature"] not in log
    assert NONCE not in log


def test_a_script_that_does_not_consent_signs_nothing(run_signer: RunSigner, store: Path, script: Path) -> None:
    with run_signer(store / "softhsm2.conf") as port:
        for content in ({"cancel": True}, {"certificate": 0, "pin": PIN}, {"consent": "yes", "pin": PIN}):
            script.write_text(json.dumps(content))
            reply = authenticate(port)
            assert (reply.status, reply.content) == (409, {"error": "user_cancelled"})


def test_without_a_card_the_answer_says_so_and_a_card_that_appears_is_seen(
    run_signer: RunSigner, store: Path, script: Path, tmp_path: Path
) -> None:
    (tmp_path / "tokens").mkdir()
    conf = tmp_path / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nlibrary.reset_on_fork = true\n")
    write(script)
    with run_signer(conf) as port:
        reply = authenticate(port)
        assert (reply.status, reply.content) == (404, {"error": "no_card"})
        shutil.copytree(store / "tokens", tmp_path / "tokens", dirs_exist_ok=True)
        check(authenticate(port).content)


def test_a_card_pulled_out_while_the_person_is_asked_is_noticed(
    run_signer: RunSigner, store: Path, script: Path, tmp_path: Path
) -> None:
    shutil.copytree(store / "tokens", tmp_path / "tokens")
    conf = tmp_path / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nlibrary.reset_on_fork = true\n")
    write(script, delay=1.0)
    with run_signer(conf) as port:
        replies: list[Reply] = []
        page = threading.Thread(target=lambda: replies.append(authenticate(port)))
        page.start()
        time.sleep(0.4)
        for token in (tmp_path / "tokens").iterdir():
            shutil.rmtree(token)
        page.join()
        assert (replies[0].status, replies[0].content) == (410, {"error": "card_removed"})
        assert authenticate(port).content == {"error": "no_card"}


def test_a_page_can_cancel_what_it_asked_for(run_signer: RunSigner, store: Path, script: Path) -> None:
    write(script, delay=20)
    with run_signer(store / "softhsm2.conf") as port:
        replies: list[Reply] = []
        page = threading.Thread(target=lambda: replies.append(authenticate(port)))
        page.start()
        time.sleep(0.4)
        assert authenticate(port).content == {"error": "busy"}
        assert call(port, "POST", "/v1/cancel", {}).content == {"cancelled": True}
        page.join()
        assert (replies[0].status, replies[0].content) == (409, {"error": "user_cancelled"})


def test_the_program_ends_cleanly_while_a_question_is_open(run_signer: RunSigner, store: Path, script: Path) -> None:
    write(script, delay=60)
    replies: list[Reply] = []
    with run_signer(store / "softhsm2.conf") as port:
        page = threading.Thread(target=lambda: replies.append(authenticate(port)))
        page.start()
        time.sleep(0.4)
    page.join()
    assert replies[0].content == {"error": "user_cancelled"}
