"""Secrets at rest: a sealed value opens in its own place only, with its own master secret, and unchanged."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.errors import Misconfigured, Unavailable
from idp.sealing import Mac, Sealer, fingerprint, load_master, read_secret, token

MASTER = b"m" * 32


@given(st.binary(max_size=300), st.text(alphabet=st.characters(codec="utf-8"), max_size=40))
def test_what_is_sealed_opens_again_and_does_not_show(plain: bytes, name: str) -> None:
    sealer = Sealer(MASTER)
    sealed = sealer.seal(plain, name)
    assert sealer.unseal(sealed, name) == plain
    assert len(plain) < 8 or plain not in sealed


def test_the_same_value_is_sealed_differently_each_time() -> None:
    assert Sealer(MASTER).seal(b"key", "row/1") != Sealer(MASTER).seal(b"key", "row/1")


def test_a_value_moved_to_another_row_does_not_open() -> None:
    sealed = Sealer(MASTER).seal(b"key", "letter/1")
    for other in ("letter/2", "letter/", "signing-key/1", ""):
        with pytest.raises(Unavailable, match="sealed with another master secret"):
            Sealer(MASTER).unseal(sealed, other)


def test_another_master_secret_does_not_open_it() -> None:
    with pytest.raises(Unavailable):
        Sealer(b"n" * 32).unseal(Sealer(MASTER).seal(b"key", "row/1"), "row/1")


def test_a_changed_or_cut_value_does_not_open() -> None:
    sealer = Sealer(MASTER)
    sealed = sealer.seal(b"key", "row/1")
    changed = [sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :] for i in range(len(sealed))]
    cut = [sealed[:i] for i in range(len(sealed))]
    for wrong in [*changed, *cut, sealed + b"\x00"]:
        with pytest.raises(Unavailable):
            sealer.unseal(wrong, "row/1")


def test_a_short_master_secret_is_refused() -> None:
    with pytest.raises(Misconfigured, match="at least 32 bytes"):
        Sealer(b"x" * 31)


def test_each_purpose_has_its_own_key() -> None:
    sealer = Sealer(MASTER)
    purposes = ("seal", "journal", "lockout", "attempt")
    assert len({sealer.key(p) for p in purposes}) == len(purposes)
    assert sealer.key("journal") == Sealer(MASTER).key("journal")


def test_the_parts_of_a_mac_cannot_run_into_one_another() -> None:
    mac = Mac(MASTER)
    assert len({mac.hex("ab", "c"), mac.hex("a", "bc"), mac.hex("abc"), mac.hex("", "abc"), mac.hex("abc", "")}) == 5


def test_a_mac_takes_any_text_that_python_can_hold() -> None:
    assert len(Mac(MASTER).hex("\ud800", "é", "\x00")) == 64
    assert len(fingerprint("\ud800")) == 64


def test_a_token_has_256_bits_in_url_safe_signs() -> None:
    made = {token() for _ in range(100)}
    assert len(made) == 100
    assert all(len(t) == 43 and t.replace("-", "").replace("_", "").isalnum() for t in made)


def test_a_missing_master_secret_is_made_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "master"
    made = load_master(path, create=True)
    assert len(made) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_master(path, create=True) == load_master(path, create=False) == made
    assert os.listdir(path.parent) == ["master"]  # noqa: PTH208  no draft stays behind


def test_a_missing_master_secret_is_not_made_without_being_asked(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"secrets\.master_file: cannot read"):
        load_master(tmp_path / "master", create=False)
    assert not (tmp_path / "master").exists()


def test_processes_that_start_at_once_agree_on_one_master_secret(tmp_path: Path) -> None:
    path = tmp_path / "master"
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: load_master(path, create=True), range(32)))) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666])
def test_a_secret_that_others_can_read_or_write_is_refused_with_the_remedy(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "pin"
    path.write_text("1234\n")
    path.chmod(mode)
    with pytest.raises(Misconfigured, match=r"keys\.pin_file: .*chmod 600"):
        read_secret(path, "keys.pin_file")


@pytest.mark.parametrize(
    ("content", "secret"),
    [(b"1234\n", b"1234"), (b"1234\r\n", b"1234"), (b" 12 34 ", b" 12 34 "), (b"1\n\n", b"1\n"), (b"", b"")],
)
def test_a_secret_loses_its_last_newline_only(content: bytes, secret: bytes, tmp_path: Path) -> None:
    path = tmp_path / "pin"
    path.write_bytes(content)
    path.chmod(0o600)
    assert read_secret(path, "keys.pin_file") == secret
