"""systemd's messages on a real datagram socket: a reload framed, a drain that asks for patience; and what refuses a
reload."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from a2py.cli import exits, notify
from a2py.cli.notify import Notifier
from a2py.cli.serving import Job, _reload
from a2py.cli.source import Source
from a2py.config import Config
from a2py.proxy.log import Log
from tests.commands import LIMIT, serving
from tests.user_manager import stream

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets")


class Manager:
    """What systemd is to a service: a datagram socket."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(LIMIT)
        self.messages: list[dict[str, str]] = []

    def until(self, condition: Callable[[dict[str, str]], object]) -> dict[str, str]:
        """The first message from now on for which `condition` holds."""
        while True:
            message = dict(line.split("=", 1) for line in self.socket.recv(4096).decode().split("\n"))
            self.messages.append(message)
            if condition(message):
                return message


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    fake = Manager(tmp_path / "notify")
    yield fake
    fake.socket.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_whole_life(tmp_path: Path, manager: Manager, workers: int) -> None:
    """Ready once, signs of life, a reload, a refused one, a drain that asks for more time for as long as it takes."""
    entry = {
        "model_name": "one",
        "litellm_params": {"model": "openai/x", "api_base": "http://127.0.0.1:9/v1", "api_key": "k"},
    }
    file = tmp_path / "a2py.yaml"
    file.write_text(json.dumps({"model_list": [entry]}))
    env = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "300000"}
    with serving("--port", "0", "--num-workers", str(workers), cwd=tmp_path, env=env) as run:
        ready = manager.until(lambda m: "READY" in m)
        assert ready["MAINPID"] == str(run.process.pid) and run.url in ready["STATUS"]
        manager.until(lambda m: m.get("WATCHDOG") == "1")
        before = time.monotonic_ns() // 1000
        for text, line in ((file.read_text(), "reloaded"), ("model_list: [", "reload refused")):
            file.write_text(text)
            run.process.send_signal(signal.SIGHUP)
            reloading = manager.until(lambda m: "RELOADING" in m)
            assert before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
            manager.until(lambda m: m == {"READY": "1"})
            run.until(line)
        run.process.send_signal(signal.SIGTERM)
        stopping = manager.until(lambda m: "STOPPING" in m)
        assert int(stopping["EXTEND_TIMEOUT_USEC"]) >= 10_000_000
        assert run.process.wait(LIMIT) == exits.OK
    assert sum("MAINPID" in message for message in manager.messages) == 1, "workers are silent towards systemd"


def test_a_long_drain_asks_again_and_again(tmp_path: Path, manager: Manager) -> None:
    starts = threading.Semaphore(0)
    ends: list[Any] = []
    with serving(
        "--demo", "--port", "0", cwd=tmp_path, env={"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "300000"}
    ) as run:
        thread = threading.Thread(target=stream, args=(run.url, starts, ends, 200))
        thread.start()
        assert starts.acquire(timeout=LIMIT)
        run.process.send_signal(signal.SIGTERM)
        manager.until(lambda m: "STOPPING" in m)
        for _ in range(3):
            manager.until(lambda m: "EXTEND_TIMEOUT_USEC" in m)
        thread.join(LIMIT)
        assert run.process.wait(LIMIT) == exits.OK
    assert b"event: message_stop" in ends[0]


def test_a_manager_that_does_not_read_holds_nobody_up(tmp_path: Path, manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.path}, 1)
    for _ in range(2000):  # more than its queue takes
        notifier.say("STATUS=" + "x" * 200)
    assert manager.until(lambda m: True)["STATUS"]


def test_without_a_watchdog_it_beats_slowly(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "BEAT", 0.01)
    notifier = Notifier({"NOTIFY_SOCKET": manager.path}, 1)

    async def main() -> None:
        beat = asyncio.ensure_future(notifier.beat())
        notifier.stopping()
        for _ in range(3):
            await asyncio.to_thread(manager.until, lambda m: "EXTEND_TIMEOUT_USEC" in m)
        beat.cancel()

    asyncio.run(main())
    assert not any("WATCHDOG" in message for message in manager.messages)


def test_a_reload_that_raises_is_framed_too(manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.path}, 1)
    with pytest.raises(KeyError):
        notifier.reloading(lambda: dict[str, Any]()["x"])()
    assert "RELOADING" in manager.until(lambda m: True) and manager.until(lambda m: True) == {"READY": "1"}


@pytest.mark.parametrize("terminal", [True, False])
def test_without_a_file_a_reload_changes_nothing_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    """On a terminal SIGHUP keeps its meaning: the window was closed."""
    config = Config(deployments=())
    monkeypatch.setattr(sys, "stdin", type("Input", (), {"isatty": lambda self: terminal})())
    reload = _reload(
        Job(Namespace(), Source(config, "the keys in the environment"), "", 0, None), config, Notifier({}, 1), Log()
    )
    assert reload is None if terminal else reload is not None and reload() is config
