"""The one that watches over workers, on workers of a few lines; and what a real worker obeys."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from a2py.cli import exits, listen, workers
from tests.commands import LIMIT, serving
from tests.proxied import settle
from tests.user_manager import stream

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
#: Says that it serves, then does as the last line says. `control`: its end of the pair.
WORKER = f"""
import os, signal, socket, sys, time
control = socket.socket(fileno=int(os.environ["{workers.CONTROL}"]))
control.send(b"r")
"""
OBEYS = WORKER + "for word in (b'd', b'n'):\n    if control.recv(1) != word:\n        sys.exit(9)\nopen(sys.argv[1], 'a').write('obeyed ')"


class Watched:
    """`said`: the supervisor's lines; `made`: the supervisor itself."""

    def __init__(self, made: workers.Supervisor, said: list[str], code: asyncio.Future[int]) -> None:
        self.made, self.said, self.code = made, said, code

    async def until(self, what: Callable[[], object]) -> None:
        await settle(what, LIMIT)


@asynccontextmanager
async def watched(script: str, count: int = 1, argument: str = "", **callbacks: Callable[[], None]) -> AsyncIterator[Watched]:
    said: list[str] = []
    sockets = listen.bind("127.0.0.1", 0, count)
    made = workers.Supervisor([sys.executable, "-c", script, argument], sockets, count, "http://x", os.environ, said.append, **callbacks)
    code = asyncio.ensure_future(made.run())
    try:
        yield Watched(made, said, code)
    finally:
        if not code.done():
            made.stop()
            for process in list(made.running.values()):
                process.kill()
            await asyncio.wait_for(code, LIMIT)
        for sock in sockets:
            sock.close()


async def test_one_that_falls_silent_is_killed_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SILENCE", 0.3)
    async with watched(WORKER + "time.sleep(1000)") as seen:
        await seen.until(lambda: sum("is started" in line for line in seen.said) >= 2)
    assert seen.said[:2] == ["worker 0 does not answer: it is killed", "worker 0 ended (signal 9): another is started in 0.25 s"]


async def test_one_that_gives_signs_of_life_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SILENCE", 3.0)
    beats = WORKER + "for n in range(16):\n    time.sleep(0.25)\n    control.send(b'.')\nsys.exit(3)"  # 4 s in all
    async with watched(beats) as seen:
        await seen.until(lambda: seen.said)
    assert seen.said[0].startswith("worker 0 ended (exit code 3)")


async def test_words_instead_of_signals(tmp_path: Path) -> None:
    """The first stop says drain, the second one now; all workers hear both."""
    told: list[str] = []
    callbacks = {"serving": lambda: told.append("serving"), "ending": lambda: told.append("ending")}
    async with watched(OBEYS, 2, str(tmp_path / "out"), **callbacks) as seen:
        await seen.until(lambda: seen.made.announced)
        seen.made.stop()
        seen.made.stop()
        assert await asyncio.wait_for(seen.code, LIMIT) == exits.OK
    assert told == ["serving", "ending"] and seen.said == [] and (tmp_path / "out").read_text() == "obeyed obeyed "


async def test_what_fails_before_it_served_fails_the_whole() -> None:
    async with watched("raise SystemExit(7)", 2) as seen:
        assert await asyncio.wait_for(seen.code, LIMIT) == 7
    assert seen.said in (["worker 0 ended (exit code 7) before it served"], ["worker 1 ended (exit code 7) before it served"])
    async with watched("import os; os.kill(os.getpid(), 9)") as seen:
        assert await asyncio.wait_for(seen.code, LIMIT) == exits.FAILED
    async with watched("") as seen:
        seen.made.command = ["/no/such/program"]
        assert await asyncio.wait_for(seen.code, LIMIT) == exits.FAILED
    assert seen.said[0].startswith("worker 0 can't be started: ")


