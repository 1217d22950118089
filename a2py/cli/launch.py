"""`a2py claude` and `a2py run`: run a program with the environment of a client, and a proxy for as long as it runs.

Knows: processes, signals, a2py.proxy's Server. Must not know: any variable (clientenv.py), what the program does.
Invariants:
- The terminal belongs to the program: the proxy's log goes to a file. The exit code is the program's.
- What was started here ends here.
- The program's environment is this process's own plus the route to the proxy; it has nothing of the folder's `.env`.
- A proxy that is started here accepts only the random token made for this program.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

from a2py.cli import options, running, setup, state
from a2py.cli.clientenv import Target, client_env, overlay
from a2py.cli.embedded import open_source
from a2py.cli.eventloop import run_loop
from a2py.cli.exits import NOT_FOUND, NOT_RUNNABLE, USAGE, Stop
from a2py.cli.source import Source, read_environment
from a2py.cli.summary import describe_target, own_url
from a2py.cli.terminal import Terminal

FLAGS = (
    running.URL,
    options.Flag(("--new",), "start a proxy even if one is running", bool),
    options.Flag(
        ("--log",),
        "log file of a proxy that is started (default: claude.log in a2py's state directory)",
        metavar="FILE",
    ),
)
EXAMPLES = {
    "claude": (
        "a2py claude                                  Claude Code on what a2py would serve here",
        'a2py claude -p "say hello"                   arguments go to Claude Code',
        "a2py claude --config litellm_config.yaml -- --model gpt -c     flags of a2py come first, then --",
        "a2py claude -- --help                        Claude Code's own help",
    ),
    "run": ("a2py run -- python my_sdk_script.py", "a2py run --url http://127.0.0.1:4000 -- ./bin/claude-haha"),
}
#: Where Claude Code's installers put it, in case that is not on the PATH.
PLACES = (
    "~/.local/bin/claude",
    "~/.claude/local/claude",
    "~/.npm-global/bin/claude",
    "/usr/local/bin/claude",
    "/opt/homebrew/bin/claude",
)
#: SHARED_SIGNALS: signals that a terminal also sends to the program. FORWARDED_SIGNALS: signals that only this process
#: gets, and sends on.
SHARED_SIGNALS, FORWARDED_SIGNALS = ("SIGINT", "SIGQUIT"), ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")


def parser(name: str) -> options.Parser:
    if name == "claude":
        description = "Run Claude Code on the proxy that is running, or on one that is started for it."
        arguments = "[arguments of Claude Code]"
    else:
        description, arguments = "Run a program with a client's environment.", "PROGRAM [arguments]"
    usage = f"a2py {name} [options] [--] {arguments}"
    return options.Parser(name, description, EXAMPLES[name], usage=usage).flags(FLAGS, options.SOURCE)


def run(name: str, argv: list[str]) -> int:
    reader = parser(name)
    flags, command = split(reader, argv)
    args = reader.read(flags)
    is_claude = name == "claude"
    if is_claude:
        command = [find_claude(os.environ), *command]
    elif not command:
        raise Stop("name the program after --, for example: a2py run -- python script.py", USAGE)
    elif command[0].startswith("-") and "--" not in argv:
        reader.error(f"unrecognized arguments: {command[0]}")
    terminal = Terminal()
    running_proxy = None
    if not (args.new or args.config or args.model or args.demo):
        running_proxy = running.find_running(args, read_environment())
    if running_proxy is None and args.url:
        running_proxy = running.require_running(args, read_environment())
    if running_proxy is not None:
        terminal.note(f"using the a2py at {running_proxy.url} (--new starts another)")
    # This may ask for consent, so it comes before the event loop: Ctrl-C then works as usual.
    source = running.choose_source(args, read_environment()) if running_proxy is None else None
    code = 0

    async def main() -> None:
        nonlocal code
        async with AsyncExitStack() as stack:
            target = running_proxy if source is None else await _start(stack, source, args, terminal)
            assert target is not None
            env, options = client_env(target), []
            if is_claude:
                problem = running.describe_small_window(target)
                if problem:
                    terminal.warn(problem)
                options = _override_settings(stack, env, terminal, command)
            code = await attend([command[0], *options, *command[1:]], overlay(os.environ, env))

    run_loop(main())
    return code


def split(parser: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return our own flags, which come first, and the rest: the program's arguments, after a lone `--` or without
    one."""
    is_switch = {name: action.nargs == 0 for action in parser._actions for name in action.option_strings}
    short = {"-c", "-p", "-m", "--model"}  # without a --, these belong to the program
    i = 0
    while i < len(argv):
        arg = argv[i]
        if arg == "--":
            return list(argv[:i]), list(argv[i + 1 :])
        name, equals, _ = options.use_dashes([arg])[0].partition("=")
        if name not in is_switch or (name in short and "--" not in argv):
            break
        i += 1 if is_switch[name] or equals else 2
    return list(argv[:i]), list(argv[i:])


