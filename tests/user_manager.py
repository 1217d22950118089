"""A real `systemd --user` in a mount namespace of its own, that runs a2py's unit: a program, started under `unshare -m`
by cli/test_service.py.

python -m tests.user_manager FOLDER STREAMS    prints one JSON object: what was seen at each step
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.process import free_port

LIMIT = 60.0


def until(what: Callable[[], bool], seconds: float = LIMIT) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.05)
    return False


def show(name: str) -> str:
    return subprocess.run(
        ["systemctl", "--user", "show", "-P", name, "a2py.service"], capture_output=True, text=True, timeout=LIMIT
    ).stdout.strip()


def control(*words: str) -> int:
    return subprocess.run(["systemctl", "--user", *words], capture_output=True, timeout=LIMIT + 60).returncode


def ask(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/health/liveliness", timeout=LIMIT) as answer:
            return bool(json.load(answer)["name"] == "a2py")
    except OSError:
        return False


def stream(url: str, starts: threading.Semaphore, ends: list[bytes], upto: int) -> None:
    body = {
        "model": "demo",
        "max_tokens": 8000,
        "stream": True,
        "messages": [{"role": "user", "content": f"count to {upto}"}],
    }
    request = urllib.request.Request(
        url + "/v1/messages", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    data = b""
    try:
        with urllib.request.urlopen(request, timeout=LIMIT) as answer:
            data = answer.read1()
            starts.release()
            while more := answer.read1():
                data += more
    except OSError as error:
        data += repr(error).encode()
        starts.release()
    ends.append(data)


def streams_through(url: str, count: int, upto: int, then: Callable[[], object]) -> int:
    """Run `then` while `count` streams run. Return how many streams ended complete."""
    starts = threading.Semaphore(0)
    ends: list[Any] = []
    threads = [threading.Thread(target=stream, args=(url, starts, ends, upto)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for _ in threads:
        starts.acquire(timeout=LIMIT)
    then()
    for thread in threads:
        thread.join(LIMIT)
    return sum(b"event: message_stop" in data and b"event: error" not in data for data in ends)


def main(folder: Path, count: int) -> dict[str, object]:
    for command in (["mount", "--make-rprivate", "/"], ["mount", "-t", "tmpfs", "tmpfs", "/run"]):
        subprocess.run(command, check=True, timeout=LIMIT)
    runtime = "/run/user/0"
    os.makedirs("/run/systemd/system")
    os.makedirs(runtime, mode=0o700)
    os.environ.update(XDG_RUNTIME_DIR=runtime, HOME=str(folder), XDG_CONFIG_HOME=str(folder / "config"))
    report: dict[str, object] = {}
    with (folder / "manager.log").open("wb") as log:
        manager = subprocess.Popen(
            ["systemd", "--user", "--log-target=console"], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        report["manager"] = until(
            lambda: control("is-system-running") in (0, 1) and os.path.exists(f"{runtime}/systemd/private")
        )
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        install = [sys.executable, "-m", "a2py", "service", "install", "--socket", "--port", str(port)]
        installation = subprocess.run(install, capture_output=True, text=True, timeout=LIMIT)
        report["install"] = (installation.returncode, installation.stdout, installation.stderr)
        report["before the first request"] = show("ActiveState")
        report["answers"] = ask(url)
        report["active"] = show("ActiveState")
        report["status"] = show("StatusText")
        report["watchdog"] = show("WatchdogUSec")
        pid = int(show("MainPID"))
        os.kill(pid, signal.SIGKILL)
        report["restarted"] = until(lambda: show("ActiveState") == "active" and show("MainPID") not in ("0", str(pid)))
        report["answers again"] = ask(url)
        pid = int(show("MainPID"))
        report["whole through a restart"] = streams_through(url, count, 120, lambda: control("restart", "a2py.service"))
        report["new process"] = show("MainPID") != str(pid)
        report["answers at last"] = ask(url)
        drop = folder / "config/systemd/user/a2py.service.d"
        drop.mkdir(parents=True)
        (drop / "short.conf").write_text("[Service]\nWatchdogSec=2\nWatchdogSignal=SIGKILL\n")
        control("daemon-reload")
        control("restart", "a2py.service")
        until(lambda: show("ActiveState") == "active")
        pid = int(show("MainPID"))
        os.kill(pid, signal.SIGSTOP)
        report["watched"] = until(lambda: show("ActiveState") == "active" and show("MainPID") not in ("0", str(pid)))
        other = free_port()
        again = [sys.executable, "-m", "a2py", "service", "install", "--port", str(other)]
        subprocess.run(again, capture_output=True, timeout=LIMIT + 60)
        report["moved"] = ask(f"http://127.0.0.1:{other}") and not ask(url)
        subprocess.run(install, capture_output=True, timeout=LIMIT + 60)
        report["moved back"] = ask(url) and not ask(f"http://127.0.0.1:{other}")
        removal = subprocess.run(
            [sys.executable, "-m", "a2py", "service", "remove"], capture_output=True, text=True, timeout=LIMIT + 60
        )
        report["remove"] = (removal.returncode, removal.stdout, removal.stderr)
        report["gone"] = not ask(url)
    finally:
        manager.terminate()
        try:
            manager.wait(LIMIT)
        except subprocess.TimeoutExpired:
            manager.kill()
            manager.wait()
    return report


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
