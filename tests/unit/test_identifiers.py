"""One folding of identifiers for every door."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.directory.identifiers import clean_name, fold_email, fold_identifier, fold_username
from idp.errors import Invalid


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("bob@e1.example", "bob@e1.example"),
        ("BOB@E1.EXAMPLE", "bob@e1.example"),
        ("Bob.D+x@e1.example", "bob.d+x@e1.example"),
        ("bob@ｅ１.example", "bob@e1.example"),
        ("bob@straße.example", "bob@xn--strae-oqa.example"),
        ("bob@XN--STRAE-OQA.example", "bob@xn--strae-oqa.example"),
    ],
)
def test_spellings_of_one_address_have_one_key(typed: str, key: str) -> None:
    assert fold_email(typed) == fold_identifier(typed) == key
    assert fold_email(key) == key


@pytest.mark.parametrize("typed", ["", "bob", "@e1.example", "bob@", " bob@e1.example", "bob@e1.example ", "bob@e1.example.", "b\0b@e1.example", "böb@e1.example", "bob@e1..example", '"b b"@e1.example', "bob@[127.0.0.1]", "Bob <bob@e1.example>", "bob@e1.example\n", "bob@e1.example,eve@e1.example", "a@" + "a." * 200 + "example", "bob@e1.example\u200b", "\u212aate@e1.example", "bob@e1_example.x y"])  # fmt: skip
def test_what_is_no_address_is_refused(typed: str) -> None:
    with pytest.raises(Invalid):
        fold_email(typed)


@given(st.text(max_size=400))
def test_whatever_is_typed_at_sign_in_has_a_short_key_without_nul(typed: str) -> None:
    key = fold_identifier(typed)
    assert "\0" not in key
    assert len(key) <= 1100
    assert key == fold_identifier(typed)


@pytest.mark.parametrize("name", ["ab", "-ab", "a b", "é" * 3, "a" * 65, "a@b", ""])
def test_user_names_are_plain(name: str) -> None:
    assert fold_username("A.b-c_9") == "a.b-c_9"
    with pytest.raises(Invalid):
        fold_username(name)


def test_a_name_is_one_visible_line() -> None:
    assert clean_name("name", "  E\u0301tude Martin & Fils ") == "Étude Martin & Fils"
    for bad in ("", "   ", "x" * 101, "a\nb", "a\r\nBcc: eve", "a\u202eb", "a\u2028b", "a\u200bb", "a\0b", "a\ud800", "\ufeff", "a\x7f"):  # fmt: skip
        with pytest.raises(Invalid):
            clean_name("name", bad)
