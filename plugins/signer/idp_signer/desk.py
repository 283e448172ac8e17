"""The one thing this program does: turn a page's challenge into a token, with the person's consent.

One question at a time, whether about a sign-in or about a new origin: a second one is refused, never queued behind the
first.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from idp_signer import webeid
from idp_signer.certificates import now, offers
from idp_signer.origins import BadOrigin, OriginBook
from idp_signer.prompt import PERSON_SECONDS, Asking, Prompter, Wait
from idp_signer.refusals import Refusal
from idp_signer.tokens import Tokens

log = logging.getLogger(__name__)

# After a refused or ignored question about a new origin no other is put for so long: pages must not nag.
QUIET_SECONDS: Final = 30.0


class Desk:
    """Joins the tokens, the prompter and the list of origins; keeps the one open question."""

    def __init__(
        self, tokens: Tokens, prompter: Prompter, origins: OriginBook, person_seconds: float = PERSON_SECONDS
    ) -> None:
        self._tokens = tokens
        self._prompter = prompter
        self._origins = origins
        self._person_seconds = person_seconds
        self._lock = threading.Lock()
        self._open: tuple[str, Wait] | None = None
        self._closed = False
        self._quiet_until = 0.0

    def admit(self, origin: str, lang: str, may_ask: bool) -> None:
        """Refuse with `origin_not_allowed` an origin that may not ask.

        With `may_ask` the person is asked about one never seen before, and their answer kept.
        """
        answer = self._origins.answer(origin)
        if answer is None and may_ask:
            answer = self._ask_about(origin, lang)
        if not answer:
            raise Refusal("origin_not_allowed")

    def authenticate(self, origin: str, nonce: str, lang: str, gone: Callable[[], bool]) -> dict[str, str]:
        """The Web eID token for this origin and challenge. Raises `Refusal`.

        `origin` must be the one the browser reported; `gone` tells whether the page has left.
        """
        asking = Asking(origin, lang)
        with self._question(origin, Wait(self._person_seconds, gone)) as wait:
            listed = offers(self._tokens.cards(), now())
            if not any(offer.choosable for offer in listed):
                raise Refusal("no_certificate")
            chosen = self._prompter.choose(asking, listed, wait)
            wait.check()
            if chosen not in listed or not chosen.choosable:
                raise Refusal("no_certificate")
            card = chosen.card
            state = self._tokens.pin_state(card)
            if state.locked:
                raise Refusal("pin_locked")
            message = webeid.message(origin, nonce, card.certificate.key)
            pin = self._prompter.pin(asking, chosen, state, wait)
            try:
                wait.check()
                signed = self._tokens.sign(card, None if pin is None else _text(pin), message)
            finally:
                if pin is not None:
                    pin[:] = bytes(len(pin))
            return webeid.token(card.certificate, signed)

    def cancel(self, origin: str) -> bool:
        """End the question that this origin opened; tell whether there was one."""
        with self._lock:
            if self._open is None or self._open[0] != origin:
                return False
            self._open[1].cancel()
            return True

    def close(self) -> None:
        """End whatever question is open, and put no other."""
        with self._lock:
            self._closed = True
            if self._open is not None:
                self._open[1].cancel()

    @contextmanager
    def _question(self, origin: str, wait: Wait) -> Iterator[Wait]:
        with self._lock:
            if self._open is not None or self._closed:
                raise Refusal("busy")
            self._open = (origin, wait)
        try:
            yield wait
        finally:
            with self._lock:
                self._open = None

    def _ask_about(self, origin: str, lang: str) -> bool:
        if time.monotonic() < self._quiet_until:
            return False
        allowed = False
        try:
            # The page's own patience is shorter than a person's: the question stays open when the page hangs up.
            with self._question("", Wait(self._person_seconds)) as wait:
                allowed = self._prompter.allow_origin(Asking(origin, lang), wait)
                self._origins.store(origin, allowed)
        except Refusal:
            return False
        except (OSError, BadOrigin) as error:
            # The person did answer: that holds until this program ends, and they will be asked once more.
            log.warning("the answer about %s could not be stored: %s", origin, error)
        finally:
            if not allowed:
                self._quiet_until = time.monotonic() + QUIET_SECONDS
        return allowed


def _text(pin: bytearray) -> str:
    # python-pkcs11 takes only str, so this copy cannot be wiped; it lives as long as the call.
    return pin.decode(errors="replace")
