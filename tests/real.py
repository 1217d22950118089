"""Run the tests that need real programs from outside PyPI, after installing those programs: `make test-real`.

    python -m tests.real                    # install what is missing (Debian packages as root, Claude Code and the page's driver by npm), then test
    python -m tests.real --seconds 600      # bound for everything, installing included
    python -m tests.real --no-install       # use what is installed
    python -m tests.real -- -k nginx        # arguments for pytest

A program that can't be installed costs its tests a skip of one line, not a failure. The last step runs the upstream and
relay tests on uvloop.

Knows: which program is in which package. Must not know: what the tests do with them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.ui import browser as ui

ROOT = Path(__file__).resolve().parents[1]
#: Program → Debian package.
PACKAGES = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "redis-server": "redis-server",
    "chromium": "chromium",
    "zsh": "zsh",
    "fish": "fish",
    "systemd": "systemd",
    "unshare": "util-linux",
    "openssl": "openssl",
}
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
MARKS = "real or claude"
ON_UVLOOP = (
    "tests/upstream",
    *(f"tests/whole/{path.name}" for path in sorted((ROOT / "tests/whole").glob("test_relay*.py"))),
)


class Clock:
    """The time that is left of `--seconds`."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    @property
    def remaining(self) -> float:
        return max(self.end - time.monotonic(), 1)


def call(clock: Clock, *command: str, env: dict[str, str] | None = None, quiet: bool = False) -> int:
    """Run a command for as long as there is time, and return its exit code. 124: time was up."""
    output = subprocess.DEVNULL if quiet else None
    try:
        running = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    except OSError as error:
        print(f"{command[0]}: {error.strerror}")
        return 127
    try:
        return running.wait(clock.remaining)
    except subprocess.TimeoutExpired:
        running.terminate()
        try:
            running.wait(20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
        return 124


def install(clock: Clock, claude: str) -> None:
    """Install the programs that are missing, one line for each that can't be."""
    missing = {program: package for program, package in PACKAGES.items() if not shutil.which(program, path=PATH)}
    if missing and (os.geteuid() != 0 or not shutil.which("apt-get")):
        print(f"not installed, as apt-get needs root: {', '.join(missing.values())}")
    elif missing:
        env = {"DEBIAN_FRONTEND": "noninteractive"}
        call(clock, "apt-get", "-q", "update", env=env, quiet=True)
        for program, package in missing.items():
            code = call(clock, "apt-get", "-qy", "install", "--no-install-recommends", package, env=env, quiet=True)
            if not shutil.which(program, path=PATH):
                print(f"{program} is not there: apt-get install {package} ended with exit code {code}")
    if not list((ROOT / ".venv-claude").glob("**/claude-code-*/package.json")) and not os.environ.get("A2PY_CLAUDE"):
        npm(clock, ".venv-claude", f"@anthropic-ai/claude-code@{claude}")
    if ui.missing() and not os.environ.get("A2PY_UI_MODULES"):
        npm(clock, ".venv-ui", *ui.PACKAGES)


def npm(clock: Clock, folder: str, *packages: str) -> None:
    """Install npm packages into `folder`, or say in one line that they can't be."""
    code = call(
        clock, "npm", "install", "--prefix", folder, "--silent", "--no-audit", "--no-fund", *packages, quiet=True
    )
    if code:
        print(f"not there: npm install {' '.join(packages)} ended with exit code {code}")


def pytest(clock: Clock, *args: str) -> int:
    return call(clock, sys.executable, "-m", "pytest", *args, env={"PATH": PATH})


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.real", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1800, help="bound for everything (default: 1800)")
    parser.add_argument(
        "--claude", default=os.environ.get("CLAUDE_CODE", "latest"), help="version of Claude Code to install"
    )
    parser.add_argument("--no-install", action="store_true", help="use what is there")
    parser.add_argument("--uvloop", action="store_true", help="only the upstream and relay tests on uvloop")
    parser.add_argument("rest", nargs="*", help="arguments for pytest, after --")
    args = parser.parse_args()
    clock = Clock(args.seconds)
    codes: list[int] = []
    if not args.uvloop:
        if not args.no_install:
            install(clock, args.claude)
        codes.append(pytest(clock, "-m", MARKS, "tests", *args.rest))
    marks = "not real and not claude"
    codes.append(pytest(clock, "-p", "tests.uvloop_loop", "-m", marks, *ON_UVLOOP, *args.rest))
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    raise SystemExit(main())
