# ruff: noqa: F401, F811  (a fixture that is imported and then named as an argument)
"""The one that watches over workers, on workers of a few lines; what a real worker obeys; and real workers that die,
hang and can't start."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from a2py.cli import control, exits, listen, workers
from a2py.cli.notify import Notifier
from a2py.cli.sharing import Sharing
from a2py.config import Config
from a2py.deployment import Deployment
from a2py.evidence import message
from a2py.evidence.message import ServerReport
from a2py.evidence.server import ListedModel, ServerWord
from a2py.proxy.lessons import iso_date
from tests.cli.test_notify import manager
from tests.commands import LIMIT, Running, clean_env, nothing, serving
from tests.process import children, free_port
from tests.proxied import settle
from tests.scripted import Peer, Raw, ScriptedServer, completion
from tests.user_manager import ask, stream, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
ROOT = Path(__file__).resolve().parents[2]
#: Says that it serves, then does as the last line says. `order`: the parent's next order, except those to announce and to ask.
WORKER = """
import os, sys, time
from a2py.cli.control import *
worker = Worker(os.environ)
def order():
    while (given := worker._order()) is None or given.kind in (ANNOUNCE, ASK):
        assert given or worker._receive()
    return given
config = worker.configuration()
worker.say(READY)
"""
OBEYS = WORKER + "for word in (DRAIN, NOW):\n    assert order().kind == word\nopen(sys.argv[1], 'a').write('obeyed ')"


class Watch:
    """`lines`: what the supervisor printed."""

    def __init__(self, supervisor: workers.Supervisor, lines: list[str], code: asyncio.Future[int]) -> None:
        self.supervisor, self.lines, self.code = supervisor, lines, code

    async def until(self, what: Callable[[], object]) -> None:
        await settle(what, LIMIT)


@asynccontextmanager
async def supervise(
    script: str, count: int = 1, *arguments: str, env: dict[str, str] | None = None, **more: Any
) -> AsyncIterator[Watch]:
    lines: list[str] = []
    sockets = listen.bind("127.0.0.1", 0, count)
    whole = {**(env or os.environ), "PYTHONPATH": str(ROOT)}
    command, config = [sys.executable, "-c", script, *arguments], more.pop("config", b"")
    notifier, hooks = Notifier(whole, os.getpid()), workers.Hooks(lines.append, **more)
    supervisor = workers.Supervisor(command, Sharing(sockets, count), "http://x", whole, notifier, hooks, config)
    code = asyncio.ensure_future(supervisor.run())
    try:
        yield Watch(supervisor, lines, code)
    finally:
        if not code.done():
            supervisor.stop()
            for process in list(supervisor.running.values()):
                process.kill()
            await asyncio.wait_for(code, LIMIT)
        for sock in sockets:
            sock.close()


async def test_one_that_falls_silent_is_killed_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SILENCE", 0.3)
    async with supervise(WORKER + "time.sleep(1000)") as watch:
        await watch.until(lambda: sum("is started" in line for line in watch.lines) >= 2)
    assert watch.lines[:2] == [
        "worker 0 does not answer: it is killed",
        "worker 0 ended (signal 9): another is started in 0.25 s",
    ]


async def test_one_that_gives_signs_of_life_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SILENCE", 3.0)
    beats = WORKER + "for n in range(16):\n    time.sleep(0.25)\n    worker.say(ALIVE)\nsys.exit(3)"  # 4 s in all
    async with supervise(beats) as watch:
        await watch.until(lambda: watch.lines)
    assert watch.lines[0].startswith("worker 0 ended (exit code 3)")


async def test_a_parent_that_was_stopped_itself_kills_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """`docker pause` stops all of them: the silence is the parent's own."""
    monkeypatch.setattr(workers, "SILENCE", 3.0)
    monkeypatch.setattr(workers, "LATE", 0.5)
    async with supervise(WORKER + "while True:\n    time.sleep(0.02)\n    worker.say(ALIVE)") as watch:
        await watch.until(lambda: watch.supervisor.is_announced)
        watch.supervisor.running[0].send_signal(signal.SIGSTOP)
        await asyncio.sleep(0.1)  # what it has said is heard
        time.sleep(4.0)  # noqa: ASYNC251  (the point: nothing runs here meanwhile)
        watch.supervisor.running[0].send_signal(signal.SIGCONT)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not watch.lines and watch.supervisor.ready == {0}


