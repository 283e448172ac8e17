"""The services that tests start work: what a fixture promises, seen once on its own."""

import asyncio
import smtplib
import subprocess
from email.message import EmailMessage

import pytest
from services.browser import NewPage
from services.mail import Mailbox
from services.softhsm import SoftHsm
from sqlalchemy import inspect

from idp.db import Base, Database


def test_a_database_has_every_table_and_starts_empty(database: Database) -> None:
    tables = set(inspect(database.engine).get_table_names())
    assert tables >= set(Base.metadata.tables)
    with database.read() as c:
        assert c.exec_driver_sql("SELECT count(*) FROM accounts").scalar_one() == 0


def test_a_letter_arrives_and_a_refused_one_is_not_kept(smtp: Mailbox) -> None:
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = "office@example.test", "alice@example.test", "Accès"
    letter.set_content("Bonjour")
    with smtplib.SMTP("127.0.0.1", smtp.port) as client:
        client.send_message(letter)
        assert smtp.wait()[0]["Subject"] == "Accès"
        smtp.answer = "451 later"
        with pytest.raises(smtplib.SMTPDataError, match="451"):
            client.send_message(letter)
    assert len(smtp.letters) == 1


def test_a_token_is_made_in_a_store_of_its_own(softhsm: SoftHsm) -> None:
    softhsm.token("carte A")
    shown = subprocess.run(["softhsm2-util", "--show-slots"], env=softhsm.environment, check=True, capture_output=True)
    assert b"carte A" in shown.stdout


def test_the_browser_speaks_the_language_that_it_is_asked_to(new_page: NewPage) -> None:
    assert new_page().evaluate("navigator.language") == "fr-FR"
    assert new_page("en-GB").evaluate("navigator.language") == "en-GB"


def test_after_a_page_was_open_another_test_may_run_an_event_loop() -> None:
    assert asyncio.run(asyncio.sleep(0, "done")) == "done"
