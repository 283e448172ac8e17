"""The cards: the port the rest of the program sees, and its PKCS#11 implementation.

All of PKCS#11 stays in this file. Its rules: one process-wide lock round every call (a module that python-pkcs11
initialised is not safe in two threads); searches are read to their end at once; log in, sign and log out for each
request; a PIN is given to the token once and never again by itself.
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass, TokenFlag
from pkcs11 import exceptions as failure

from idp_signer import webeid
from idp_signer.certificates import Card, KeyKind, NotOffered, read
from idp_signer.refusals import Refusal, pin_incorrect
from idp_signer.webeid import Signed

log = logging.getLogger(__name__)

_LOCK: Final = threading.RLock()

_GONE: Final = (
    failure.DeviceRemoved,
    failure.TokenNotPresent,
    failure.TokenNotRecognised,
    failure.NoSuchToken,
    failure.SlotIDInvalid,
)
_WRONG_PIN: Final = (failure.PinIncorrect, failure.PinInvalid, failure.PinLenRange)
_ABORTED: Final = (failure.FunctionCancelled, failure.FunctionRejected)


class ModuleUnusable(Exception):
    """The PKCS#11 module cannot be loaded or initialised; the message is one sentence."""


@dataclass(frozen=True)
class PinState:
    """What a token says about its PIN before it is asked for.

    `tries_left` is None where the token gives no number (PKCS#11 never does). `low`: a wrong PIN was given since the
    last good one. `pin_pad`: the PIN is typed on the reader, not on this machine.
    """

    tries_left: int | None = None
    low: bool = False
    last_try: bool = False
    locked: bool = False
    pin_pad: bool = False


class Tokens(Protocol):
    """The tokens within reach. Every method raises `Refusal`."""

    def cards(self) -> list[Card]:
        """Every certificate for signing in, of every token, in no particular order. Refuses with `no_card`."""

    def pin_state(self, card: Card) -> PinState:
        """The state of the PIN that protects this card's key. Refuses with `card_removed`."""

    def sign(self, card: Card, pin: str | None, message: bytes) -> Signed:
        """Log in, sign `message` with the card's key, log out. `pin` is None where the reader asks for it.

        Refuses with `pin_incorrect`, `pin_locked`, `card_removed`, `no_certificate` (no private key),
        `user_cancelled` (on the reader) or `token_error`.
        """


class Pkcs11Tokens:
    """The tokens of one PKCS#11 module. Raises `ModuleUnusable` when it cannot be loaded."""

    def __init__(self, module: str) -> None:
        with _LOCK:
            try:
                self._library = pkcs11.lib(module)
            except failure.PKCS11Error as error:
                raise ModuleUnusable(f"{module} cannot be used as a PKCS#11 module ({_describe(error)}).") from error

    def close(self) -> None:
        """Log out of everything and leave the module. Nothing can be asked afterwards."""
        # A reader waiting for its PIN holds the lock for as long as it likes; the end of the program does not wait.
        if _LOCK.acquire(timeout=2.0):
            try:
                with suppress(failure.PKCS11Error):
                    self._library.finalize()
            finally:
                _LOCK.release()

    def cards(self) -> list[Card]:
        """See `Tokens`. Starts the module anew, because some notice a new or removed card only then."""
        with _LOCK:
            try:
                self._restart()
                tokens = list(self._present())
            except failure.PKCS11Error as error:
                raise _token_error(error) from error
            if not tokens:
                raise Refusal("no_card")
            return [card for token in tokens for card in _cards_of(token)]

    def pin_state(self, card: Card) -> PinState:
        """See `Tokens`."""
        with _LOCK, self._watching(card):
            return _pin_state(self._find(card))

    def sign(self, card: Card, pin: str | None, message: bytes) -> Signed:
        """See `Tokens`."""
        if pin == "":
            raise pin_incorrect(None, self.pin_state(card).last_try)  # an empty PIN must not cost a try
        with _LOCK, self._watching(card):
            token = self._find(card)
            mechanisms = token.slot.get_mechanisms()
            with token.open(user_pin=pkcs11.PROTECTED_AUTH if pin is None else pin) as session:
                key = _private_key(session, card)
                return _sign(key, card.certificate.key, mechanisms, message, pin)

    @contextmanager
    def _watching(self, card: Card) -> Iterator[None]:
        """Turn what the module raises into a refusal, and leave no half-open session behind."""
        try:
            yield
        except failure.PKCS11Error as error:
            # A failed login leaks its session, and real cards have few: only a restart gives it back.
            raise self._refusal(error, card) from error

    def _refusal(self, error: failure.PKCS11Error, card: Card) -> Refusal:
        try:
            self._restart()
            state = _pin_state(self._find(card))
        except failure.PKCS11Error:
            return Refusal("card_removed")
        if isinstance(error, _WRONG_PIN):
            return Refusal("pin_locked") if state.locked else pin_incorrect(state.tries_left, state.last_try)
        return refusal_of(error)

    def _restart(self) -> None:
        # After a removal or a fork finalising may fail; what counts is that initialising succeeds.
        with suppress(failure.PKCS11Error):
            self._library.finalize()
        self._library.initialize()

    def _present(self) -> Iterator[pkcs11.Token]:
        for slot in self._library.get_slots(token_present=True):
            try:
                token = slot.get_token()
            except failure.PKCS11Error as error:
                log.warning("slot %d left out: %s", slot.slot_id, _describe(error))
                continue
            if token.flags & TokenFlag.TOKEN_INITIALIZED:
                yield token

    def _find(self, card: Card) -> pkcs11.Token:
        for token in self._present():
            if (token.slot.slot_id, token.serial, token.label) == (card.slot, card.serial, card.label):
                return token
        raise failure.NoSuchToken("the token is no longer there")


