"""Asking the person: the port, and the prompter that follows a script for tests and demonstrations.

A prompter shows which origin asks, lets the person choose a certificate and gives back the PIN. It must look at the
`Wait` it is given at least twice a second, so that cancelling, closing the page and the time limit end every question.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Protocol

from idp_signer.certificates import Offer
from idp_signer.refusals import Refusal
from idp_signer.tokens import PinState

PERSON_SECONDS = 120.0


class Wait:
    """How long a person may still take: until the time limit, a cancellation, or the page's departure."""

    def __init__(self, seconds: float = PERSON_SECONDS, gone: Callable[[], bool] = lambda: False) -> None:
        self._end = time.monotonic() + seconds
        self._gone = gone
        self._cancelled = Event()

    def cancel(self) -> None:
        """End the question from another thread."""
        self._cancelled.set()

    def check(self) -> None:
        """Refuse with `user_cancelled` or `user_timeout` when the question is over."""
        if self._cancelled.is_set() or self._gone():
            raise Refusal("user_cancelled")
        if time.monotonic() >= self._end:
            raise Refusal("user_timeout")

    def pause(self, seconds: float) -> None:
        """Wait so many seconds, less when the question ends before; then `check`."""
        until = min(time.monotonic() + seconds, self._end)
        while (left := until - time.monotonic()) > 0:
            self.check()
            self._cancelled.wait(min(left, 0.2))
        self.check()


@dataclass(frozen=True)
class Asking:
    """Who asks and how to speak: the origin, and the person's language (`fr` or `en`)."""

    origin: str
    lang: str


class Prompter(Protocol):
    """What stands between a web page and the person. Every method may raise `Refusal`."""

    def allow_origin(self, asking: Asking, wait: Wait) -> bool:
        """Whether the person wants this so far unknown origin to be able to ask for their card."""

    def choose(self, asking: Asking, offers: Sequence[Offer], wait: Wait) -> Offer:
        """The certificate the person takes, never one that is not choosable."""

    def pin(self, asking: Asking, offer: Offer, state: PinState, wait: Wait) -> bytearray | None:
        """The PIN in UTF-8, which the caller wipes; None where `state.pin_pad` says that the reader asks for it.

        The person is warned before the last try.
        """


class BadScript(ValueError):
    """The script of a scripted prompter cannot be followed; the message is one sentence."""


@dataclass(frozen=True)
class _Script:
    consent: bool
    certificate: str | int
    pin: str
    delay: float


class ScriptedPrompter:
    """Answers from a JSON file, read anew for each request.

    `{"consent": true, "certificate": SHA-256 or index, "pin": "…", "delay": seconds}` or `{"cancel": true}`; `delay`
    is optional and keeps the question open for so long. It never accepts an origin that was not given at start.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def allow_origin(self, asking: Asking, wait: Wait) -> bool:
        """Never: only the origins given at start count."""
        return False

    def choose(self, asking: Asking, offers: Sequence[Offer], wait: Wait) -> Offer:
        """The certificate the script names. Refuses with `user_cancelled`, `no_certificate`."""
        script = self._read()
        wait.pause(script.delay)
        if not script.consent:
            raise Refusal("user_cancelled")
        for index, offer in enumerate(offers):
            if script.certificate in (index, offer.card.certificate.sha256) and offer.choosable:
                return offer
        raise Refusal("no_certificate")

    def pin(self, asking: Asking, offer: Offer, state: PinState, wait: Wait) -> bytearray | None:
        """The PIN the script holds."""
        return None if state.pin_pad else bytearray(self._read().pin.encode())

    def _read(self) -> _Script:
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadScript(f"{self._file} cannot be read as a script.") from error
        if not isinstance(content, dict):
            raise BadScript(f"{self._file} is not a script: a JSON object is wanted.")
        certificate, pin, delay = content.get("certificate", 0), content.get("pin", ""), content.get("delay", 0)
        if isinstance(certificate, bool) or not isinstance(certificate, str | int) or not isinstance(pin, str):
            raise BadScript(f"{self._file} has a certificate or a PIN of the wrong kind.")
        if isinstance(delay, bool) or not isinstance(delay, int | float):
            raise BadScript(f"{self._file} has a delay that is not a number.")
        consent = content.get("consent") is True and content.get("cancel") is not True
        return _Script(consent, certificate.lower() if isinstance(certificate, str) else certificate, pin, delay)
