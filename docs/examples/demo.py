"""Runs the demonstration office. Usage: demo.py start|stop|reset (make demo, demo-stop, demo-reset).

`PORT` moves everything (default 8000); the data is in `var/demo`, or in `DEMO_FOLDER`. A pid file counts only while
its process holds a lock on it, which the system takes away at its end: no stranger's process is ever mistaken for ours.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

from office import Failed, Office, Program, is_free

READY_SECONDS, STOP_SECONDS, LAST_LINES = 90, 15, 15
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Ended(BaseException):
    """Ctrl-C, or a signal that asks us to end."""


def main() -> int:
    """Do what the argument says; a failure is one sentence and exit status 1."""
    port, folder = os.environ.get("PORT") or "8000", os.environ.get("DEMO_FOLDER")
    actions = {"start": start, "stop": stop, "reset": reset}
    if len(sys.argv) != 2 or sys.argv[1] not in actions or not port.isdecimal() or not 1024 <= int(port) <= 65000:
        print("usage: [PORT=8000] demo.py start|stop|reset (a port from 1024 to 65000)", file=sys.stderr)
        return 2
    office = Office(Path(folder or Path(__file__).parents[2] / "var/demo").resolve(), int(port))
    try:
        actions[sys.argv[1]](office)
    except Failed as e:
        print(f"demo: {e}", file=sys.stderr)
        return 1
    except Ended:
        say("ended; make demo starts it again")
    return 0


def say(sentence: str) -> None:
    """A line of progress."""
    print(f"demo: {sentence}", flush=True)


# Commands -----------------------------------------------------------------------------------------------------------


def start(office: Office) -> None:
    """Make the office where it is missing, run it, say where it is, and stay until told to end. Raises `Ended`."""
    _listen_to_signals()
    with own(office):
        told = office.folder / "demo.json"
        told.unlink(missing_ok=True)
        end_children(office)  # those of a run that was killed
        for port in office.ports:
            if not is_free(port):
                raise Failed(f"port {port} is in use by another program; choose others: make demo PORT=8100")
        office.make(say)
        programs = office.programs()
        children: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for program in programs:
                children[program.name] = launch(office, program)
            say("starting " + ", ".join(children))
            wait_until_up(office, programs, children)
            told.write_text(json.dumps(office.summary(), indent=2, ensure_ascii=False) + "\n", "utf-8")
            print(_description(office.summary()), flush=True)
            while True:
                time.sleep(0.5)
                check(office, children)
        finally:
            told.unlink(missing_ok=True)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
            end_children(office)
            for child in children.values():
                child.wait()


def stop(office: Office) -> None:
    """End the office that runs in the folder, wherever it was started. Raises `Failed` when it does not end."""
    pid = holder(pid_file(office, "demo"))
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        if not _ends(office, "demo", 2 * STOP_SECONDS):
            raise Failed(f"process {pid} does not end")
    orphans = end_children(office)
    (office.folder / "demo.json").unlink(missing_ok=True)  # after an end without warning it is still there
    say("stopped" if pid is not None or orphans else "nothing is running")


def reset(office: Office) -> None:
    """Stop the office, and empty its folder."""
    stop(office)
    office.empty()
    shutil.rmtree(office.folder / "run", ignore_errors=True)
    say(f"{office.folder} is empty")


# Processes ----------------------------------------------------------------------------------------------------------


def pid_file(office: Office, name: str) -> Path:
    """Where the pid of a process of this office is written."""
    return office.folder / "run" / f"{name}.pid"


def holder(path: Path) -> int | None:
    """The pid in a file, if the process that wrote it (or a child that it forked) is alive."""
    try:
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0) or None
    except FileNotFoundError:
        pass
    return None


def _claim(path: Path) -> IO[str]:
    """Open and lock a pid file. Raises `BlockingIOError` when its process is alive."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    file.truncate(0)
    return file


