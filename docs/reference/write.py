"""Writes `settings.md` and `rules.md` from the models that judge them: `make docs`. A test compares both with the files."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from idp.login import registry
from idp.rules import POLICIES, PROFILES, PasswordRules, Rules
from idp.settings import Section, Settings, build
from idp.trial import house_rules

HERE = Path(__file__).parent
TYPES = {"string": "text", "integer": "whole number", "boolean": "`true` or `false`"}
MANY = {"text": "words", "whole number": "whole numbers"}

SETTINGS = """# Settings

<!-- Written by `make docs`; change the models in idp/settings.py instead. -->

One TOML file, `idp.toml` in the working directory or the file named by `IDP_CONFIG`. An environment variable overrides a
key: `IDP_SERVER__ISSUER` is `issuer` of `[server]`; lists are written there with commas. `KEY_file` instead of `KEY`
reads the value from a file, for an address that holds a password. A key that is not in these tables is refused when the
provider starts, with the nearest one that is.

`idp config show` prints what is in force with passwords masked, `idp config check` judges it without starting anything,
`idp check` looks at the whole installation.
"""

RULES = """# House rules

<!-- Written by `make docs`; change the models and profiles in idp/rules/ instead. -->

What an office decides. `rules.profile` names one of four sets of values; any single rule overrides it, in the settings
file or in the environment:

```toml
[rules]
profile = "inpi-espace"

[rules.activation]
deadline_days = 5          # or IDP_RULES__ACTIVATION__DEADLINE_DAYS=5
```

`idp rules show` prints every rule in force and where it comes from, `idp rules diff PROFILE` compares with a profile, and
`idp rules try FILE` tells what the `[rules]` and `[lockout]` of a TOML file would do to the accounts of today, without
changing anything.

## The rules

`lockout.message` is a setting; its default comes from the profile too.
"""

POLICY = """
## The password policies

`rules.password.policy` gives the other password rules their values; a profile may change some of them, and so may the
settings.
"""


def pages() -> dict[str, str]:
    """The pages by file name."""
    return {"settings.md": _settings(), "rules.md": _rules()}


def _settings() -> str:
    parts = [SETTINGS]
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            parts.append(f"\n## `[{name}]`\n\n{_section(field.annotation)}")
        elif name == "acr":
            parts.append(f"\n## `[acr]`\n\n{_sentence(field.description)}\n")
        elif name == "rules":
            parts.append("\n## `[rules]`\n\nThe house rules have [a page of their own](rules.md).\n")
    for name, cls in sorted(registry.load(tuple(sorted(registry.installed()))).items()):
        if cls.Settings.model_fields:
            parts.append(f"\n## `[{name}]`\n\nOf the login method `{name}`.\n\n{_section(cls.Settings)}")
    return "".join(parts)


def _section(model: type[BaseModel]) -> str:
    rows = []
    schema = model.model_json_schema()["properties"]
    for name, field in model.model_fields.items():
        default = "number of cores" if field.default_factory else _value(field.default)
        rows.append((f"`{name}`", field.description or "", _kind(schema[name]), default))
    return _table(("key", "meaning", "values", "default"), rows)


def _rules() -> str:
    values = {p: house_rules(build({"rules": {"profile": p}})) for p in PROFILES}
    rows = []
    for name in values["default"]:
        if name not in ("rules.profile", "lockout.max_attempts"):
            meaning, kind = _meaning(name)
            rows.append((f"`{name}`", meaning, kind, *(_value(values[p][name]) for p in PROFILES)))
    kept = [name for name in PasswordRules.model_fields if name != "policy"]
    policies = []
    for policy in POLICIES:
        rules = build({"rules": {"password": {"policy": policy}}}).rules.password.model_dump(mode="json")
        policies.append((f"`{policy}`", *(_value(rules[name]) for name in kept)))
    return (
        f"{RULES}\n{_table(('rule', 'meaning', 'values', *(f'`{p}`' for p in PROFILES)), rows)}"
        f"{POLICY}\n{_table(('policy', *(f'`{name}`' for name in kept)), policies)}"
    )


def _meaning(name: str) -> tuple[str, str]:
    model: Any = Settings
    *tables, key = name.split(".")
    for table in tables:
        model = Rules if table == "rules" else model.model_fields[table].annotation
    return model.model_fields[key].description or "", _kind(model.model_json_schema()["properties"][key])


def _kind(schema: dict[str, Any]) -> str:
    kinds = [s for s in schema.get("anyOf", [schema]) if s.get("type") != "null"]
    words = [_one_kind(s) for s in kinds]
    return " or ".join(dict.fromkeys(words))


def _one_kind(schema: dict[str, Any]) -> str:
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{v}`" for v in schema.get("enum", [schema.get("const")]))
    if schema["type"] == "array":
        kind = _kind(schema["items"])
        return f"list of {MANY.get(kind, kind)}"
    if schema.get("format") == "path":
        return "path"
    least = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1 if "exclusiveMinimum" in schema else None)
    most = schema.get("maximum")
    limits = f", {least} to {most}" if None not in (least, most) else ""
    limits = limits or (f", {least} or more" if least is not None else f", up to {most}" if most is not None else "")
    return TYPES[schema["type"]] + limits


def _value(value: Any) -> str:
    if value is None or value is PydanticUndefined:
        return "–"
    if isinstance(value, (list, tuple)):
        return ", ".join(f"`{v}`" for v in value) or "none"
    return f"`{json.dumps(value) if isinstance(value, bool) else value}`"


def _sentence(text: str | None) -> str:
    return f"{(text or '')[:1].upper()}{(text or '')[1:]}."


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    for name, text in pages().items():
        (HERE / name).write_text(text, "utf-8")
