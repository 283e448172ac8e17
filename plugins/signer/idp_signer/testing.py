"""Tokens and prompters without hardware and without a person, for tests of this program and of pages that call it.

The fake token does what a software token cannot: lock its PIN, and be pulled out in the middle.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from threading import Event, Thread
from typing import Any

from idp_signer.certificates import Card, Offer
from idp_signer.desk import Desk
from idp_signer.prompt import Asking, Wait
from idp_signer.refusals import Refusal, pin_incorrect
from idp_signer.server import Server
from idp_signer.tokens import PinState
from idp_signer.webeid import Signed
from idp_signer.wire import Limits


class FakeTokens:
    """One token with the given cards, a PIN, and a counter of tries; `tells_tries` makes it name the number left."""

    def __init__(
        self,
        cards: Sequence[Card],
        signer: Callable[[bytes], Signed],
        pin: str = "123456",
        tries: int = 3,
        tells_tries: bool = False,
    ) -> None:
        self._cards = list(cards)
        self._signer = signer
        self._pin = pin
        self._tells = tells_tries
        self.allowed_tries = tries
        self.tries = tries
        self.present = True
        self.pin_pad = False
        self.logins = 0

    def cards(self) -> list[Card]:
        """See `Tokens`."""
        if not self.present:
            raise Refusal("no_card")
        return list(self._cards)

    def pin_state(self, card: Card) -> PinState:
        """See `Tokens`."""
        self._check_present()
        return PinState(
            tries_left=self.tries if self._tells else None,
            low=self.tries < self.allowed_tries,
            last_try=self.tries == 1,
            locked=self.tries == 0,
            pin_pad=self.pin_pad,
        )

    def sign(self, card: Card, pin: str | None, message: bytes) -> Signed:
        """See `Tokens`."""
        self._check_present()
        self.logins += 1
        if self.tries == 0:
            raise Refusal("pin_locked")
        if pin != self._pin and not self.pin_pad:
            self.tries -= 1
            if self.tries == 0:
                raise Refusal("pin_locked")
            raise pin_incorrect(self.tries if self._tells else None, self.tries == 1)
        self.tries = self.allowed_tries
        return self._signer(message)

    def _check_present(self) -> None:
        if not self.present:
            raise Refusal("card_removed")


class StagedPrompter:
    """A person in a test: takes the first certificate, gives `typed` as PIN, keeps what was shown.

    While `hold` is set every question stays open; `asked` is set as soon as one is. `before_pin` runs between the
    choice and the PIN.
    """

    def __init__(self, typed: str = "123456", accepts_origins: bool = False) -> None:
        self.typed = typed
        self.accepts_origins = accepts_origins
        self.hold = Event()
        self.asked = Event()
        self.before_pin: Callable[[], None] = lambda: None
        self.origins_shown: list[str] = []
        self.offers_shown: list[Sequence[Offer]] = []
        self.states_shown: list[PinState] = []
        self.given: list[bytearray] = []

    def allow_origin(self, asking: Asking, wait: Wait) -> bool:
        """See `Prompter`."""
        self.origins_shown.append(asking.origin)
        self._stay(wait)
        return self.accepts_origins

    def choose(self, asking: Asking, offers: Sequence[Offer], wait: Wait) -> Offer:
        """See `Prompter`."""
        self.offers_shown.append(offers)
        self._stay(wait)
        return offers[0]

    def pin(self, asking: Asking, offer: Offer, state: PinState, wait: Wait) -> bytearray | None:
        """See `Prompter`."""
        self.states_shown.append(state)
        self.before_pin()
        if state.pin_pad:
            return None
        self.given.append(bytearray(self.typed.encode()))
        return self.given[-1]

    def _stay(self, wait: Wait) -> None:
        self.asked.set()
        while self.hold.is_set():
            wait.pause(0.05)


@dataclass(frozen=True)
class Reply:
    """What the program answered: status, headers by lower-case name, and the JSON content (empty without a body)."""

    status: int
    headers: Mapping[str, str]
    content: dict[str, Any]


def call(
    port: int,
    method: str,
    path: str,
    body: bytes | dict[str, Any] | None = None,
    headers: Mapping[str, str | None] | None = None,
    origin: str | None = "https://id.office.test",
) -> Reply:
    """Send one request as a browser would; `headers` replaces what it would send, None leaves a header out."""
    sent: dict[str, str | None] = {"Host": f"127.0.0.1:{port}", "Origin": origin}
    if body is not None:
        sent["Content-Type"] = "application/json"
    sent |= headers or {}
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        if content is not None:
            connection.putheader("Content-Length", str(len(content)))
        connection.endheaders(content)
        response = connection.getresponse()
        text = response.read()
        return Reply(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            json.loads(text) if text else {},
        )
    finally:
        connection.close()


@contextmanager
def serving(desk: Desk, limits: Limits | None = None) -> Iterator[Server]:
    """Serve this desk on a free loopback port for as long as the block lasts."""
    server = Server(desk, (0,), limits)
    thread = Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()
