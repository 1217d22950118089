"""llama.cpp's real HTTP server on loopback, with the tiny model (PyPI: xllamacpp, gguf, numpy).

Knows: how the server is started and stopped, by its pid. Must not know: a2py.
Use: the session fixture `llamacpp` of conftest.py: `server = llamacpp(tool_first=0.9, think=False, ctx=8192)`; equal
options give the same server. Run as a program it *is* the server: `python -m tests.llamacpp MODEL.gguf CTX PARALLEL`.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tests.tiny_model import Odds, build

#: Seconds until the server must listen.
START_SECONDS = 60
SEED = 42


def missing() -> str:
    """Why the server can't run here; "" where it can."""
    absent = [name for name in ("xllamacpp", "gguf", "numpy") if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} not installed" if absent else ""


@dataclass(frozen=True)
class Server:
    """`base`: its OpenAI-compatible base, ending in /v1; `context`: tokens of one slot."""

    base: str
    model: str
    context: int
    pid: int


class Servers:
    """Starts one server for each set of options on demand, and stops them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, tuple[Server, subprocess.Popen[str]]] = {}

    def __call__(self, *, think: bool = False, ctx: int = 65536, parallel: int = 1, **odds: float) -> Server:
        """`odds`: fields of `Odds`; `ctx`: tokens of one slot."""
        unknown = set(odds) - {f.name for f in fields(Odds)}
        assert not unknown, f"no such odds: {unknown}"
        name = json.dumps({"think": think, "ctx": ctx, "parallel": parallel, **odds}, sort_keys=True)
        if name not in self.running:
            model = build(self.folder / f"tiny-{len(self.running)}.gguf", Odds(**odds), think=think)
            self.running[name] = self._start(model, ctx, parallel)
        return self.running[name][0]

    def _start(self, model: Path, ctx: int, parallel: int) -> tuple[Server, subprocess.Popen[str]]:
        log = model.with_suffix(".log")
        with log.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.llamacpp", str(model), str(ctx * parallel), str(parallel)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=Path(__file__).resolve().parents[1],
            )
        assert process.stdout is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            if select.select([process.stdout], [], [], 0.2)[0]:
                word, _, address = process.stdout.readline().strip().partition(" ")
                if word == "READY":
                    return Server(f"{address}/v1", "tiny", ctx, process.pid), process
        process.kill()
        process.wait()
        raise RuntimeError(f"llama.cpp's server did not start: {log.read_text()[-2000:]}")

    def stop(self) -> None:
        for _, process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for _, process in self.running.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self.running.clear()


def serve(model: str, ctx: int, parallel: int) -> None:
    """Be the server until SIGTERM, or until the process that started this one is gone."""
    xllamacpp: Any = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = ctx
    params.n_parallel = parallel
    params.model_alias = {"tiny"}
    # With two threads each waits for the other in a busy loop, at every layer: on a loaded machine some twenty times longer.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.use_jinja = True
    params.warmup = False
    params.fit_params = False
    params.verbosity = 1
    params.sampling.seed = SEED
    params.sampling.temp, params.sampling.top_k, params.sampling.top_p, params.sampling.min_p = 1.0, 0, 1.0, 0.0
    server = xllamacpp.Server(params)
    parent = os.getppid()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    print("READY", server.listening_address, flush=True)
    while not stop.wait(1) and os.getppid() == parent:
        pass
    os._exit(0)  # llama.cpp's threads are not waited for


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
