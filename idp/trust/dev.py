"""Recipes for trials: a small certification authority, and cards that it issues on a SoftHSM token.

Never for production: the authority's keys lie in files. `authority` makes them, `card` makes one card; both return what
the `idp certs` commands print.
"""

import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pkcs11
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pkcs11 import Attribute, CertificateType, KeyType, ObjectClass
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters
from pkcs11.util.rsa import encode_rsa_public_key

from idp import clock
from idp.errors import Conflict, Invalid, NotFound, Unavailable

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
ALGORITHMS = ("ES256", "RS256")
_YEAR = 365
_USAGES = (
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


@dataclass(frozen=True)
class Kind:
    """What is odd about a card: out of date, made only for signing documents, or revoked."""

    expired: bool = False
    signature_only: bool = False
    revoked: bool = False


def authority(folder: Path) -> dict[str, str]:
    """Make a root, an issuing authority and its list of revoked certificates, valid ten years.

    Files `root.pem`, `issuing.pem`, `issuing.crl`, and the keys `root.key`, `issuing.key` with mode 0600; the anchor to
    trust is `issuing.pem`. Raises `Conflict` when one of them exists.
    """
    files = {n: folder / n for n in ("root.pem", "issuing.pem", "issuing.crl", "root.key", "issuing.key")}
    for path in files.values():
        if path.exists():
            raise Conflict("file_exists", f"{path} exists; choose an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    root_key, issuing_key = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP256R1())
    root_name, issuing_name = _name("Poterne development root"), _name("Poterne development cards")
    root = _authority(root_name, root_name, root_key.public_key(), 1).sign(root_key, hashes.SHA384())
    issuing = _authority(issuing_name, root_name, issuing_key.public_key(), 0).sign(root_key, hashes.SHA384())
    for name, key in (("root.key", root_key), ("issuing.key", issuing_key)):
        pem = key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        _write(files[name], pem, 0o600)
    _write(files["root.pem"], root.public_bytes(Encoding.PEM))
    _write(files["issuing.pem"], issuing.public_bytes(Encoding.PEM))
    _write(files["issuing.crl"], _list(issuing, issuing_key, 1, []))
    return {"root": str(files["root.pem"]), "anchor": str(files["issuing.pem"]), "crl": str(files["issuing.crl"])}


def card(
    folder: Path,
    token: str,
    pin: str,
    name: str,
    alg: str = "ES256",
    kind: Kind = Kind(),
    *,
    module: str = MODULE,
) -> dict[str, str]:
    """Make a card: a key pair inside the token, its certificate beside it and in `folder/<sha256>.pem`.

    The token is made when no token of `SOFTHSM2_CONF` bears that label. Raises `NotFound` without an authority in
    `folder`, `Invalid` for a wrong PIN or algorithm, `Unavailable` when SoftHSM does not work.
    """
    if alg not in ALGORITHMS:
        raise Invalid("alg", f"{alg!r} is unknown; known are {', '.join(ALGORITHMS)}")
    issuer, issuer_key = _load(folder)
    _require_token(token, pin)
    try:
        library = pkcs11.lib(module)
        library.reinitialize()  # a token made just now, or another SOFTHSM2_CONF, is seen only after this
        with library.get_token(token_label=token).open(rw=True, user_pin=pin) as session:
            key_id = secrets.token_bytes(8)
            public_key = _generate(session, alg, key_id, name)
            certificate = _issue(issuer, issuer_key, public_key, name, kind)
            _store(session, certificate, key_id, name)
    except pkcs11.exceptions.PinIncorrect as e:
        raise Invalid("pin", f"this is not the PIN of token {token}") from e
    except pkcs11.exceptions.PKCS11Error as e:
        raise Unavailable("softhsm", f"{type(e).__name__}: {e}") from e
    if kind.revoked:
        _revoke(folder, issuer, issuer_key, certificate.serial_number)
    sha256 = certificate.fingerprint(hashes.SHA256()).hex()
    path = folder / f"{sha256}.pem"
    _write(path, certificate.public_bytes(Encoding.PEM))
    return {"certificate": str(path), "sha256": sha256}


def _require_token(label: str, pin: str) -> None:
    """Make the token when it is missing."""
    if f"Label:            {label}\n" in _softhsm("--show-slots") + "\n":
        return
    _softhsm("--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", secrets.token_hex(8))


def _softhsm(*arguments: str) -> str:
    program = shutil.which("softhsm2-util")
    if program is None:
        raise Unavailable("softhsm", "softhsm2-util is missing; install the package softhsm2")
    done = subprocess.run([program, *arguments], check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise Unavailable("softhsm", (done.stderr or done.stdout).strip())
    # Lines are padded on the right.
    return "\n".join(line.strip() for line in done.stdout.splitlines())


def _generate(session: Any, alg: str, key_id: bytes, label: str) -> Any:
    """A key pair inside the token, never extractable (SoftHSM's and the binding's default); its public half."""
    if alg == "RS256":
        public, _ = session.generate_keypair(KeyType.RSA, 2048, store=True, id=key_id, label=label)
        return serialization.load_der_public_key(encode_rsa_public_key(public))
    curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
    parameters = session.create_domain_parameters(KeyType.EC, curve, local=True)
    public, _ = parameters.generate_keypair(store=True, id=key_id, label=label)
    return serialization.load_der_public_key(encode_ec_public_key(public))


def _store(session: Any, certificate: x509.Certificate, key_id: bytes, label: str) -> None:
    session.create_object(
        {
            Attribute.CLASS: ObjectClass.CERTIFICATE,
            Attribute.CERTIFICATE_TYPE: CertificateType.X_509,
            Attribute.TOKEN: True,
            Attribute.LABEL: label,
            Attribute.ID: key_id,
            Attribute.SUBJECT: certificate.subject.public_bytes(),
            Attribute.VALUE: certificate.public_bytes(Encoding.DER),
        }
    )


def _issue(issuer: x509.Certificate, issuer_key: Any, public_key: Any, name: str, kind: Kind) -> x509.Certificate:
    now = _now()
    until = now - timedelta(days=1) if kind.expired else now + timedelta(days=3 * _YEAR)
    usage = "content_commitment" if kind.signature_only else "digital_signature"
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=_YEAR if kind.expired else 1))
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(usage), critical=True)
        .add_extension(_key_name(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not kind.signature_only:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _authority(subject: x509.Name, issuer: x509.Name, key: Any, below: int) -> x509.CertificateBuilder:
    now = _now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=10 * _YEAR))
        .add_extension(x509.BasicConstraints(ca=True, path_length=below), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(_key_name(key), critical=False)
    )


