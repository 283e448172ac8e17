"""A mail server that keeps every letter it is given."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from services.needs import free_port


@dataclass
class Mailbox:
    """What arrived, in order. `answer` is what the server says to each letter: set it to a refusal to see what follows."""

    port: int
    letters: list[EmailMessage] = field(default_factory=list)
    answer: str = "250 OK"

    @property
    def url(self) -> str:
        """The address for `mail.url`."""
        return f"smtp://127.0.0.1:{self.port}"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  aiosmtpd calls it so
        """Keep a letter, or refuse it."""
        if self.answer.startswith("250"):
            letter = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(letter, EmailMessage)
            self.letters.append(letter)
        return self.answer

    def wait(self, count: int = 1, seconds: float = 10) -> list[EmailMessage]:
        """The letters once there are `count`; fails when they do not come."""
        end = time.monotonic() + seconds
        while len(self.letters) < count:
            assert time.monotonic() < end, f"{len(self.letters)} of {count} letters arrived"
            time.sleep(0.02)
        return self.letters


@pytest.fixture
def smtp() -> Iterator[Mailbox]:
    """A running mail server on loopback."""
    mailbox = Mailbox(free_port())
    controller = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port)
    controller.start()
    yield mailbox
    controller.stop()
