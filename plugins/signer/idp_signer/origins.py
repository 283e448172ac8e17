"""Which web origins may ask for a signature.

An origin is written in its ASCII serialisation (RFC 6454 §6.2): scheme, host, port unless it is the default one, no
trailing slash. `https` is required; `http` is accepted only where the host is loopback.
"""

import ipaddress
import json
import os
import re
import stat
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_ORIGIN: Final = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::([1-9][0-9]{0,4}))?", re.ASCII)
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_DEFAULT_PORT: Final = {"http": 80, "https": 443}


class BadOrigin(ValueError):
    """The text is not an origin this program can serve; the message is one sentence for the person."""


def parse(text: str) -> str:
    """Check that `text` is the canonical serialisation of an acceptable origin and return it.

    Raises `BadOrigin` for anything else, `null` and a trailing slash included.
    """
    match = _ORIGIN.fullmatch(text)
    if match is None:
        raise BadOrigin(f"{text!r} is not an origin such as https://id.office.example (international names as xn--…).")
    scheme, host, port = match.group(1), match.group(2), match.group(3)
    _check_host(text, host)
    if port is not None and (int(port) > 65535 or int(port) == _DEFAULT_PORT[scheme]):
        raise BadOrigin(f"{text!r} has a port that an origin does not carry.")
    if scheme == "http" and not is_loopback(text):
        raise BadOrigin(f"{text!r} is not encrypted: http is accepted only for loopback hosts.")
    return text


def from_argument(text: str) -> str:
    """The origin of an address typed by a person: capitals, the default port and one trailing slash are forgiven."""
    lowered = text.strip().lower().removesuffix("/")
    for scheme, port in _DEFAULT_PORT.items():
        if lowered.startswith(f"{scheme}://"):
            lowered = lowered.removesuffix(f":{port}")
    return parse(lowered)


def is_loopback(origin: str) -> bool:
    """Whether the origin's host is this machine: `localhost`, `*.localhost`, 127.0.0.0/8 or [::1]."""
    host = _host(origin)
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_for_tests(origin: str) -> bool:
    """Whether no real person can be behind this origin: loopback, or the reserved `.test` domain (RFC 6761)."""
    return is_loopback(origin) or _host(origin).endswith(".test")


def _host(origin: str) -> str:
    match = _ORIGIN.fullmatch(origin)
    return match.group(2) if match else ""


def _check_host(text: str, host: str) -> None:
    if host.startswith("["):
        try:
            address = ipaddress.IPv6Address(host[1:-1])
        except ValueError as error:
            raise BadOrigin(f"{text!r} has a malformed host.") from error
        if f"[{address.compressed}]" != host:
            raise BadOrigin(f"{text!r} has a host that is not in its shortest form.")
    elif len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise BadOrigin(f"{text!r} has a malformed host.")


def default_file() -> Path:
    """Where a person's answers are kept: `poterne-signer/origins.json` in the XDG configuration directory."""
    configured = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(configured) if Path(configured).is_absolute() else Path.home() / ".config"
    return base / "poterne-signer" / "origins.json"


class OriginBook:
    """The origins given at start, and the answers a person gave about others.

    With `file` None nothing is read or stored: only the origins given at start count. Raises `BadOrigin` when the
    file cannot be trusted (writable by others, or not what this program wrote).
    """

    def __init__(self, given: Iterable[str], file: Path | None) -> None:
        self._given = frozenset(given)
        self._file = file
        self._lock = threading.Lock()
        self._answers: dict[str, bool] = {} if file is None else _read(file)

    def answer(self, origin: str) -> bool | None:
        """True: may ask. False: the person said no. None: nobody has been asked yet."""
        if origin in self._given:
            return True
        with self._lock:
            return self._answers.get(origin)

    def store(self, origin: str, allowed: bool) -> None:
        """Remember a person's answer, in the file (mode 0600) and from now on. Raises `OSError`, `BadOrigin`."""
        with self._lock:
            self._answers[origin] = allowed
            if self._file is not None:
                # Another signer of the same person may have stored an answer meanwhile: keep it.
                self._answers = _read(self._file) | self._answers
                _write(self._file, self._answers)


def _read(file: Path) -> dict[str, bool]:
    try:
        with file.open(encoding="utf-8") as stream:
            if stat.S_IMODE(os.fstat(stream.fileno()).st_mode) & 0o022:
                raise BadOrigin(f"{file} can be written by other users; correct its mode to 0600.")
            content = json.load(stream)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, BadOrigin):
            raise
        raise BadOrigin(f"{file} cannot be read as the list of accepted origins; correct or delete it.") from error
    if not isinstance(content, dict) or not all(isinstance(allowed, bool) for allowed in content.values()):
        raise BadOrigin(f"{file} is not a list of accepted origins; correct or delete it.")
    return {parse(origin): allowed for origin, allowed in content.items()}


def _write(file: Path, answers: dict[str, bool]) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp creates with mode 0600; the rename makes the change visible whole or not at all.
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".origins-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(answers, stream, indent=2, sort_keys=True)
            stream.write("\n")
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
