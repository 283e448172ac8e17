"""Fixtures for every test of the house and of its plugins; what they start stands in `tests/services`."""

import os

import pytest

pytest_plugins = (
    "services.browser",
    "services.databases",
    "services.mail",
    "services.office",
    "services.postgres",
    "services.softhsm",
)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the person who runs the tests decides their outcome."""
    for name in [name for name in os.environ if name.startswith("IDP_")]:
        monkeypatch.delenv(name)
