"""Style sheets, scripts and pictures: read once, served from memory under names that hold their hash."""

import hashlib
import mimetypes
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StaticFile:
    """A file as it is sent. `name` holds its hash, so that a browser may keep it for ever."""

    name: str
    kind: str
    body: bytes


class StaticFiles:
    """The files of the house (`poterne.css`) and of its plugins (`smartcard/card.js`)."""

    def __init__(self, folders: Iterable[tuple[str, Path]]) -> None:
        self._named: dict[str, StaticFile] = {}
        self._served: dict[str, StaticFile] = {}
        for prefix, folder in folders:
            for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                self._add(prefix + path.relative_to(folder).as_posix(), path)

    def _add(self, name: str, path: Path) -> None:
        body = path.read_bytes()
        stem, dot, suffix = name.rpartition(".")
        hashed = f"{stem}.{hashlib.sha256(body).hexdigest()[:12]}{dot}{suffix}"
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        if kind.startswith("text/") or kind.endswith("javascript"):
            kind += "; charset=utf-8"
        self._named[name] = self._served[hashed] = StaticFile(hashed, kind, body)

    def url(self, name: str) -> str:
        """The address of a file. An unknown name is a fault of ours (KeyError)."""
        return f"/static/{self._named[name].name}"

    def get(self, hashed: str) -> StaticFile | None:
        """The file served under a name with its hash, or None."""
        return self._served.get(hashed)
