# ruff: noqa: F401, F811  (a fixture that is imported and then named as an argument)
"""A restart in the background: the port never closes, running streams end whole, and what can't start changes
nothing."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from a2py.cli import exits, handover, listen, record, serve
from a2py.cli.exits import Stop
from a2py.cli.source import Source
from a2py.proxy.timeouts import Timeouts
from tests.cli.test_daemon import hello, place
from tests.commands import LIMIT, a2py, nothing
from tests.process import free_port
from tests.user_manager import streams_through, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")


def begin(place: Path, *args: str) -> dict[str, object]:
    result = a2py("start", "--demo", *args, cwd=place)
    assert result.returncode == exits.OK, result.stderr
    return read_status(place)


def read_status(place: Path) -> dict[str, object]:
    status: dict[str, object] = json.loads(a2py("status", "--json", cwd=place).stdout)
    return status


def has_exited(pid: object) -> bool:
    return not os.path.exists(f"/proc/{pid}") or record.is_zombie(int(str(pid)))


class Knocking:
    """Asks for the health page on new connections until it is stopped. `errors`: the errors of requests that were sent
    in time (a drain gives a new connection `Timeouts.fresh` for that, and this thread may have to wait for the
    processor)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.successes = 0
        self.errors: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            began, asked_after = time.monotonic(), 0.0
            try:
                with socket.create_connection(("127.0.0.1", int(self.url.rpartition(":")[2])), LIMIT) as client:
                    client.sendall(b"GET /health/liveliness HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                    asked_after = time.monotonic() - began
                    with client.makefile("rb") as answer:
                        assert b'"name":"a2py"' in answer.read()
                self.successes += 1
            except (OSError, AssertionError) as error:
                if asked_after < Timeouts().fresh / 2:
                    self.errors.append(f"{error!r}, asked in {asked_after:.3f} s")

    def __enter__(self) -> Knocking:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(LIMIT)


@pytest.mark.integration
@pytest.mark.parametrize("before, after", [(1, 1), (3, 2)])
def test_no_stream_and_no_connection_is_lost(place: Path, before: int, after: int) -> None:
    """50 streams run, and new connections come without a pause, while a new process takes the place of the old one."""
    for upto in (200, 800):  # on a busy machine the new one may need longer than the first
        if restarted_under(place, before, after, upto):
            return
    raise AssertionError("no restart came while streams ran")


def restarted_under(place: Path, before: int, after: int, upto: int) -> bool:
    """Restart while streams run. Return False if the streams ended before the old process was stopped."""
    port = str(free_port())
    old = begin(place, "--port", port, "--num-workers", str(before))
    url = str(old["url"])
    log = Path(str(old["log"]))
    offset = len(log.read_text())
    results = []

    def restart() -> None:
        results.append(a2py("restart", "--demo", "--port", port, "--num-workers", str(after), cwd=place))

    with Knocking(url) as knocking:
        whole = streams_through(url, 50, upto, restart)
        has_ended = until(lambda: has_exited(old["pid"]))
    new = read_status(place)
    assert (
        results[0].returncode == exits.OK and f"pid {old['pid']} ends after its running answers" in results[0].stderr
    ), results[0]
    assert (whole, knocking.errors) == (50, []) and knocking.successes > 0 and has_ended
    assert new["url"] == url and new["pid"] != old["pid"] and new["answers"]
    drains = [int(n) for n in re.findall(r"draining answers=(\d+)", log.read_text()[offset:])]
    assert len(drains) == before
    assert "stopped" in a2py("stop", cwd=place).stdout
    return sum(drains) > 0


def test_what_can_not_start_leaves_the_old_one_alone(place: Path) -> None:
    old = begin(place, "--port", str(free_port()))
    result = a2py("restart", "--config", "missing.yaml", "--port", str(old["url"]).rpartition(":")[2], cwd=place)
    assert (
        result.returncode == exits.CONFIG
        and "missing.yaml" in result.stderr
        and f"the old one continues: pid {old['pid']}" in result.stderr
    )
    assert read_status(place) == {**old, "argv": old["argv"]} and hello(str(old["url"])) == "a2py"
    again = a2py("restart", cwd=place)
    assert again.returncode == exits.OK and read_status(place)["pid"] != old["pid"], "the sockets are offered as before"


def test_another_port_is_opened_before_the_old_one_is_closed(place: Path) -> None:
    old = begin(place, "--port", str(free_port()))
    port = free_port()
    assert a2py("restart", "--demo", "--port", str(port), cwd=place).returncode == exits.OK
    new = read_status(place)
    assert new["url"] == f"http://127.0.0.1:{port}" and new["answers"]
    assert until(lambda: has_exited(old["pid"]))
    with pytest.raises(OSError):
        hello(str(old["url"]))


def test_one_that_offers_nothing_is_stopped_first(place: Path) -> None:
    old = begin(place, "--port", str(free_port()))
    os.unlink(place / ".local/state/a2py/daemon.sock")
    result = a2py("restart", cwd=place)
    assert result.returncode == exits.OK and "ends after" not in result.stderr
    assert has_exited(old["pid"]) and read_status(place)["url"] == old["url"]


# -- the offer ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 9])
async def test_an_offer_is_taken(tmp_path: Path, depth: int) -> None:
    """Also where the path is longer than a socket's address may be."""
    directory = tmp_path.joinpath(*["a-long-name-of-a-directory"] * depth)
    directory.mkdir(parents=True)
    path = str(directory / "daemon.sock")
    assert handover.take(path) == []
    sockets = listen.bind("127.0.0.1", 0, 2)
    offer, newer = handover.Offer(path, sockets), handover.Offer(path, sockets[:1])
    try:
        offer.open()
        assert os.stat(path).st_mode & 0o777 == 0o600
        copies = await asyncio.to_thread(handover.take, path)
        assert [sock.getsockname() for sock in copies] == [sock.getsockname() for sock in sockets]
        newer.open()
        offer.close()
        assert os.listdir(directory) == ["daemon.sock"], "the newer offer stays"
        copies += await asyncio.to_thread(handover.take, path)
        assert len(copies) == 3
        newer.close()
        newer.close()
        assert os.listdir(directory) == [] and handover.take(path) == []
    finally:
        for sock in (*sockets, *copies):
            sock.close()
    await asyncio.to_thread(os.rmdir, directory)
    handover.Offer(path, []).open()  # the directory has been deleted: no offer, and no failure


def test_nothing_is_taken_from_a_stranger(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket() as sock:
        listener.bind(path)
        listener.listen()

        def answer() -> None:
            taker, _ = listener.accept()
            with taker:
                socket.send_fds(taker, [b"other"], [sock.fileno()])

        thread = threading.Thread(target=answer)
        thread.start()
        assert handover.take(path) == []
        thread.join(LIMIT)


# -- sockets -----------------------------------------------------------------------------------------------------------


def test_every_socket_is_some_workers() -> None:
    many, other = listen.bind("127.0.0.1", 0, 3), listen.bind("127.0.0.1", 0, 1)
    try:
        for count in (1, 2, 3, 5):
            shares = listen.share_out([*many, *other], count)
            assert len(shares) == count and {sock for share in shares for sock in share} == {*many, *other}
            assert all(other[0] in share and set(share) & set(many) for share in shares)
        port = many[0].getsockname()[1]
        assert listen.have_address(many, "127.0.0.1", port) and listen.have_address(many, "127.0.0.1", 0)
        assert not listen.have_address(many, "127.0.0.1", port + 1) and not listen.have_address(many, "0.0.0.0", port)
        assert not listen.have_address(many, "no.such.host.invalid", port) and not listen.have_address(
            [], "127.0.0.1", 0
        )
    finally:
        for sock in (*many, *other):
            sock.close()


def test_every_address_of_a_name_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "_addresses", lambda host, port: [(2, ("127.0.0.1", port)), (2, ("127.0.0.2", port))])
    socks = listen.bind("name", 0, 2)
    assert [sock.getsockname()[0] for sock in socks] == ["127.0.0.1"] * 2 + ["127.0.0.2"] * 2
    assert len({sock.getsockname()[1] for sock in socks}) == 1 and listen.have_address(
        socks, "name", socks[0].getsockname()[1]
    )
    for sock in socks:
        sock.close()
    monkeypatch.setattr(listen, "_addresses", lambda host, port: [(2, ("127.0.0.1", port)), (2, ("192.0.2.1", port))])
    (only,) = listen.bind("name", 0, 1)  # the second is no address of this machine
    only.close()


@pytest.mark.parametrize("kind", ["public", "unix"])
def test_a_socket_that_somebody_else_opened_is_looked_at(nothing: Path, kind: str) -> None:
    """A public one needs a key, whatever --host says; a Unix socket is a matter of its file's permissions."""
    sock = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
    sock.bind(str(nothing / "s") if kind == "unix" else ("0.0.0.0", 0))
    sock.listen()
    runs = []
    with sock, pytest.MonkeyPatch.context() as patch:
        patch.setattr(listen, "take_inherited", lambda env, pid: [sock])
        patch.setattr(serve, "run_loop", lambda main: runs.append(main.close()))
        if kind == "public":
            with pytest.raises(Stop) as stop:
                serve.run("serve", ["--demo", "--host", "127.0.0.1"])
            assert stop.value.code == exits.REFUSED
        else:
            assert serve.run("serve", ["--demo"]) == exits.OK and runs


def test_a_unix_socket_serves(tmp_path: Path) -> None:
    import subprocess

    from tests.commands import clean_env

    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        env = clean_env(tmp_path, **{listen.VARIABLE: str(sock.fileno())})
        process = subprocess.Popen(
            [sys.executable, "-m", "a2py", "--demo"],
            cwd=tmp_path,
            env=env,
            pass_fds=(sock.fileno(),),
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        assert process.stderr
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(LIMIT)
            client.connect(path)
            client.sendall(b"GET /health/liveliness HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            data = b""
            while more := client.recv(65536):
                data += more
        assert data.startswith(b"HTTP/1.1 200") and b'"a2py"' in data
        process.terminate()
        output = process.communicate(timeout=LIMIT)[1]
        assert process.returncode == 0 and f"listening on unix:{path}" in output
    finally:
        process.kill()
        process.wait()