async def test_words_instead_of_signals(tmp_path: Path) -> None:
    """The first stop says drain, the second one now; all workers hear both."""
    calls: list[str] = []
    callbacks: dict[str, Any] = {"serving": lambda: calls.append("serving"), "ending": lambda: calls.append("ending")}
    async with supervise(OBEYS, 2, str(tmp_path / "out"), **callbacks) as watch:
        await watch.until(lambda: watch.supervisor.is_announced)
        watch.supervisor.stop()
        watch.supervisor.stop()
        assert await asyncio.wait_for(watch.code, LIMIT) == exits.OK
    assert calls == ["serving", "ending"] and watch.lines == [] and (tmp_path / "out").read_text() == "obeyed obeyed "


@pytest.mark.parametrize("successor", [True, False])
async def test_the_parents_sockets_are_closed_with_the_word(tmp_path: Path, successor: bool) -> None:
    """Else they would take connections that no process accepts. The workers learn whether a successor serves on the
    same sockets."""
    script = WORKER + "drain = order()\nopen(sys.argv[1], 'w').write(repr(drain.payload))"
    async with supervise(script, 1, str(tmp_path / "out"), ending=lambda: successor) as watch:
        await watch.until(lambda: watch.supervisor.is_announced)
        watch.supervisor.stop()
        assert [sock.fileno() for sock in watch.supervisor.sharing.sockets] == [-1]
        await asyncio.wait_for(watch.code, LIMIT)
    assert (tmp_path / "out").read_text() == ("b'1'" if successor else "b''")


# -- workers that can't start ------------------------------------------------------------------------------------------


async def test_what_fails_before_it_served_fails_the_whole() -> None:
    async with supervise("raise SystemExit(7)", 2) as watch:
        assert await asyncio.wait_for(watch.code, LIMIT) == 7
    assert watch.lines[-1].endswith("ended (exit code 7) before it served")
    async with supervise("import os; os.kill(os.getpid(), 9)") as watch:
        assert await asyncio.wait_for(watch.code, LIMIT) == exits.FAILED
    async with supervise("") as watch:
        watch.supervisor.command = ["/no/such/program"]
        assert await asyncio.wait_for(watch.code, LIMIT) == exits.FAILED
    assert watch.lines[0].startswith("worker 0 can't be started: ")


@pytest.mark.parametrize("code", [exits.FAILED, exits.USAGE, exits.UNAVAILABLE, exits.REFUSED, exits.CONFIG])
async def test_one_that_can_not_start_does_not_end_its_siblings(code: int, manager: Any) -> None:
    """Whatever it says of the reason: it is tried again, and the whole serves without it."""
    script = f"import os, sys\nif os.environ['{control.NUMBER}'] == '1': sys.exit({code})\n{WORKER}time.sleep(1000)"
    async with supervise(script, 2, env={**os.environ, "NOTIFY_SOCKET": manager.path}) as watch:
        await watch.until(lambda: len(watch.lines) >= 2 and watch.supervisor.is_announced)
        assert watch.supervisor.ready == {0} and not watch.code.done()
        ready = await asyncio.to_thread(manager.until, lambda message: "READY" in message)
        assert ready["STATUS"] == "1 of 2 workers at http://x"
    assert watch.lines[:2] == [
        f"worker 1 ended (exit code {code}) before it served: another is started in {n} s" for n in (0.25, 0.5)
    ]


#: A real worker, unless the file of the second argument is there: then worker 1 ends with 3.
REAL = f"""
import os, sys
if os.environ["{control.NUMBER}"] == "1" and os.path.exists(sys.argv[1]):
    sys.exit(3)
sys.argv[1:] = sys.argv[2:]
from a2py.cli import main
sys.exit(main())
"""


async def hello(port: int, count: int) -> list[int]:
    """The statuses of as many requests, at once and each on a connection of its own."""

    async def one() -> int:
        async with Raw(port) as client:
            client.ask("GET", "/health/liveliness")
            return (await client.answer("GET")).status

    return await asyncio.gather(*(one() for _ in range(count)))