@contextlib.contextmanager
def own(office: Office) -> Iterator[None]:
    """Be the one demonstration of this folder. Raises `Failed` when there is another."""
    path = pid_file(office, "demo")
    try:
        file = _claim(path)
    except BlockingIOError as e:
        raise Failed(f"it is running already (process {holder(path)}); make demo-stop ends it") from e
    with file:
        file.write(str(os.getpid()))
        file.flush()
        yield


def launch(office: Office, program: Program) -> subprocess.Popen[bytes]:
    """Start one program as a process group of its own, its output in `log/NAME.log`, its pid file locked by itself."""
    with _claim(pid_file(office, program.name)) as file, log(office, program.name).open("wb") as output:
        try:
            child = subprocess.Popen(  # noqa: S603 - our own programs, fixed arguments
                program.command,
                env=program.environment,
                cwd=office.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(file.fileno(),),
            )
        except FileNotFoundError as e:
            raise Failed(f"{program.command[0]} is missing; run: make setup") from e
        file.write(str(child.pid))
    return child


def log(office: Office, name: str) -> Path:
    """Where a program's output goes."""
    return office.folder / "log" / f"{name}.log"


def wait_until_up(office: Office, programs: list[Program], children: dict[str, subprocess.Popen[bytes]]) -> None:
    """Wait until every program answers. Raises `Failed` when one ends or stays silent."""
    until = time.monotonic() + READY_SECONDS
    for program in programs:
        while not _answers(program):
            check(office, children)
            if time.monotonic() > until:
                raise Failed(f"the {program.name} does not answer on {program.address}\n{_last(office, program.name)}")
            time.sleep(0.1)


def check(office: Office, children: dict[str, subprocess.Popen[bytes]]) -> None:
    """Raises `Failed` with the end of its log when a program has ended."""
    for name, child in children.items():
        if child.poll() is not None:
            raise Failed(f"the {name} has ended by itself (status {child.returncode})\n{_last(office, name)}")


def end_children(office: Office) -> int:
    """End the programs of this office that are alive, whoever started them; how many there were."""
    names = ("signer", "portal", "mailbox", "provider")
    alive = [name for name in names if _signal(office, name, signal.SIGTERM)]
    until = time.monotonic() + STOP_SECONDS
    for name in alive:
        if not _ends(office, name, until - time.monotonic()):
            _signal(office, name, signal.SIGKILL)
            _ends(office, name, 5)
    return len(alive)


def _signal(office: Office, name: str, number: int) -> bool:
    pid = holder(pid_file(office, name))
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)
    return True


def _ends(office: Office, name: str, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while holder(pid_file(office, name)) is not None:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _answers(program: Program) -> bool:
    asked = urllib.request.Request(program.address, headers=program.headers)  # noqa: S310 - http on loopback
    try:
        with _direct.open(asked, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _last(office: Office, name: str) -> str:
    lines = log(office, name).read_text("utf-8", "replace").splitlines()[-LAST_LINES:]
    return "\n".join([f"demo: the end of {log(office, name)}:", *(f"  {line}" for line in lines)])


def _listen_to_signals() -> None:
    def end(*_: object) -> NoReturn:
        raise Ended

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, end)


def _description(told: dict[str, Any]) -> str:
    width = max(len(a["email"]) for a in told["accounts"])
    secret = max(len(a["password"]) for a in told["accounts"])
    rows = [
        f"    {a['email']:{width}}  {a['password']:{secret}}  "
        + (f"{a['role']} of {a['entity']}" if a["entity"] else "no entity")
        + (", with a card" if a["card"] else "")
        for a in told["accounts"]
    ]
    return "\n".join(
        [
            "",
            f"  Provider  {told['provider']}",
            f"  Portal    {told['portals'][0]}",
            f"  Mailbox   {told['mailbox']}",
            f"  Signer    {told['signer']}  (answers by itself, as {told['files']['signer']} says)",
            "",
            "  Accounts (e-mail, password)",
            *rows,
            f"  Card      PIN {told['card']['pin']}",
            "",
            f"  Try: open {told['portals'][0]}, sign in with the first account, then file a trade mark:",
            "  the portal asks for the card. Ctrl-C ends all of it.",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
