"""`idp rules`, `idp config` and `idp check`: what is in force, what would change, what is wrong, and nothing is touched."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from services.authority import NOW, CardAuthority
from services.mail import Mailbox
from services.needs import free_port
from services.office import ISSUER, Office

from idp import cli, clock
from idp.directory import accounts
from idp.trust import anchors

DAY = 86400
TRUSTED = {"Good": 100, "Ending": 20, "Silent": 100}  # authorities, and in how many days they end


@dataclass
class Said:
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        assert self.err == "", self.err
        return json.loads(self.out)


Run = Callable[..., Said]


@pytest.fixture
def idp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in an empty folder, with environment variables such as `RULES__PROFILE="wipo"`."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, **env: str) -> Said:
        with monkeypatch.context() as m:
            for name, value in env.items():
                m.setenv(f"IDP_{name}", value)
            m.setattr(sys, "argv", ["idp", *words])
            with pytest.raises(SystemExit) as end:
                cli.main()
        printed = capsys.readouterr()
        return Said(int(end.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def here(idp: Run, office: Office) -> Run:
    """Runs a command in the office, on each engine."""
    (office.folder / "idp.toml").write_text(
        f"""
        [server]
        issuer = "{ISSUER}"
        [database]
        url = "{office.url}"
        [secrets]
        master_file = "{office.folder / "master.key"}"
        [mail]
        url = "directory:{office.folder / "mail"}"
        [journal]
        head_file = "{office.folder / "journal.head"}"
        [login]
        methods = ["password"]
        """
    )
    return idp


def toml(folder: Path, text: str) -> str:
    file = folder / "trial.toml"
    file.write_text(text)
    return str(file)


# House rules ------------------------------------------------------------------------------------------------------


def test_every_rule_is_shown_with_its_value_and_where_it_comes_from(idp: Run, tmp_path: Path) -> None:
    (tmp_path / "idp.toml").write_text(
        '[rules]\nprofile = "inpi-ets"\n[rules.activation]\ndeadline_days = 20\n[lockout]\nmessage = "explicit"\n'
    )
    value = idp("rules", "show", "--json", RULES__ENTITIES__ENABLED="true").value
    assert value["profile"] == "inpi-ets"
    rules = value["rules"]
    assert rules["rules.activation.deadline_days"] == {"value": 20, "source": "override", "profile_value": 15}
    assert rules["rules.activation.on_expiry"] == {"value": "delete", "source": "profile", "profile_value": "delete"}
    assert rules["rules.entities.enabled"] == {"value": True, "source": "override", "profile_value": False}
    assert rules["lockout.message"]["source"] == "override"  # written down, though the profile says the same
    assert rules["rules.password.max_length"] == {"value": 32, "source": "profile", "profile_value": 32}
    shown = idp("rules", "show").out
    assert "rules.activation.deadline_days = 20  (override; the profile says 15)" in shown
    assert all(f"{name} = " in shown for name in rules)


def test_a_rule_that_follows_from_another_policy_is_no_rule_of_the_profile(idp: Run) -> None:
    rules = idp("rules", "show", "--json", RULES__PASSWORD__POLICY="nist").value["rules"]
    assert rules["rules.password.min_length"] == {"value": 15, "source": "override", "profile_value": 8}
    assert rules["rules.password.max_length"]["source"] == "profile"


def test_the_rules_in_force_are_compared_with_another_profile(idp: Run) -> None:
    value = idp("rules", "diff", "inpi-ets", "--json", RULES__PROFILE="wipo").value
    assert (value["profile"], value["other"]) == ("wipo", "inpi-ets")
    assert {"rule": "rules.activation.deadline_days", "from": 7, "to": 15} in value["differences"]
    assert {"rule": "lockout.message", "from": "neutral", "to": "explicit"} in value["differences"]
    assert (
        "rules.activation.deadline_days: 7 here, 15 in inpi-ets"
        in idp("rules", "diff", "inpi-ets", RULES__PROFILE="wipo").out
    )
    assert idp("rules", "diff", "wipo", "--json", RULES__PROFILE="wipo").value["differences"] == []
    assert idp("rules", "diff", "default").out == "the rules in force are those of default\n"
    assert idp("rules", "diff", "inpi").status == 2


@pytest.mark.parametrize(
    "words", [("rules", "show"), ("rules", "diff", "wipo"), ("config", "show"), ("config", "check")]
)
def test_a_misspelt_rule_is_refused_with_the_nearest_known_one(idp: Run, words: tuple[str, ...]) -> None:
    said = idp(*words, "--json", RULES__ACTIVATION__DEADLINE="4")
    assert (said.status, said.out) == (1, "")
    assert said.err == "idp: rules.activation.deadline: unknown key (did you mean 'deadline_days'?)\n"


def test_a_stricter_password_rule_is_tried_without_claiming_what_a_hash_does_not_tell(
    here: Run, office: Office
) -> None:
    before = office.rows("SELECT * FROM accounts ORDER BY id")
    file = toml(office.folder, "[rules.password]\nmin_length = 14\nreuse_days = 730\n")
    value = here("rules", "try", file, "--json").value
    assert value["changes"] == [
        {"rule": "rules.password.min_length", "from": 8, "to": 14},
        {"rule": "rules.password.reuse_days", "from": 365, "to": 730},
    ]
    have, lack, former = value["effects"]
    assert have["rule"] == "rules.password.min_length, rules.password.reuse_days"
    assert (have["count"], have["known"]) == (6, False)
    assert "cannot be known" in have["sentence"]
    assert (lack["count"], lack["known"], lack["accounts"]) == (1, True, ["nina@e1.example"])
    assert "365 days" in former["sentence"]
    printed = here("rules", "try", file).out
    assert "rules.password.min_length: 8 would become 14" in printed
    assert printed.endswith("Nothing was changed.\n")
    assert office.rows("SELECT * FROM accounts ORDER BY id") == before


def test_a_weaker_password_rule_touches_nobody(here: Run, office: Office) -> None:
    value = here("rules", "try", toml(office.folder, "[rules.password]\nreuse_days = 0\n"), "--json").value
    assert len(value["changes"]) == 1
    assert value["effects"] == []
    assert (
        here("rules", "try", toml(office.folder, "[rules.password]\nmin_length = 8\n")).out == "nothing would change\n"
    )


def test_a_lower_maximum_names_who_would_be_blocked_and_a_higher_one_who_stays_so(here: Run, office: Office) -> None:
    for name, times in (("alice", 4), ("bob", 2), ("dave", 5)):
        for _ in range(times):
            office.browser().sign_in(f"{name}@e1.example", password="Wrong;Word42")
    (lower,) = here("rules", "try", toml(office.folder, "[lockout]\nmax_attempts = 3\n"), "--json").value["effects"]
    assert (lower["accounts"], lower["known"]) == (["alice@e1.example"], True)
    (higher,) = here("rules", "try", toml(office.folder, "[lockout]\nmax_attempts = 9\n"), "--json").value["effects"]
    assert higher["accounts"] == ["dave@e1.example"]
    # What was foretold comes true.
    strict = office.again(lockout={"max_attempts": 3})
    blocked = {}
    for name in ("alice", "bob"):
        with strict.inside() as on:
            blocked[name] = strict.house.lockout.count(on, strict.id_of(name)).blocked
    assert blocked == {"alice": True, "bob": False}


@pytest.mark.requirement("C1")
@pytest.mark.parametrize(
    ("fate", "word"), [("delete", "deleted"), ("expire", "disabled"), ("keep", "left as they are")]
)
def test_a_shorter_deadline_names_the_accounts_that_would_go(here: Run, office: Office, fate: str, word: str) -> None:
    nina = office.id_of("nina")
    created = clock.now() - 5 * DAY
    office.execute("UPDATE accounts SET created_at = :at WHERE id = :id", at=created, id=nina)
    file = toml(office.folder, f'[rules.activation]\ndeadline_days = 4\non_expiry = "{fate}"\n')
    wide = {"RULES__ACTIVATION__DEADLINE_DAYS": "30", "RULES__ACTIVATION__ON_EXPIRY": "keep"}
    (first, *others) = here("rules", "try", file, "--json", **wide).value["effects"]
    assert (first["count"], first["accounts"], first["known"]) == (1, ["nina@e1.example"], True)
    assert word in first["sentence"]
    assert [e["count"] for e in others] == ([] if fate == "keep" else [0])
    assert office.rows("SELECT state FROM accounts WHERE id = :id", id=nina) == [("pending",)]


def test_an_account_whose_letter_still_works_is_not_said_to_go_now(here: Run, office: Office) -> None:
    nina = office.id_of("nina")
    office.execute("UPDATE accounts SET created_at = :at WHERE id = :id", at=clock.now() - 2 * DAY, id=nina)
    with office.inside() as on:
        office.house.send_activation(on, accounts.get(on, "nina@e1.example"))
    file = toml(office.folder, "[rules.activation]\ndeadline_days = 1\n")
    now, later = here("rules", "try", file, "--json").value["effects"]
    assert (now["accounts"], later["accounts"]) == ([], ["nina@e1.example"])
    assert "when it ends" in later["sentence"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[mail]\nurl = 'x'\n", "mail: only [rules] and [lockout] can be tried"),
        ("[rules.password]\nmin_lenght = 9\n", "unknown key (did you mean 'min_length'?)"),
        ("[lockout]\nmax_attempts = 0\n", "lockout.max_attempts: "),
        ("rules = 3\n", "rules: "),
        ("[rules", "trial.toml: "),
    ],
)
def test_a_trial_that_could_not_stand_in_the_settings_is_refused(
    idp: Run, tmp_path: Path, text: str, says: str
) -> None:
    said = idp("rules", "try", toml(tmp_path, text))
    assert (said.status, said.out) == (1, "")
    assert says in said.err


# Settings ---------------------------------------------------------------------------------------------------------


def test_the_settings_are_shown_without_their_passwords(idp: Run) -> None:
    env = {
        "DATABASE__URL": "postgresql://idp:to/p@Secret@db/idp?sslpassword=topSecret&sslmode=require",
        "MAIL__URL": "smtp://office:top%2FSecret@mail:25",
        "LOGIN__METHODS": "password,smartcard",
        "SMARTCARD__SIGNER_PORTS": "17271",
    }
    said = idp("config", "show", "--json", **env)
    assert "Secret" not in said.out
    value = said.value
    assert value["database"]["url"] == "postgresql://idp:***@db/idp?sslpassword=***&sslmode=require"
    assert value["mail"]["url"] == "smtp://office:***@mail:25"
    assert value["smartcard"]["signer_ports"] == [17271]
    assert value["rules"]["activation"]["deadline_days"] == 3
    printed = idp("config", "show", **env).out
    assert "Secret" not in printed
    assert 'mail.url = "smtp://office:***@mail:25"' in printed


def test_an_address_without_a_password_is_shown_as_it_is(idp: Run) -> None:
    value = idp("config", "show", "--json", MAIL__URL="smtp://office@mail:25", DATABASE__URL="sqlite:///a@b:c.db").value
    assert (value["mail"]["url"], value["database"]["url"]) == ("smtp://office@mail:25", "sqlite:///a@b:c.db")


def test_good_settings_are_called_good_and_nothing_is_made(idp: Run, tmp_path: Path) -> None:
    assert idp("config", "check", "--json").value == {"ok": True, "issuer": "http://localhost:8000"}
    assert idp("config", "check").out == "the settings are good\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"LOCKOUT__MAX_ATTEMPTS": "0"}, "lockout.max_attempts: "),
        ({"CONFIG": "nowhere.toml"}, "cannot read nowhere.toml"),
        ({"SERVER__ISSUER": "https://id.example"}, "secrets.master_file: needed"),
        (
            {"SERVER__ISSUER": "https://id.example", "SECRETS__MASTER_FILE": "none.key"},
            "secrets.master_file: cannot read",
        ),
        ({"SERVER__ISSUER": "https://id.example", "SERVER__LISTEN": "0.0.0.0:443"}, "set server.tls_certificate"),
        ({"SERVER__LISTEN": "localhost"}, "server.listen: must be an address and a port"),
        ({"SERVER__LISTEN": "[::1]:99999"}, "server.listen: "),
        ({"DATABASE__URL": "mysql://db/idp"}, "database.url: mysql is not supported"),
        ({"DATABASE__URL": "var/idp.db"}, "database.url: the address cannot be read"),
        ({"DATABASE__URL": "postgresql://idp:a:b@db:port/idp"}, "database.url: the address cannot be read"),
        ({"MAIL__URL": "smtp://:25"}, "mail.url: the host is missing"),
        ({"LOGIN__METHODS": "password,palm"}, "login.methods: palm is not installed"),
        ({"SMARTCARD__SIGNER_PORT": "1"}, "smartcard.signer_port: unknown key (did you mean 'signer_ports'?)"),
    ],
)
def test_settings_with_which_the_provider_would_not_start_are_refused(
    idp: Run, tmp_path: Path, env: dict[str, str], says: str
) -> None:
    said = idp("config", "check", **env)
    assert (said.status, said.out) == (1, "")
    assert says in said.err
    whole = idp("check", "--json", **env)
    assert whole.status == 1
    assert [says in f["what"] for f in whole.value["findings"]] == [True]
    assert list(tmp_path.iterdir()) == []


# The whole installation -------------------------------------------------------------------------------------------


def findings(said: Said) -> list[tuple[str, str]]:
    """Level and text of each finding; each says what to do, and the exit status says whether one is an error."""
    value = said.value
    assert all(f["remedy"] for f in value["findings"])
    assert value["ok"] is (said.status == 0) is all(f["level"] != "error" for f in value["findings"])
    return [(f["level"], f["what"]) for f in value["findings"]]


def test_a_good_installation_has_no_findings(here: Run, smtp: Mailbox) -> None:
    assert findings(here("check", "--json", MAIL__URL=smtp.url)) == []
    assert here("check", MAIL__URL=smtp.url).out == "everything is as it should be\n"
    assert smtp.letters == []


def test_letters_that_cannot_leave_or_reach_nobody_are_found(here: Run, office: Office) -> None:
    ((level, what),) = findings(here("check", "--json", MAIL__URL=f"smtp://127.0.0.1:{free_port()}"))
    assert (level, what.split(":")[0]) == ("error", "letters cannot leave")
    assert findings(here("check", "--json")) == [("warning", "letters are written to a folder and reach nobody")]
    (office.folder / "file").touch()
    levels = [level for level, _ in findings(here("check", "--json", MAIL__URL=f"directory:{office.folder}/file/mail"))]
    assert levels == ["error", "warning"]


def test_a_database_that_does_not_answer_is_found(idp: Run, smtp: Mailbox) -> None:
    env = {"DATABASE__URL": f"postgresql://idp:topSecret@127.0.0.1:{free_port()}/idp", "MAIL__URL": smtp.url}
    said = idp("check", "--json", **env)
    ((level, what),) = findings(said)
    assert (level, what.split(":")[0]) == ("error", "the database does not answer")
    assert "topSecret" not in said.out
    assert idp("check", **env).out.startswith("error: the database does not answer")


def test_a_file_that_is_no_database_and_a_folder_that_cannot_be_made_are_found(
    idp: Run, tmp_path: Path, smtp: Mailbox
) -> None:
    (tmp_path / "text.db").write_text("this is no database " * 100)
    ((level, what),) = findings(idp("check", "--json", DATABASE__URL="sqlite:///text.db", MAIL__URL=smtp.url))
    assert (level, what) == ("error", "the database cannot be used: file is not a database")
    env = {"DATABASE__URL": f"sqlite:///{tmp_path}/text.db/idp.db", "MAIL__URL": smtp.url}
    assert [level for level, _ in findings(idp("check", "--json", **env))] == ["error"]


def test_tables_that_are_behind_are_found_and_left_so(idp: Run, empty_url: str, smtp: Mailbox) -> None:
    found = findings(idp("check", "--json", DATABASE__URL=empty_url, MAIL__URL=smtp.url))
    # An embedded database is brought up to date by the provider itself.
    level = "warning" if empty_url.startswith("sqlite") else "error"
    assert found == [(level, "the tables of core are not up to date")]
    assert findings(idp("check", "--json", DATABASE__URL=empty_url, MAIL__URL=smtp.url)) == found


def test_keys_that_are_missing_or_do_not_open_are_found(here: Run, office: Office, smtp: Mailbox) -> None:
    office.execute("DELETE FROM signing_keys WHERE state = 'next' AND alg = 'ES256'")
    ((level, what),) = findings(here("check", "--json", MAIL__URL=smtp.url))
    assert (level, what) == ("warning", "no ES256 key is next: a rotation would be refused")
    (office.folder / "other.key").touch(mode=0o600)
    (office.folder / "other.key").write_text("5b" * 32)
    found = findings(here("check", "--json", MAIL__URL=smtp.url, SECRETS__MASTER_FILE=str(office.folder / "other.key")))
    assert [what.split(":")[0] for level, what in found if level == "error"] == [
        "the active ES256 key cannot be used",
        "the active RS256 key cannot be used",
    ]
    office.execute("UPDATE signing_keys SET state = 'next' WHERE state = 'active' AND alg = 'RS256'")
    assert ("error", "there is no active RS256 key") in findings(here("check", "--json", MAIL__URL=smtp.url))
    office.execute("DELETE FROM signing_keys")
    assert findings(here("check", "--json", MAIL__URL=smtp.url)) == [("error", "there is no active RS256 key")]


def test_a_changed_journal_is_found(here: Run, office: Office, smtp: Mailbox) -> None:
    office.house.journal.seal()
    assert findings(here("check", "--json", MAIL__URL=smtp.url)) == []
    office.execute("UPDATE journal SET cause = 'nothing' WHERE id = (SELECT min(id) FROM journal)")
    assert findings(here("check", "--json", MAIL__URL=smtp.url)) == [
        ("error", "the journal is broken at 1: an entry was changed")
    ]


def test_authorities_that_end_and_lists_that_are_old_are_found(here: Run, office: Office, smtp: Mailbox) -> None:
    good, ending, silent = (CardAuthority(n, number=i, ends=e) for i, (n, e) in enumerate(TRUSTED.items()))

    def found(day: int) -> list[tuple[str, str]]:
        with clock.fixed(NOW + day * DAY):
            said = here("check", "--json", MAIL__URL=smtp.url, LOGIN__METHODS="password,smartcard")
        return findings(said)

    assert found(0) == [("warning", "no authority is trusted: every card is refused")]
    with clock.fixed(NOW), office.house.database.begin() as on:
        anchors.add(on, good.der, "good", crl=good.crl())
        anchors.add(on, ending.der, "ending", "none")
    assert found(0) == [("warning", f"the authority ending ends on {clock.text(NOW + 20 * DAY)}")]
    with office.house.database.begin() as on:
        anchors.remove(on, "ending")
    until = clock.text(NOW + 30 * DAY)
    what = "the list of revoked certificates of good"
    assert found(20) == []
    assert found(28) == [("warning", f"{what} is {29 * 24} hours old and holds until {until} only")]
    assert found(31) == [("error", f"{what} held until {until}: its cards are refused")]
    ended = f"the authority good ended on {clock.text(NOW + 100 * DAY)}: its cards are refused"
    assert found(101)[0] == ("error", ended)
    with clock.fixed(NOW), office.house.database.begin() as on:
        anchors.remove(on, "good")
        anchors.add(on, good.der, "strict")
        anchors.add(on, silent.der, "mild", "soft")
    nothing = "there is no list of revoked certificates of"
    assert found(0) == [
        ("warning", f"{nothing} mild: revoked cards are not recognised"),
        ("error", f"{nothing} strict: its cards are refused"),
    ]