async def test_a_sibling_accepts_in_the_place_of_one_that_can_not_start(nothing: Path) -> None:
    """Linux still gives each socket its share of the connections, even if its worker is dead."""
    broken = nothing / "broken"
    config = pickle.dumps((None, "the demo"))
    async with supervise(REAL, 2, str(broken), "serve", "--demo", "--log-format", "json", config=config) as watch:
        supervisor, port = watch.supervisor, watch.supervisor.sharing.sockets[0].getsockname()[1]
        await watch.until(lambda: supervisor.is_announced)
        for _ in range(2):
            broken.touch()
            supervisor.running[1].kill()
            await watch.until(lambda: 1 not in supervisor.ready)
            assert await hello(port, 40) == [200] * 40
            assert supervisor.ready == {0} and (
                supervisor.sharing.borrowers == {1: 0} or len(supervisor.sharing.sockets) == 1
            )
            broken.unlink()
            await watch.until(lambda: 1 in supervisor.ready)
            assert await hello(port, 40) == [200] * 40 and not supervisor.sharing.borrowers


async def test_what_is_lent_goes_on_to_the_next(nothing: Path) -> None:
    """The sibling dies too."""
    broken = nothing / "broken"
    config = pickle.dumps((None, "the demo"))
    async with supervise(REAL, 3, str(broken), "serve", "--demo", config=config) as watch:
        supervisor, port = watch.supervisor, watch.supervisor.sharing.sockets[0].getsockname()[1]
        await watch.until(lambda: supervisor.is_announced)
        broken.touch()
        supervisor.running[1].kill()
        await watch.until(lambda: 1 not in supervisor.ready)
        holder = supervisor.sharing.borrowers.get(1, 0)
        supervisor.running[holder].kill()
        await watch.until(lambda: holder not in supervisor.ready)
        assert await hello(port, 40) == [200] * 40
        await watch.until(lambda: holder in supervisor.ready)
        assert await hello(port, 40) == [200] * 40


# -- the configuration -------------------------------------------------------------------------------------------------

ENTRY = {
    "model_name": "one",
    "litellm_params": {"model": "openai/x", "api_base": "http://127.0.0.1:9/v1", "api_key": "k"},
}


def write(place: Path, **more: Any) -> Path:
    """A configuration that names one model."""
    (place / "a2py.yaml").write_text(json.dumps({"model_list": [ENTRY], **more}))
    return place / "a2py.yaml"


def test_a_file_that_is_broken_when_a_worker_dies_ends_nothing(tmp_path: Path) -> None:
    """The new worker serves what the parent has read; the file is looked at when somebody asks for that."""
    file = write(tmp_path)
    with serving("--port", "0", "--num-workers", "2", cwd=tmp_path) as run:
        url = run.url
        before = children(run.process.pid)
        file.write_text("model_list: [")
        os.kill(before[0], signal.SIGKILL)
        run.until(r"worker \d ended \(signal 9\): another is started")
        assert until(lambda: len(children(run.process.pid)) == 2 and before[0] not in children(run.process.pid))
        assert all(ask(url) for _ in range(20))
        with urllib.request.urlopen(url + "/v1/models", timeout=LIMIT) as answer:
            assert json.load(answer)["data"][0]["display_name"] == "one"
        assert run.end() == exits.OK
        assert run.stderr.count("ended") == 1, run.stderr


