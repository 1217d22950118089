"""Compare how long the single file and the installed package take to start: `python -m tools.pyz_times dist/a2py.pyz
dist/a2py-*.whl [PYTHON…]`.

Knows: processes, sd_notify's READY=1, CPU time as the kernel counts it. Must not know: how the file is made. Wall times
are the least of several (the machine may be busy), CPU times the median; the first start unpacks into an empty cache.
"""

from __future__ import annotations

import glob
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter

RUNS, LIMIT = 11, 60.0


def serving(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> tuple[float, float]:
    """Return the seconds until the demo serves, and the CPU seconds until it has ended."""
    path = str(cwd / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(LIMIT)
        began = perf_counter()
        process = subprocess.Popen(
            [*command, "--demo", "--port", "0"], env={**env, "NOTIFY_SOCKET": path}, cwd=cwd, stderr=subprocess.DEVNULL
        )
        while b"READY=1" not in manager.recv(4096):
            pass
        wall = perf_counter() - began
        process.send_signal(signal.SIGTERM)
        cpu = _cpu(process)
    os.unlink(path)
    return wall, cpu


def version(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> tuple[float, float]:
    """Return seconds and CPU seconds of `--version`."""
    began = perf_counter()
    process = subprocess.Popen([*command, "--version"], env=env, cwd=cwd, stdout=subprocess.DEVNULL)
    cpu = _cpu(process)
    return perf_counter() - began, cpu


def _cpu(process: subprocess.Popen[bytes]) -> float:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{process.args!r}: exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def main(archive: str, wheel: str, *pythons: str) -> None:
    pythons = (
        pythons
        or tuple(sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3.1[0-9].*/bin/python"))))
        or (sys.executable,)
    )
    print(
        f"{archive}: {os.path.getsize(archive) / 1e6:.1f} MB\nwall / CPU ms      first    later              "
        f"installed          later : installed"
    )
    for python in pythons:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            subprocess.run([python, "-m", "venv", str(folder / "venv")], check=True)
            subprocess.run(
                [str(folder / "venv/bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", wheel],
                check=True,
            )
            env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
            single = [
                str(folder / "venv/bin/python"),
                os.path.abspath(archive),
            ]  # the same interpreter, site and all, for both
            package = [str(folder / "venv/bin/a2py")]
            name = subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
            for measure in (version, serving):
                shutil.rmtree(folder / ".cache", ignore_errors=True)
                first = measure(single, env, folder)
                pairs = [
                    (measure(single, env, folder), measure(package, env, folder)) for _ in range(RUNS)
                ]  # interleaved
                wall = [min(pair[side][0] for pair in pairs) for side in (0, 1)]
                cpu = [statistics.median(pair[side][1] for pair in pairs) for side in (0, 1)]
                columns = [f"{w * 1000:5.0f} / {c * 1000:4.0f}" for w, c in (first, *zip(wall, cpu, strict=True))]
                print(
                    f"{name:8} {measure.__name__:8}",
                    "      ".join(columns),
                    f"      {wall[0] / wall[1]:.2f} / {cpu[0] / cpu[1]:.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main(*sys.argv[1:])
