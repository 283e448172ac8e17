"""The shape of the house: floors, names, sizes, dependencies, locks and catalogues keep what the documents promise."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import trace_requirements
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECTS = (ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml")))
PACKAGES = (ROOT / "idp", *sorted(ROOT.glob("plugins/*/idp_*")))
LOCKS = ("requirements.lock", "requirements-dev.lock")
PLACEHOLDER = re.compile(r"%\((\w+)\)[a-z]")


@cache
def files() -> list[Path]:
    """Every file of the tree that is kept, or would be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_imports_only_go_down() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_no_file_is_longer_than_500_lines() -> None:
    sources = [p for p in files() if p.suffix in {".py", ".js", ".css", ".html"}]
    lengths = {short(p): len(p.read_bytes().splitlines()) for p in sources}
    assert {name: n for name, n in lengths.items() if n > 500} == {}


def test_no_file_is_a_drawer_for_everything() -> None:
    drawers = {"util", "utils", "helper", "helpers", "common", "misc", "core", "base", "lib"}
    assert [
        short(p) for p in files() if p.suffix == ".py" and {p.stem, *p.relative_to(ROOT).parts[:-1]} & drawers
    ] == []


def test_every_module_says_what_it_is() -> None:
    modules = [p for p in files() if p.suffix == ".py" and p.is_relative_to(ROOT)]
    assert [short(p) for p in modules if not (ast.get_docstring(ast.parse(p.read_text("utf-8"))) or "").strip()] == []


def test_nothing_is_skipped_and_nothing_is_left_for_later() -> None:
    banned = re.compile(r"pytest\.(mark\.)?(skip|xfail)|\bTO" r"DO\b|\bFIX" r"ME\b|raise NotImplemented" r"Error")
    found = [short(p) for p in files() if p.suffix == ".py" and banned.search(p.read_text("utf-8"))]
    assert [name for name in found if name != short(Path(__file__))] == []


def direct(project: Path) -> list[Requirement]:
    """The direct dependencies of one project: run, build and development."""
    data = tomllib.loads(project.read_text("utf-8"))
    groups = [g for group in data.get("dependency-groups", {}).values() for g in group]
    named = [*data["build-system"]["requires"], *data["project"].get("dependencies", []), *groups]
    return [r for r in map(Requirement, named) if not r.name.startswith("poterne-")]


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)==([^ ;\\]+)", (ROOT / lock).read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize("project", PROJECTS, ids=lambda p: p.parent.name)
def test_every_direct_dependency_has_a_reason_and_a_pin(project: Path) -> None:
    reasons = (ROOT / "docs" / "adr" / "dependencies.md").read_text("utf-8")
    pinned = pins("requirements-dev.lock")
    for requirement in direct(project):
        assert re.search(rf"^\| `{re.escape(requirement.name)}` \| .{{10,}} \|$", reasons, re.MULTILINE), (
            requirement.name
        )
        assert requirement.specifier.contains(pinned[requirement.name]), requirement


def test_no_reason_is_given_for_what_is_not_used() -> None:
    reasons = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/adr/dependencies.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(reasons) == sorted({r.name for project in PROJECTS for r in direct(project)})


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_by_hash_and_names_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text("utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash=sha256:[0-9a-f]{64})", text, re.MULTILINE)
    for entry in re.split(r"\n(?=[a-z])", text.strip()):
        assert re.match(r"[a-z0-9.-]+==\S+", entry), entry[:80]
        assert "--hash=sha256:" in entry, entry[:80]


def test_both_locks_agree() -> None:
    run, dev = map(pins, LOCKS)
    assert run.items() <= dev.items()


def said() -> dict[str, str]:
    """Every text marked for translation, and where it first stands."""
    methods: list[tuple[str, str]] = [("**.py", "python"), ("**.html", "jinja2"), ("**.txt", "jinja2")]
    keywords: dict[str, Any] = {"_": None, "N_": None, "t": None}
    found: dict[str, str] = {}
    for package in PACKAGES:
        for name, line, message, _, _ in extract_from_dir(package, methods, {"**.py": {}}, keywords):
            assert isinstance(message, str), f"{package.name}/{name}:{line}: plural forms are not in use"
            found.setdefault(message, f"{package.name}/{name}:{line}")
    return found


def french() -> dict[str, str]:
    """The French catalogues together, as the house reads them."""
    texts: dict[str, str] = {}
    for path in (p for package in PACKAGES for p in package.glob("**/translations/fr.po")):
        for message in read_po(BytesIO(path.read_bytes()), locale="fr", abort_invalid=True):
            assert not message.fuzzy or not message.id, f"{short(path)}: {message.id!r} is marked fuzzy"
            if message.id:
                texts[str(message.id)] = str(message.string)
    return texts


def test_every_text_has_its_french() -> None:
    texts = french()
    marked = said()
    assert len(marked) > 40, "the extraction finds nothing"
    assert {text: where for text, where in marked.items() if not texts.get(text, "").strip()} == {}


def test_the_french_names_the_same_values_as_the_english() -> None:
    differ = {
        text: string
        for text, string in french().items()
        if set(PLACEHOLDER.findall(text)) != set(PLACEHOLDER.findall(string))
    }
    assert differ == {}


def test_no_french_is_kept_for_a_text_that_nobody_says() -> None:
    assert sorted(set(french()) - set(said())) == []


def test_every_requirement_that_a_test_names_exists() -> None:
    assert sorted(set(trace_requirements.table()) - set(trace_requirements.NUMBERS)) == []


def test_the_requirements_of_a_test_are_read_from_its_marks() -> None:
    source = """
import pytest
pytestmark = pytest.mark.requirement("R1")
@pytest.mark.requirement("R2", "C3")
@pytest.mark.parametrize("x", [1])
def test_a(x): ...
class TestIt:
    def test_b(self): ...
"""
    assert trace_requirements.marked(source) == [("R1", "test_a"), ("R2", "test_a"), ("C3", "test_a"), ("R1", "test_b")]