def refusal_of(error: failure.PKCS11Error) -> Refusal:
    """The refusal for what a module raised while its token is still present, wrong PINs apart."""
    if isinstance(error, failure.PinLocked):
        return Refusal("pin_locked")
    if isinstance(error, _GONE):
        return Refusal("card_removed")
    if isinstance(error, _ABORTED):
        return Refusal("user_cancelled")
    if isinstance(error, failure.NoSuchKey):
        return Refusal("no_certificate")
    return _token_error(error)


def _token_error(error: failure.PKCS11Error) -> Refusal:
    log.warning("the module answered: %s", _describe(error))
    return Refusal("token_error")


def _describe(error: failure.PKCS11Error) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _pin_state(token: pkcs11.Token) -> PinState:
    flags = token.flags
    return PinState(
        low=bool(flags & TokenFlag.USER_PIN_COUNT_LOW),
        last_try=bool(flags & TokenFlag.USER_PIN_FINAL_TRY),
        locked=bool(flags & TokenFlag.USER_PIN_LOCKED),
        pin_pad=bool(flags & TokenFlag.PROTECTED_AUTHENTICATION_PATH),
    )


def _cards_of(token: pkcs11.Token) -> list[Card]:
    try:
        with token.open() as session:
            certificates = list(session.get_objects({Attribute.CLASS: ObjectClass.CERTIFICATE}))
            public = list(session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY}))
            # Private keys are invisible before the login. Where the token shows public keys, a certificate needs one
            # of its id; where it shows none, the check has to wait for the login.
            ids = {_attribute(key, Attribute.ID) for key in public}
            found = [(_attribute(entry, Attribute.VALUE), _attribute(entry, Attribute.ID)) for entry in certificates]
    except failure.PKCS11Error as error:
        log.warning("token left out: %s", _describe(error))
        return []
    cards = []
    for der, key_id in found:
        if not der or not key_id or (ids and key_id not in ids):
            continue
        try:
            certificate = read(der)
        except NotOffered as reason:
            log.debug("a certificate is not offered: %s", reason)
            continue
        cards.append(Card(certificate, token.slot.slot_id, token.serial, token.label, key_id))
    return cards


def _attribute(entry: Any, attribute: Attribute) -> bytes:
    """A byte attribute, empty where the object has none."""
    try:
        return bytes(entry[attribute] or b"")
    except (failure.AttributeTypeInvalid, failure.AttributeSensitive):
        return b""


def _private_key(session: pkcs11.Session, card: Card) -> Any:
    """The private key that belongs to the card's certificate. Raises `NoSuchKey`, also when several could be meant."""
    kind = KeyType.RSA if card.certificate.key is KeyKind.RSA else KeyType.EC
    wanted = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.KEY_TYPE: kind, Attribute.ID: card.key_id}
    keys: list[Any] = list(session.get_objects(wanted))
    if len(keys) > 1 and card.certificate.rsa_modulus is not None:
        # Ids need not be unique; an RSA private key shows its modulus.
        keys = [key for key in keys if _modulus(key) == card.certificate.rsa_modulus]
    if len(keys) != 1:
        raise failure.NoSuchKey(f"{len(keys)} private keys carry the certificate's id")
    return keys[0]


def _modulus(key: Any) -> int:
    return int.from_bytes(_attribute(key, Attribute.MODULUS), "big")


def _sign(key: Any, kind: KeyKind, mechanisms: set[Mechanism], message: bytes, pin: str | None) -> Signed:
    # A key that wants the PIN again for each use gets the one just typed; with a PIN pad the module asks by itself.
    again = {"pin": pin} if pin is not None and _always_authenticates(key) else {}

    def sign(data: bytes, mechanism: Mechanism, parameters: Any = None) -> bytes:
        return bytes(key.sign(data, mechanism=mechanism, mechanism_param=parameters, **again))

    if kind is KeyKind.RSA:
        return sign_rsa(sign, mechanisms, message)
    signature = sign(hashlib.new(kind.hash_name, message).digest(), Mechanism.ECDSA)
    if len(signature) != kind.signature_length:
        raise failure.DeviceError("an ECDSA signature of the wrong length")
    return Signed(webeid.ECDSA_ALGORITHM[kind], signature)


def sign_rsa(sign: Callable[..., bytes], mechanisms: set[Mechanism], message: bytes) -> Signed:
    """RS256 by the best mechanism the token has, PS256 only where it has no PKCS#1 v1.5. Raises `MechanismInvalid`."""
    pss = (Mechanism.SHA256, pkcs11.MGF.SHA256, 32)
    if Mechanism.SHA256_RSA_PKCS in mechanisms:
        return Signed("RS256", sign(message, Mechanism.SHA256_RSA_PKCS))
    if Mechanism.RSA_PKCS in mechanisms:
        return Signed("RS256", sign(webeid.digest_info(message), Mechanism.RSA_PKCS))
    if Mechanism.SHA256_RSA_PKCS_PSS in mechanisms:
        return Signed("PS256", sign(message, Mechanism.SHA256_RSA_PKCS_PSS, pss))
    if Mechanism.RSA_PKCS_PSS in mechanisms:
        return Signed("PS256", sign(hashlib.sha256(message).digest(), Mechanism.RSA_PKCS_PSS, pss))
    raise failure.MechanismInvalid("the token has no RSA signature this program knows")


def _always_authenticates(key: Any) -> bool:
    try:
        return bool(key[Attribute.ALWAYS_AUTHENTICATE])
    except failure.PKCS11Error:
        return False
