"""`a2py service`: systemd units, printed, installed, removed.

Knows: systemd's unit files (systemd.unit(5), systemd.exec(5), systemd.service(5), as of version 252). Must not know: what is served.
Invariants: `print` touches nothing; `install` and `remove` never touch a unit that `install` did not write, or that somebody has changed
since; what `install` has written is what runs afterwards; a unit holds no key: these come from a credential (system) or from an
environment file (user).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from a2py.cli import options, state
from a2py.cli.exits import CONFIG, FAILED, OK, REFUSED, USAGE, Stop
from a2py.cli.terminal import Terminal
from a2py.cli.workers import command

NAME = "a2py"
#: The first line: this, and a digest of what follows.
MARK = "# Written by `a2py service install`, which replaces and removes it as long as nobody changes it (systemctl edit keeps changes): "
EXAMPLES = (
    "a2py service print                     a unit for this user",
    "a2py service install                   write it, enable it, start it",
    "a2py service print --system --socket   hardened, with socket activation",
    "a2py service remove",
)
#: Seconds: until systemd takes a silent proxy for dead; until it kills one that drains.
WATCHDOG, DRAIN = 60, 90

#: What ProtectHome and PrivateTmp hide.
HIDDEN = ("/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/")

#: Hardening of the system unit, one line each; with all of them `systemd-analyze security` gives an exposure of at most 1.5.
HARDENING = (
    "DynamicUser=yes",
    "UMask=0077",
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "ProtectProc=invisible",
    "ProcSubset=pid",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "PrivateDevices=yes",
    "DevicePolicy=closed",
    "PrivateTmp=yes",
    "PrivateMounts=yes",
    "PrivateUsers=yes",
    "PrivateIPC=yes",
    "RemoveIPC=yes",
    "KeyringMode=private",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources",
    "SystemCallErrorNumber=EPERM",
)


class Units(NamedTuple):
    """File name → text."""

    service: str
    socket: str = ""

    def files(self) -> dict[str, str]:
        return {f"{NAME}.service": self.service, **({f"{NAME}.socket": self.socket} if self.socket else {})}


def units(argv: list[str], system: bool, socket: bool, host: str, port: int, secret: str = "") -> Units:
    """The units. `argv`: flags of serve; `secret`: a configuration file that the service's own user can't read, so that systemd reads it (as
    a credential, once a start: SIGHUP would find the old one)."""
    start = " ".join(_quoted(word) for word in command(["serve", *argv]))
    lines = ["[Unit]", "Description=a2py: Anthropic Messages clients on any model"]
    if system:  # a user's manager knows no such target
        lines += ["After=network-online.target", "Wants=network-online.target"]
    if socket:
        lines += [f"Requires={NAME}.socket", f"After={NAME}.socket"]
    if secret:
        start = start.replace(_quoted(secret), "%d/config.yaml")
    lines += ["", "[Service]", "Type=notify", f"ExecStart={start}"]
    lines += [f"LoadCredential=config.yaml:{_specified(secret)}"] if secret else ["ExecReload=/bin/kill -HUP $MAINPID"]
    lines += ["Restart=on-failure", "RestartSec=1", f"RestartPreventExitStatus={USAGE} {REFUSED} {CONFIG}"]
    lines += [f"WatchdogSec={WATCHDOG}", f"TimeoutStopSec={DRAIN}", "KillMode=mixed", "Environment=PYTHONUNBUFFERED=1"]
    if system:
        lines += [
            "LoadCredential=env:/etc/a2py/env",
            "WorkingDirectory=/",
            "CacheDirectory=a2py",
            "Environment=XDG_CACHE_HOME=%C/a2py",
            *HARDENING,
        ]
    else:
        lines += ["EnvironmentFile=-%E/a2py/env", "NoNewPrivileges=yes", "UMask=0077"]
    lines += ["", "[Install]", f"WantedBy={'multi-user.target' if system else 'default.target'}", ""]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    opened = ["[Unit]", "Description=a2py's socket", "", "[Socket]", f"ListenStream={address}", "Backlog=1024", "NoDelay=yes"]
    opened += ["", "[Install]", "WantedBy=sockets.target", ""]
    return Units("\n".join(lines), "\n".join(opened) if socket else "")


def _marked(text: str) -> str:
    return f"{MARK}{hashlib.sha256(text.encode()).hexdigest()[:16]}\n{text}"


def _specified(word: str) -> str:
    """`word` where systemd looks for specifiers."""
    return word.replace("%", "%%")


def _quoted(word: str) -> str:
    """One word of ExecStart."""
    word = _specified(word).replace("$", "$$")
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' if any(c in word for c in " \t\"'\\;") or not word else word


def run(name: str, argv: list[str]) -> int:
    parser = options.Parser(name, "systemd units: print them, install them, remove them.", EXAMPLES)
    parser.add_argument("what", choices=("print", "install", "remove"))
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("--user", action="store_true", help="for this user (default)")
    scope.add_argument("--system", action="store_true", help="for the machine: a user of its own, hardened, keys in /etc/a2py/env")
    parser.add_argument("--socket", action="store_true", help="socket activation: systemd keeps the port, a restart loses no connection")
    parser.add_argument(
        "--config", "-c", metavar="FILE", help="the configuration file (default: config.yaml in ~/.config/a2py or /etc/a2py)"
    )
    parser.flags(options.LISTEN)
    parser.add_argument("--num-workers", type=options.positive, metavar="N", help="processes that share the port")
    parser.add_argument("--root", default="/", help="install below this directory, and start nothing (packagers)")
    args = parser.read(argv)
    shown = Terminal()
    if args.what == "remove":
        return remove(args.system, args.root, shown)
    host, port = args.host or options.HOST, args.port or options.PORT
    file = os.path.abspath(args.config) if args.config else os.path.join(_config_dir(args.system), "config.yaml")
    flags = ["--host", host, "--port", str(port)]
    if args.config or os.path.exists(file) or args.system:
        flags = ["--config", file, *flags]
    flags += ["--num-workers", str(args.num_workers)] if args.num_workers else []
    made = units(flags, args.system, args.socket, host, port, file if args.system and not public(file) else "")
    if args.what == "print":
        for path, text in made.files().items():
            shown.print_exact(f"# {os.path.join(directory(args.system, '/'), path)}\n{text}")
        return OK
    return install(made, args.system, args.root, file, shown)


def public(path: str) -> bool:
    """Whether a user of its own, who sees no HIDDEN directory, can read `path`; true of one that is not there yet."""
    path = os.path.realpath(path)
    if path.startswith(HIDDEN):
        return False
    try:
        if not os.stat(path).st_mode & 0o004:
            return False
        return all(os.stat(place).st_mode & 0o001 for place in _above(path))
    except OSError:
        return True


def _above(path: str) -> Iterator[str]:
    while path != os.path.dirname(path):
        path = os.path.dirname(path)
        yield path


def _config_dir(system: bool) -> str:
    return "/etc/a2py" if system else os.path.join(_base(), "a2py")


def _base() -> str:
    named = os.environ.get("XDG_CONFIG_HOME", "")
    return named if os.path.isabs(named) else os.path.expanduser("~/.config")


def directory(system: bool, root: str) -> str:
    """Where units lie."""
    if system:
        return os.path.join(root, "etc/systemd/system")
    base = _base()
    return os.path.join(base if root == "/" else os.path.join(root, base.lstrip("/")), "systemd/user")


def systemctl(system: bool, *words: str) -> int:
    return subprocess.run(["systemctl", *(() if system else ("--user",)), *words], stdin=subprocess.DEVNULL, check=False).returncode


def present(system: bool, root: str) -> dict[str, str]:
    """Our units that are there, file name → text. Stop for one that is not as `install` wrote it."""
    found = {}
    for name in (f"{NAME}.service", f"{NAME}.socket"):
        path = os.path.join(directory(system, root), name)
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                found[name] = text = file.read()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not text.startswith(MARK):
            raise Stop(f"{path} was not written by a2py: it stays; move it away first", FAILED)
        if text != _marked(text.partition("\n")[2]):
            edit = f"systemctl {'' if system else '--user '}edit {name}"
            raise Stop(f"{path} has been changed since a2py wrote it: it stays; move it away first ({edit} keeps changes apart)", FAILED)
    return found


def _delete(where: str, names: Iterable[str]) -> None:
    with state.writing(where):
        for name in names:
            os.unlink(os.path.join(where, name))


def install(made: Units, system: bool, root: str, config: str, shown: Terminal) -> int:
    if sys.platform != "linux":
        raise Stop("systemd units are for Linux", FAILED)
    for program in (word for word in command([]) if system and os.path.realpath(word).startswith(HIDDEN)):
        shown.warn(f"{program} lies in a home directory or /tmp, which the hardened unit can't see: install a2py below /opt or /usr")
    if system and root == "/" and not os.path.exists(config):
        raise Stop(f"{config} is not there: write it first (a2py config init -o {config}), or name another with --config", CONFIG)
    if root == "/" and shutil.which("systemctl") is None:
        raise Stop("there is no systemctl here, and nothing was written: `a2py service print` shows the units", FAILED)
    where, before = directory(system, root), present(system, root)
    files = {name: _marked(text) for name, text in made.files().items()}
    if before and before != files:
        if root == "/":
            systemctl(system, "disable", "--now", *before)  # it may listen elsewhere, or where the other kind of unit is to
        _delete(where, before)
    with state.writing(where):
        os.makedirs(where, exist_ok=True)
    for name, text in files.items():
        state.write(os.path.join(where, name), text, 0o644)
        shown.print(f"{os.path.join(where, name)} written")
    secrets = os.path.join(root, "etc/a2py/env") if system else os.path.join(_config_dir(False), "env")
    if system and not os.path.exists(secrets):
        with state.writing(secrets):
            os.makedirs(os.path.dirname(secrets), exist_ok=True)
        state.write(secrets, "# NAME=value a line, as in .env: OPENAI_API_KEY=…, LITELLM_MASTER_KEY=…\n", 0o600)
    shown.print(f"keys: {secrets} (0600), one NAME=value a line; models: {config}")
    if root != "/":
        return OK
    unit = f"{NAME}.socket" if made.socket else f"{NAME}.service"
    code = systemctl(system, "daemon-reload") or systemctl(system, "enable", "--now", unit)
    if code:
        raise Stop(f"systemctl failed ({code}): see above", FAILED)
    shown.print(f"enabled and started: {unit} (journalctl {'' if system else '--user '}-u {NAME} shows its log)")
    if not system:
        shown.note("it ends when you log out, unless: loginctl enable-linger")
    return OK


def remove(system: bool, root: str, shown: Terminal) -> int:
    where, there = directory(system, root), present(system, root)
    if not there:
        shown.print(f"there is no unit in {where}")
        return OK
    running = root == "/" and shutil.which("systemctl") is not None
    if running:
        systemctl(system, "disable", "--now", *there)
    _delete(where, there)
    for name in there:
        shown.print(f"{os.path.join(where, name)} removed")
    if running:
        systemctl(system, "daemon-reload")
    return OK
