"""From proofs to `amr` and `acr`: what a sign-in is worth, computed by the house and claimed by no method."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from idp.login.method import Kind, Strength
from idp.settings import LEVELS

NOTHING = 0


@dataclass(frozen=True)
class Proven:
    """A proof as a session stores it: which method and credential, when (Unix seconds), and what it was worth then."""

    method: str
    at: int
    amr: tuple[str, ...]
    kinds: tuple[str, ...]
    phishing_resistant: bool
    credential: str | None = None

    @classmethod
    def of(cls, method: str, strength: Strength, credential: str | None, at: int) -> "Proven":
        """A fresh proof of a method."""
        kinds = tuple(sorted(strength.kinds))
        return cls(method, at, strength.amr, kinds, strength.phishing_resistant, credential)

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> "Proven":
        """A proof read back from JSON."""
        return cls(**{**stored, "amr": tuple(stored["amr"]), "kinds": tuple(stored["kinds"])})

    def dump(self) -> dict[str, Any]:
        """The proof for JSON."""
        return asdict(self)


def level(proofs: Iterable[Proven]) -> int:
    """0 for nothing; 1 one factor; 2 two kinds of factor; 3 a phishing-resistant method that is two kinds by itself."""
    proofs = list(proofs)
    if any(p.phishing_resistant and len(p.kinds) > 1 for p in proofs):
        return 3
    kinds = {kind for p in proofs for kind in p.kinds}
    return min(len(kinds), 2)


def amr(proofs: Iterable[Proven]) -> list[str]:
    """The methods used (RFC 8176), in the order of their proofs, `mfa` at the end where two kinds came together."""
    proofs = list(proofs)
    values = list(dict.fromkeys(value for p in proofs for value in p.amr))
    return [*values, "mfa"] if level(proofs) > 1 else values


def reachable(strength: Strength, proofs: Iterable[Proven]) -> int:
    """The level that one more proof of a method would bring."""
    return level([*proofs, Proven.of("", strength, None, 0)])


class Levels:
    """The names of the levels in `acr`, as this installation calls them (`loa1` … or `eidas1` …)."""

    def __init__(self, names: Mapping[Any, str]) -> None:
        self.names = tuple(names.get(name, name) for name in LEVELS)
        self._numbers = {name: number for number, name in enumerate(self.names, 1)}
        self._own = {name: number for number, name in enumerate(LEVELS, 1)}

    def name(self, number: int) -> str:
        """What `acr` says for a level from 1 to 3."""
        return self.names[number - 1]

    def demanded(self, acr_values: str | None, min_acr: str | None) -> int:
        """The level that a request demands: the lowest known one named, at least the client's own minimum."""
        known = [self._numbers[v] for v in (acr_values or "").split() if v in self._numbers]
        return max(min(known, default=NOTHING), self._own.get(min_acr or "", NOTHING))


__all__ = ["Kind", "Levels", "Proven", "amr", "level", "reachable"]
