"""The systems under test, one row each: how to install, start and ask it, and how to measure its size on disk.

Knows: each program's command line and configuration file. Must not know: workloads.
Invariants: everything that a system needs is inside .venv-bench/NAME or the Debian package; a system that is not there
gives None as its version and is skipped; secrets are made up.

    python -m bench.systems            # what is there
    python -m bench.systems install    # everything that is missing; a2py itself anew (make bench-peers)
    python -m bench.systems install a2py a2py-uvloop
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".venv-bench"
KEY = "sk-bench-9f86d081884c7d659a2feaa0c55ad015"

NGINX = """worker_processes 1;
worker_rlimit_nofile 20000;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
daemon off;
events { worker_connections 8192; }
http {
  access_log off;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  client_body_buffer_size 1m;
  client_max_body_size 64m;
  keepalive_requests 1000000;
  upstream u { server 127.0.0.1:{upstream}; keepalive 2048; keepalive_requests 1000000; }
  server {
    listen 127.0.0.1:{port} backlog=4096;
    location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }
  }
}
"""
HAPROXY = """global
  nbthread 1
  maxconn 8192
defaults
  mode http
  option http-no-delay
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  http-reuse always
frontend f
  bind 127.0.0.1:{port} backlog 4096
  default_backend b
backend b
  server u 127.0.0.1:{upstream} maxconn 8192
"""
A2PY = """model_list:
  - model_name: "*"
    litellm_params:
      model: openai/bench
      api_base: http://127.0.0.1:{upstream}/v1
      api_key: {key}
general_settings:
  master_key: {key}
"""
A2PY_NATIVE = A2PY.replace(
    "openai/bench\n      api_base: http://127.0.0.1:{upstream}/v1",
    "anthropic/bench\n      api_base: http://127.0.0.1:{upstream}",
)
LITELLM = (
    A2PY.replace("openai/", "hosted_vllm/")  # `openai/` sends requests with thinking to /v1/responses
    + """litellm_settings:
  telemetry: false
  drop_params: true
  use_chat_completions_url_for_anthropic_messages: true
"""
)
CCR = """{"APIKEY": "{key}", "LOG": false, "NON_INTERACTIVE_MODE": true, "PORT": {port},
 "Providers": [{"name": "bench", "api_base_url": "http://127.0.0.1:{upstream}/v1/chat/completions", "api_key": "{key}", "models": ["bench"],
  "transformer": {"use": ["reasoning"]}}],
 "Router": {"default": "bench,bench"}}
