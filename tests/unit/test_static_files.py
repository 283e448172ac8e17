"""Static files are found by their hashed names only, and nothing beside them."""

import hashlib
from pathlib import Path

import pytest

from idp.web.static_files import StaticFiles


@pytest.fixture
def files(tmp_path: Path) -> StaticFiles:
    (tmp_path / "secret.txt").write_text("secret")
    house, plugin = tmp_path / "house", tmp_path / "plugin"
    (house / "deep").mkdir(parents=True)
    plugin.mkdir()
    (house / "page.css").write_text("a{}")
    (house / "deep" / "mark.svg").write_text("<svg/>")
    (house / "plain").write_bytes(b"\0")
    (plugin / "card.js").write_text("1")
    return StaticFiles([("", house), ("smartcard/", plugin)])


def test_a_name_holds_the_hash_of_its_content(files: StaticFiles) -> None:
    digest = hashlib.sha256(b"a{}").hexdigest()[:12]
    assert files.url("page.css") == f"/static/page.{digest}.css"
    found = files.get(f"page.{digest}.css")
    assert found is not None
    assert (found.body, found.kind) == (b"a{}", "text/css; charset=utf-8")


@pytest.mark.parametrize(("name", "kind"), [("deep/mark.svg", "image/svg+xml"), ("smartcard/card.js", "text/javascript; charset=utf-8")])  # fmt: skip
def test_files_of_folders_and_plugins_have_their_kind(files: StaticFiles, name: str, kind: str) -> None:
    found = files.get(files.url(name).removeprefix("/static/"))
    assert found is not None
    assert found.kind == kind


@pytest.mark.parametrize("name", ["page.css", "../secret.txt", "house/page.css", "", "/", "page.000000000000.css", "deep", "smartcard/../page.css"])  # fmt: skip
def test_no_other_name_leads_to_a_file(files: StaticFiles, name: str) -> None:
    assert files.get(name) is None


def test_a_page_that_names_an_unknown_file_is_a_fault_of_ours(files: StaticFiles) -> None:
    with pytest.raises(KeyError):
        files.url("nothing.css")
