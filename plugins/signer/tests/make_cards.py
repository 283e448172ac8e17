"""Fills a SoftHSM store with the tokens the tests need; run as a program so that no test process loads the module.

Usage: make_cards.py DIRECTORY. Writes `softhsm2.conf` and `cards.json` (name of the certificate → SHA-256) there.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pkcs11
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from idp_signer.certificates import now
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters
from pkcs11.util.rsa import encode_rsa_public_key

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "246813"
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
CA_KEY = ec.generate_private_key(ec.SECP256R1())
CA_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Autorité d’essai")])


@dataclass(frozen=True)
class Wanted:
    """One certificate and its key on a token."""

    name: str
    token: str
    kind: str = "secp256r1"
    days: int = 365
    usage: str = "digital_signature"
    authority: bool = False
    public_key_visible: bool = True
    private_key: bool = True
    always_authenticate: bool = False


WANTED = (
    Wanted("auth-ec", "carte A", days=300),
    Wanted("signature-only", "carte A", usage="content_commitment"),
    Wanted("authority", "carte A", authority=True),
    Wanted("expired", "carte A", days=-1),
    Wanted("auth-rsa", "carte B", kind="rsa", days=200),
    Wanted("auth-ec384", "carte B", kind="secp384r1", days=100),
    Wanted("auth-ec521", "carte B", kind="secp521r1", days=90),
    Wanted("pin-each-time", "carte B", days=80, always_authenticate=True),
    Wanted("hidden-public-key", "carte C", days=70, public_key_visible=False),
    Wanted("no-private-key", "carte C", days=60, public_key_visible=False, private_key=False),
)


def main(directory: Path) -> None:
    """Make the store, its tokens and their content."""
    (directory / "tokens").mkdir(parents=True)
    conf = directory / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {directory / 'tokens'}\nlog.level = ERROR\nlibrary.reset_on_fork = true\n")
    os.environ["SOFTHSM2_CONF"] = str(conf)
    for label in sorted({wanted.token for wanted in WANTED}):
        command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "87654321"]
        subprocess.run(command, check=True, capture_output=True)
    library = pkcs11.lib(MODULE)
    made = {}
    for number, wanted in enumerate(WANTED, start=1):
        with library.get_token(token_label=wanted.token).open(rw=True, user_pin=PIN) as session:
            made[wanted.name] = make_card(session, wanted, bytes([number]))
    (directory / "cards.json").write_text(json.dumps(made))


def make_card(session: Any, wanted: Wanted, key_id: bytes) -> str:
    """Put the key and the certificate on the token and return the certificate's SHA-256."""
    attributes = {Attribute.ALWAYS_AUTHENTICATE: True} if wanted.always_authenticate else {}
    if wanted.kind == "rsa":
        public, private = session.generate_keypair(KeyType.RSA, 2048, store=True, id=key_id, label=wanted.name)
        key = serialization.load_der_public_key(encode_rsa_public_key(public))
    else:
        parameters = session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters(wanted.kind)}, local=True
        )
        public, private = parameters.generate_keypair(
            store=True, id=key_id, label=wanted.name, private_template=attributes
        )
        key = serialization.load_der_public_key(encode_ec_public_key(public))
    certificate = issue(key, wanted)
    if not wanted.public_key_visible:
        public.destroy()
    if not wanted.private_key:
        private.destroy()
    session.create_object(
        {
            Attribute.CLASS: ObjectClass.CERTIFICATE,
            Attribute.CERTIFICATE_TYPE: pkcs11.CertificateType.X_509,
            Attribute.TOKEN: True,
            Attribute.LABEL: wanted.name,
            Attribute.ID: key_id,
            Attribute.SUBJECT: certificate.subject.public_bytes(),
            Attribute.VALUE: certificate.public_bytes(serialization.Encoding.DER),
        }
    )
    return certificate.fingerprint(hashes.SHA256()).hex()


def issue(key: Any, wanted: Wanted) -> x509.Certificate:
    """A certificate of the test authority for this key."""
    at = now()
    flags = dict.fromkeys(KEY_USAGES, False)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Alice {wanted.name}")]))
        .issuer_name(CA_NAME)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(days=400))
        .not_valid_after(at + timedelta(days=wanted.days))
        .add_extension(x509.BasicConstraints(ca=wanted.authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**(flags | {wanted.usage: True})), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(CA_KEY, hashes.SHA256())
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