"""
_BLANK = re.compile(r"\{(dir|port|upstream|key)\}")


class Start(NamedTuple):
    """What a start needs. `dir`: an empty directory of the system's own, which is also its working directory and
    $HOME."""

    dir: Path
    port: int
    upstream: int


class System(NamedTuple):
    """One system. `wire`: the protocol of its client. `kind`: `direct`, `pass` (a hop that copies) or `translate`.
    `files`: name → text with {port}, {upstream}, {dir} and {key}. `argv`: likewise. `install`: command lines, run in
    .venv-bench. `weigh`: what `measure_size` measures."""

    name: str
    label: str
    kind: str
    wire: str
    path: str
    version: Callable[[], str | None]
    argv: tuple[str, ...] = ()
    files: dict[str, str] = {}
    env: dict[str, str] = {}
    install: tuple[tuple[str, ...], ...] = ()
    weigh: str = ""
    remark: str = ""


def _output(*argv: str) -> str:
    try:
        process = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return ""
    return process.stdout + process.stderr


def _from_output(pattern: str, *argv: str) -> Callable[[], str | None]:
    def version() -> str | None:
        match = re.search(pattern, _output(*argv))
        return match[1] if match else None

    return version


def _distribution(venv: str, *names: str) -> Callable[[], str | None]:
    """Return a function that reads versions from a virtual environment, without starting its interpreter."""

    def version() -> str | None:
        versions = []
        for name in names:
            places = list((HOME / venv).glob(f"lib/python3.*/site-packages/{name.replace('-', '_')}-*.dist-info"))
            if not places:
                return None
            versions.append(places[0].name.removesuffix(".dist-info").replace("-", " ", 1))
        return ", ".join(versions).removeprefix(f"{names[0]} ")

    return version


def _npm(prefix: str, package: str) -> Callable[[], str | None]:
    def version() -> str | None:
        try:
            text = (HOME / prefix / "node_modules" / package / "package.json").read_text()
        except OSError:
            return None
        number: str = json.loads(text)["version"]
        return number

    return version


def _venv(name: str, *packages: str) -> tuple[tuple[str, ...], ...]:
    pip = (f"{name}/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "--upgrade")
    again = (
        ((*pip, "--force-reinstall", "--no-deps", *packages),) if name.startswith("a2py") else ()
    )  # the same version, other files
    return (("{python}", "-m", "venv", name), (*pip, *packages), *again)


def _venv_by_uv(name: str, *packages: str) -> tuple[tuple[str, ...], ...]:
    """Return the commands that install with uv. pip resolves litellm[proxy] for a quarter of an hour without an end
    (pip 23 and 26, 2026-11)."""
    pip = ("uv/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "uv")
    install = ("uv/bin/uv", "pip", "install", "-q", "--upgrade", "--python", f"{name}/bin/python", *packages)
    return (("{python}", "-m", "venv", name), ("{python}", "-m", "venv", "uv"), pip, install)


def _python(venv: str) -> str:
    return str(HOME / venv / "bin" / "python")


CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
_A2PY = ("-m", "a2py", "--config", "{dir}/config.yaml", "--port", "{port}")
_CCR = "@musistudio/claude-code-router"

SYSTEMS: tuple[System, ...] = (
    System("direct", "direct", "direct", "openai", CHAT, lambda: "", remark="the client asks the upstream itself"),
    System(
        "nginx",
        "nginx",
        "pass",
        "openai",
        CHAT,
        _from_output(r"nginx/(\S+)", "nginx", "-v"),
        ("nginx", "-c", "{dir}/nginx.conf", "-e", "{dir}/error.log"),
        {"nginx.conf": NGINX},
        remark="passes OpenAI through; proxy_buffering off, one worker",
    ),
    System(
        "haproxy",
        "HAProxy",
        "pass",
        "openai",
        CHAT,
        _from_output(r"HAProxy version (\S+)", "haproxy", "-v"),
        ("haproxy", "-f", "{dir}/haproxy.cfg", "-db"),
        {"haproxy.cfg": HAPROXY},
        remark="passes OpenAI through; one thread",
    ),
    System(
        "a2py",
        "a2py",
        "translate",
        "anthropic",
        MESSAGES,
        _distribution("a2py", "a2py", "aiohttp"),
        (_python("a2py"), *_A2PY),
        {"config.yaml": A2PY},
        install=_venv("a2py", str(ROOT)),
        weigh="a2py",
    ),
    System(
        "a2py-openai",
        "a2py, OpenAI through",
        "pass",
        "openai",
        CHAT,
        _distribution("a2py", "a2py", "aiohttp"),
        (_python("a2py"), *_A2PY),
        {"config.yaml": A2PY},
        install=_venv("a2py", str(ROOT)),
        weigh="a2py",
        remark="the same program; the client speaks OpenAI's API, which passes",
    ),
    System(
        "a2py-uvloop",
        "a2py with uvloop",
        "translate",
        "anthropic",
        MESSAGES,
        _distribution("a2py-uvloop", "a2py", "aiohttp", "uvloop"),
        (_python("a2py-uvloop"), *_A2PY),
        {"config.yaml": A2PY},
        install=_venv("a2py-uvloop", f"{ROOT}[speed]"),
        weigh="a2py-uvloop",
    ),
    System(
        "ccr",
        "claude-code-router",
        "translate",
        "anthropic",
        MESSAGES,
        _npm("ccr", _CCR),
        ("node", str(HOME / "ccr" / "node_modules" / _CCR / "dist" / "cli.js"), "start"),
        {".claude-code-router/config.json": CCR},
        install=(("npm", "install", "--no-fund", "--no-audit", "--silent", "--prefix", "ccr", f"{_CCR}@2"),),
        weigh="ccr/node_modules",
        remark="the newest for Node 20",
    ),
    System(
        "ant2oai",
        "ant2oai",
        "translate",
        "anthropic",
        MESSAGES,
        _distribution("ant2oai", "ant2oai"),
        (
            str(HOME / "ant2oai/bin/python"),
            "-m",
            "a2o.cli",
            "--upstream",
            "http://127.0.0.1:{upstream}/v1/chat/completions",
            "--model",
            "bench",
            "--port",
            "{port}",
            "--max-connections",
            "4000",
            "--max-connections-per-host",
            "4000",
        ),
        install=_venv("ant2oai", "ant2oai"),
        weigh="ant2oai",
    ),
    System(
        "litellm",
        "LiteLLM",
        "translate",
        "anthropic",
        MESSAGES,
        _distribution("litellm", "litellm"),
        (
            str(HOME / "litellm/bin/litellm"),
            "--config",
            "{dir}/config.yaml",
            "--host",
            "127.0.0.1",
            "--port",
            "{port}",
            "--num_workers",
            "1",
        ),
        {"config.yaml": LITELLM},
        {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOG": "ERROR",
            "PATH": f"{HOME}/litellm/bin:{os.environ.get('PATH', '')}",
        },
        install=_venv_by_uv("litellm", "litellm[proxy]"),
        weigh="litellm",
    ),
    System(
        "a2py-native",
        "a2py, native upstream",
        "native",
        "anthropic",
        MESSAGES,
        _distribution("a2py", "a2py", "aiohttp"),
        (_python("a2py"), *_A2PY),
        {"config.yaml": A2PY_NATIVE},
        remark="an upstream that speaks Anthropic itself",
    ),
)
BY_NAME = {system.name: system for system in SYSTEMS}
#: Packages that every virtual environment has. They do not count as installed by a system.
_NOT_COUNTED = re.compile(r"(pip|setuptools|pkg_resources|_distutils_hack|distutils-precedence)\b", re.IGNORECASE)


def fill(text: str, start: Start) -> str:
    values = {"dir": start.dir, "port": start.port, "upstream": start.upstream, "key": KEY}
    return _BLANK.sub(lambda match: str(values[match[1]]), text)


def prepare(system: System, start: Start) -> tuple[list[str], dict[str, str]]:
    """Write the system's files, and return its command line and environment."""
    for name, text in system.files.items():
        path = start.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(fill(text, start))
    keep = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    env = {**keep, "HOME": str(start.dir), "LITELLM_MASTER_KEY": KEY, **system.env}
    return [fill(word, start) for word in system.argv], env


