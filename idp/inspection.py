"""`idp rules`, `idp config`, `idp check`: what is in force here, where it comes from, and what is wrong with it."""

import json
import re
import sys
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from idp import findings, migrate, trial
from idp.commands import as_json, say
from idp.errors import Misconfigured
from idp.login import registry
from idp.rules import PROFILES
from idp.settings import Settings, build, read
from idp.trial import flat, house_rules

MASK = "***"
SHOWN = 20  # accounts named to people; `--json` names all
_PASSWORD = re.compile(r"(://[^:/?#@]*):.*@")
_IN_QUERY = re.compile(r"([?&][a-z]*password=)[^&]*")
_SECRET = re.compile(r"(^|[._])(secret|password|pin)$")


# House rules ------------------------------------------------------------------------------------------------------


@click.group()
def rules() -> None:
    """What this office decides: deadlines, passwords, entities, messages."""


@rules.command("show")
@as_json
def rules_show(as_json: bool) -> None:
    """Show every rule that is in force, and whether the profile or an override gives it."""
    raw = read()
    settings = _judged(raw)
    of_profile, given = house_rules(_profile(settings.rules.profile)), set(flat(raw))
    values = {
        name: {
            "value": value,
            "source": "override" if name in given or value != of_profile[name] else "profile",
            "profile_value": of_profile[name],
        }
        for name, value in house_rules(settings).items()
        if name != "rules.profile"
    }
    lines = [f"profile {settings.rules.profile}"]
    for name, v in values.items():
        lines.append(f"{name} = {_text(v['value'])}")
        if v["source"] == "override":
            lines[-1] += f"  (override; the profile says {_text(v['profile_value'])})"
    say({"profile": settings.rules.profile, "rules": values}, as_json, "\n".join(lines))


@rules.command("diff")
@click.argument("profile", type=click.Choice(PROFILES))
@as_json
def rules_diff(profile: str, as_json: bool) -> None:
    """Compare the rules that are in force with those of another profile."""
    here, there = house_rules(_judged(read())), house_rules(_profile(profile))
    different = _differences(here, there)
    lines = [f"{d['rule']}: {_text(d['from'])} here, {_text(d['to'])} in {profile}" for d in different]
    value = {"profile": here["rules.profile"], "other": profile, "differences": different}
    say(value, as_json, "\n".join(lines) or f"the rules in force are those of {profile}")


@rules.command("try")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@as_json
def rules_try(file: Path, as_json: bool) -> None:
    """What the lines of FILE, a TOML file with [rules] and [lockout], would change if they stood in the settings."""
    given = _trial_file(file)
    now = _judged(read())
    then = _judged(_laid_over(read(), given))
    with findings.opened(now) as house:
        migrate.require_newest(house.database, house.owners)
        effects = trial.effects(house, then)
    changes = _differences(house_rules(now), house_rules(then))
    lines = [f"{c['rule']}: {_text(c['from'])} would become {_text(c['to'])}" for c in changes]
    for effect in effects:
        named = ", ".join(effect.accounts[:SHOWN]) + (", …" if len(effect.accounts) > SHOWN else "")
        lines.append(f"  {effect.sentence}{f' ({named})' if named else ''}")
    value = {"changes": changes, "effects": [{**asdict(e), "count": len(e.accounts)} for e in effects]}
    say(value, as_json, "\n".join([*lines, "Nothing was changed."]) if changes else "nothing would change")


def _judged(raw: dict[str, Any]) -> Settings:
    return build(raw, methods=frozenset(registry.installed()))


def _profile(name: str) -> Settings:
    return build({"rules": {"profile": name}})


def _differences(here: dict[str, Any], there: dict[str, Any]) -> list[dict[str, Any]]:
    names = [name for name in here if name != "rules.profile" and here[name] != there[name]]
    return [{"rule": name, "from": here[name], "to": there[name]} for name in names]


def _trial_file(file: Path) -> dict[str, Any]:
    try:
        given = tomllib.loads(file.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise Misconfigured(f"{file}: {e}") from e
    if strange := sorted(set(given) - {"rules", "lockout"}):
        raise Misconfigured(f"{file}: {strange[0]}: only [rules] and [lockout] can be tried")
    return given


def _laid_over(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for name, value in over.items():
        own = out.get(name)
        out[name] = _laid_over(own, value) if isinstance(own, dict) and isinstance(value, dict) else value
    return out


# Settings ---------------------------------------------------------------------------------------------------------


@click.group()
def config() -> None:
    """The settings of this installation."""


@config.command("show")
@as_json
def config_show(as_json: bool) -> None:
    """Show every setting that is in force; passwords and secrets are masked."""
    settings, sections = findings.configured()
    own = {name: section.model_dump(mode="json") for name, section in sections.items()}
    value = _masked({**settings.model_dump(mode="json"), **{name: table for name, table in own.items() if table}})
    say(value, as_json, "\n".join(f"{name} = {_text(content)}" for name, content in flat(value).items()))


@config.command("check")
@as_json
def config_check(as_json: bool) -> None:
    """Judge the settings file and the environment as `idp serve` would, without opening anything."""
    settings, _ = findings.configured()
    say({"ok": True, "issuer": settings.server.issuer}, as_json, "the settings are good")


def _masked(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _masked(content, f"{name}.{key}") for key, content in value.items()}
    if isinstance(value, list):
        return [_masked(content, name) for content in value]
    if value is not None and _SECRET.search(name):
        return MASK
    return _IN_QUERY.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1:{MASK}@", value)) if isinstance(value, str) else value


def _text(value: Any) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)


# The whole installation -------------------------------------------------------------------------------------------


@click.command()
@as_json
def check(as_json: bool) -> None:
    """Look at settings, database, keys, mail, anchors and journal; ends with 1 when something is broken."""
    found = findings.look()
    ok = all(f.level != "error" for f in found)
    lines = [f"{f.level}: {f.what}\n  what to do: {f.remedy}" for f in found]
    say(
        {"ok": ok, "findings": [asdict(f) for f in found]}, as_json, "\n".join(lines) or "everything is as it should be"
    )
    if not ok:
        sys.exit(1)
