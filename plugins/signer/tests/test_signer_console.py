"""The console prompter on a real pseudo-terminal."""

import os
import pty
import select
import termios
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from idp_signer.certificates import Card, Offer, now, offers, read
from idp_signer.console import TEXTS, ConsolePrompter, PosixTerminal
from idp_signer.prompt import Asking, Wait
from idp_signer.refusals import Refusal
from idp_signer.tokens import PinState

ASKING = Asking("https://id.office.example", "fr")


class Person:
    """Reads what the terminal shows and types into it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.seen = ""

    def sees(self, text: str) -> None:
        """Wait until `text` is on the screen."""
        end = time.monotonic() + 5
        while text not in self.seen:
            assert time.monotonic() < end, self.seen
            if select.select([self._descriptor], [], [], 0.1)[0]:
                self.seen += os.read(self._descriptor, 4096).decode(errors="ignore")

    def types(self, text: str) -> None:
        """Type `text` once the program waits for it (what was typed before is thrown away)."""
        time.sleep(0.1)
        os.write(self._descriptor, text.encode())


@pytest.fixture
def terminal() -> Iterator[tuple[Person, int]]:
    mine, theirs = pty.openpty()
    yield Person(mine), theirs
    os.close(mine)
    os.close(theirs)


@pytest.fixture
def person(terminal: tuple[Person, int]) -> Person:
    return terminal[0]


@pytest.fixture
def prompter(terminal: tuple[Person, int]) -> ConsolePrompter:
    return ConsolePrompter(PosixTerminal(terminal[1]))


@pytest.fixture
def listed(issue: Callable[..., bytes]) -> list[Offer]:
    ders = [issue(days=30, name="Alice Martin"), issue(days=-1, name="Alice Ancienne")]
    return offers([Card(read(der), 0, b"1", "carte", b"1") for der in ders], now())


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def test_the_person_sees_who_asks_and_chooses_by_number(
    prompter: ConsolePrompter, person: Person, listed: list[Offer], pool: ThreadPoolExecutor
) -> None:
    answer = pool.submit(prompter.choose, ASKING, listed, Wait(10))
    person.sees("Numéro du certificat")
    assert "https://id.office.example demande à" in person.seen
    assert "1. Alice Martin" in person.seen
    assert "–  Alice Ancienne" in person.seen
    person.types("2\n")
    person.sees(TEXTS["fr"]["again"])
    person.types("1\n")
    assert answer.result(5) is listed[0]


def test_the_pin_is_not_echoed_and_the_terminal_is_put_back(
    prompter: ConsolePrompter,
    person: Person,
    terminal: tuple[Person, int],
    listed: list[Offer],
    pool: ThreadPoolExecutor,
) -> None:
    answer = pool.submit(prompter.pin, ASKING, listed[0], PinState(low=True, last_try=True), Wait(10))
    person.sees("Code PIN de « carte »")
    person.types("135791\n")
    assert answer.result(5) == bytearray(b"135791")
    assert "dernier essai" in person.seen
    assert "135791" not in person.seen
    assert termios.tcgetattr(terminal[1])[3] & termios.ECHO


def test_a_wrong_pin_before_is_mentioned_in_the_persons_language(
    prompter: ConsolePrompter, person: Person, listed: list[Offer], pool: ThreadPoolExecutor
) -> None:
    answer = pool.submit(prompter.pin, Asking(ASKING.origin, "en"), listed[0], PinState(low=True), Wait(10))
    person.sees("PIN of “carte”")
    person.types("1\n")
    answer.result(5)
    assert TEXTS["en"]["low"] in person.seen
    assert TEXTS["en"]["last"] not in person.seen


@pytest.mark.parametrize("question", ["choose", "pin"])
def test_an_empty_line_cancels(
    prompter: ConsolePrompter, person: Person, listed: list[Offer], pool: ThreadPoolExecutor, question: str
) -> None:
    if question == "choose":
        answer: Future[object] = pool.submit(prompter.choose, ASKING, listed, Wait(10))
    else:
        answer = pool.submit(prompter.pin, ASKING, listed[0], PinState(), Wait(10))
    person.sees("annuler")
    person.types("\n")
    with pytest.raises(Refusal, match="user_cancelled"):
        answer.result(5)


def test_with_a_pin_pad_the_person_is_sent_to_the_reader(
    prompter: ConsolePrompter, person: Person, listed: list[Offer]
) -> None:
    assert prompter.pin(ASKING, listed[0], PinState(pin_pad=True), Wait(10)) is None
    person.sees("sur le lecteur")


@pytest.mark.parametrize(("typed", "allowed"), [("oui", True), ("non", False), ("o", False), ("", False)])
def test_a_new_origin_is_accepted_only_with_the_whole_word(
    prompter: ConsolePrompter, person: Person, pool: ThreadPoolExecutor, typed: str, allowed: bool
) -> None:
    answer = pool.submit(prompter.allow_origin, ASKING, Wait(10))
    person.sees("https://id.office.example n’a encore jamais demandé")
    person.types(typed + "\n")
    assert answer.result(5) is allowed


def test_cancelling_from_the_page_ends_the_question_and_gives_the_terminal_back(
    prompter: ConsolePrompter,
    person: Person,
    terminal: tuple[Person, int],
    listed: list[Offer],
    pool: ThreadPoolExecutor,
) -> None:
    wait = Wait(10)
    answer = pool.submit(prompter.pin, ASKING, listed[0], PinState(), wait)
    person.sees("Code PIN")
    wait.cancel()
    with pytest.raises(Refusal, match="user_cancelled"):
        answer.result(2)
    person.sees(TEXTS["fr"]["over"])
    assert termios.tcgetattr(terminal[1])[3] & termios.ECHO


def test_a_person_who_stays_away_is_given_up(prompter: ConsolePrompter, listed: list[Offer]) -> None:
    with pytest.raises(Refusal, match="user_timeout"):
        prompter.choose(ASKING, listed, Wait(0.1))


def test_both_languages_have_the_same_texts() -> None:
    assert TEXTS["fr"].keys() == TEXTS["en"].keys()
