"""Countries and their dialling codes, in words. A country is its ISO 3166-1 code of two letters."""

import unicodedata
from functools import cache

import phonenumbers
from babel import Locale

HOME = "FR"  # what a form proposes: the office's own country

# What Babel names beside countries: unions, places without a code of their own, and made-up ones.
_NO_COUNTRIES = frozenset(["AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "QO", "TA", "UN", "XA", "XB", "ZZ"])


@cache
def names(language: str) -> dict[str, str]:
    """Every country by its code, in the order of its name in that language."""
    known = Locale.parse(language).territories
    found = {c: str(n) for c, n in known.items() if len(c) == 2 and c.isalpha() and c not in _NO_COUNTRIES}
    return dict(sorted(found.items(), key=lambda pair: _without_accents(pair[1])))


@cache
def dialling(language: str) -> dict[str, str]:
    """Countries that can be called, by code: `France (+33)`, in the order of their names."""
    return {
        code: f"{name} (+{phonenumbers.country_code_for_region(code)})"
        for code, name in names(language).items()
        if code in phonenumbers.SUPPORTED_REGIONS
    }


def _without_accents(name: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", name.lower()) if not unicodedata.combining(c))
