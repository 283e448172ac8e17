"""The chain over the journal: what makes a changed, a removed or a cut-off row show.

Writers insert rows without a hash, so that they never wait for one another. The sealer chains them in order with a keyed
hash (each second, and after each command) and keeps the last head outside the database.
"""

import hmac
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, select, text
from sqlalchemy.exc import IntegrityError

from idp import clock
from idp.db import Database, Executor
from idp.models import JournalEntry, JournalSeal
from idp.sealing import Mac

_ENTRY = JournalEntry.__table__.c
_SEAL = JournalSeal.__table__.c
FIRST = "poterne journal"  # what the first entry is chained to
_DAMAGED = -1  # the position that a head file names when it cannot be read: no chain reaches it


@dataclass(frozen=True)
class Head:
    """The end of the chain: position and MAC of the last sealed entry."""

    seq: int
    mac: str


@dataclass(frozen=True)
class Verdict:
    """What `verify` found. `first_broken` is the position where the chain first fails, `events` how many are sealed."""

    ok: bool
    events: int
    first_broken: int | None = None
    reason: str | None = None


class Journal:
    """Seals and verifies the journal with one MAC key, keeping the last head in `head_file` (mode 0600)."""

    def __init__(self, database: Database, mac: Mac, head_file: Path) -> None:
        self._database, self._mac, self._head_file = database, mac, head_file

    def seal(self) -> int:
        """Chain what was written since; how many entries. Another sealer at the same moment is no error.

        When the database is behind the head outside it, nothing is sealed, so that a cut tail cannot be covered up.
        """
        kept = self._read_head()
        try:
            with self._database.begin() as c:
                last = self._last(c)
                if kept and not self._reaches(c, kept):
                    return 0
                rows, mac = [], last.mac
                for seq, entry in enumerate(self._unsealed(c), last.seq + 1):
                    mac = self._link(seq, mac, entry)
                    rows.append({"seq": seq, "entry_id": entry["id"], "mac": mac})
                if rows:
                    c.execute(insert(JournalSeal), rows)
                head = Head(rows[-1]["seq"], mac) if rows else last
        except IntegrityError:  # another sealer took the same position first
            return 0
        if head.seq and head != kept:
            self._write_head(head)
        return len(rows)

    def verify(self) -> Verdict:
        """Walk the chain and compare its end with the head outside the database."""
        kept = self._read_head()
        seq, mac = 0, FIRST
        with self._database.read() as c:
            total = c.execute(select(func.count()).select_from(JournalSeal)).scalar_one()
            if kept and kept.seq == _DAMAGED:
                return Verdict(False, total, None, f"the head file {self._head_file} is damaged")
            for row in c.execute(_CHAIN).mappings():
                if row["seq"] != seq + 1:
                    return Verdict(False, total, seq + 1, "a seal is missing")
                seq += 1
                if row["id"] is None:
                    return Verdict(False, total, seq, "an entry was removed")
                link = self._link(seq, mac, row)
                if not hmac.compare_digest(link, row["mac"]):
                    return Verdict(False, total, seq, "an entry was changed")
                mac = link
                if kept and kept.seq == seq and not hmac.compare_digest(kept.mac, mac):
                    return Verdict(False, total, seq, "the chain is not the one that the head file knows")
        if kept and kept.seq > seq:
            return Verdict(False, total, seq + 1, "the end of the journal was cut off")
        if seq and not kept:
            return Verdict(False, total, None, f"the head file {self._head_file} is missing: a cut end would not show")
        return Verdict(True, total)

    def _unsealed(self, c: Connection) -> list[dict[str, Any]]:
        if c.dialect.name == "postgresql":  # one sealer at a time; on SQLite the first INSERT takes the write lock
            c.execute(text("SELECT pg_advisory_xact_lock(7306080)"))
        missing = (
            select(*_ENTRY)
            .outerjoin(JournalSeal, _SEAL.entry_id == _ENTRY.id)
            .where(_SEAL.entry_id.is_(None))
            .order_by(_ENTRY.id)
            .limit(5000)
        )
        return [dict(row) for row in c.execute(missing).mappings()]

    def _link(self, seq: int, before: str, entry: Any) -> str:
        parts = (entry[name] for name in ("id", "at", "event", "account", "client", "address", "cause", "details"))
        # A missing value and an empty one must not give the same text.
        return self._mac.hex(str(seq), before, *("-" if p is None else f"={p}" for p in parts))

    @staticmethod
    def _last(c: Connection) -> Head:
        row = c.execute(select(_SEAL.seq, _SEAL.mac).order_by(_SEAL.seq.desc()).limit(1)).one_or_none()
        return Head(row.seq, row.mac) if row else Head(0, FIRST)

    @staticmethod
    def _reaches(c: Connection, head: Head) -> bool:
        mac = c.execute(select(_SEAL.mac).where(_SEAL.seq == head.seq)).scalar_one_or_none()
        return mac is not None and hmac.compare_digest(mac, head.mac)

    def _read_head(self) -> Head | None:
        try:
            seq, _, mac = self._head_file.read_text("ascii").strip().partition(" ")
            return Head(int(seq), mac)
        except FileNotFoundError:
            return None
        except ValueError:
            return Head(_DAMAGED, "")

    def _write_head(self, head: Head) -> None:
        self._head_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._head_file.with_name(f".{self._head_file.name}.{secrets.token_hex(4)}")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as f:
            f.write(f"{head.seq} {head.mac}\n")
            f.flush()
            os.fsync(f.fileno())
        known = self._read_head()
        if known and known.seq > head.seq:  # another sealer of this machine was faster
            draft.unlink()
        else:
            draft.replace(self._head_file)


_CHAIN = (
    select(_SEAL.seq, _SEAL.mac, *_ENTRY)
    .select_from(JournalSeal)
    .outerjoin(JournalEntry, _SEAL.entry_id == _ENTRY.id)
    .order_by(_SEAL.seq)
)


def entries(on: Executor, *, limit: int | None = None) -> Iterator[dict[str, Any]]:
    """The journal in order, oldest first (with `limit`: the last ones), as `idp journal show` prints it."""
    query = select(_SEAL.seq, *_ENTRY).outerjoin(JournalSeal, _SEAL.entry_id == _ENTRY.id).select_from(JournalEntry)
    rows = on.execute(query.order_by(_ENTRY.id.desc()).limit(limit)).mappings().all()
    for row in reversed(rows):
        yield {
            "seq": row["seq"],
            "at": clock.text(row["at"]),
            "event": row["event"],
            "account": row["account"],
            "client": row["client"],
            "address": row["address"],
            "cause": row["cause"],
            **json.loads(row["details"]),
        }
