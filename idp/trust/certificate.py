"""Reading a certificate that a stranger sent: strict, whole, and with one refusal for everything that does not parse.

`cryptography` cannot load some real cards, so untrusted certificates are read with asn1crypto, which is lazy by default
and is made to parse everything here.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from asn1crypto import pem, x509

from idp.errors import Refused

MAX_BYTES = 8192
UNREADABLE = "certificate_unreadable"


@dataclass(frozen=True)
class Certificate:
    """What the house looks at in a certificate. Instants are Unix seconds, both ends included.

    `key` is `rsa` or the name of a curve, `key_bits` and `exponent` its size (exponent 0 but for RSA). `usage`,
    `purposes` (extendedKeyUsage) are None where the extension is absent. `parsed` is asn1crypto's object; it belongs to
    one thread, since asn1crypto changes it while it is read.
    """

    der: bytes
    sha256: str
    subject: str
    issuer: str
    serial: str
    not_before: int
    not_after: int
    public_key: bytes
    key: str
    key_bits: int
    exponent: int
    usage: frozenset[str] | None
    purposes: frozenset[str] | None
    policies: frozenset[str]
    authority: bool
    signature_hash: str | None
    parsed: Any = field(repr=False, compare=False)


def read(der: bytes) -> Certificate:
    """Parse one certificate of at most 8 kB. Raises `Refused("certificate_unreadable")` whatever is wrong with it."""
    if len(der) > MAX_BYTES:
        raise Refused(UNREADABLE, f"larger than {MAX_BYTES} bytes")
    try:
        require_der(der)
        return _read(der)
    except Refused:
        raise
    except Exception as e:  # the parser raises many kinds on hostile input; none may escape
        raise Refused(UNREADABLE, f"{type(e).__name__}: {e}"[:150]) from e


def one(file: bytes) -> bytes:
    """The single certificate in the bytes of a PEM or DER file, as DER. Raises `Refused` for none or several."""
    return unwrap(file, "CERTIFICATE", UNREADABLE)


def unwrap(file: bytes, label: str, cause: str) -> bytes:
    """The single object of kind `label` in PEM, or the bytes themselves. Raises `Refused(cause)`."""
    if not pem.detect(file):
        return file
    try:
        found = [(kind, content) for kind, _, content in pem.unarmor(file, multiple=True)]
    except (ValueError, TypeError) as e:
        raise Refused(cause, f"broken PEM: {e}"[:150]) from e
    if len(found) != 1 or found[0][0] != label:
        raise Refused(cause, f"the file must hold exactly one {label}")
    return bytes(found[0][1])


def require_der(data: bytes) -> None:
    """Refuse the liberties of BER: indefinite and needlessly long lengths, and lengths that run over their parent.

    asn1crypto takes them; one certificate must have one encoding, since its hash is its name here. Iterative, so that
    no nesting is too deep. Raises `ValueError` or `IndexError`.
    """
    waiting = [(0, len(data))]
    while waiting:
        at, end = waiting.pop()
        while at < end:
            tag = data[at]
            at += 1
            if tag & 0x1F == 0x1F:
                while data[at] & 0x80:
                    at += 1
                at += 1
            length = data[at]
            at += 1
            if length >= 0x80:
                count = length & 0x7F
                length = int.from_bytes(data[at : at + count], "big")
                if not 1 <= count <= 4 or length < 0x80 or data[at] == 0:
                    raise ValueError("a length that is not DER")
                at += count
            if at + length > end:
                raise ValueError("a length beyond the end")
            if tag & 0x20:
                waiting.append((at, at + length))
            at += length


def _read(der: bytes) -> Certificate:
    parsed = x509.Certificate.load(der, strict=True)
    _ = parsed.native  # parses the whole structure, so that nothing malformed waits for a later access
    body = parsed["tbs_certificate"]
    kinds = [e["extn_id"].dotted for e in body["extensions"]] if body["extensions"] else []
    if len(kinds) != len(set(kinds)):
        raise ValueError("an extension appears twice")
    if body["signature"]["algorithm"].dotted != parsed["signature_algorithm"]["algorithm"].dotted:
        raise ValueError("two different signature algorithms")
    usage, purposes, policies = (
        parsed.key_usage_value,
        parsed.extended_key_usage_value,
        parsed.certificate_policies_value,
    )
    constraints = parsed.basic_constraints_value
    key, bits, exponent = _key(parsed.public_key)
    return Certificate(
        der=der,
        sha256=hashlib.sha256(der).hexdigest(),
        subject=words(parsed.subject),
        issuer=words(parsed.issuer),
        serial=format(parsed.serial_number, "x"),
        not_before=_instant(parsed.not_valid_before),
        not_after=_instant(parsed.not_valid_after),
        public_key=parsed.public_key.dump(),
        key=key,
        key_bits=bits,
        exponent=exponent,
        usage=None if usage is None else frozenset(usage.native),
        purposes=None if purposes is None else frozenset(purposes.native),
        policies=frozenset(p["policy_identifier"].dotted for p in policies or ()),
        authority=bool(constraints is not None and constraints["ca"].native),
        signature_hash=_hash(parsed["signature_algorithm"]),
        parsed=parsed,
    )


def _key(public_key: Any) -> tuple[str, int, int]:
    if public_key.algorithm == "rsa":
        numbers = public_key["public_key"].parsed
        return "rsa", int(numbers["modulus"].native).bit_length(), int(numbers["public_exponent"].native)
    if public_key.algorithm == "ec":
        form, curve = public_key.curve
        return (str(curve), int(public_key.bit_size), 0) if form == "named" else ("ec", 0, 0)
    return str(public_key.algorithm), 0, 0


def _hash(algorithm: Any) -> str | None:
    """The hash under a signature; None where the scheme has its own (EdDSA)."""
    if algorithm.signature_algo in ("ed25519", "ed448"):
        return None
    return str(algorithm.hash_algo)


def _instant(moment: datetime) -> int:
    return int(moment.timestamp())


def words(name: Any) -> str:
    """A distinguished name for people: the common name with its serial number, or the whole name without one.

    Characters that could forge a display are replaced.
    """
    values = name.native
    common, number = values.get("common_name"), values.get("serial_number")
    if isinstance(common, str) and common:
        text = f"{common} ({number})" if isinstance(number, str) and number not in common else common
    else:
        text = name.human_friendly
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
