"""Settings: what is misspelt, contradictory or unsafe is refused by its name before anything starts."""

from pathlib import Path

import pytest

from idp.errors import Misconfigured
from idp.settings import Section, build, is_loopback, load, validated


def refusal(raw: dict[str, object]) -> str:
    with pytest.raises(Misconfigured) as refused:
        build(raw)
    return str(refused.value)


def test_with_no_configuration_at_all_a_loopback_office_starts() -> None:
    settings = load({"IDP_SOMETHING": "not a setting"})
    assert settings.server.issuer == "http://localhost:8000"
    assert settings.server.address() == ("127.0.0.1", 8000)
    assert (settings.loopback, settings.server.secure) == (True, False)
    assert settings.login.methods == ("password", "smartcard")
    assert settings.lockout.max_attempts == 5
    assert settings.throttle.address_failures == 20


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"server": {"isuer": "https://id.example"}}, "server.isuer: unknown key (did you mean 'issuer'?)"),
        ({"lockout": {"max_atempts": 3}}, "lockout.max_atempts: unknown key (did you mean 'max_attempts'?)"),
        ({"serveur": {"issuer": "https://id.example"}}, "serveur: unknown key (did you mean 'server'?)"),
        ({"tokens": {"zzz": 1}}, "tokens.zzz: unknown key"),
        ({"methods": {"password": {}}}, "methods: unknown section"),
    ],
)
def test_an_unknown_key_is_refused_by_its_name_with_the_nearest_known_one(raw: dict[str, object], says: str) -> None:
    assert refusal(raw) == says


def test_every_wrong_key_is_named_at_once() -> None:
    text = refusal({"server": {"isuer": "x"}, "mail": {"url": "http://mail"}})
    assert "server.isuer" in text
    assert "mail.url: must start with smtp://" in text


@pytest.mark.parametrize("value", [0, -1, 101, 1_000_000_000, "five", "", 2.5, None])
def test_a_number_of_attempts_outside_1_to_100_is_refused(value: object) -> None:
    assert refusal({"lockout": {"max_attempts": value}}).startswith("lockout.max_attempts:")


@pytest.mark.parametrize("value", [1, 5, 100, "7"])
def test_a_number_of_attempts_from_1_to_100_is_taken(value: object) -> None:
    assert build({"lockout": {"max_attempts": value}}).lockout.max_attempts == int(str(value))


@pytest.mark.parametrize(
    "issuer",
    [
        "http://id.office.example",
        "http://192.0.2.7:8000",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "https://id.office.example/",
        "https://id.office.example/idp",
        "https://id.office.example?x=1",
        "https://id.office.example#x",
        "ftp://id.office.example",
        "id.office.example",
        "https://",
        "",
    ],
)
def test_an_issuer_that_is_not_a_safe_origin_is_refused(issuer: str) -> None:
    assert refusal({"server": {"issuer": issuer}}).startswith("server.issuer:")


@pytest.mark.parametrize(
    ("issuer", "secure", "host"),
    [
        ("https://id.office.example", True, "id.office.example"),
        ("https://id.office.example:8443", True, "id.office.example:8443"),
        ("http://localhost:8000", False, "localhost:8000"),
        ("http://127.0.0.1:9000", False, "127.0.0.1:9000"),
        ("http://[::1]:9000", False, "[::1]:9000"),
        ("http://id.localhost:8000", False, "id.localhost:8000"),
    ],
)
def test_an_issuer_decides_cookies_and_host(issuer: str, secure: bool, host: str) -> None:
    server = build({"server": {"issuer": issuer}}).server
    assert (server.secure, server.host) == (secure, host)


