"""Codes: what a person types, and which step of time it belongs to (RFC 6238, 30 seconds, 6 digits, SHA-1).

Recovery codes are 16 digits, so that every code can be typed on a keypad, in the same field.
"""

import hashlib
import hmac
import re
import secrets

import pyotp

from idp.plugin import N_, Refused

STEP_SECONDS = 30
DRIFT_STEPS = 1  # a clock that is half a minute off is nobody's fault
RECOVERY_CODES = 10
_SPACES = re.compile(r"[ \u00a0\u202f-]")
_CODE = re.compile(r"[0-9]{6}|[0-9]{16}")

WRONG = N_("This code is not right. Enter the code that your application shows now.")
USED = N_("This code was used already. Wait until your application shows the next one.")


def read(typed: str) -> str:
    """The digits of a code; spaces and hyphens between them do not count. Raises `Refused` for what cannot be one."""
    code = _SPACES.sub("", typed[:64])
    if len(typed) > 64 or not _CODE.fullmatch(code):
        raise Refused("totp_malformed", message=N_("Enter the 6 digits that your application shows."))
    return code


def is_recovery(code: str) -> bool:
    """Whether a code that was read has the form of a recovery code."""
    return len(code) > 6


def step_of(seed: str, code: str, now: int, last_step: int) -> int:
    """The step that a code of 6 digits belongs to, one step around `now` at most.

    Raises `Refused` when it belongs to none, or to one not newer than `last_step`.
    """
    totp, current = pyotp.TOTP(seed), now // STEP_SECONDS
    steps = range(current - DRIFT_STEPS, current + DRIFT_STEPS + 1)
    found = [step for step in steps if hmac.compare_digest(totp.generate_otp(step), code)]
    if not found:
        raise Refused("wrong_code", message=WRONG)
    if found[-1] <= last_step:
        raise Refused("code_used", message=USED)
    return found[-1]


def recovery_codes() -> list[str]:
    """Fresh recovery codes, in groups of four digits as they are shown."""
    digits = [f"{secrets.randbelow(10**16):016}" for _ in range(RECOVERY_CODES)]
    return [" ".join(re.findall("....", code)) for code in digits]


def hashed(key: bytes, account_id: str, code: str) -> str:
    """How a recovery code of an account is stored. The key stands outside the database: 53 bits alone could be tried."""
    return hmac.new(key, f"{account_id} {code}".encode(), hashlib.sha256).hexdigest()
