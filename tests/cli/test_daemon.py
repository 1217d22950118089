# ruff: noqa: F401, F811  (a fixture that is imported and then named as an argument)
"""The proxy in the background: one of it, found again, stopped, its log; several workers; notifications and inherited
sockets."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from a2py.cli import control, daemon, exits, listen, main, record, running, state, workers
from a2py.cli.exits import Stop
from a2py.cli.notify import Notifier
from a2py.cli.sharing import Sharing
from a2py.cli.terminal import Terminal
from tests.commands import LIMIT, a2py, clean_env, nothing, serving
from tests.process import free_port
from tests.user_manager import until


def hello(url: str) -> str:
    with urllib.request.urlopen(url + "/health/liveliness", timeout=10) as answer:
        name: str = json.load(answer)["name"]
        return name


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory whose daemon, if one is left, is ended."""
    yield tmp_path
    file = tmp_path / ".local/state/a2py/daemon.json"
    if file.exists():
        try:
            data = json.loads(file.read_text())
            if (
                record.read_start_time(data["pid"]) == data["born"]
            ):  # the record outlives its process, and the pid may be another's
                os.kill(data["pid"], signal.SIGKILL)
        except ProcessLookupError:
            pass


# -- start, stop, restart, status, logs --------------------------------------------------------------------------------


def test_a_life(place: Path) -> None:
    assert a2py("status", cwd=place).returncode == exits.NOT_RUNNING
    assert a2py("stop", cwd=place).stdout == "not running\n"
    assert a2py("logs", cwd=place).returncode == exits.FAILED
    result = a2py("start", "--port", "0", cwd=place)
    match = re.fullmatch(r"started: pid (\d+) at (http://127\.0\.0\.1:\d+), log (\S+)\n", result.stdout)
    assert match, result
    pid, url, log = match.groups()
    assert hello(url) == "a2py" and stat.S_IMODE(os.stat(log).st_mode) == 0o600
    assert (
        a2py("start", "--port", "1", cwd=place).stdout
        == f"running already: pid {pid} at {url} (a2py restart takes new flags)\n"
    )
    assert a2py("status", cwd=place).stdout.startswith(f"running: pid {pid} at {url}, for 0 min ")
    status = json.loads(a2py("status", "--json", cwd=place).stdout)
    assert status["running"] and status["answers"] and status["argv"] == ["--port", "0"]
    assert "Try it:" in a2py("logs", cwd=place).stdout and a2py("logs", "-n", "0", cwd=place).stdout == ""
    again = a2py("restart", cwd=place)
    assert "started: pid " in again.stdout and pid not in again.stdout
    new = json.loads(a2py("status", "--json", cwd=place).stdout)
    assert new["argv"] == ["--port", "0"] and hello(new["url"]) == "a2py"
    assert a2py("stop", cwd=place).stdout == f"stopped: pid {new['pid']}\n"
    assert not os.path.exists(f"/proc/{new['pid']}") or record.is_zombie(new["pid"])
    assert a2py("status", cwd=place).returncode == exits.NOT_RUNNING


def test_a_start_that_fails_says_why(place: Path) -> None:
    result = a2py("start", "--config", "missing.yaml", cwd=place)
    assert (
        result.returncode == exits.CONFIG
        and "did not start" in result.stderr
        and "missing.yaml cannot be read" in result.stderr
    )
    assert a2py("start", "--prot", "1", cwd=place).returncode == exits.USAGE
    assert a2py("status", cwd=place).returncode == exits.NOT_RUNNING


def test_a_stale_record_counts_as_none(nothing: Path) -> None:
    file, _ = record.paths()
    os.makedirs(os.path.dirname(file))
    for pid, born in ((2**22 + 5, ""), (os.getpid(), "1"), (1, "0")):
        Path(file).write_text(
            json.dumps({"pid": pid, "url": "http://x", "argv": [], "cwd": "/", "started": 0.0, "born": born})
        )
        assert record.read_running() is None
    Path(file).write_text("broken")
    assert record.read_running() is None
    Path(file).write_text(
        json.dumps(
            {
                "pid": os.getpid(),
                "url": "http://x:1",
                "argv": [],
                "cwd": "/",
                "started": time.time() - 7300,
                "born": record.read_start_time(os.getpid()),
            }
        )
    )
    assert record.read_running() is not None
    os.environ.pop("PORT", None)
    assert running.find_url(argparse.Namespace(), {}) == "http://x:1"


def test_where_there_is_no_proc_ps_tells_when_a_process_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.exists", lambda path: False)
    assert (
        re.search(r"\d\d:\d\d:\d\d \d{4}", record.read_start_time(os.getpid()))
        and record.read_start_time(2**22 + 5) == ""
    )