def headers(system: System) -> dict[str, str]:
    if system.wire == "openai":
        return {"authorization": f"Bearer {KEY}"}
    return {"x-api-key": KEY, "anthropic-version": "2023-06-01"}


def measure_size(system: System) -> int | None:
    """Return the bytes on disk that the system adds (site-packages without pip and setuptools; node_modules), None if
    it adds none."""
    if not system.weigh:
        return None
    place = HOME / system.weigh
    roots = list(place.glob("lib/python3.*/site-packages")) or [place]
    total = 0
    for top in (entry for root in roots for entry in root.iterdir() if not _NOT_COUNTED.match(entry.name)):
        total += sum(file.lstat().st_size for file in ([top] if top.is_file() else top.rglob("*")) if not file.is_dir())
    return total


def there(names: list[str] | None = None) -> tuple[dict[str, str], list[str]]:
    """Return the versions of the systems that can run, and one line for each that can't."""
    versions, missing = {}, []
    for system in SYSTEMS:
        if names is None or system.name in names:
            version = system.version()
            if version is None:
                missing.append(f"skipped: {system.label} is not installed (make bench-peers)")
            else:
                versions[system.name] = version
    return versions, missing


def install(names: list[str]) -> int:
    """Install the named systems, or those that are missing and a2py. Return 1 if one failed."""
    HOME.mkdir(exist_ok=True)
    shutil.rmtree(
        ROOT / "build" / "lib", ignore_errors=True
    )  # else setuptools installs files that were deleted since the last build
    code = 0
    for system in SYSTEMS:
        is_due = system.name in names if names else system.name.startswith("a2py") or system.version() is None
        if not is_due or (not system.install and system.kind != "pass"):
            continue
        commands = system.install or _debian(system)
        for command in commands:
            argv = [word.format(python=sys.executable) for word in command]
            if argv[1:3] == ["-m", "venv"] and (HOME / argv[3] / "bin" / "python").exists():
                continue
            if subprocess.run(argv, cwd=HOME, check=False).returncode:
                print(f"{system.label}: failed: {' '.join(argv)}")
                code = 1
                break
        print(f"{system.label}: {system.version() or 'not there'}")
    return code


def _debian(system: System) -> tuple[tuple[str, ...], ...]:
    package = {"nginx": "nginx-light"}.get(system.name, system.name)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"{system.label}: install Debian's package {package} by hand (needs root)")
        return ()
    quiet = (
        "env",
        "RUNLEVEL=1",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
    )  # RUNLEVEL=1: the package's own service is not started
    return ((*quiet, "update", "-qq"), (*quiet, "install", "-y", "-qq", "--no-install-recommends", package))


if __name__ == "__main__":
    if sys.argv[1:2] == ["install"]:
        raise SystemExit(install(sys.argv[2:]))
    present, lines = there()
    for name, version in present.items():
        size = measure_size(BY_NAME[name])
        print(f"{BY_NAME[name].label:24} {version:40} {f'{size / 2**20:.0f} MiB' if size else ''}")
    print("\n".join(lines))
