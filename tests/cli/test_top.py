"""`a2py top`: the picture, in a terminal and without one; nothing of a request can act on the terminal."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from a2py.cli import pagelink, top
from a2py.cli.exits import Stop
from a2py.cli.topview import View
from tests.commands import LIMIT, Running, a2py, clean_env, serving
from tests.process import free_port

HELLO = {"type": "hello", "version": "1.2.3", "time": 1000.0, "started": 100.0, "workers": 2}
RUNNING = {
    "id": "req_1",
    "model": "fast",
    "deployment": "d0",
    "route": "2 tokens_over 60000",
    "key": "alice",
    "started": 990.0,
    "first_token": 0.5,
    "output_tokens": 1234,
    "tokens_per_second": 61.7,
    "place": None,
    "attempt": 1,
}
NOW = {
    "type": "now",
    "time": 1000.0,
    "running": [RUNNING, {**RUNNING, "first_token": None, "tokens_per_second": None, "place": 3, "attempt": 0}],
    "more_running": 7,
    "minute": {"requests": 5, "errors": 1, "input_tokens": 12345, "output_tokens": 678, "cost": 0.5},
    "waiting": 1,
    "connections": 4,
}
DEPLOYMENT: dict[str, Any] = {"id": "d0", "name": "fast", "problem": None, "cooldown": None, "lessons": []}
STATE = {
    "type": "state",
    "deployments": [
        DEPLOYMENT,
        {**DEPLOYMENT, "id": "d1", "problem": "set a key"},
        {**DEPLOYMENT, "id": "d2", "cooldown": {"seconds": 4.2, "reason": "overloaded"}},
        {**DEPLOYMENT, "id": "d3", "lessons": [{"changes": "top_k: False", "reason": "", "seconds_left": 5}]},
    ],
}
ROW = {
    "type": "request",
    "time": 995.0,
    "status": 200,
    "model": "fast",
    "deployment": "d0",
    "input_tokens": 100,
    "cache_read_tokens": 900,
    "cache_write_tokens": 0,
    "output_tokens": 55,
    "first_token": 0.4,
    "seconds": 2.5,
    "error": "",
}


def view(*lines: dict[str, Any]) -> View:
    out = View(lambda: 5.0)
    for line in lines:
        out.add(line)
    return out


def test_the_picture() -> None:
    lines = view(HELLO, STATE, NOW, ROW, {**ROW, "status": 529, "error": "overloaded: no"}, {"type": "ping"}).draw(
        "http://x"
    )
    text = "\n".join(lines)
    assert lines[0] == "a2py 1.2.3 at http://x   up 15 min 0 s   2 workers"
    assert "running 9" in text and "waiting 1" in text and "$0.5000" in text and "12,345 in" in text
    assert "2 tokens_over 60000" in text and "alice" in text and "61.7" in text and "10.0 s" in text
    assert "place 3" in text and "and 7 more" in text
    assert "set a key" in text and "not asked for 4 s (overloaded)" in text and "learned top_k: False" in text
    assert text.index("529") < text.index("1,000") and "overloaded: no" in text


def test_times_go_on_between_two_lines() -> None:
    """Nothing is sent while nothing changes: a request that waits, a pause that ends."""
    now = [70.0]
    view = View(lambda: now[0])
    for line in (HELLO, STATE, NOW):
        view.add(line)
    now[0] += 3
    text = "\n".join(view.draw("http://x"))
    assert "up 15 min 3 s" in text and "13.0 s" in text and "not asked for 1 s" in text
    now[0] += 60
    assert "not asked for 0 s" in "\n".join(view.draw("http://x"))


def test_it_fits() -> None:
    lines = view(HELLO, STATE, NOW, *([ROW] * 500)).draw("http://x", 40, 10)
    assert len(lines) == 10 and max(map(len, lines)) == 40
    assert len(view(HELLO, STATE, NOW, *([ROW] * 500)).draw("http://x")) < 250


def test_nothing_runs() -> None:
    still = {**NOW, "running": [], "more_running": 0, "minute": {**NOW["minute"], "cost": None}}  # type: ignore[dict-item]
    text = "\n".join(view({**HELLO, "workers": 1}, still).draw("http://x"))
    assert "nothing runs" in text and "cost unknown" in text and "workers" not in text


def test_no_text_acts_on_the_terminal() -> None:
    evil = "\x1b[2J\x1b]0;title\x07\r\n\u202eabc"
    row = {**ROW, "model": evil, "deployment": evil, "error": evil}
    running = {**RUNNING, "model": evil, "deployment": evil, "route": evil, "key": evil}
    state = {"type": "state", "deployments": [{**DEPLOYMENT, "name": evil, "problem": evil}]}
    lines = view({**HELLO, "version": evil}, {**NOW, "running": [running]}, state, row).draw(f"http://x{evil}")
    text = "\n".join(lines)
    assert "\x1b" not in text and "\r" not in text and "\x07" not in text and "\u202e" not in text
    assert all("\n" not in line for line in lines)


def test_one_picture_without_a_terminal(tmp_path: Path) -> None:
    with serving("--demo", "--port", str(free_port()), cwd=tmp_path) as server:
        result = a2py("top", "--url", server.url, cwd=tmp_path)
        assert result.returncode == 0 and "nothing runs" in result.stdout and "\x1b" not in result.stdout, result
        assert result.stdout.startswith("a2py ")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has another error for it")
def test_a_closed_pipe_is_no_fault_of_the_proxy(tmp_path: Path) -> None:
    """`a2py top | true`."""
    with serving("--demo", "--port", str(free_port()), cwd=tmp_path) as server:
        read_end, write_end = os.pipe()
        os.close(read_end)
        argv = [sys.executable, "-m", "a2py", "top", "--url", server.url]
        result = subprocess.run(
            argv, cwd=tmp_path, env=clean_env(tmp_path), stdout=write_end, stderr=subprocess.PIPE, timeout=LIMIT
        )
        os.close(write_end)
        assert (result.returncode, result.stderr) == (1, b"")


def test_an_error_of_the_connection_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with silent_proxy(monkeypatch) as url, pytest.raises(Stop, match=f"the a2py at {url} has gone: timed out"):
        monkeypatch.setattr(top, "SILENCE", 0.5)
        with top.open_live(Namespace()) as (_, lines):
            assert next(lines) == HELLO and next(lines) == NOW
            next(lines)


class Screen:
    """`a2py top` in a terminal. `text`: what it has written so far."""

    def __init__(self, url: str, home: Path, columns: int = 100, rows: int = 30) -> None:
        import pty

        self.pid, self.terminal = pty.fork()
        if not self.pid:
            os.chdir(home)
            argv = [sys.executable, "-m", "a2py", "top", "--url", url]
            os.execve(sys.executable, argv, {**clean_env(home), "TERM": "xterm"})
        self.text = ""
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        import fcntl
        import termios

        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, *words: str) -> None:
        """Wait until the screen has had all of `words` since the last call."""
        text, end = "", time.monotonic() + LIMIT
        while not all(word in text for word in words):
            assert time.monotonic() < end, text
            if select.select([self.terminal], [], [], 1)[0]:
                try:
                    text += os.read(self.terminal, 65536).decode("utf-8", "replace")
                except OSError:
                    break
        self.text += text
        assert all(word in text for word in words), text

    def press(self, key: str) -> None:
        os.write(self.terminal, key.encode())

    def end(self) -> int:
        """Wait for the end, and return the exit code."""
        end = time.monotonic() + LIMIT
        try:
            while select.select([self.terminal], [], [], LIMIT)[0]:
                assert time.monotonic() < end, f"it does not end: {self.text[-2000:]}"
                self.text += os.read(self.terminal, 65536).decode("utf-8", "replace")
        except OSError:
            pass  # nobody has the other side any more
        os.close(self.terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


needs_pty = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pty")


@contextmanager
def showing(tmp_path: Path) -> Iterator[tuple[Screen, Running]]:
    """`a2py top` with its first picture, of a proxy."""
    with serving("--demo", "--port", str(free_port()), cwd=tmp_path) as server:
        screen = Screen(server.url, tmp_path)
        screen.until("\x1b[?1049h", "nothing runs")
        yield screen, server


@needs_pty
@pytest.mark.parametrize("key", ["q", "\x03"])
def test_in_a_terminal_until_a_key(key: str, tmp_path: Path) -> None:
    with showing(tmp_path) as (screen, server):
        ask(server.url)
        screen.until("SECONDS", "200")
        screen.resize(20, 5)
        screen.until("\x1b[H")
        screen.press(key)
        assert screen.end() == 0
        assert screen.text.endswith("\x1b[?25h\x1b[?1049l")


@needs_pty
def test_the_terminal_is_given_back_when_the_proxy_ends(tmp_path: Path) -> None:
    with showing(tmp_path) as (screen, server):
        server.end(signal.SIGTERM)
        assert screen.end() == 1
        assert "\x1b[?1049l" in screen.text and "has gone" in screen.text.partition("\x1b[?1049l")[2]


@needs_pty
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGQUIT"])
def test_a_signal_gives_the_terminal_back(name: str, tmp_path: Path) -> None:
    number = getattr(signal, name)
    with showing(tmp_path) as (screen, _):
        os.kill(screen.pid, number)
        assert screen.end() == 128 + number
        assert screen.text.endswith("\x1b[?25h\x1b[?1049l")


@needs_pty
def test_ctrl_z_gives_the_terminal_back_for_a_while(tmp_path: Path) -> None:
    """No shell is there to continue it, so the system does not stop it."""
    with showing(tmp_path) as (screen, _):
        screen.press("\x1a")
        screen.until("\x1b[?25h\x1b[?1049l", "\x1b[?1049h\x1b[?25l", "nothing runs")
        screen.press("q")
        assert screen.end() == 0


def ask(url: str) -> None:
    """Make one request."""
    import urllib.request

    body = {"model": "demo", "max_tokens": 20, "messages": [{"role": "user", "content": "Hi"}]}
    with urllib.request.urlopen(f"{url}/v1/messages", json.dumps(body).encode(), timeout=30) as answer:
        assert answer.status == 200


@contextmanager
def silent_proxy(monkeypatch: pytest.MonkeyPatch, *, head: str = "") -> Iterator[str]:
    """A proxy whose `live` has two lines and then says nothing. `head`: more of the response's head."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(pagelink, "make_link", lambda args: pagelink.Link(url, "token"))
        monkeypatch.setattr(pagelink, "begin_session", lambda link: "bearer")
        connections = []

        def serve() -> None:
            connection = server.accept()[0]
            connections.append(connection)
            connection.recv(65536)
            lines = "".join(json.dumps(line) + "\n" for line in (HELLO, NOW)).encode()
            connection.sendall(f"HTTP/1.1 200 OK\r\n{head}transfer-encoding: chunked\r\n\r\n".encode())
            connection.sendall(b"%x\r\n%s\r\n" % (len(lines), lines))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield url
        finally:
            thread.join(LIMIT)
            for connection in connections:
                connection.close()


@pytest.mark.parametrize("head", ["", "connection: close\r\n"])
def test_it_ends_at_once_while_nothing_comes(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that reads holds the lock of the response, which closing the response waits for."""
    count = 0
    with silent_proxy(monkeypatch, head=head):
        with top.open_live(Namespace()) as (_, lines):

            def read() -> None:
                nonlocal count
                with suppress(Exception):
                    for _ in lines:
                        count += 1

            reader = threading.Thread(target=read, daemon=True)
            reader.start()
            while count < 2:
                time.sleep(0.01)
            time.sleep(0.1)  # now it waits for the third line
            start = time.monotonic()
        reader.join(LIMIT)
        assert not reader.is_alive() and time.monotonic() - start < 5