def test_only_this_machine_is_loopback() -> None:
    assert all(map(is_loopback, ("localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1")))
    assert not any(map(is_loopback, ("", "localhost.example", "0.0.0.0", "10.0.0.1", "::", "127.1.example")))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("server", "trusted_proxies", ["10.0.0.0/8", "proxy.example"]),
        ("server", "trusted_proxies", ["10.0.0.1/8"]),
        ("server", "workers", 0),
        ("database", "synchronous", "off"),
        ("database", "pool_size", 0),
        ("login", "methods", []),
        ("tokens", "code_seconds", 0),
        ("sessions", "idle_seconds", -1),
        ("throttle", "address_failures", -1),
        ("keys", "store", "cloud"),
        ("mail", "url", "mail.example:25"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(section: str, key: str, value: object) -> None:
    assert refusal({section: {key: value}}).startswith(f"{section}.{key}:")


def test_the_environment_stands_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "office.toml"
    file.write_text('[server]\nissuer = "https://a.example"\nlisten = "127.0.0.1:9"\n[lockout]\nmax_attempts = 3\n')
    settings = load(
        {
            "IDP_CONFIG": str(file),
            "IDP_SERVER__ISSUER": "https://b.example",
            "IDP_SERVER__TRUSTED_PROXIES": "10.0.0.0/8, ::1",
            "IDP_RULES__PASSWORD__POLICY": "nist",
            "OTHER__KEY": "x",
        }
    )
    assert settings.server.issuer == "https://b.example"
    assert settings.server.listen == "127.0.0.1:9"
    assert settings.server.trusted_proxies == ("10.0.0.0/8", "::1")
    assert settings.lockout.max_attempts == 3
    assert settings.rules.password.policy == "nist"


def test_a_misspelt_variable_is_refused_like_a_misspelt_key() -> None:
    with pytest.raises(Misconfigured, match=r"lockout\.max_atempts: unknown key"):
        load({"IDP_LOCKOUT__MAX_ATEMPTS": "5"})
    with pytest.raises(Misconfigured, match="lokout"):
        load({"IDP_LOKOUT__MAX_ATTEMPTS": "5"})


def test_a_variable_cannot_reach_into_a_value(tmp_path: Path) -> None:
    file = tmp_path / "idp.toml"
    file.write_text('[server]\nissuer = "https://a.example"\n')
    with pytest.raises(Misconfigured, match="issuer is not a section"):
        load({"IDP_CONFIG": str(file), "IDP_SERVER__ISSUER__HOST": "x"})


@pytest.mark.parametrize("content", [b"[server\n", b"a = 1\na = 2\n", b'x = "\xff"'])
def test_a_file_that_cannot_be_read_as_toml_is_refused_by_its_path(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_bytes(content)
    with pytest.raises(Misconfigured, match="broken"):
        load({"IDP_CONFIG": str(file)})


def test_a_named_file_must_exist_and_the_usual_one_need_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    load({})
    with pytest.raises(Misconfigured, match="nowhere"):
        load({"IDP_CONFIG": str(tmp_path / "nowhere.toml")})
    (tmp_path / "idp.toml").write_text('[office]\nname = "Office"\n')
    assert load({}).office.name == "Office"


def test_key_file_reads_the_value_without_its_last_newline(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://idp:secret@db/idp\n")
    assert build({"database": {"url_file": str(secret)}}).database.url == "postgresql://idp:secret@db/idp"
    assert load({"IDP_DATABASE__URL_FILE": str(secret)}).database.url == "postgresql://idp:secret@db/idp"


def test_key_file_beside_key_and_an_unreadable_one_are_refused(tmp_path: Path) -> None:
    there = tmp_path / "url"
    there.write_text("sqlite://")
    assert "given twice" in refusal({"database": {"url": "sqlite://", "url_file": str(there)}})
    assert "database.url_file: cannot read" in refusal({"database": {"url_file": str(tmp_path / "none")}})
    assert "database.nothing_file: unknown key" in refusal({"database": {"nothing_file": str(there)}})


def test_a_setting_that_is_itself_a_file_is_not_read_in_its_place(tmp_path: Path) -> None:
    assert build({"secrets": {"master_file": str(tmp_path / "m")}}).secrets.master_file == tmp_path / "m"


def test_a_login_method_checks_its_own_section() -> None:
    class Own(Section):
        ports: int = 1

    settings = build({"card": {"prots": 2}}, methods=frozenset({"card"}))
    assert settings.methods == {"card": {"prots": 2}}
    with pytest.raises(Misconfigured, match=r"card\.prots: unknown key \(did you mean 'ports'\?\)"):
        validated(Own, settings.methods["card"], "card")
    assert "card: unknown key" in refusal({"card": {}})


def test_a_method_cannot_take_over_a_section_of_the_house() -> None:
    settings = build({"server": {"listen": "127.0.0.1:1"}}, methods=frozenset({"server"}))
    assert (settings.methods, settings.server.listen) == ({}, "127.0.0.1:1")


def test_settings_cannot_be_changed_afterwards() -> None:
    settings = build({})
    with pytest.raises(ValueError, match="frozen"):
        settings.lockout.max_attempts = 99  # type: ignore[misc]


def test_what_is_given_is_left_as_it_was() -> None:
    raw = {"rules": {"password": {"policy": "nist"}}, "server": {"listen": "127.0.0.1:1"}}
    build(raw)
    assert raw == {"rules": {"password": {"policy": "nist"}}, "server": {"listen": "127.0.0.1:1"}}
