"""A real a2py process on loopback, as a user starts it: a configuration file, a port, and a log.

Knows: the command line and the health endpoint. Must not know: what is asked of it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

#: Seconds until the proxy must answer, and until it must be gone after SIGTERM.
START_SECONDS = 90
STOP_SECONDS = 60
KEY = "sk-test-master-key"


@dataclass(frozen=True)
class Proxy:
    """`base`: what ANTHROPIC_BASE_URL is set to; `log`: its standard error."""

    base: str
    key: str
    pid: int
    log: Path


#: Below the ports that systems use for outgoing connections, from a start that depends on this process: no other takes
#: one before it is used.
_ports = count(os.getpid() * 7919 % 20_000)


def free_port() -> int:
    while True:
        port = 10_000 + next(_ports) % 20_000
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def children(pid: int) -> list[int]:
    """The processes that `pid` has started (Linux)."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def deployment(name: str, base: str, model: str = "tiny", provider: str = "llamacpp", **info: Any) -> dict[str, Any]:
    """One entry of model_list."""
    params = {"model": f"{provider}/{model}", "api_base": base, "api_key": "sk-upstream"}
    return {"model_name": name, "litellm_params": params, "model_info": info}


@contextmanager
def running(
    folder: Path,
    models: list[dict[str, Any]],
    *,
    key: str = KEY,
    discover: bool = False,
    flags: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    **sections: Any,
) -> Iterator[Proxy]:
    """A proxy that serves `models`; `discover`: it asks upstreams what they are, which scripts do not expect otherwise;
    `sections`: further top-level keys of the configuration. It is stopped by its pid."""
    own = {"discover": discover, **sections.pop("a2py", {})}
    config = {"model_list": models, "general_settings": {"master_key": key}, "a2py": own, **sections}
    path = folder / "a2py.yaml"
    path.write_text(json.dumps(config), "utf-8")  # JSON is YAML
    path.chmod(0o600)
    log = folder / "a2py.log"
    port = free_port()
    environment = {
        k: v
        for k, v in os.environ.items()
        if not k.upper().endswith(("_API_KEY", "_PROXY")) and not k.startswith("ANTHROPIC_")
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "a2py", "--config", str(path), "--host", "127.0.0.1", "--port", str(port), *flags],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=folder,
            env={**environment, "XDG_STATE_HOME": str(folder / "state"), **(env or {})},
        )
    try:
        base = f"http://127.0.0.1:{port}"
        _wait(process, base, log)
        yield Proxy(base, key, process.pid, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the proxy did not stop in {STOP_SECONDS} s: {log.read_text()[-2000:]}") from None


def _wait(process: subprocess.Popen[bytes], base: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(base + "/health/liveliness", timeout=2):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
    raise AssertionError(f"the proxy does not answer: {log.read_text()[-2000:]}")
