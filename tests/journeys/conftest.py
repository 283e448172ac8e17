"""What journeys share: a running provider with its portals, people, and a signer with cards."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from services import portal as portals
from services.portal import Portal
from services.provider import Person, Provider, postgres_provider, provider
from services.signer import Cards, RunSigner, Signer, cards, run_signer

__all__ = ["cards", "postgres_provider", "provider", "run_signer"]

expect.set_options(timeout=15_000)  # other work may share the machine


@pytest.fixture(scope="session")
def portal(provider: Provider) -> Iterator[Portal]:
    """The office's own portal."""
    with portals.serving(provider, "Procédures") as started:
        yield started


@pytest.fixture(scope="session")
def partner(provider: Provider) -> Iterator[Portal]:
    """Somebody else's portal: people are asked before it learns anything."""
    with portals.serving(provider, "Veille Brevets", first_party=False) as started:
        yield started


@pytest.fixture(scope="session")
def alice(provider: Provider, cards: Cards) -> Person:
    """A manager with a card. Nothing lasting may be done to her: tests share her."""
    alice = provider.person("Alice", "Martin")
    provider.entity("Cabinet Martin", alice)
    provider.enrol(alice, cards.file("alice"))
    return alice


@pytest.fixture
def camille(provider: Provider) -> Person:
    """Somebody new, with a password and nothing else."""
    return provider.person()


@pytest.fixture
def signer(provider: Provider, run_signer: RunSigner) -> Iterator[Signer]:
    """A signer on Alice's machine which accepts this provider."""
    with run_signer(provider.issuer, provider.signer_port) as started:
        yield started
