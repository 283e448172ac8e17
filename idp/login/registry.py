"""Finding, checking and building the enabled login methods.

Discovery is `importlib.metadata`, group `idp.login_methods`. Only methods listed in `[login] methods` are loaded, in
that order. Start-up refuses when one is missing, broken or badly configured: a second factor never vanishes in silence.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any

from idp.errors import Misconfigured
from idp.login.method import LoginMethod, Resets
from idp.migrate import Owner
from idp.settings import Section, validated

GROUP = "idp.login_methods"
_NAME = re.compile(r"[a-z][a-z0-9]{1,15}")
_AGREED = ("name", "title", "strength", "Settings", "ready_for", "challenge", "verify")

MethodClass = Callable[..., LoginMethod]


def installed() -> dict[str, EntryPoint]:
    """Every installed login method by name, whether it is enabled or not."""
    return {e.name: e for e in entry_points(group=GROUP)}


def load(names: tuple[str, ...]) -> dict[str, Any]:
    """The classes of the listed methods. Raises `Misconfigured` for one that is missing, broken or breaks the agreement."""
    known = installed()
    classes: dict[str, Any] = {}
    for name in names:
        if name in classes:
            raise Misconfigured(f"login.methods: {name} is listed twice")
        if name not in known:
            raise Misconfigured(f"login.methods: {name} is not installed; installed are {', '.join(sorted(known))}")
        try:
            cls = known[name].load()
        except Exception as e:
            raise Misconfigured(f"login.methods: {name} cannot be loaded: {type(e).__name__}: {e}") from e
        missing = [member for member in _AGREED if not hasattr(cls, member)]
        if missing or cls.name != name or not _NAME.fullmatch(name) or not issubclass(cls.Settings, Section):
            raise Misconfigured(
                f"login.methods: {name} does not keep the agreement: {', '.join(missing) or 'its name'}"
            )
        classes[name] = cls
    return classes


class Methods(Mapping[str, LoginMethod]):
    """The enabled methods, built, in the order of the settings."""

    def __init__(self, built: Mapping[str, LoginMethod]) -> None:
        self._built = dict(built)

    def __getitem__(self, name: str) -> LoginMethod:
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._built)

    def __len__(self) -> int:
        return len(self._built)

    @property
    def resetting(self) -> "LoginMethod | None":
        """The first method whose secret a mailed link can replace."""
        return next((m for m in self._built.values() if isinstance(m, Resets)), None)


def build(classes: Mapping[str, Any], sections: Mapping[str, dict[str, Any]], desk: object) -> Methods:
    """Check each method's own settings and build it with the desk. Raises `Misconfigured`."""
    built = {}
    for name, cls in classes.items():
        built[name] = cls(validated(cls.Settings, sections.get(name, {}), name), desk)
    return Methods(built)


def folder(method: Any, name: str) -> Path:
    """A folder of a method's package (`templates`, `static`, `translations`)."""
    cls = method if isinstance(method, type) else type(method)
    return Path(str(files(cls.__module__.partition(".")[0]))) / name


def owners(classes: Mapping[str, Any]) -> list[Owner]:
    """Whose tables the enabled methods bring."""
    return [
        Owner(name, Path(cls.migrations), f"idp_{name}_") for name, cls in classes.items() if hasattr(cls, "migrations")
    ]
