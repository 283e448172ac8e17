"""Which tests prove which numbered requirement: `python tests/trace_requirements.py` prints the table, and what has no test.

Requirements are R1 to R135 and the contradictions to decide, C1 to C26.
"""

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
NUMBERS = (*(f"R{n}" for n in range(1, 136)), *(f"C{n}" for n in range(1, 27)))


def marked(source: str) -> list[tuple[str, str]]:
    """Pairs (requirement, name of the test) of one file, from `@pytest.mark.requirement("R20")` and `pytestmark`."""
    module = ast.parse(source)
    everywhere = [n for node in module.body if _sets_pytestmark(node) for n in _numbers(node)]
    found = []
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            own = [number for decorator in node.decorator_list for number in _numbers(decorator)]
            found += [(number, node.name) for number in dict.fromkeys([*everywhere, *own])]
    return found


def _sets_pytestmark(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "pytestmark" for t in node.targets)


def _numbers(node: ast.AST) -> list[str]:
    return [
        argument.value
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "requirement"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


def table() -> dict[str, list[str]]:
    """Requirement → tests, as `file::test`, over every test of the house and of its plugins."""
    tests: dict[str, list[str]] = defaultdict(list)
    for path in sorted((*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("plugins/*/tests/**/test_*.py"))):
        for number, name in marked(path.read_text("utf-8")):
            tests[number].append(f"{path.relative_to(ROOT)}::{name}")
    return tests


def main() -> None:
    """Print the table and what has no test."""
    tests = table()
    for number in NUMBERS:
        for place, name in enumerate(tests.get(number, [])):
            print(f"{number if place == 0 else '':5} {name}")
    without = [number for number in NUMBERS if number not in tests]
    print(f"\n{len(NUMBERS) - len(without)} of {len(NUMBERS)} requirements have a test; these have none:")
    print(re.sub(r"(.{1,110})(?: |$)", r"\1\n", " ".join(without)).rstrip())


if __name__ == "__main__":
    main()