async def test_reload_reaches_those_that_serve() -> None:
    async with watched(WORKER + "signal.signal(signal.SIGHUP, lambda *_: os._exit(41)); control.send(b'.'); time.sleep(1000)") as seen:
        await seen.until(lambda: seen.made.announced)
        (process,) = seen.made.running.values()
        status = Path(f"/proc/{process.pid}/status")
        await seen.until(lambda: not status.exists() or int(re.findall(r"SigCgt:\s*(\S+)", status.read_text())[0], 16) & 1)
        seen.made.ready.discard(0)
        seen.made.reload()
        seen.made.ready.add(0)
        assert not seen.said
        seen.made.reload()
        await seen.until(lambda: seen.said)
    assert seen.said[0].startswith("worker 0 ended (exit code 41): another is started")


def test_a_signal_to_the_whole_group_is_one_drain(tmp_path: Path) -> None:
    """A terminal's Ctrl-C and systemd's KillMode=control-group reach parent and workers: streams end whole all the same."""
    begun, ends = threading.Semaphore(0), []
    with serving("--demo", "--port", "0", "--num-workers", "2", cwd=tmp_path) as run:
        threads = [threading.Thread(target=stream, args=(run.url, begun, ends, 100)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert begun.acquire(timeout=LIMIT)
        pids = Path(f"/proc/{run.process.pid}/task/{run.process.pid}/children").read_text().split()
        for number in (signal.SIGTERM, signal.SIGINT):
            for pid in map(int, pids):
                os.kill(pid, number)
        run.process.send_signal(signal.SIGTERM)
        for pid in map(int, pids):
            os.kill(pid, signal.SIGTERM)
        assert run.process.wait(LIMIT) == exits.OK
        for thread in threads:
            thread.join(LIMIT)
    assert len(pids) == 2 and len(ends) == 6 and all(b"event: message_stop" in data and b"event: error" not in data for data in ends)


async def test_the_workers_end_of_the_pair() -> None:
    import socket

    here, there = socket.socketpair()
    assert workers.Worker({}).number is None
    worker = workers.Worker({workers.NUMBER: "4", workers.CONTROL: str(there.detach())})
    drain, now = asyncio.Event(), asyncio.Event()
    with here:
        worker.obey(drain, now)
        worker.ready()
        assert worker.number == 4 and here.recv(4) == b"r"
        here.send(b"d")
        await asyncio.wait_for(drain.wait(), LIMIT)
        assert not now.is_set()
        here.send(b"n")
        await asyncio.wait_for(now.wait(), LIMIT)
    drain.clear()
    await asyncio.wait_for(drain.wait(), LIMIT)  # the parent is gone
    worker.ready()
    assert worker._control is not None
    worker._control.close()
    nobody = workers.Worker({})
    nobody.obey(drain, now)
    nobody.ready()
    await nobody.beat()


def test_how_this_program_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "a2py"
    script.write_text("")
    for started, command in ((str(script), [str(script)]), (str(tmp_path / "no" / "a2py"), ["-m", "a2py"]), (__file__, ["-m", "a2py"])):
        monkeypatch.setattr(sys, "argv", [started])
        assert workers.command(["serve"]) == [sys.executable, *command, "serve"]
    monkeypatch.setattr(sys.modules["__main__"], "PARTS", {}, raising=False)
    assert workers.command([]) == [sys.executable, __file__], "the single file, whatever its name"


def test_a_reload_of_all_workers_is_told(tmp_path: Path) -> None:
    entry = {"model_name": "one", "litellm_params": {"model": "openai/x", "api_base": "http://127.0.0.1:9/v1", "api_key": "k"}}
    (tmp_path / "a2py.yaml").write_text(json.dumps({"model_list": [entry]}))
    with serving("--port", "0", "--num-workers", "2", "--log-format", "json", cwd=tmp_path) as run:
        run.until(r'"event":"started"')
        for _ in range(40):  # the first worker's word does not say that the second one listens to signals yet
            run.process.send_signal(signal.SIGHUP)
            if run.said.count('"event":"reloaded"') >= 2:
                break
            time.sleep(0.25)
        run.until(r'(?s)"event":"reloaded".*"event":"reloaded"')
        assert run.end() == exits.OK
