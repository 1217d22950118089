# ruff: noqa: F401, F811  (a fixture that is imported and then named as an argument)
"""The proxy in the background when things go wrong: a record full of nonsense, a directory that can't be written, a
start that is killed, a terminal that is closed, a log that several write and one reads."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from a2py.cli import daemon, exits, main, record, rotate, state
from a2py.cli.terminal import Terminal
from tests.cli.test_daemon import hello, place
from tests.cli.test_restart import has_exited, read_status
from tests.commands import LIMIT, a2py, clean_env, nothing, serving
from tests.process import free_port
from tests.user_manager import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
MINE = {
    "pid": os.getpid(),
    "url": "http://x",
    "argv": [],
    "cwd": "/",
    "started": 0.0,
    "born": record.read_start_time(os.getpid()),
}


# -- the record --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "[]",
        "null",
        "[" * 100_000,
        "\udcff",
        {"pid": 0, "born": ""},  # kill(0): our own process group
        {"pid": -1, "born": ""},  # kill(-1): everybody
        {"pid": True, "born": ""},
        {"pid": 10**30},
        {"pid": "1"},
        {"url": 5},
        {"argv": None},
        {"argv": [5]},
        {"cwd": 3},
        {"started": "x"},
        {"more": 1},
    ],
    ids=lambda wrong: ", ".join(wrong)[:20],
)
def test_a_record_of_nonsense_counts_as_none(
    nothing: Path, wrong: str | dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(record.paths()[0])
    file.parent.mkdir(parents=True)
    content = wrong if isinstance(wrong, str) else json.dumps({**MINE, **wrong})
    file.write_bytes(content.encode(errors="surrogateescape"))
    assert record.read_running() is None
    assert main(["stop"]) == exits.OK and capsys.readouterr().out == "not running\n"
    file.write_text(json.dumps(MINE))
    assert record.read_running() is not None, "the test's own premise"


# -- the directory -----------------------------------------------------------------------------------------------------


def test_a_directory_that_can_not_be_written_is_named(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nothing / ".local").write_text("a file")
    for command in ("start", "restart", "stop"):
        assert main([command]) == exits.FAILED
        assert re.search(
            r"\.local/state/a2py can't be written: Not a directory \(XDG_STATE_HOME", capsys.readouterr().err
        )
    assert main(["status"]) == exits.NOT_RUNNING
    assert main(["logs"]) == exits.FAILED and "there is no log yet" in capsys.readouterr().err


def test_a_log_that_is_none(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(record.paths()[1]).mkdir(parents=True)
    assert main(["logs"]) == exits.FAILED and "can't be read: Is a directory" in capsys.readouterr().err
    assert main(["start"]) == exits.FAILED and "a2py.log can't be written: Is a directory" in capsys.readouterr().err


def test_a_start_whose_record_can_not_be_written_leaves_nothing_behind(place: Path) -> None:
    (place / ".local/state/a2py/daemon.json").mkdir(parents=True)
    port = free_port()
    result = a2py("start", "--demo", "--port", str(port), cwd=place)
    assert result.returncode == exits.FAILED and "daemon.json can't be written: Is a directory" in result.stderr
    with pytest.raises(OSError):
        hello(f"http://127.0.0.1:{port}")
    (place / ".local/state/a2py/daemon.json").rmdir()


def test_a_restart_from_a_directory_that_is_gone_says_so(place: Path) -> None:
    (place / "project").mkdir()
    env = {"XDG_STATE_HOME": str(place / ".local/state")}
    assert a2py("start", "--demo", "--port", "0", cwd=place / "project", env=env).returncode == exits.OK
    (place / "project").rmdir()
    result = a2py("restart", cwd=place)
    assert (
        result.returncode == exits.FAILED
        and f"{place}/project: No such file or directory\nthe old one continues" in result.stderr
    )
    assert a2py("restart", "--demo", "--port", "0", cwd=place).returncode == exits.OK
    assert a2py("stop", cwd=place).returncode == exits.OK


@pytest.mark.parametrize("base", ["relative", "C:\\Users\\me\\AppData\\Local"])
def test_only_an_absolute_path_is_taken(base: str) -> None:
    """As the XDG specification says; a relative one would be another place in each directory."""
    home = os.path.expanduser("~/.local/state/a2py")
    assert state.state_dir({"XDG_STATE_HOME": base}) == state.state_dir({"LOCALAPPDATA": base}) == home
    assert state.state_dir({"XDG_STATE_HOME": "/a/b"}) == "/a/b/a2py"


# -- a start that does not come to its end -----------------------------------------------------------------------------


def begin(place: Path, port: int) -> subprocess.Popen[bytes]:
    """`a2py start`, once its daemon is a process."""
    env = {**clean_env(place), "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-m", "a2py", "start", "--demo", "--port", str(port)], cwd=place, env=env
    )
    assert until(lambda: bool(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()))
    return process


def test_ctrl_c_ends_the_daemon_that_was_on_its_way(place: Path) -> None:
    while True:
        starting = begin(place, free_port())
        (child,) = Path(f"/proc/{starting.pid}/task/{starting.pid}/children").read_text().split()
        starting.send_signal(signal.SIGINT)
        if starting.wait(LIMIT) == exits.INTERRUPTED:
            break
        assert starting.returncode == exits.OK  # the daemon was there before the signal: once more
        assert a2py("stop", cwd=place).returncode == exits.OK
    assert has_exited(child) and a2py("status", cwd=place).returncode == exits.NOT_RUNNING


def test_a_start_that_is_killed_leaves_a_daemon_that_is_known(place: Path) -> None:
    starting = begin(place, port := free_port())
    (child,) = Path(f"/proc/{starting.pid}/task/{starting.pid}/children").read_text().split()
    starting.kill()
    starting.wait()
    assert until((place / ".local/state/a2py/daemon.json").exists)
    status = read_status(place)
    assert (str(status["pid"]), status["url"]) == (child, f"http://127.0.0.1:{port}") and status["argv"] == [
        "--demo",
        "--port",
        str(port),
    ]
    assert a2py("stop", cwd=place).stdout == f"stopped: pid {child}\n"


def test_a_restart_that_is_killed_leaves_one(place: Path) -> None:
    """The new one itself tells the old one to end."""
    assert a2py("start", "--demo", "--port", "0", cwd=place).returncode == exits.OK
    old = read_status(place)
    env = {**clean_env(place), "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    process = subprocess.Popen([sys.executable, "-m", "a2py", "restart"], cwd=place, env=env)
    assert until(lambda: bool(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()))
    process.kill()
    process.wait()
    assert until(lambda: has_exited(old["pid"]))
    new = read_status(place)
    assert new["pid"] != old["pid"] and new["url"] == old["url"] and new["answers"] and new["argv"] == old["argv"]
    assert a2py("stop", cwd=place).returncode == exits.OK


def test_of_many_starts_at_once_one_starts(place: Path) -> None:
    env = clean_env(place)
    command = [sys.executable, "-m", "a2py", "start", "--demo", "--port", "0"]
    many = [subprocess.Popen(command, cwd=place, env=env, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    outputs = sorted(process.communicate(timeout=LIMIT)[0] for process in many)
    assert [process.returncode for process in many] == [exits.OK] * 6
    pid = str(read_status(place)["pid"])
    assert [line.split(" at ")[0] for line in outputs] == [f"running already: pid {pid}"] * 5 + [f"started: pid {pid}"]
    assert a2py("stop", cwd=place).returncode == exits.OK


# -- the terminal ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [["--demo"], [], ["--num-workers", "2"]], ids=" ".join)
def test_who_closes_the_terminal_ends_it(tmp_path: Path, args: list[str]) -> None:
    """Also where SIGHUP means another reading of the file: only as long as the terminal is there."""
    entry = {
        "model_name": "one",
        "litellm_params": {"model": "openai/x", "api_base": "http://127.0.0.1:9/v1", "api_key": "k"},
    }
    (tmp_path / "a2py.yaml").write_text(json.dumps({"model_list": [entry]}))
    ours, theirs = pty.openpty()

    def session() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, "-m", "a2py", *args, "--port", "0"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=tmp_path,
        env=clean_env(tmp_path),
        preexec_fn=session,
    )
    try:
        os.close(theirs)
        output = b""

        def wait_for(text: bytes) -> None:
            nonlocal output
            while text not in output:
                output += os.read(ours, 65536)

        wait_for(b"Try it:")
        if "--demo" not in args:
            process.send_signal(signal.SIGHUP)
            wait_for(b"reloaded")
        os.close(ours)
        assert process.wait(LIMIT) in (exits.OK, -signal.SIGHUP)
    finally:
        process.kill()
        process.wait()


# -- the log -----------------------------------------------------------------------------------------------------------


def test_nothing_is_lost_to_who_follows_a_log_that_is_moved_aside(tmp_path: Path) -> None:
    """`logs --follow` prints lines that were written to the old file after its last read, also those that other workers
    still write."""
    log = tmp_path / "a2py.log"
    log.write_text("")
    out = io.StringIO()
    file = log.open()
    old = log.open("a")

    def late() -> None:  # right after a read that found nothing
        old.write("last of the old\n")
        old.flush()
        os.replace(log, f"{log}.1")
        log.write_text("first of the new\n")

    looks: list[bool] = []

    def read(*args: int) -> str:
        text: str = io.TextIOWrapper.read(file)
        if not looks:
            looks.append(True)
            late()
        return text

    file.read = read  # type: ignore[assignment]
    rounds = iter(range(5))

    def is_over() -> bool:
        n = next(rounds, None)
        if n == 3:
            old.write("another worker\n")
            old.flush()
        return n is None

    daemon.follow(file, str(log), Terminal(out, out), is_over)
    old.close()
    assert out.getvalue() == "last of the old\nfirst of the new\nanother worker\n"


MOVER = """
import os, sys
from a2py.cli.rotate import Rotating
os.write(1, b"begun")
Rotating(sys.argv[1], limit=10).check()
"""


def test_one_that_moves_the_log_aside_is_not_disturbed_by_another(tmp_path: Path) -> None:
    """Parent and workers have one open file between them, and a lock on that would be everybody's."""
    path = tmp_path / "a2py.log"
    script = MOVER + "os.write(2, b'after')\n"
    first = script.replace(
        'os.write(1, b"begun")',
        "import subprocess\nreplace = os.replace\n"
        "def meanwhile(*paths):\n"
        "    os.replace = replace\n"
        "    global other\n"
        "    other = subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1]], stdout=subprocess.PIPE, stderr=2)\n"
        "    assert other.stdout.read(5) == b'begun'\n"
        "    try:\n"
        "        other.wait(1)\n"  # it may not come to its end before we have
        "    except subprocess.TimeoutExpired:\n"
        "        pass\n"
        "    replace(*paths)\n"
        "os.replace = meanwhile",
    )
    with path.open("ab") as out:
        out.write(b"long enough to be moved\n")
        out.flush()
        result = subprocess.run(
            [sys.executable, "-c", first + "other.wait()", str(path), script], stderr=out, timeout=LIMIT
        )
    assert result.returncode == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a2py.log", "a2py.log.1"] and path.read_text() == "afterafter"


def test_a_start_moves_a_long_log_aside_without_losing_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "a2py.log"
    for n, name in enumerate(("a2py.log.3", "a2py.log.2", "a2py.log.1", "a2py.log")):
        (tmp_path / name).write_bytes(b"%d" % n + b"x" * state.LOG_BYTES)
    state.open_log(str(path)).close()
    assert [p.read_text()[:1] for p in sorted(tmp_path.iterdir())] == ["", "3", "2", "1"]