def test_status_of_one_that_does_not_answer(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, _ = record.paths()
    os.makedirs(os.path.dirname(file))
    mine = {
        "pid": os.getpid(),
        "url": f"http://127.0.0.1:{free_port()}",
        "argv": [],
        "cwd": "/",
        "started": time.time() - 7300,
        "born": record.read_start_time(os.getpid()),
    }
    Path(file).write_text(json.dumps(mine))
    assert main(["status"]) == exits.FAILED
    assert "for 2 h 1 min, but it does not answer" in capsys.readouterr().out
    Path(file).write_text(json.dumps({**mine, "url": "https://x"}))
    assert main(["status"]) == exits.OK


def test_stop_now_and_the_one_that_does_not_end(
    nothing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('x', flush=True); time.sleep(100)"
    )
    monkeypatch.setattr(daemon, "STOP_SECONDS", 0.3)
    file, _ = record.paths()
    os.makedirs(os.path.dirname(file))
    with subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout and process.stdout.readline()
            Path(file).write_text(
                json.dumps(
                    {
                        "pid": process.pid,
                        "url": "http://x",
                        "argv": [],
                        "cwd": "/",
                        "started": 0.0,
                        "born": record.read_start_time(process.pid),
                    }
                )
            )
            assert main(["stop", "--now"]) == exits.OK
            assert process.wait(10) == -signal.SIGKILL
        finally:
            process.kill()


def test_it_is_not_there_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(Stop, match="Windows"):
        daemon.run("start", [])


def test_claude_finds_the_one_in_the_background(place: Path) -> None:
    env = {"PORT": ""}
    match = re.search(r"at (http://\S+),", a2py("start", "--port", "0", cwd=place, env=env).stdout)
    assert match
    result = a2py(
        "run", "--", sys.executable, "-c", "import os; print(os.environ['ANTHROPIC_BASE_URL'])", cwd=place, env=env
    )
    assert result.stdout == match[1] + "\n" and "using the a2py" in result.stderr
    assert a2py("stop", cwd=place, env=env).returncode == exits.OK


def test_logs_follow_a_file_that_is_moved_aside(tmp_path: Path) -> None:
    log = tmp_path / "a2py.log"
    log.write_text("old\n")
    out = io.StringIO()
    file = log.open()
    file.read()

    def append() -> None:
        with log.open("a") as more:
            more.write("one\n")

    def move() -> None:
        os.replace(log, f"{log}.1")
        log.write_text("two\n")

    steps = iter((append, move, lambda: None, lambda: None))

    def is_over() -> bool:
        step = next(steps, None)
        if step is None:
            return True
        step()
        return False

    daemon.follow(file, str(log), Terminal(out, out), is_over)
    assert out.getvalue() == "one\ntwo\n"
    os.unlink(log)
    with open(f"{log}.1") as old:
        assert not daemon._is_moved(old, str(log))


ROTATE = """
import os, sys
from a2py.cli.rotate import Rotating
log = Rotating(sys.argv[1], limit=200, every=1)
for n in range(int(sys.argv[2])):
    log.write(f"{sys.argv[3]} line {n} {'x' * 40}\\n")
    log.flush()
os.write(2, b"a traceback, say\\n")
"""


def test_a_long_log_is_moved_aside_by_whoever_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "a2py.log"

    def write(lines: int, name: str) -> subprocess.Popen[bytes]:
        with path.open("ab") as out:
            return subprocess.Popen([sys.executable, "-c", ROTATE, str(path), str(lines), name], stderr=out)

    assert write(12, "a").wait(LIMIT) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a2py.log", "a2py.log.1", "a2py.log.2"]
    whole = (tmp_path / "a2py.log.2").read_text() + (tmp_path / "a2py.log.1").read_text() + path.read_text()
    assert re.findall(r"line (\d+)", whole) == [str(n) for n in range(12)] and whole.endswith("a traceback, say\n")
    both = [write(30, "b"), write(30, "c")]
    assert [process.wait(LIMIT) for process in both] == [0, 0]
    assert len(list(tmp_path.iterdir())) <= 1 + state.LOGS_KEPT


# -- several workers ---------------------------------------------------------------------------------------------------


def test_workers_share_a_port_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    with serving("--port", "0", "--num_workers", "2", "--log-format", "json", cwd=tmp_path) as run:
        matches = run.until(r'"event":"started".*')
        url = json.loads(run.lines[0])["url"]
        children = Path(f"/proc/{run.process.pid}/task/{run.process.pid}/children")
        before = children.read_text().split()
        assert len(before) == 2 and matches
        os.kill(int(before[0]), signal.SIGKILL)
        run.until(r"worker \d ended \(signal 9\): another is started")
        for _ in range(10):
            assert hello(url) == "a2py"  # the other one accepts its connections
        assert until(lambda: len(children.read_text().split()) == 2)
        after = children.read_text().split()
        assert len(after) == 2 and before[1] in after and before[0] not in after
        assert run.stderr.count('"event":"started"') == 1
        run.process.send_signal(signal.SIGHUP)
        assert run.end() == exits.OK
    for pid in after:
        assert not os.path.exists(f"/proc/{pid}")


def test_a_drain_drains_all_workers(tmp_path: Path) -> None:
    """Streams that run through either worker end whole after SIGTERM."""
    with serving("--port", "0", "--num_workers", "2", cwd=tmp_path) as run:
        body = json.dumps(
            {
                "model": "demo",
                "max_tokens": 5000,
                "stream": True,
                "messages": [{"role": "user", "content": "count to 60"}],
            }
        ).encode()
        ends: list[bytes] = []
        starts = threading.Semaphore(0)

        def stream() -> None:
            request = urllib.request.Request(run.url + "/v1/messages", body, {"content-type": "application/json"})
            with urllib.request.urlopen(request, timeout=30) as answer:
                data = answer.read1()
                starts.release()
                while more := answer.read1():
                    data += more
            ends.append(data)

        threads = [threading.Thread(target=stream) for _ in range(6)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert starts.acquire(timeout=30)
        assert run.end() == exits.OK
        for thread in threads:
            thread.join(30)
    assert len(ends) == 6 and all(b"event: message_stop" in data and b"event: error" not in data for data in ends)


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    with serving("--port", "0", "--num_workers", "2", cwd=tmp_path) as run:
        run.until("Try it:")
        children = Path(f"/proc/{run.process.pid}/task/{run.process.pid}/children").read_text().split()
        run.process.kill()
        run.process.wait()
        assert until(
            lambda: not any(os.path.exists(f"/proc/{pid}") and not record.is_zombie(int(pid)) for pid in children), 20
        )


def supervisor(command: list[str], sock: socket.socket, say: Callable[[str], None]) -> workers.Supervisor:
    notifier = Notifier(os.environ, os.getpid())
    return workers.Supervisor(command, Sharing([sock], 1), "http://x", os.environ, notifier, workers.Hooks(say))


def test_a_fault_that_no_worker_survives_is_not_tried_again(tmp_path: Path) -> None:
    async def main() -> tuple[int, list[str]]:
        lines: list[str] = []
        (sock,) = listen.bind("127.0.0.1", 0, 1)
        with sock:
            command = [sys.executable, "-c", f"import sys; sys.exit({exits.CONFIG})"]
            return await supervisor(command, sock, lines.append).run(), lines

    lines = [f"worker 0 ended (exit code {exits.CONFIG}) before it served"]
    assert asyncio.run(main()) == (exits.CONFIG, lines)


def test_a_worker_that_dies_at_once_is_replaced_ever_more_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "FIRST_PAUSE", 0.25)
    monkeypatch.setattr(workers, "LONGEST", 1.0)

    async def main() -> list[str]:
        lines: list[str] = []
        enough = asyncio.Event()

        def say(line: str) -> None:
            lines.append(line)
            if len(lines) == 4:
                enough.set()

        (sock,) = listen.bind("127.0.0.1", 0, 1)
        with sock:
            ready = f"import os; os.write(int(os.environ['{control.CONTROL}']), b'r'); raise SystemExit(5)"
            parent = supervisor([sys.executable, "-c", ready], sock, say)
            task = asyncio.ensure_future(parent.run())
            await asyncio.wait_for(enough.wait(), LIMIT)
            parent.stop()
            await asyncio.wait_for(task, LIMIT)
        return lines

    pauses = [re.findall(r"exit code 5.* in ([\d.]+) s", line)[0] for line in asyncio.run(main())[:4]]
    assert pauses == ["0.25", "0.5", "1", "1"] and workers._format_code(-9) == "signal 9"


def test_one_process_serves_where_no_descriptors_are_handed_on(
    nothing: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """NUM_WORKERS of a file that is used on several systems stops nothing on Windows."""
    from a2py.cli import serve

    runs = []
    monkeypatch.setattr(serve, "run_loop", lambda main: runs.append(main.close()))
    with monkeypatch.context() as patch:
        patch.setattr("sys.platform", "win32")
        assert serve.run("serve", ["--demo", "--port", "0", "--num-workers", "4"]) == exits.OK
    assert len(runs) == 1 and "on Windows one process serves, not 4" in capsys.readouterr().err


def test_an_idle_connection_is_closed_when_the_flag_says(tmp_path: Path) -> None:
    with serving("--port", "0", "--keepalive_timeout", "0.2", cwd=tmp_path) as run:
        port = int(run.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), 30) as client:
            client.sendall(b"GET /health/liveliness HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            data = b""
            while more := client.recv(65536):  # the default is 75 s: this test's socket gives up after 30
                data += more
        assert data.startswith(b"HTTP/1.1 200")


# -- sockets and notifications -----------------------------------------------------------------------------------------


def test_sockets_of_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = listen.bind("127.0.0.1", 0, 3)
    try:
        assert len(parent) == 3 and len({sock.getsockname() for sock in parent}) == 1
        with pytest.raises(OSError):
            listen.bind("127.0.0.1", parent[0].getsockname()[1], 1)
    finally:
        for sock in parent:
            sock.close()
    monkeypatch.setattr("sys.platform", "darwin")
    (only,) = listen.bind("::1", 0, 3)
    only.close()


def test_inherited_sockets() -> None:
    (sock,) = listen.bind("127.0.0.1", 0, 1)
    number = os.dup(sock.fileno())
    assert listen.take_inherited({}, 5) == [] and listen.take_inherited({"LISTEN_PID": "6", "LISTEN_FDS": "1"}, 5) == []
    (copy,) = listen.take_inherited({listen.VARIABLE: str(number)}, 5)
    assert copy.getsockname() == sock.getsockname() and not os.get_inheritable(number)
    copy.close()
    sock.close()


@pytest.mark.parametrize("abstract", [False, True])
def test_notifications_arrive_on_a_real_socket(tmp_path: Path, abstract: bool) -> None:
    name = f"@a2py-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(LIMIT)
        with serving("--port", "0", cwd=tmp_path, env={"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "300000"}) as run:
            messages: list[str] = []
            while not (any("READY=1" in line for line in messages) and messages.count("WATCHDOG=1") >= 3):
                messages.append(manager.recv(4096).decode())
            ready = next(line for line in messages if "READY=1" in line)
            assert f"STATUS=serving at {run.url}" in ready and f"MAINPID={run.process.pid}" in ready
            run.process.send_signal(signal.SIGTERM)
            while "STOPPING=1" not in messages[-1]:
                messages.append(manager.recv(4096).decode())
            assert run.process.wait(LIMIT) == 0


def test_nobody_waits() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "1000000", "NOTIFY_SOCKET": "/nowhere/socket", "WATCHDOG_PID": "1"}, 5)
    assert notifier.watchdog == 0
    assert notifier.reloading(lambda: 7)() == 7
    notifier.ready("http://x", "serving")
    assert Notifier({"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "2000000"}, 5).watchdog == 2
    asyncio.run(Notifier({}, 5).beat())


def test_status_says_what_is_served(place: Path) -> None:
    file = place / "a2py.yaml"
    text = "model_list:\n" + "".join(
        f"  - {{model_name: m{n}, litellm_params: {{model: openai/x, api_base: 'http://127.0.0.1:9/v1'}}}}\n"
        for n in range(10)
    )
    file.write_text(text)
    assert a2py("start", "--port", "0", cwd=place).returncode == exits.OK
    line = a2py("status", cwd=place).stdout.splitlines()[1]
    assert line == "serving a2py.yaml (m0, m1, m2, m3, m4, m5, m6, m7 and 2 more)"
    file.write_text(text.replace("m0", "renamed"))
    status = json.loads(a2py("status", "--json", cwd=place).stdout)
    os.kill(status["pid"], signal.SIGHUP)
    assert until(lambda: "renamed" in a2py("status", cwd=place).stdout)
    assert a2py("stop", cwd=place).returncode == exits.OK


def test_restart_keeps_the_flags_and_the_folder_of_the_last_start(place: Path) -> None:
    (place / "project").mkdir()
    state = {"XDG_STATE_HOME": str(place / ".local/state")}
    assert (
        a2py("start", "--demo", "--port", "0", "--log-format", "json", cwd=place / "project", env=state).returncode
        == exits.OK
    )
    assert a2py("restart", "--num-workers", "2", cwd=place).returncode == exits.OK
    status = json.loads(a2py("status", "--json", cwd=place).stdout)
    assert status["argv"] == ["--demo", "--port", "0", "--log-format", "json", "--num-workers", "2"]
    assert status["cwd"] == str(place / "project") and status["serves"].startswith("serving the demo model")
    assert a2py("stop", cwd=place).returncode == exits.OK
    assert a2py("status", cwd=place).returncode == exits.NOT_RUNNING
    assert a2py("restart", cwd=place).returncode == exits.OK, "after a stop, too"
    again = json.loads(a2py("status", "--json", cwd=place).stdout)
    assert (again["argv"], again["cwd"]) == (status["argv"], status["cwd"])
    assert a2py("stop", cwd=place).returncode == exits.OK
