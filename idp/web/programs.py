"""Browsers in words, as far as they tell: their names change at will, and nothing is decided by them."""

from idp.language import N_, Translator

# The order matters: nearly everybody claims to be Safari, and many claim to be Chrome.
_BROWSERS = {
    "Edg/": "Edge", "OPR/": "Opera", "SamsungBrowser/": "Samsung Internet", "Firefox/": "Firefox", "FxiOS/": "Firefox",
    "CriOS/": "Chrome", "Chrome/": "Chrome", "Safari/": "Safari",
}  # fmt: skip
_SYSTEMS = {
    "iPhone": "iPhone", "iPad": "iPad", "Android": "Android", "Windows": "Windows", "CrOS": "ChromeOS",
    "Mac OS X": "macOS", "Linux": "Linux",
}  # fmt: skip


def in_words(t: Translator, user_agent: str) -> str:
    """`Firefox, Linux`; what is unknown is left out."""
    known = [
        next((name for mark, name in table.items() if mark in user_agent), None) for table in (_BROWSERS, _SYSTEMS)
    ]
    return ", ".join(filter(None, known)) or t(N_("Unknown browser"))