def test_a_reload_reaches_all_workers(tmp_path: Path) -> None:
    """Also one that is starting: the parent reads the file once, for all."""
    file = write(tmp_path)
    with serving("--port", "0", "--num-workers", "2", "--log-format", "json", cwd=tmp_path) as run:
        run.until(r'"event":"started"')
        (dies, _) = children(run.process.pid)
        os.kill(dies, signal.SIGKILL)
        assert until(lambda: len(children(run.process.pid)) == 2 and dies not in children(run.process.pid))
        file.write_text(file.read_text().replace('"one"', '"two"'))
        run.process.send_signal(signal.SIGHUP)
        run.until(r'(?s)"event":"reloaded".*"event":"reloaded"')
        url = re.search(r'"url":"(http[^"]+)"', run.stderr)
        assert url
        for _ in range(20):
            with urllib.request.urlopen(url[1] + "/v1/models", timeout=LIMIT) as answer:
                assert json.load(answer)["data"][0]["display_name"] == "two"
        file.write_text("")
        run.process.send_signal(signal.SIGHUP)
        run.until(r'"event":"reload refused"')
        assert run.stderr.count("reload refused") == 1
        for pid in children(run.process.pid):
            os.kill(pid, signal.SIGHUP)  # `kill -HUP` of a whole control group: it is the parent that reads
        assert ask(url[1]) and run.end() == exits.OK
        assert run.stderr.count('"reloaded"') == 2


def test_a_division_of_limits_is_said_once(tmp_path: Path) -> None:
    """At the start, and again only if a reload changes it."""
    notice = "each of 2 workers uses its part of every limit"
    entry = {**ENTRY, "litellm_params": {**ENTRY["litellm_params"], "max_parallel_requests": 5}}  # type: ignore[dict-item]
    write(tmp_path, model_list=[entry])
    with serving("--port", "0", "--num-workers", "2", cwd=tmp_path) as run:
        url = run.url
        assert ask(url) and run.stderr.count(notice) == 1 and "(max_parallel_requests 5 of" in run.stderr
        for most, count in ((5, 1), (1, 2)):
            entry["litellm_params"]["max_parallel_requests"] = most  # type: ignore[index]
            write(tmp_path, model_list=[entry])
            before = run.stderr.count("reloaded")
            run.process.send_signal(signal.SIGHUP)
            assert until(lambda before=before: run.stderr.count("reloaded") == before + 2)  # type: ignore[misc]
            assert run.stderr.count(notice) == count
        assert run.end() == exits.OK


async def test_a_reload_ends_when_all_have_loaded_it(manager: Any) -> None:
    """systemd learns so; a worker that dies is waited for no longer."""
    slow = (
        WORKER
        + "assert order() == Order(CONFIG, b'new', None)\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
    )
    slow += "worker.say(LOADED)\ntime.sleep(1000)"
    env = {**os.environ, "NOTIFY_SOCKET": manager.path}
    go = Path(manager.path + ".go")
    async with supervise(slow, 2, str(go), env=env, load=lambda: b"new") as watch:
        supervisor = watch.supervisor
        await watch.until(lambda: supervisor.is_announced)
        supervisor.reload()
        assert supervisor.is_reloading and supervisor.config == b"new"
        supervisor.running[1].kill()
        await watch.until(lambda: 1 not in supervisor.ready)
        assert supervisor.is_reloading, "worker 0 has not loaded it"
        await asyncio.to_thread(go.touch)
        await watch.until(lambda: not supervisor.is_reloading)
        messages = [await asyncio.to_thread(manager.until, lambda message: True) for _ in range(3)]
        assert [sorted(message)[0] for message in messages] == ["MAINPID", "MONOTONIC_USEC", "READY"]


async def test_a_refused_reload_changes_nothing(manager: Any) -> None:
    async with supervise(
        WORKER + "time.sleep(1000)", env={**os.environ, "NOTIFY_SOCKET": manager.path}, config=b"old"
    ) as watch:
        await watch.until(lambda: watch.supervisor.is_announced)
        watch.supervisor.reload()
        assert (
            watch.supervisor.config == b"old"
            and not watch.supervisor.is_reloading
            and not watch.supervisor.links[0].pending_configs
        )


