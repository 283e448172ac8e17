"""What a person may say of herself: telephone numbers of the world, addresses in parts, names of visible text."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from idp.directory import countries, profile
from idp.errors import Invalid
from idp.models import Account

NAMED = {"given_name": "Jean", "family_name": "Dupont"}
STREET = {
    "address_country": "FR",
    "address_street": "rue de la Paix",
    "address_postal_code": "75002",
    "address_city": "Paris",
}


def faults(**fields: str) -> list[str]:
    with pytest.raises(profile.Faults) as refused:
        profile.judge({**NAMED, **fields})
    return [fault.field for fault in refused.value.faults]


@pytest.mark.requirement("R71", "C11")
@pytest.mark.parametrize(
    ("country", "typed", "kept"),
    [
        ("FR", "612345678", "+33612345678"),
        ("FR", "0612345678", "+33612345678"),
        ("FR", " 06.12.34.56.78 ", "+33612345678"),
        ("FR", "06\u00a012\u00a034\u00a056\u00a078", "+33612345678"),
        ("FR", "+33 (0)6 12 34 56 78", "+33612345678"),
        ("FR", "00 33 6 12 34 56 78", "+33612345678"),
        ("FR", "+44 20 7946 0018", "+442079460018"),
        ("FR", "０６１２３４５６７８", "+33612345678"),
        ("GB", "020 7946 0018", "+442079460018"),
        ("IT", "06 6982", "+39066982"),
        ("US", "(202) 456-1111", "+12024561111"),
        ("FR", "", None),
        ("FR", "   ", None),
    ],
)
def test_a_number_is_kept_in_one_spelling(country: str, typed: str, kept: str | None) -> None:
    assert profile.judge_phone("phone", {"phone": typed, "phone_country": country}) == kept


@pytest.mark.requirement("C11")
@pytest.mark.parametrize(
    ("country", "typed"),
    [
        ("FR", "61234567889"),  # eleven digits
        ("FR", "6123456789"),  # ten digits without a leading 0
        ("FR", "12"),
        ("FR", "06 12 34 56 78 ext. 5"),
        ("FR", "0800-BREVET"),
        ("FR", "++33612345678"),
        ("FR", "0" * 41),
        ("XX", "0612345678"),
        ("", "0612345678"),
        ("FR", "tel:+33612345678"),
        ("FR", "06\n12345678;"),
    ],
)
def test_what_is_no_number_of_the_country_is_refused(country: str, typed: str) -> None:
    with pytest.raises(Invalid) as refused:
        profile.judge_phone("phone", {"phone": typed, "phone_country": country})
    assert refused.value.field == "phone"


@given(some.text(max_size=50), some.sampled_from([*countries.names("en"), "", "XX"]))
def test_any_text_is_a_number_in_e164_or_refused(typed: str, country: str) -> None:
    try:
        kept = profile.judge_phone("phone", {"phone": typed, "phone_country": country})
    except Invalid:
        return
    assert kept is None or (kept.startswith("+") and kept[1:].isascii() and kept[1:].isdigit())


@given(some.dictionaries(some.sampled_from(profile.FIELDS), some.text(max_size=200)))
def test_any_fields_are_a_profile_or_name_what_is_wrong(fields: dict[str, str]) -> None:
    try:
        judged = profile.judge(fields)
        named = {"given_name"} if judged.given_name and judged.family_name else set()
    except profile.Faults as e:
        named = {fault.field for fault in e.faults}
    assert named
    assert named <= set(profile.FIELDS)


@pytest.mark.requirement("R72", "R76", "C12")
@pytest.mark.parametrize(
    ("parts", "formatted"),
    [
        ({"number": "3", "kind": "rue", "street": "Cujas"}, "3 rue Cujas\n75002 Paris\nFrance"),
        ({"street": "15 bis rue des Minimes", "more": "Bât. C"}, "15 bis rue des Minimes\nBât. C\n75002 Paris\nFrance"),
        ({"street": "", "box": "BP 12"}, "BP 12\n75002 Paris\nFrance"),
    ],
)
def test_an_address_is_kept_in_parts_and_told_in_lines(parts: dict[str, str], formatted: str) -> None:
    judged = profile.judge({**NAMED, **STREET, **{f"address_{name}": text for name, text in parts.items()}})
    assert judged.address is not None
    assert "" not in judged.address.values()
    assert profile.formatted(judged.address, "fr") == formatted
    assert profile.one_line(judged.address, "fr") == formatted.replace("\n", ", ")


def test_an_address_may_be_left_out_but_not_half() -> None:
    assert profile.judge({**NAMED, "address_country": "FR"}).address is None
    assert faults(address_city="Paris", address_country="FR") == ["address_street", "address_postal_code"]
    assert faults(address_street="rue Cujas", address_country="") == ["address_country", "address_city"]
    assert faults(**{**STREET, "address_postal_code": "7500"}) == ["address_postal_code"]
    assert faults(**{**STREET, "address_country": "ZZ"}) == ["address_country"]
    abroad = profile.judge({**NAMED, **STREET, "address_country": "IE", "address_postal_code": ""})
    assert abroad.address is not None
    assert "postal_code" not in abroad.address


@pytest.mark.parametrize("wrong", ["", "  ", "x" * 101, "a\x00b", "a\u202eb", "a\u200bb"])
def test_a_name_is_one_line_of_visible_text(wrong: str) -> None:
    assert faults(family_name=wrong) == ["family_name"]


@pytest.mark.requirement("R74")
def test_only_known_words_can_be_chosen() -> None:
    assert faults(title="dr", representative_kind="judge") == ["title", "representative_kind"]
    judged = profile.judge({**NAMED, "representative_kind": "", "representative_number": "92-1"})
    assert (judged.representative_kind, judged.representative_number) == (None, None)


def test_every_fault_is_told_at_once_in_the_order_of_the_form() -> None:
    assert faults(title="x", given_name="", phone="1", address_city="x" * 81, representative_number="x" * 41) == [
        "title", "given_name", "phone", "address_country", "address_street", "address_city", "representative_number",
    ]  # fmt: skip


@pytest.mark.parametrize("language", ["fr", "en"])
def test_countries_are_countries_in_the_order_of_their_names(language: str) -> None:
    found = countries.names(language)
    assert {"FR", "CH", "US", "GP", "XK"} <= found.keys()
    assert not {"EU", "UN", "ZZ", "QO", "IC", "001"} & found.keys()
    listed = list(found)
    assert listed.index("EG") < listed.index("US" if language == "fr" else "UA")  # Égypte, Egypt
    assert listed.index("AF") == 0
    assert countries.dialling("fr")["FR"] == "France (+33)"


def test_the_form_is_filled_with_what_was_stored() -> None:
    account: Any = Account(
        title="mr", given_name="Jean", family_name="Dupont", phone="+442079460018", phone_office=None,
        address={"street": "rue Cujas", "country": "BE"}, representative_kind=None, representative_number=None,
    )  # fmt: skip
    fields = profile.fields_of(account)
    assert fields.keys() == set(profile.FIELDS)
    assert (fields["phone_country"], fields["phone"]) == ("GB", "020 7946 0018")
    assert (fields["phone_office_country"], fields["phone_office"]) == ("FR", "")
    assert (fields["address_country"], fields["address_box"]) == ("BE", "")