def _list(issuer: x509.Certificate, key: Any, number: int, revoked: list[x509.RevokedCertificate]) -> bytes:
    now = _now()
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - timedelta(days=1))
        .next_update(now + timedelta(days=10 * _YEAR))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    for one in revoked:
        builder = builder.add_revoked_certificate(one)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _revoke(folder: Path, issuer: x509.Certificate, key: Any, serial: int) -> None:
    """Replace the list by one that also names this certificate."""
    path = folder / "issuing.crl"
    before = x509.load_pem_x509_crl(path.read_bytes())
    number = before.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_now() - timedelta(hours=1)).build()
    path.write_bytes(_list(issuer, key, number + 1, [*before, entry]))


def _load(folder: Path) -> tuple[x509.Certificate, Any]:
    try:
        certificate = x509.load_pem_x509_certificate((folder / "issuing.pem").read_bytes())
        return certificate, serialization.load_pem_private_key((folder / "issuing.key").read_bytes(), None)
    except OSError as e:
        raise NotFound("authority_missing", f"{e.filename} is missing; run: idp certs dev {folder}") from e


def _name(common: str) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    except ValueError as e:
        raise Invalid("name", "a name of 1 to 64 characters is needed") from e


def _usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{n: n in names for n in _USAGES})


def _key_name(key: Any) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key)


def _now() -> datetime:
    return datetime.fromtimestamp(clock.now(), UTC)


def _write(path: Path, content: bytes, mode: int = 0o644) -> None:
    """A new file with this mode; one that exists is refused."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as e:
        raise Conflict("file_exists", f"{path} exists") from e
    with os.fdopen(fd, "wb") as f:
        f.write(content)
