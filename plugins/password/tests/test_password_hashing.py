"""How a password is stored and compared: whole, normalised once, under the pepper, never cut."""

import os
import threading
import unicodedata

import argon2.low_level
import pytest
from idp_password import hashing
from idp_password.hashing import Hasher, normalised

from idp.plugin import Refused, Unavailable

PEPPER = b"p" * 32


@pytest.fixture
def hasher() -> Hasher:
    return Hasher(PEPPER)


def right(hasher: Hasher, stored: str, password: str) -> bool:
    try:
        hasher.verify(stored, password)
    except Refused:
        return False
    return True


def test_the_stored_form_names_its_parameters_and_hides_the_rest(hasher: Hasher) -> None:
    one, two = hasher.hash("Vigne;Tulle42"), hasher.hash("Vigne;Tulle42")
    assert one.startswith("$argon2id$v=19$m=19456,t=2,p=1,keyid=1$")
    assert one != two
    assert not hasher.outdated(one)
    assert hasher.outdated(one.replace("m=19456", "m=12288"))


def test_a_password_counts_whole(hasher: Hasher) -> None:
    password = "Vigne;Tulle42" + "x" * 19
    stored = hasher.hash(password)
    assert right(hasher, stored, password)
    for wrong in (password[:-1], password + "x", password.swapcase(), password + " ", " " + password, ""):
        assert not right(hasher, stored, wrong)


@pytest.mark.parametrize("password", ["Été2026,x", "Ａ1;bcdefg", "😀" * 128, "\u1e9b\u0323Aa1;xxxx"])
def test_a_password_is_the_same_in_composed_and_decomposed_letters(hasher: Hasher, password: str) -> None:
    stored = hasher.hash(password)
    for form in ("NFC", "NFD"):
        other = unicodedata.normalize(form, password)
        if len(other) <= 128:
            assert right(hasher, stored, other), form


def test_compatible_letters_are_other_letters(hasher: Hasher) -> None:
    assert not right(hasher, hasher.hash("Ａbc;1234"), "Abc;1234")


@pytest.mark.parametrize("password", ["x" * 129, "😀" * 129, "é" * 300, "\ud800" * 200])
def test_what_is_too_long_is_refused_before_anything_is_computed(password: str) -> None:
    with pytest.raises(Refused, match="password_too_long"):
        normalised(password)


@pytest.mark.parametrize("password", ["\0", "\ud800", "\U0010ffff", " ", "\n"])
def test_odd_signs_are_hashed_like_any_other(hasher: Hasher, password: str) -> None:
    assert right(hasher, hasher.hash(password), password)


def test_another_pepper_opens_nothing(hasher: Hasher) -> None:
    stored = hasher.hash("Vigne;Tulle42")
    assert not right(Hasher(b"q" * 32), stored, "Vigne;Tulle42")


@pytest.mark.parametrize("stored", ["", "x", "$argon2i$v=19$m=1,t=1,p=1$a$b", "$argon2id$v=19$m=19456,t=2,p=1,keyid=1$!!$!!", "$argon2id$v=19$m=19456,t=2,p=1,keyid=1$a$b"])  # fmt: skip
def test_a_stored_form_that_cannot_be_read_is_an_outage_and_no_wrong_guess(hasher: Hasher, stored: str) -> None:
    with pytest.raises(Unavailable):
        hasher.verify(stored, "x")


def test_when_every_place_is_taken_the_answer_is_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "QUEUE_SECONDS", 0.05)
    hasher = Hasher(PEPPER)
    for _ in range(os.cpu_count() or 1):
        hasher._places.acquire()
    with pytest.raises(Unavailable, match="hash_queue_full"):
        hasher.hash("x")
    hasher._places.release()
    assert hasher.hash("x")


def test_no_more_hashes_run_at_once_than_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, lock = [0], [0], threading.Lock()
    real = argon2.low_level.hash_secret_raw

    def counted(*values: object) -> bytes:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        try:
            return real(*values)  # type: ignore[arg-type]
        finally:
            with lock:
                running[0] -= 1

    monkeypatch.setattr(hashing, "hash_secret_raw", counted)
    hasher = Hasher(PEPPER)
    threads = [threading.Thread(target=hasher.hash, args=("x",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] <= (os.cpu_count() or 1)


def test_checking_nothing_costs_what_checking_something_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []

    def noted(*values: object) -> bytes:
        calls.append(values[2:])
        return argon2.low_level.hash_secret_raw(*values)  # type: ignore[arg-type]

    monkeypatch.setattr(hashing, "hash_secret_raw", noted)
    hasher = Hasher(PEPPER)
    stored = hasher.hash("Vigne;Tulle42")
    hasher.verify(stored, "Vigne;Tulle42")
    hasher.verify_nothing("Vigne;Tulle42")
    assert len(calls) == 3
    assert len(set(calls)) == 1
