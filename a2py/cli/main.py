"""The entry point: find the command, print help or version, turn the command's end into an exit code.

Knows: the table of commands. Must not know: what a command does; each is imported when it runs.
Invariants: `a2py --version` and `a2py --help` import neither aiohttp nor yaml nor argparse. A message goes to standard
error, a result to standard output.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import NamedTuple

from a2py import __version__
from a2py.cli.exits import CONFIG, FAILED, INTERRUPTED, USAGE, Stop


class Command(NamedTuple):
    """A row of the table. `module`: has `parser(name)` and `run(name, argv)`, which returns the exit code."""

    module: str
    help: str
    example: str


COMMANDS: dict[str, Command] = {
    "serve": Command(
        "serve", "serve models to Anthropic clients (the default)", "a2py --config litellm_config.yaml --port 4000"
    ),
    "claude": Command("launch", "run Claude Code on this configuration", 'a2py claude -p "say hello"'),
    "run": Command("launch", "run any program with the environment of a client", "a2py run -- python my_sdk_script.py"),
    "env": Command("env", "print that environment for a shell", 'eval "$(a2py env)"'),
    "setup": Command("setup", "write it into ~/.claude/settings.json, or restore that file", "a2py setup claude"),
    "models": Command("models", "list the models that are served, with their contexts", "a2py models"),
    "config": Command("config", "write, import, show or validate a configuration", "a2py config init"),
    "trust": Command(
        "trust", "allow the file in this folder to send variables to the hosts that it names", "a2py trust"
    ),
    "check": Command("check", "probe each model, say what works and what to do", "a2py check"),
    "keys": Command("keys", "make, list, revoke and rotate the keys of clients", "a2py keys new alice --budget 20/day"),
    "usage": Command("usage", "show tokens and cost by model, key, session or day", "a2py usage --by day --since 7d"),
    "ui": Command("ui", "open the page that shows every request and both of its sides", "a2py ui"),
    "top": Command("top", "show what runs now, in the terminal", "a2py top"),
    "statusline": Command(
        "statusline", "print one line for Claude Code's status line", "a2py statusline < session.json"
    ),
    "start": Command("daemon", "start the proxy in the background", "a2py start --port 4000"),
    "stop": Command("daemon", "stop it, after its running answers have ended", "a2py stop"),
    "restart": Command(
        "daemon", "replace it by a new one with the same flags; no connection is refused", "a2py restart"
    ),
    "status": Command("daemon", "say whether it runs and answers, and what it serves", "a2py status"),
    "logs": Command("daemon", "show its log", "a2py logs -f"),
    "service": Command("service", "print, install or remove systemd units", "a2py service install"),
    "completion": Command(
        "completion", "complete a2py's commands and flags in a shell", 'eval "$(a2py completion bash)"'
    ),
    "demo": Command("demo", "serve the demo upstream alone", "a2py demo --port 8080"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command line, and return its exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    _open_streams()
    try:
        code = _dispatch(args)
        sys.stdout.flush()
        return code
    except Stop as stop:
        return _complain(str(stop), stop.code)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return FAILED
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        return _complain(f"the result can't be written: {error.strerror}", FAILED)
    except Exception as error:
        from a2py.config import ConfigError  # imported late: `a2py --version` does not need yaml

        if not isinstance(error, ConfigError):
            raise
        return _complain(str(error), CONFIG)
    finally:
        _flush_streams()


def _open_streams() -> None:
    """Open the standard streams that are closed (`2>&-`).

    Otherwise the next file or socket would become standard error."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def _flush_streams() -> None:
    """Flush the standard streams. Replace a stream that nobody reads, or that is on a full disk, by the null device.

    Otherwise Python would flush it again at exit, fail, and exit with code 120."""
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except (OSError, ValueError):
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115


def _dispatch(args: list[str]) -> int:
    first = args[0] if args else ""
    if first in ("--version", "-v", "-V", "version"):
        return _version("--json" in args[1:])
    if first in ("--help", "-h", "help"):
        if len(args) == 1 or args[1] not in COMMANDS:
            print(overview())
            return 0
        first, args = args[1], [args[1], "--help"]
    if first in COMMANDS:
        name, rest = first, args[1:]
    elif first and not first.startswith("-"):
        from difflib import get_close_matches

        near = get_close_matches(first, COMMANDS, 1)
        hint = f"; did you mean `a2py {near[0]}`?" if near else f"; commands: {', '.join(COMMANDS)}"
        raise Stop(f"unknown command {first!r}{hint}", USAGE)
    else:
        name, rest = "serve", args
    from importlib import import_module

    code: int = import_module(f"a2py.cli.{COMMANDS[name].module}").run(name, rest)
    return code


def _version(as_json: bool) -> int:
    if not as_json:
        print(f"a2py {__version__}")
        return 0
    import json
    import platform
    from importlib.metadata import PackageNotFoundError, version

    parts: dict[str, str | None] = {"a2py": __version__, "python": platform.python_version(), "platform": sys.platform}
    for name in ("aiohttp", "orjson", "PyYAML", "uvloop"):
        try:
            parts[name] = version(name)
        except PackageNotFoundError:
            parts[name] = None
    print(json.dumps(parts))
    return 0


def overview() -> str:
    """`a2py --help`."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name.ljust(width)}  {command.help}" for name, command in COMMANDS.items())
    examples = "\n".join(f"  {command.example}" for command in COMMANDS.values())
    return f"""a2py {__version__}: any Anthropic Messages client (Claude Code, SDKs) on any OpenAI-compatible model

usage: a2py [command] [options]        a2py <command> --help        a2py --version [--json]

commands:
{commands}

examples:
{examples}

Without a command a2py serves: the file that --config names, or a2py.yaml or litellm_config.yaml here, or the providers
whose keys are set (OPENAI_API_KEY, DEEPSEEK_API_KEY, …), or an Ollama that is running, or its own demo model."""


def _complain(message: str, code: int) -> int:
    from a2py.cli.terminal import Terminal

    Terminal().error(message)
    return code