def find_claude(env: Mapping[str, str]) -> str:
    """Return the path of Claude Code: from $A2PY_CLAUDE, the PATH, or the places where its installers put it."""
    name = env.get("A2PY_CLAUDE", "").strip()
    path = shutil.which(name or "claude", path=env.get("PATH"))
    if path and not name and not os.path.isabs(path):
        path = None  # Windows searches the working folder first, and a stranger's folder may contain a `claude`
    for place in () if name or path else PLACES:
        path = path or shutil.which(os.path.expanduser(place))
    if path is None:
        program = f"{name} (A2PY_CLAUDE)" if name else "claude"
        raise Stop(
            f"{program} was not found: install Claude Code (npm install -g @anthropic-ai/claude-code), or set "
            "A2PY_CLAUDE "
            "to its path",
            NOT_FOUND,
        )
    return path


async def _start(stack: AsyncExitStack, source: Source, args: argparse.Namespace, terminal: Terminal) -> Target:
    """Start a proxy on a free port of this machine, with a random token. It ends with `stack`."""
    from a2py.proxy.log import Log
    from a2py.proxy.server import Listen, Server

    config = replace(await open_source(stack, source, args), master_key=secrets.token_urlsafe(32), keys_path="")
    path = args.log or os.path.join(state.state_dir(os.environ), "claude.log")
    log = Log(stack.enter_context(state.open_log(path)), "json" if config.settings.json_logs else "text")
    server = Server(config, log=log, ledger=state.ledger_path(os.environ))
    addresses = await server.start(Listen(options.HOST, 0))
    stack.push_async_callback(server.close)
    for warning in config.warnings:
        log.warning("config", text=warning)
        terminal.warn(warning)
    url = own_url(options.HOST, addresses[0][1])
    target = await running.measure_target(describe_target(config, url), config)
    terminal.note(f"a2py at {target.url}, serving {source.what}; log: {path}")
    return target


def _override_settings(
    stack: AsyncExitStack, env: Mapping[str, str], terminal: Terminal, command: Sequence[str]
) -> list[str]:
    """Return the arguments that override the user's settings files, if those lead past the proxy.

    Claude Code prefers these files to the process environment, and `--settings` to both (2.1.332, measured 2026-11).
    The values go through a file, because other users can read a command line."""
    names = setup.list_misleading(env, os.environ, os.getcwd())
    if not names:
        return []
    if any(word.partition("=")[0] == "--settings" for word in command):
        terminal.warn(
            f"Claude Code's settings set {', '.join(names)}, and --settings is given: Claude Code may not use "
            "this proxy"
        )
        return []
    values = {**{name: "" for name in names if name not in env}, **env}
    path = os.path.join(state.make_private(state.state_dir(os.environ)), f"claude-{os.getpid()}.json")
    state.write(path, json.dumps({"env": values}), 0o600)
    stack.callback(os.unlink, path)
    terminal.note(f"overriding Claude Code's settings: {', '.join(names)}")
    return ["--settings", path]


async def attend(command: Sequence[str], env: Mapping[str, str]) -> int:
    """Run `command` on this terminal, and return its exit code: 128 + n if signal n ended it."""
    try:
        process = await asyncio.create_subprocess_exec(*command, env=env)
    except FileNotFoundError:
        raise Stop(f"{command[0]} was not found", NOT_FOUND) from None
    except OSError as error:
        raise Stop(f"{command[0]} can't be run: {error.strerror or type(error).__name__}", NOT_RUNNABLE) from None
    restore = _forward(process)
    try:
        code = await process.wait()
    finally:
        restore()
        if process.returncode is None:
            process.kill()
            await process.wait()
    return 128 - code if code < 0 else code


def _forward(process: asyncio.subprocess.Process) -> Callable[[], None]:
    """Send our signals on to the program; ignore those that the terminal sends to both.

    Return a function that undoes this."""

    def forward(number: int) -> None:
        try:
            process.send_signal(number)
        except ProcessLookupError:
            pass

    if sys.platform == "win32":
        old = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every program of the console
        undo: list[Callable[[], object]] = [lambda: signal.signal(signal.SIGINT, old)]
    else:
        loop = asyncio.get_running_loop()
        undo = []
        for name in (*SHARED_SIGNALS, *FORWARDED_SIGNALS):
            number = getattr(signal, name)
            loop.add_signal_handler(number, forward if name in FORWARDED_SIGNALS else _ignore, number)
            undo.append(partial(loop.remove_signal_handler, number))

    def restore() -> None:
        for step in undo:
            step()

    return restore


def _ignore(number: int) -> None:
    """Leave Ctrl-C to the program, which may ask whether to end."""
