"""`idp key`: one JSON value, the states after each command, refusals that say why."""

from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result
from services.databases import open_database

from idp.errors import Conflict, NotFound
from idp.keys.commands import key
from idp.keys.ring import Ring
from idp.keys.software import SoftwareStore
from idp.sealing import Sealer


@dataclass
class House:
    ring: Ring


@pytest.fixture
def house(sqlite_url: str) -> House:
    database = open_database(sqlite_url)
    house = House(Ring(database, SoftwareStore(database, Sealer(b"m" * 32))))
    house.ring.first_start()
    return house


def run(house: House, *words: str) -> Result:
    return CliRunner().invoke(key, list(words), obj=house)


def rows(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    value = orjson.loads(result.stdout)
    assert isinstance(value, list)
    return value


def states(result: Result, alg: str) -> list[str]:
    return [row["state"] for row in rows(result) if row["alg"] == alg]


def test_the_list_tells_every_key_and_its_state(house: House) -> None:
    listed = rows(run(house, "list", "--json"))
    assert len(listed) == 4
    assert set(listed[0]) == {"kid", "alg", "store", "state", "created", "activated", "retired"}
    assert listed[0]["created"].endswith("Z")
    printed = run(house, "list").stdout
    assert all(row["kid"] in printed for row in listed)


def test_a_created_key_is_next(house: House) -> None:
    assert states(run(house, "create", "--alg", "EdDSA", "--json"), "EdDSA") == ["next"]


def test_a_young_next_key_is_refused_without_now(house: House) -> None:
    refused = run(house, "rotate", "--alg", "ES256")
    assert isinstance(refused.exception, Conflict)
    assert "--now" in str(refused.exception)
    rotated = run(house, "rotate", "--alg", "ES256", "--now", "--json")
    assert sorted(states(rotated, "ES256")) == ["active", "next", "retired"]
    assert sorted(states(rotated, "RS256")) == ["active", "next"]


def test_a_key_is_activated_retired_and_revoked_by_name(house: House) -> None:
    (kid,) = (row["kid"] for row in rows(run(house, "create", "--alg", "EdDSA", "--json")) if row["alg"] == "EdDSA")
    assert states(run(house, "activate", kid, "--now", "--json"), "EdDSA") == ["active"]
    assert states(run(house, "retire", kid, "--json"), "EdDSA") == ["retired"]
    assert states(run(house, "revoke", kid, "--json"), "EdDSA") == ["gone"]


def test_a_name_that_begins_with_a_dash_is_a_name(house: House) -> None:
    refused = run(house, "revoke", "-jn_x", "--json")
    assert isinstance(refused.exception, NotFound)
    assert "-jn_x" in str(refused.exception)


def test_an_unknown_algorithm_is_wrong_usage(house: House) -> None:
    assert run(house, "create", "--alg", "HS256").exit_code == 2
    assert run(house, "create").exit_code == 2
