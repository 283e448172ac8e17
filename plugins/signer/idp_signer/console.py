"""The prompter that asks on the terminal, in French or English.

It reads the terminal itself instead of through `getpass`, whose blocking read would survive a cancellation and
swallow the next answer; where the system has no such terminal control, `getpass` is used.
"""

import getpass
import os
import select
import sys
from collections.abc import Sequence
from typing import Final, Protocol

from idp_signer.certificates import Offer
from idp_signer.prompt import Asking, Wait
from idp_signer.refusals import Refusal
from idp_signer.tokens import PinState

_LOOK_SECONDS: Final = 0.25
_MAX_LINE: Final = 256

TEXTS: Final[dict[str, dict[str, str]]] = {
    "fr": {
        "asks": "{origin} demande à {user} de s’identifier avec une carte.",
        "new": "{origin} n’a encore jamais demandé votre carte. L’autoriser à le faire ? [oui/non] ",
        "yes": "oui",
        "expires": "expire le {day}",
        "expired": "expiré le {day}, ne peut pas être choisi",
        "not_yet": "pas encore valable, ne peut pas être choisi",
        "line": "  {index}. {holder} — délivré par {issuer}, {state}",
        "greyed": "  –  {holder} — délivré par {issuer}, {state}",
        "choose": "Numéro du certificat (ligne vide pour annuler) : ",
        "again": "Ce numéro n’est pas dans la liste.",
        "low": "Un code PIN erroné a déjà été saisi.",
        "last": "ATTENTION : dernier essai. Un code erroné bloquera la carte.",
        "pin": "Code PIN de « {label} » (ligne vide pour annuler) : ",
        "pin_pad": "Saisissez le code PIN sur le lecteur de « {label} ».",
        "over": "La demande a pris fin.",
    },
    "en": {
        "asks": "{origin} asks {user} to sign in with a card.",
        "new": "{origin} has never asked for your card before. Allow it to ask? [yes/no] ",
        "yes": "yes",
        "expires": "expires on {day}",
        "expired": "expired on {day}, cannot be chosen",
        "not_yet": "not yet valid, cannot be chosen",
        "line": "  {index}. {holder} — issued by {issuer}, {state}",
        "greyed": "  –  {holder} — issued by {issuer}, {state}",
        "choose": "Number of the certificate (empty line to cancel): ",
        "again": "This number is not in the list.",
        "low": "A wrong PIN has been entered before.",
        "last": "WARNING: last try. A wrong PIN will lock the card.",
        "pin": "PIN of “{label}” (empty line to cancel): ",
        "pin_pad": "Enter the PIN on the reader of “{label}”.",
        "over": "The request has ended.",
    },
}


class Terminal(Protocol):
    """Where lines are written and read."""

    def write(self, text: str) -> None:
        """Show `text` as it is."""

    def read(self, secret: bool, wait: Wait) -> bytearray:
        """One line without its end, not echoed if `secret`. Raises `Refusal` when the question is over."""


class NoTerminal(Exception):
    """There is no terminal to ask on; the message is one sentence."""


def open_terminal() -> Terminal:
    """The terminal this program was started from. Raises `NoTerminal`."""
    if sys.platform == "win32":
        return GetpassTerminal()
    try:
        return PosixTerminal(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError as error:
        raise NoTerminal("The console prompter needs a terminal, and this program was started without one.") from error


class GetpassTerminal:
    """Standard input and `getpass`: a cancellation is noticed only after the next line."""

    def write(self, text: str) -> None:
        """See `Terminal`."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def read(self, secret: bool, wait: Wait) -> bytearray:
        """See `Terminal`."""
        try:
            line = getpass.getpass("") if secret else input()
        except EOFError as error:
            raise Refusal("user_cancelled") from error
        wait.check()
        return bytearray(line.encode())


if sys.platform != "win32":
    import termios

    class PosixTerminal:
        """A terminal by its file descriptor."""

        def __init__(self, descriptor: int) -> None:
            self._descriptor = descriptor

        def write(self, text: str) -> None:
            """See `Terminal`."""
            os.write(self._descriptor, text.encode())

        def read(self, secret: bool, wait: Wait) -> bytearray:
            """See `Terminal`. What was typed before the question is thrown away."""
            before = termios.tcgetattr(self._descriptor)
            during = termios.tcgetattr(self._descriptor)
            if secret:
                during[3] &= ~termios.ECHO
            termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, during)
            try:
                return self._line(wait)
            finally:
                termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, before)
                if secret:
                    self.write("\n")

        def _line(self, wait: Wait) -> bytearray:
            line = bytearray()
            while not line.endswith(b"\n"):
                wait.check()
                if select.select([self._descriptor], [], [], _LOOK_SECONDS)[0]:
                    more = os.read(self._descriptor, _MAX_LINE)
                    if not more or len(line) > _MAX_LINE:
                        raise Refusal("user_cancelled")
                    line += more
            del line[-1:]
            return line


class ConsolePrompter:
    """Asks on a terminal."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._user = getpass.getuser()

    def allow_origin(self, asking: Asking, wait: Wait) -> bool:
        """See `Prompter`. Only the whole word counts as consent."""
        texts = TEXTS[asking.lang]
        answer = self._ask("\n" + texts["new"].format(origin=asking.origin), False, asking, wait)
        return answer.decode(errors="replace").strip().lower() == texts["yes"]

    def choose(self, asking: Asking, offers: Sequence[Offer], wait: Wait) -> Offer:
        """See `Prompter`."""
        texts = TEXTS[asking.lang]
        self._terminal.write("\n" + texts["asks"].format(origin=asking.origin, user=self._user) + "\n")
        for index, offer in enumerate(offers, start=1):
            self._terminal.write(_line(index, offer, texts) + "\n")
        while True:
            answer = self._ask(texts["choose"], False, asking, wait).decode(errors="replace").strip()
            if not answer:
                raise Refusal("user_cancelled")
            number = int(answer) if answer.isdecimal() and len(answer) < 4 else 0
            if 1 <= number <= len(offers) and offers[number - 1].choosable:
                return offers[number - 1]
            self._terminal.write(texts["again"] + "\n")

    def pin(self, asking: Asking, offer: Offer, state: PinState, wait: Wait) -> bytearray | None:
        """See `Prompter`."""
        texts = TEXTS[asking.lang]
        if state.last_try or state.low:
            self._terminal.write(texts["last" if state.last_try else "low"] + "\n")
        label = _printable(offer.card.label)
        if state.pin_pad:
            self._terminal.write(texts["pin_pad"].format(label=label) + "\n")
            return None
        pin = self._ask(texts["pin"].format(label=label), True, asking, wait)
        if not pin:
            raise Refusal("user_cancelled")
        return pin

    def _ask(self, question: str, secret: bool, asking: Asking, wait: Wait) -> bytearray:
        self._terminal.write(question)
        try:
            return self._terminal.read(secret, wait)
        except Refusal:
            self._terminal.write("\n" + TEXTS[asking.lang]["over"] + "\n")
            raise


def _line(index: int, offer: Offer, texts: dict[str, str]) -> str:
    certificate = offer.card.certificate
    key = "expired" if offer.expired else "expires" if offer.choosable else "not_yet"
    return texts["line" if offer.choosable else "greyed"].format(
        index=index,
        holder=certificate.holder,
        issuer=certificate.issuer,
        state=texts[key].format(day=certificate.not_after.date().isoformat()),
    )


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
