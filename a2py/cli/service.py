"""`a2py service`: print, install and remove systemd units.

Knows: systemd's unit files (systemd.unit(5), systemd.exec(5), systemd.service(5), as of version 252).
Must not know: what is served.
Invariants:
- `print` changes nothing.
- `install` and `remove` leave a unit alone that `install` did not write, or that somebody has edited since.
- What `install` has written is what runs afterwards.
- `install` writes nothing if the manager that would run the unit cannot be reached.
- A unit holds no key. Keys come from a credential (system) or from an environment file (user).
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
from a2py.cli.workers import build_command

NAME = "a2py"
#: A unit's first line: this text, and a digest of what follows.
MARK = (
    "# Written by `a2py service install`, which replaces and removes it as long as nobody changes it "
    "(systemctl edit keeps changes): "
)
EXAMPLES = (
    "a2py service print                     a unit for this user",
    "a2py service install                   write it, enable it, start it",
    "a2py service print --system --socket   hardened, with socket activation",
    "a2py service remove",
)
#: WATCHDOG: seconds after which systemd restarts a silent proxy. DRAIN: seconds after which it kills one that drains.
WATCHDOG, DRAIN = 60, 90

#: Seconds for systemctl to say whether it reaches its manager.
ANSWER_SECONDS = 10.0
#: Folders that ProtectHome and PrivateTmp hide.
HIDDEN_PLACES = ("/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/")

#: Hardening of the system unit. With all lines, `systemd-analyze security` reports an exposure of at most 1.5.
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


def render_units(argv: list[str], system: bool, socket: bool, host: str, port: int, secret: str = "") -> Units:
    """Return the units. `argv`: flags of serve.

    `secret`: a configuration file that the service's own user can't read. systemd reads it at each start and passes it
    as a credential. There is no ExecReload then, because a reload would read the old credential again."""
    start = " ".join(_quote(word) for word in build_command(["serve", *argv]))
    lines = ["[Unit]", "Description=a2py: Anthropic Messages clients on any model"]
    if system:  # a user's manager has no such target
        lines += ["After=network-online.target", "Wants=network-online.target"]
    if socket:
        lines += [f"Requires={NAME}.socket", f"After={NAME}.socket"]
    if secret:
        start = start.replace(_quote(secret), "%d/config.yaml")
    lines += ["", "[Service]", "Type=notify", f"ExecStart={start}"]
    lines += (
        [f"LoadCredential=config.yaml:{_escape_specifiers(secret)}"]
        if secret
        else ["ExecReload=/bin/kill -HUP $MAINPID"]
    )
    lines += ["Restart=on-failure", "RestartSec=1", f"RestartPreventExitStatus={USAGE} {REFUSED} {CONFIG}"]
    lines += [f"WatchdogSec={WATCHDOG}", f"TimeoutStopSec={DRAIN}", "KillMode=mixed", "Environment=PYTHONUNBUFFERED=1"]
    if system:
        lines += [
            "LoadCredential=env:/etc/a2py/env",
            "WorkingDirectory=/",
            "CacheDirectory=a2py",
            "Environment=XDG_CACHE_HOME=%C/a2py",
            "StateDirectory=a2py",  # the ledger, which a2py looks for below XDG_STATE_HOME
            "StateDirectoryMode=0700",
            "Environment=XDG_STATE_HOME=%S",
            *HARDENING,
        ]
    else:
        lines += ["EnvironmentFile=-%E/a2py/env", "NoNewPrivileges=yes", "UMask=0077"]
    lines += ["", "[Install]", f"WantedBy={'multi-user.target' if system else 'default.target'}", ""]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    listener = [
        "[Unit]",
        "Description=a2py's socket",
        "",
        "[Socket]",
        f"ListenStream={address}",
        "Backlog=1024",
        "NoDelay=yes",
    ]
    listener += ["", "[Install]", "WantedBy=sockets.target", ""]
    return Units("\n".join(lines), "\n".join(listener) if socket else "")


def _add_mark(text: str) -> str:
    return f"{MARK}{hashlib.sha256(text.encode()).hexdigest()[:16]}\n{text}"


def _escape_specifiers(word: str) -> str:
    """Return `word` for a place where systemd expands specifiers (%h)."""
    return word.replace("%", "%%")


def _quote(word: str) -> str:
    """Return `word` as one word of ExecStart."""
    word = _escape_specifiers(word).replace("$", "$$")
    return (
        '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
        if any(c in word for c in " \t\"'\\;") or not word
        else word
    )


def parser(name: str) -> options.Parser:
    out = options.Parser(name, "Print, install or remove systemd units.", EXAMPLES)
    out.add_argument("what", choices=("print", "install", "remove"))
    scope = out.add_mutually_exclusive_group()
    scope.add_argument("--user", action="store_true", help="for this user (default)")
    scope.add_argument(
        "--system", action="store_true", help="for the machine: a user of its own, hardened, keys in /etc/a2py/env"
    )
    out.add_argument(
        "--socket", action="store_true", help="socket activation: systemd keeps the port, a restart loses no connection"
    )
    out.add_argument(
        "--config",
        "-c",
        metavar="FILE",
        help="the configuration file (default: config.yaml in ~/.config/a2py or /etc/a2py)",
    )
    out.flags(options.LISTEN)
    out.add_argument("--num-workers", type=options.positive, metavar="N", help="processes that share the port")
    out.add_argument("--root", default="/", help="install below this directory, and start nothing (packagers)")
    return out


def run(name: str, argv: list[str]) -> int:
    args, terminal = parser(name).read(argv), Terminal()
    if args.what == "remove":
        return remove(args.system, args.root, terminal)
    host, port = args.host or options.HOST, args.port or options.PORT
    file = os.path.abspath(args.config) if args.config else os.path.join(_config_dir(args.system), "config.yaml")
    flags = ["--host", host, "--port", str(port)]
    if args.config or os.path.exists(file) or args.system:
        flags = ["--config", file, *flags]
    flags += ["--num-workers", str(args.num_workers)] if args.num_workers else []
    secret = file if args.system and not is_readable(file) else ""
    new = render_units(flags, args.system, args.socket, host, port, secret)
    if args.what == "print":
        for path, text in new.files().items():
            terminal.print_exact(f"# {os.path.join(units_folder(args.system, '/'), path)}\n{text}")
        return OK
    return install(new, args.system, args.root, file, terminal)


def is_readable(path: str) -> bool:
    """Return whether the hardened unit's user can read `path`; True if there is no file yet.

    That user sees no HIDDEN_PLACES directory."""
    path = os.path.realpath(path)
    if path.startswith(HIDDEN_PLACES):
        return False
    try:
        if not os.stat(path).st_mode & 0o004:
            return False
        return all(os.stat(parent).st_mode & 0o001 for parent in _parents(path))
    except OSError:
        return True


def _parents(path: str) -> Iterator[str]:
    while path != os.path.dirname(path):
        path = os.path.dirname(path)
        yield path


def _config_dir(system: bool) -> str:
    return "/etc/a2py" if system else os.path.join(_base(), "a2py")


def _base() -> str:
    path = os.environ.get("XDG_CONFIG_HOME", "")
    return path if os.path.isabs(path) else os.path.expanduser("~/.config")


def units_folder(system: bool, root: str) -> str:
    """Return the folder of the units."""
    if system:
        return os.path.join(root, "etc/systemd/system")
    base = _base()
    return os.path.join(base if root == "/" else os.path.join(root, base.lstrip("/")), "systemd/user")


def systemctl(system: bool, *words: str) -> int:
    return subprocess.run(_systemctl(system, *words), stdin=subprocess.DEVNULL, check=False).returncode


def _systemctl(system: bool, *words: str) -> list[str]:
    return ["systemctl", *(() if system else ("--user",)), *words]


def describe_manager_problem(system: bool) -> str:
    """Return why the manager that runs the units cannot be reached, "" if it answers.

    A user's manager is missing in a container, and its bus is missing after `su` or `sudo`."""
    if shutil.which("systemctl") is None:
        return "there is no systemctl here"
    try:
        process = subprocess.run(
            _systemctl(system, "show", "--property=Version"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"systemctl does not work here ({type(error).__name__})"
    if process.returncode == 0:
        return ""
    lines = process.stderr.strip().splitlines() or [f"exit code {process.returncode}"]
    return f"systemctl reaches no systemd {'' if system else 'of this user '}({lines[-1]})"


def read_installed(system: bool, root: str) -> dict[str, str]:
    """Return the units that `install` wrote, file name → text. Raise Stop for one that is not as it was written."""
    texts = {}
    for name in (f"{NAME}.service", f"{NAME}.socket"):
        path = os.path.join(units_folder(system, root), name)
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                texts[name] = text = file.read()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not text.startswith(MARK):
            raise Stop(f"{path} was not written by a2py and stays as it is: move it away first", FAILED)
        if text != _add_mark(text.partition("\n")[2]):
            edit = f"systemctl {'' if system else '--user '}edit {name}"
            raise Stop(
                f"{path} has been changed since a2py wrote it and stays as it is: move it away first ({edit} keeps "
                "changes in a file of their own)",
                FAILED,
            )
    return texts


def _delete(folder: str, names: Iterable[str]) -> None:
    with state.writing(folder):
        for name in names:
            os.unlink(os.path.join(folder, name))


def install(new: Units, system: bool, root: str, config: str, terminal: Terminal) -> int:
    """Write the units. Start them, unless `root` is another directory."""
    if sys.platform != "linux":
        raise Stop("systemd units are for Linux only; `a2py start` runs a2py in the background", FAILED)
    if system:
        _warn_of_hidden_programs(terminal)
    if root == "/":
        check_install(system, config)
    folder, old = units_folder(system, root), read_installed(system, root)
    files = {name: _add_mark(text) for name, text in new.files().items()}
    if old and old != files:
        if root == "/":
            # The old units may listen elsewhere, or where the other kind of unit is about to listen.
            systemctl(system, "disable", "--now", *old)
        _delete(folder, old)
    with state.writing(folder):
        os.makedirs(folder, exist_ok=True)
    for name, text in files.items():
        state.write(os.path.join(folder, name), text, 0o644)
        terminal.print(f"{os.path.join(folder, name)} written")
    terminal.print(f"keys: {_write_keys(system, root)} (0600), one NAME=value a line; models: {config}")
    if root == "/":
        _start_unit(f"{NAME}.socket" if new.socket else f"{NAME}.service", system, terminal)
    return OK


def _warn_of_hidden_programs(terminal: Terminal) -> None:
    """Warn if the system unit could not run a2py where it is installed."""
    for program in build_command([]):
        if os.path.isabs(program) and os.path.realpath(program).startswith(
            HIDDEN_PLACES
        ):  # not the -m of python -m a2py
            terminal.warn(
                f"{program} is in a home directory or /tmp, which the hardened unit can't see: install a2py below /opt "
                "or /usr"
            )


def _start_unit(unit: str, system: bool, terminal: Terminal) -> None:
    """Enable and start a unit that has been written. Raise Stop if systemd could not."""
    code = systemctl(system, "daemon-reload") or systemctl(system, "enable", "--now", unit)
    scope = "" if system else "--user "
    if code:
        raise Stop(
            f"the units are written, but systemctl could not start {unit} "
            f"(exit code {code}, its own message is above): `journalctl {scope}-u {NAME}` may say why; "
            "`a2py service remove` removes them",
            FAILED,
        )
    terminal.print(f"enabled and started: {unit} (journalctl {scope}-u {NAME} shows its log)")
    if not system:
        terminal.note("it ends when you log out, unless you run: loginctl enable-linger")


def check_install(system: bool, config: str) -> None:
    """Raise Stop if the units could not run. Nothing has been written then."""
    if system and not os.path.exists(config):
        raise Stop(
            f"there is no {config}: write it first (a2py config init -o {config}), or name another file with --config",
            CONFIG,
        )
    problem = describe_manager_problem(system)
    if problem:
        cure = "" if system else "log in as this user (ssh, or machinectl shell), or "
        raise Stop(
            f"{problem}, and nothing was written: {cure}use `a2py start`; `a2py service print` prints the units", FAILED
        )


def _write_keys(system: bool, root: str) -> str:
    """Return the path of the file with the keys. The system unit needs it to exist."""
    path = os.path.join(root, "etc/a2py/env") if system else os.path.join(_config_dir(False), "env")
    if system and not os.path.exists(path):
        with state.writing(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        state.write(path, "# NAME=value a line, as in .env: OPENAI_API_KEY=…, LITELLM_MASTER_KEY=…\n", 0o600)
    return path


def remove(system: bool, root: str, terminal: Terminal) -> int:
    folder, old = units_folder(system, root), read_installed(system, root)
    if not old:
        terminal.print(f"there is no unit in {folder}")
        return OK
    problem = "" if root != "/" else describe_manager_problem(system)
    has_manager = root == "/" and not problem
    if has_manager:
        systemctl(system, "disable", "--now", *old)
    _delete(folder, old)
    for name in old:
        terminal.print(f"{os.path.join(folder, name)} removed")
    if has_manager:
        systemctl(system, "daemon-reload")
    if problem:
        terminal.warn(f"{problem}: a service that is running was not stopped")
    return OK
