"""Every word this program answers when it does not sign, with its HTTP status.

The words are stable: the page that called owns the sentences shown to the person.
"""

from typing import Final

STATUS: Final[dict[str, int]] = {
    "bad_request": 400,
    "pin_incorrect": 401,
    "origin_not_allowed": 403,
    "no_card": 404,
    "no_certificate": 404,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "user_timeout": 408,
    "busy": 409,
    "user_cancelled": 409,
    "card_removed": 410,
    "too_large": 413,
    "json_only": 415,
    "wrong_host": 421,
    "pin_locked": 423,
    "headers_too_large": 431,
    "token_error": 500,
    "internal_error": 500,
}


class Refusal(Exception):
    """A request that ends without a signature.

    `word` is one of `STATUS`; `extra` is added to the JSON answer (a PIN refusal says how near the lock is).
    """

    def __init__(self, word: str, **extra: int | bool) -> None:
        super().__init__(word)
        self.word = word
        self.status = STATUS[word]
        self.extra = extra


def pin_incorrect(tries_left: int | None, last_try: bool) -> Refusal:
    """The refusal of a wrong PIN: the exact number of tries left where the token tells it, else whether one is left."""
    if tries_left is not None:
        return Refusal("pin_incorrect", triesLeft=tries_left)
    return Refusal("pin_incorrect", lastTry=last_try)
