"""`a2py claude` and `a2py run`: a program with the environment of a client, and a proxy for as long as it runs.

Knows: processes, signals, a2py.proxy's Server. Must not know: any variable (clientenv.py), what the program does.
Invariants: the terminal is the program's: the proxy's log goes to a file; the exit code is the program's; whatever was started is ended; the
program's environment is this process's own, with the route on top, and nothing of the folder's `.env`; a proxy that is started here accepts
only the random token made for this program.
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
from a2py.cli.exits import NOT_FOUND, NOT_RUNNABLE, USAGE, Stop
from a2py.cli.serve import open_source, run_loop
from a2py.cli.source import Source, process_env
from a2py.cli.summary import own_url, target
from a2py.cli.terminal import Terminal

FLAGS = (
    running.URL,
    options.Flag(("--new",), "start a proxy even if one is running", bool),
    options.Flag(("--log",), "the log of a proxy that is started (default: claude.log in a2py's state directory)", metavar="FILE"),
)
EXAMPLES = {
    "claude": (
        "a2py claude                                  what a2py would serve here, with Claude Code on it",
        'a2py claude -p "say hello"                   arguments go to Claude Code',
        "a2py claude --config litellm_config.yaml -- --model gpt -c     flags of a2py come first, then --",
        "a2py claude -- --help                        Claude Code's own help",
    ),
    "run": ("a2py run -- python my_sdk_script.py", "a2py run --url http://127.0.0.1:4000 -- ./bin/claude-haha"),
}
#: Where Claude Code's installers put it when it is not on the PATH.
PLACES = ("~/.local/bin/claude", "~/.claude/local/claude", "~/.npm-global/bin/claude", "/usr/local/bin/claude", "/opt/homebrew/bin/claude")
#: Signals that a terminal sends to the program too, and those that only we get and hand on.
SHARED, FORWARDED = ("SIGINT", "SIGQUIT"), ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")


def run(name: str, argv: list[str]) -> int:
    parser = options.Parser(
        name,
        "Run Claude Code on the proxy that is running, or on one that is started for it."
        if name == "claude"
        else "Run a program with a client's environment.",
        EXAMPLES[name],
        usage=f"a2py {name} [options] [--] {'[arguments of Claude Code]' if name == 'claude' else 'PROGRAM [arguments]'}",
    ).flags(FLAGS, options.SOURCE)
    own, rest = split(parser, argv)
    args = parser.read(own)
    claude = name == "claude"
    if claude:
        rest = [find_claude(os.environ), *rest]
    elif not rest:
        raise Stop("name the program behind --, for example: a2py run -- python script.py", USAGE)
    shown = Terminal()
    aim = None if args.new or args.config or args.model or args.demo else running.present(args, process_env())
    if aim is None and args.url:
        aim = running.required(args, process_env())
    if aim is not None:
        shown.note(f"using the a2py at {aim.url} (--new starts another)")
    source = running.local(args, process_env()) if aim is None else None  # asks for consent, so before the loop: Ctrl-C works
    code = 0

    async def main() -> None:
        nonlocal code
        async with AsyncExitStack() as stack:
            found = aim if source is None else await _start(stack, source, args, shown)
            assert found is not None
            if claude and running.too_small(found):
                shown.warn(running.too_small(found))
            here = client_env(found)
            command = [rest[0], *(_outvoting(stack, here, shown, rest) if claude else ()), *rest[1:]]
            code = await attend(command, overlay(os.environ, here))

    run_loop(main())
    return code


def split(parser: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our own flags, which come first, and the program's arguments, behind them or behind a lone `--`."""
    known = {name: action.nargs == 0 for action in parser._actions for name in action.option_strings}
    shared = {"-c", "-p", "-m", "--model"}  # the program's, where no -- tells
    i = 0
    while i < len(argv):
        arg = argv[i]
        if arg == "--":
            return list(argv[:i]), list(argv[i + 1 :])
        name, equals, _ = options.dashed([arg])[0].partition("=")
        if name not in known or (name in shared and "--" not in argv):
            break
        i += 1 if known[name] or equals else 2
    return list(argv[:i]), list(argv[i:])


def find_claude(env: Mapping[str, str]) -> str:
    """Claude Code's program: $A2PY_CLAUDE, the PATH, then where its installers put it."""
    named = env.get("A2PY_CLAUDE", "").strip()
    found = shutil.which(named or "claude", path=env.get("PATH"))
    if found and not named and not os.path.isabs(found):
        found = None  # Windows looks into the working folder first
    for place in () if named or found else PLACES:
        found = found or shutil.which(os.path.expanduser(place))
    if found is None:
        what = f"{named} (A2PY_CLAUDE)" if named else "claude"
        raise Stop(
            f"{what} was not found: install Claude Code (npm install -g @anthropic-ai/claude-code), or name it in A2PY_CLAUDE", NOT_FOUND
        )
    return found


async def _start(stack: AsyncExitStack, source: Source, args: argparse.Namespace, shown: Terminal) -> Target:
    """Start a proxy on a free port of this machine, with a random token; it ends with `stack`."""
    from a2py.proxy.log import Log
    from a2py.proxy.server import Listen, Server

    config = replace(await open_source(stack, source, args), master_key=secrets.token_urlsafe(32))
    path = args.log or os.path.join(state.state_dir(os.environ), "claude.log")
    log = Log(stack.enter_context(state.open_log(path)), "json" if config.settings.json_logs else "text")
    server = Server(config, log=log)
    addresses = await server.start(Listen(options.HOST, 0))
    stack.push_async_callback(server.close)
    for warning in config.warnings:
        log.warning("config", text=warning)
        shown.warn(warning)
    aim = await running.measured(target(config, own_url(options.HOST, addresses[0][1])), config)
    shown.note(f"a2py at {aim.url}, serving {source.what}; log: {path}")
    return aim


def _outvoting(stack: AsyncExitStack, env: Mapping[str, str], shown: Terminal, command: Sequence[str]) -> list[str]:
    """Arguments that put `env` above the user's settings files, where these lead elsewhere: they win over the process environment, and
    `--settings` wins over them (2.1.330, measured 2026-11). The values go through a file of ours: a command line can be read by others."""
    names = setup.leading_elsewhere(env, os.environ, os.getcwd())
    if not names:
        return []
    if any(word.partition("=")[0] == "--settings" for word in command):
        shown.warn(f"settings of Claude Code set {', '.join(names)}, and --settings is given: they may lead past this proxy")
        return []
    told = {**{name: "" for name in names if name not in env}, **env}
    path = os.path.join(state.make_private(state.state_dir(os.environ)), f"claude-{os.getpid()}.json")
    state.write(path, json.dumps({"env": told}), 0o600)
    stack.callback(os.unlink, path)
    shown.note(f"outvoting settings of Claude Code: {', '.join(names)}")
    return ["--settings", path]


async def attend(command: Sequence[str], env: Mapping[str, str]) -> int:
    """Run `command` on this terminal until it ends; its exit code, 128 + n where signal n ended it."""
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
    """Signals for us become the program's; those that the terminal sends to both are left to it. Gives what takes the handlers away."""

    def hand_on(number: int) -> None:
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
        for name in (*SHARED, *FORWARDED):
            number = getattr(signal, name)
            loop.add_signal_handler(number, hand_on if name in FORWARDED else _leave, number)
            undo.append(partial(loop.remove_signal_handler, number))

    def restore() -> None:
        for step in undo:
            step()

    return restore


def _leave(number: int) -> None:
    """Ctrl-C belongs to the program: it asks whether to end."""
