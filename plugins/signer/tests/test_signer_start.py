"""What the command accepts, and what it refuses to start with."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from idp_signer.__main__ import main

MODULE = "/usr/lib/softhsm/libsofthsm2.so"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "idp_signer", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, start_new_session=True, check=False)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit status and the one sentence on standard error of a start that is refused."""
    status = main(["--module", "/nowhere.so", *arguments])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("idp-signer: ")
    assert printed.err.count("\n") == 1
    return status, printed.err


@pytest.mark.parametrize(
    "allowed",
    [
        [],
        ["--allow-origin", "https://id.office.example"],
        ["--allow-origin", "http://localhost:8000", "https://id.office.example"],
    ],
)
def test_a_script_is_refused_unless_every_origin_is_for_tests(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, allowed: list[str]
) -> None:
    status, sentence = refused(capsys, "--prompter", f"scripted:{tmp_path / 's.json'}", *allowed)
    assert status == 2
    assert "only loopback or .test origins" in sentence


def test_the_window_is_said_to_be_missing(capsys: pytest.CaptureFixture[str]) -> None:
    status, sentence = refused(capsys, "--prompter", "window", "--allow-origin", "https://id.office.example")
    assert status == 2
    assert "This build has no window yet" in sentence


@pytest.mark.parametrize(
    "arguments",
    [
        ["--prompter", "zenity"],
        ["--prompter", "scripted:"],
        ["--allow-origin", "http://id.office.example"],
        ["--allow-origin", "https://id.office.example/login"],
        ["--allow-origin", "*"],
        ["--port", "70000"],
    ],
)
def test_wrong_arguments_are_refused_in_one_sentence(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert refused(capsys, *arguments)[0] == 2


def test_a_module_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    script = ["--prompter", f"scripted:{tmp_path / 's.json'}", "--allow-origin", "http://localhost:8000"]
    status, sentence = refused(capsys, *script)
    assert status == 1
    assert "/nowhere.so cannot be used as a PKCS#11 module" in sentence


def test_the_console_needs_a_terminal() -> None:
    ended = run("--module", MODULE)
    assert ended.returncode == 2
    assert (
        ended.stderr == "idp-signer: The console prompter needs a terminal, and this program was started without one.\n"
    )


def test_the_module_must_be_named() -> None:
    assert run().returncode == 2


def test_a_taken_port_is_refused_when_it_was_asked_for(store: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        ended = subprocess.run(
            [
                sys.executable,
                "-m",
                "idp_signer",
                "--module",
                MODULE,
                "--port",
                str(number),
                "--allow-origin",
                "http://localhost:8000",
                "--prompter",
                f"scripted:{tmp_path / 's.json'}",
            ],
            env=os.environ | {"SOFTHSM2_CONF": str(store / "softhsm2.conf")},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"No free port on 127.0.0.1 among {number}" in ended.stderr


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_program_announces_itself_and_ends_cleanly(store: Path, tmp_path: Path, ending: signal.Signals) -> None:
    program = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "idp_signer",
            "--module",
            MODULE,
            "--port",
            "0",
            "--allow-origin",
            "http://localhost:8000",
            "--allow-origin",
            "http://127.0.0.1:8001",
            "--prompter",
            f"scripted:{tmp_path / 's.json'}",
        ],
        env=os.environ | {"SOFTHSM2_CONF": str(store / "softhsm2.conf")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    first = program.stdout.readline()
    program.send_signal(ending)
    out, err = program.communicate(timeout=10)
    assert first.startswith("idp-signer: listening on http://127.0.0.1:")
    assert (program.returncode, out, err) == (0, "", "")