async def test_a_worker_of_another_version_reads_the_file_itself(
    nothing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """a2py was replaced on disk while it ran: what the parent pickled may mean nothing to the new classes."""
    file = write(nothing)
    monkeypatch.setattr(control, "VERSION", "0.0.1")
    script = REAL.replace("from a2py.cli import main", "import a2py.cli.serve\nfrom a2py.cli import main")
    async with supervise(
        script, 1, str(nothing / "no"), "serve", "--config", str(file), config=b"no pickle", load=lambda: b"nor this"
    ) as watch:
        supervisor, port = watch.supervisor, watch.supervisor.sharing.sockets[0].getsockname()[1]
        await watch.until(lambda: supervisor.is_announced)
        supervisor.reload()
        await watch.until(lambda: not supervisor.is_reloading)
        assert await hello(port, 2) == [200] * 2 and not watch.lines


def test_how_this_program_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "a2py"
    script.write_text("")
    for path, command in (
        (str(script), [str(script)]),
        (str(tmp_path / "no" / "a2py"), ["-m", "a2py"]),
        (__file__, ["-m", "a2py"]),
    ):
        monkeypatch.setattr(sys, "argv", [path])
        assert workers.build_command(["serve"]) == [sys.executable, *command, "serve"]
    monkeypatch.setattr(sys.modules["__main__"], "PARTS", {}, raising=False)
    assert workers.build_command([]) == [sys.executable, __file__], "the single file, whatever its name"


# -- what servers say of themselves ---------------------------------------------------------------------------------------------

REPORT = ServerReport(
    "http://127.0.0.1:8/v1", ServerWord("vLLM", "hosted_vllm", models=(ListedModel("m", 4096),)), iso_date(1.8e9)
)


async def test_one_worker_at_a_time_is_told_to_ask(tmp_path: Path) -> None:
    """Another one if it has gone, and one that is alone again in its next life."""
    script = WORKER + (
        "while True:\n"
        "    if (given := worker._order()) is None:\n        assert worker._receive()\n"
        "    elif given.kind == ASK:\n        open(sys.argv[1], 'a').write(str(worker.number))\n"
    )
    out = tmp_path / "out"
    out.touch()
    async with supervise(script, 2, str(out)) as watch:
        await watch.until(lambda: len(watch.supervisor.ready) == 2 and out.read_text())
        first = int(out.read_text())
        assert watch.supervisor.asker == first
        watch.supervisor.running[first].kill()
        await watch.until(lambda: out.read_text() == f"{first}{1 - first}")
        await watch.until(lambda: len(watch.supervisor.ready) == 2)
        assert watch.supervisor.asker == 1 - first
    async with supervise(script, 1, str(out)) as watch:
        out.write_text("")
        await watch.until(lambda: out.read_text() == "0")
        watch.supervisor.running[0].kill()
        await watch.until(lambda: out.read_text() == "00")


async def test_what_one_worker_learns_the_others_learn(tmp_path: Path) -> None:
    """Also one that starts later; the one that has said it is not told. A message that nothing makes is not passed on."""
    (tmp_path / "said").write_bytes(message.encode(REPORT))
    script = WORKER + (
        "if worker.number == 0:\n"
        "    import asyncio\n"
        "    async def tell():\n        worker.report(b'{}')\n        worker.report(open(sys.argv[1] + '/said', 'rb').read())\n"
        "    asyncio.run(tell())\n"
        "while True:\n    frame = order()\n    open(f'{sys.argv[1]}/{worker.number}-{os.getpid()}', 'ab').write(frame.kind + frame.payload)\n"
    )
    expected = control.LEARN + message.encode(REPORT)

    def read_orders(worker: int) -> list[bytes]:
        return [file.read_bytes() for file in tmp_path.glob(f"{worker}-*")]

    async with supervise(script, 2, str(tmp_path)) as watch:
        await watch.until(lambda: read_orders(1) == [expected])
        assert list(watch.supervisor.reports) == [REPORT.base] and not read_orders(0)
        watch.supervisor.running[1].kill()
        await watch.until(lambda: read_orders(1) == [expected] * 2)


async def test_a_worker_that_sends_what_nobody_can_read_is_replaced() -> None:
    async with supervise(WORKER + "worker.say(REPORT + b'\\xff' * 4)\ntime.sleep(1000)") as watch:
        await watch.until(lambda: len(watch.lines) >= 2)
    assert watch.lines[0] == "worker 0 sent a frame of 4294967295 bytes, which nothing reads: it is killed"


async def vllm(c: Peer) -> None:
    """Answer as a vLLM does."""
    if c.request.target == "/v1/models":
        c.reply({"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 65536}]})
    elif c.request.target == "/version":
        c.reply({"version": "0.11.0"})
    elif c.request.method == "GET":
        c.reply({"detail": "Not Found"}, 404)
    else:
        c.reply(completion("Hello"))


async def every(port: int, path: str, count: int = 24) -> list[Any]:
    """What as many connections of their own get: more than enough to reach each worker."""

    async def one() -> Any:
        async with Raw(port) as client:
            client.ask("GET", path)
            return (await client.answer("GET")).json

    return await asyncio.gather(*(one() for _ in range(count)))


async def test_a_server_is_asked_once_and_all_workers_serve_as_it_says(nothing: Path) -> None:
    def knows(page: Any) -> bool:
        return bool(page["data"][0]["max_input_tokens"] == 65536)

    async def all_know(port: int) -> None:
        while not all(map(knows, await every(port, "/v1/models"))):
            pass

    async with ScriptedServer(vllm) as server:
        own = Deployment(name="m", id="m", provider="openai", model="m", base=server.base, key="k")
        config = pickle.dumps((Config(deployments=(own,)), "a test"))
        async with supervise(REAL, 2, str(nothing / "no"), "serve", "--log-format", "json", config=config) as watch:
            supervisor, port = watch.supervisor, watch.supervisor.sharing.sockets[0].getsockname()[1]
            await watch.until(lambda: len(supervisor.ready) == 2)
            for _ in range(2):
                await asyncio.wait_for(all_know(port), LIMIT)
                assert [question.target for question in server.requests] == [
                    "/v1/models",
                    "/props",
                    "/version",
                    "/api/version",
                    "/api/tags",
                ]
                for page in await every(port, "/health"):
                    (row,) = page["deployments"]
                    assert (
                        row["server"]["program"] == "vLLM"
                        and row["server"]["version"] == "0.11.0"
                        and row["context"] == 65536
                    )
                    assert {quirk["source"] for quirk in row["quirks"].values()} <= {"server", "common"}
                assert supervisor.asker is not None
                dies = supervisor.running[supervisor.asker]  # the next one that asks knows already
                dies.kill()
                await watch.until(
                    lambda dies=dies: len(supervisor.ready) == 2 and dies not in supervisor.running.values()  # type: ignore[misc]
                )


# -- messages between workers ------------------------------------------------------------------------------------------

#: Joins the others with a bus; the lines that follow use `bus`, `number` and `out(text)`. `NEVER` reads no more.
BUS = (
    WORKER
    + """
import asyncio
from a2py.proxy.bus import Bus
number, NEVER = worker.number, asyncio.Event()
def out(text):
    with open(f"{sys.argv[1]}/{number}-{os.getpid()}", "a") as file:
        file.write(text + "\\n")
def crash(error):
    out(repr(error))
bus = Bus(crash)
async def there(count):
    while len(bus.peers) != count:
        await asyncio.sleep(0.01)
async def follow():
    async for order in worker.orders():
        if order.kind == MAIL:
            bus.receive(order.payload)
async def main():
    bus.connect(number, worker.count, worker.post)
    following = asyncio.ensure_future(follow())
    await talk()
    await following
"""
)


def lines(place: Path, worker: int) -> list[str]:
    return [line for file in sorted(place.glob(f"{worker}-*")) for line in file.read_text().splitlines()]


async def test_workers_send_each_other_messages(tmp_path: Path) -> None:
    """One after the other dies: its answer is missing, then its successor's is there."""
    script = BUS + (
        "async def talk():\n"
        "    bus.subscribe('news', lambda payload, worker: out(f'{len(payload)} from {worker}'))\n"
        "    bus.answer('who', lambda payload, worker: b'%d ' % number + payload)\n"
        "    if number:\n        return\n"
        "    await there(2)\n"
        "    bus.publish('news', bytes(5_000_000))\n"
        "    while len(bus.peers) != 1:\n"
        "        assert (await bus.gather('who', b'is there', 30)).by_worker[0] == b'0 is there'\n"
        "        await asyncio.sleep(0.01)\n"
        "    out(repr(await bus.gather('who', b'is left', 30)))\n"
        "    await there(2)\n"
        "    out(repr(await bus.gather('who', b'is back', 30)))\n"
        "asyncio.run(main())\n"
    )
    async with supervise(script, 3, str(tmp_path)) as watch:
        await watch.until(lambda: all(lines(tmp_path, number) == ["5000000 from 0"] for number in (1, 2)))
        watch.supervisor.running[1].kill()
        await watch.until(lambda: len(lines(tmp_path, 0)) == 2)
    assert lines(tmp_path, 0) == [
        "Answers(by_worker={0: b'0 is left', 2: b'2 is left'}, missing=(1,))",
        "Answers(by_worker={0: b'0 is back', 1: b'1 is back', 2: b'2 is back'}, missing=())",
    ]


async def test_one_that_reads_nothing_delays_nobody(tmp_path: Path) -> None:
    """What it does not read is dropped; it is not killed for that, and the others talk on."""
    script = BUS + (
        "async def talk():\n"
        "    bus.subscribe('news', lambda payload, worker: out(str(payload[0])))\n"
        "    if number == 2:\n"
        "        time.sleep(1000)\n"
        "    if number == 0:\n"
        "        await there(2)\n"
        "        for n in range(12):\n"
        "            while not worker.post([]) or worker._mail:\n                await asyncio.sleep(0.01)\n"
        "            bus.publish('news', bytes([n]) * 4_000_000)\n"
        "asyncio.run(main())\n"
    )
    async with supervise(script, 3, str(tmp_path)) as watch:
        await watch.until(lambda: lines(tmp_path, 1) == [str(n) for n in range(12)])
        assert watch.lines == ["worker 2 reads too slowly: messages from other workers to it are dropped"]
        assert watch.supervisor.links[2]._mail_size <= control.MAX_MAIL and len(watch.supervisor.ready) == 3


async def test_mail_that_nobody_sends_is_dropped(tmp_path: Path) -> None:
    """No envelope, an unknown kind, a recipient that is not there, a list of members of one's own, mail of one that has not
    joined."""
    script = BUS + (
        "from a2py.proxy.bus import *\n"
        "async def talk():\n"
        "    bus.subscribe('news', lambda payload, worker: out(payload.decode()))\n"
        "    if number == 0:\n"
        "        await there(1)\n"
        "        for data in (b'', b'x', encode_members([7]), *pack(b'z', 1), *pack(PUBLISH, 9, 1, 'news', b'9')):\n"
        "            worker.post([data])\n"
        "        bus.publish('news', b'the only one')\n"
        "if number == 2:\n"
        "    async def talk():\n        worker.post(list(pack(PUBLISH, 1, 1, 'news', b'2')))\n"
        "    bus.connect = lambda *_: None\n"
        "asyncio.run(main())\n"
    )
    async with supervise(script, 3, str(tmp_path)) as watch:
        await watch.until(lambda: lines(tmp_path, 1))
        assert (
            lines(tmp_path, 1) == ["the only one"]
            and not watch.lines
            and sorted(watch.supervisor.relay.members) == [0, 1]
        )


async def test_real_workers_join(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of another version does not: it would read other envelopes."""
    config = pickle.dumps((None, "the demo"))
    async with supervise(REAL, 2, str(nothing / "no"), "serve", "--demo", config=config) as watch:
        supervisor = watch.supervisor
        await watch.until(lambda: sorted(supervisor.relay.members) == [0, 1])
        monkeypatch.setattr(control, "VERSION", "0.0.1")
        supervisor.running[1].kill()
        await watch.until(lambda: 1 not in supervisor.ready)
        await watch.until(lambda: 1 in supervisor.ready)
        assert await hello(supervisor.sharing.sockets[0].getsockname()[1], 8) == [200] * 8
        assert sorted(supervisor.relay.members) == [0]


# -- the end ---------------------------------------------------------------------------------------------------------------------


def test_a_signal_to_the_whole_group_is_one_drain(tmp_path: Path) -> None:
    """A terminal's Ctrl-C and systemd's KillMode=control-group reach parent and workers: streams end whole all the
    same."""
    starts = threading.Semaphore(0)
    ends: list[Any] = []
    with serving("--demo", "--port", "0", "--num-workers", "2", cwd=tmp_path) as run:
        threads = [threading.Thread(target=stream, args=(run.url, starts, ends, 100)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert starts.acquire(timeout=LIMIT)
        pids = children(run.process.pid)
        for number in (signal.SIGTERM, signal.SIGINT):
            for pid in pids:
                os.kill(pid, number)
        run.process.send_signal(signal.SIGTERM)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        assert run.process.wait(LIMIT) == exits.OK
        for thread in threads:
            thread.join(LIMIT)
    assert (
        len(pids) == 2
        and len(ends) == 6
        and all(b"event: message_stop" in data and b"event: error" not in data for data in ends)
    )


@pytest.mark.parametrize("count", [1, 2])
def test_nobody_waits_at_a_port_that_drains(tmp_path: Path, count: int) -> None:
    """New connections are refused at once, also while answers still run."""
    starts = threading.Semaphore(0)
    ends: list[Any] = []
    with serving("--demo", "--port", "0", "--num-workers", str(count), cwd=tmp_path) as run:
        port = int(run.url.rpartition(":")[2])
        thread = threading.Thread(target=stream, args=(run.url, starts, ends, 300))
        thread.start()
        assert starts.acquire(timeout=LIMIT)
        run.process.send_signal(signal.SIGTERM)
        run.until("(?s)" + ".*".join(["draining"] * count))
        for _ in range(20):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), LIMIT)
        assert thread.is_alive(), "the test's own premise"
        thread.join(LIMIT)
        assert run.process.wait(LIMIT) == exits.OK
    assert b"event: message_stop" in ends[0]


def test_all_workers_leave_when_one_is_asked_to(tmp_path: Path) -> None:
    write(tmp_path, general_settings={"enable_drain_endpoint": True})
    with serving("--port", "0", "--num-workers", "3", cwd=tmp_path) as run:
        with urllib.request.urlopen(run.url + "/health/drain", data=b"", timeout=LIMIT) as answer:
            assert json.load(answer)["status"] == "drained"

        def statuses() -> set[int]:
            codes = set()
            for _ in range(20):
                try:
                    with urllib.request.urlopen(run.url + "/health/readiness", timeout=LIMIT) as answer:
                        codes.add(answer.status)
                except urllib.error.HTTPError as error:
                    codes.add(error.code)
                    error.close()
            return codes

        assert until(lambda: statuses() == {503})
        pid = children(run.process.pid)[0]
        os.kill(pid, signal.SIGKILL)
        assert until(lambda: len(children(run.process.pid)) == 3 and pid not in children(run.process.pid))
        run.until("ended")
        assert until(lambda: statuses() == {503}) and ask(run.url)
        assert run.end() == exits.OK


# -- standard error ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("how", ["full", "closed", "dead reader"])
def test_a_lost_standard_error_stops_nothing(tmp_path: Path, how: str, count: int) -> None:
    """A full disk, `2>&-`, `2>&1 | tee log` whose tee has died: it starts, serves, replaces a worker, reloads and ends
    as ever."""
    if how == "full" and not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    write(tmp_path)
    port = free_port()
    read, write_end = os.pipe()
    out = os.open("/dev/full", os.O_WRONLY) if how == "full" else write_end
    command = [sys.executable, "-m", "a2py", "--port", str(port), "--num-workers", str(count)]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**clean_env(tmp_path), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=out,
        preexec_fn=(lambda: os.closerange(1, 3)) if how == "closed" else None,
    )
    os.close(read)
    os.close(write_end)
    if out != write_end:
        os.close(out)
    run: Any = SimpleNamespace(process=process)
    url = f"http://127.0.0.1:{port}"
    try:
        assert until(lambda: ask(url))
        if count > 1:
            assert until(lambda: len(children(run.process.pid)) == 2)
            pid = children(run.process.pid)[0]
            os.kill(pid, signal.SIGKILL)
            assert until(lambda: len(children(run.process.pid)) == 2 and pid not in children(run.process.pid))
        write(tmp_path, model_list=[])
        process.send_signal(signal.SIGHUP)
        assert all(ask(url) for _ in range(20))
        process.terminate()
        assert process.wait(LIMIT) == exits.OK
    finally:
        process.kill()
        process.wait()
