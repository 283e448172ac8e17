"""The reference pages say what the models say, of every key."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from idp.settings import Settings

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


def pages() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("reference_pages", FOLDER / "write.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written: dict[str, str] = module.pages()
    return written


@pytest.mark.parametrize("name", ["settings.md", "rules.md"])
def test_a_reference_page_is_what_the_models_say(name: str) -> None:
    assert (FOLDER / name).read_text("utf-8") == pages()[name], "run: make docs"


def undescribed(model: Any, name: str) -> list[str]:
    found = []
    for key, field in model.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            found += undescribed(field.annotation, f"{name}{key}.")
        elif not field.description and not field.exclude:
            found.append(name + key)
    return found


def test_every_key_says_what_it_is() -> None:
    assert undescribed(Settings, "") == []
