"""The flags that commands share, in LiteLLM's spelling too.

Knows: argparse, the table of flags. Must not know: what a flag does.
Invariants: dashes and underscores in a flag's name mean the same. A flag that is absent is None, so that the
environment (HOST, PORT, NUM_WORKERS) and then the default apply.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from a2py.cli.exits import USAGE, Stop

HOST, PORT = "127.0.0.1", 4000
#: How similar a known flag must be to be suggested. difflib's default, 0.6, suggests --host for --bogus.
LIKE = 0.7
#: The beginning of a value with a minus. No flag begins so.
_NEGATIVE = re.compile(r"-\.?\d")


def text(value: str) -> str:
    """Return `value`, which is not empty. An empty one is mostly that of a variable which is not set ("$MODEL")."""
    if not value.strip():
        raise argparse.ArgumentTypeError("the value is empty: write one, or leave the flag out")
    return value


class Flag(NamedTuple):
    """`type` bool: a switch. `env`: the variable that is used if the flag is absent."""

    names: tuple[str, ...]
    help: str
    type: Callable[[str], Any] | type = text
    metavar: str = ""
    env: str = ""
    choices: tuple[str, ...] = ()


def positive(text: str) -> int:
    return _integer(text, 1, None, "a whole number of at least 1")


def port(text: str) -> int:
    return _integer(text, 0, 65535, "a port, 0 to 65535")


def _integer(text: str, minimum: int, maximum: int | None, what: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = minimum - 1
    if value < minimum or (maximum is not None and value > maximum):
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value


#: What to serve: a file, or one model without a file.
SOURCE = (
    Flag(("--config", "-c"), "the configuration file (LiteLLM's format)", metavar="FILE"),
    Flag(
        ("--model", "-m"),
        "serve this one model, no file: provider/name, for example deepseek/deepseek-chat",
        metavar="NAME",
    ),
    Flag(("--alias",), "the name of --model for clients (any other name reaches it too)", metavar="NAME"),
    Flag(("--api-base",), "address of the server of --model, for example http://localhost:8000/v1", metavar="URL"),
    Flag(
        ("--api-key",),
        "the key for --model; a variable is safer, because others can read a command line",
        metavar="KEY",
    ),
    Flag(("--api-version",), "Azure's api-version for --model", metavar="V"),
    Flag(("--max-tokens",), "output limit for --model, if the client sets none", positive, "N"),
    Flag(("--temperature",), "temperature for --model, if the client sets none", float, "T"),
    Flag(("--drop-params",), "drop what the upstream rejects (a2py always does)", bool),
    Flag(("--request-timeout",), "seconds for a complete reply that is not streamed", float, "S"),
    Flag(("--demo",), "serve the embedded demo model, even if there is a configuration", bool),
)
LISTEN = (
    Flag(("--host",), f"address to listen on (default {HOST}; $HOST)", metavar="ADDR", env="HOST"),
    Flag(("--port", "-p"), f"port to listen on (default {PORT}; $PORT)", port, "N", env="PORT"),
)
SERVER = (
    Flag(
        ("--num-workers",), "processes that share the port (default 1; $NUM_WORKERS)", positive, "N", env="NUM_WORKERS"
    ),
    Flag(("--keepalive-timeout",), "seconds after which an idle client connection is closed", float, "S"),
    Flag(("--ssl-keyfile-path",), "TLS: the private key", metavar="FILE"),
    Flag(("--ssl-certfile-path",), "TLS: the certificate", metavar="FILE"),
    Flag(("--insecure",), "allow a public address without a master key ($A2PY_INSECURE=1)", bool),
    Flag(("--strict",), "do not start if there is a warning about the configuration, or a model that can't work", bool),
    Flag(("--debug", "--detailed-debug"), "accepted for LiteLLM, without effect (--capture records the traffic)", bool),
    Flag(("--log-format",), "json or text (default: what the file says, or text)", choices=("json", "text")),
    Flag(("--capture",), "write every request and reply into DIR, redacted, replayable as a test", metavar="DIR"),
)


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises `Stop` for a wrong command line, and accepts `--api_base` for `--api-base`."""

    def __init__(self, name: str, description: str, examples: Sequence[str] = (), **more: Any) -> None:
        epilog = "examples:\n" + "\n".join(f"  {line}" for line in examples) if examples else None
        super().__init__(
            prog=f"a2py {name}" if name else "a2py",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **more,
        )
        # argparse takes "-1/day" for a flag, and says "expected one argument" of the flag before it.
        self._negative_number_matcher = _NEGATIVE

    def flags(self, *tables: Sequence[Flag]) -> Parser:
        for flag in (flag for table in tables for flag in table):
            if flag.type is bool:
                self.add_argument(*flag.names, help=flag.help, action="store_const", const=True)
            elif flag.choices:
                self.add_argument(*flag.names, help=flag.help, choices=flag.choices)
            else:
                self.add_argument(*flag.names, help=flag.help, type=flag.type, metavar=flag.metavar)
        return self

    def read(self, args: Sequence[str]) -> argparse.Namespace:
        """Return the flags of a command line. HOST, PORT and NUM_WORKERS of the environment replace absent flags."""
        space = self.parse_args(use_dashes(args))
        for flag in (*LISTEN, *SERVER):
            name = flag.names[0][2:].replace("-", "_")
            value = os.environ.get(flag.env, "").strip() if flag.env else ""
            if value and getattr(space, name, False) is None:
                try:
                    setattr(space, name, flag.type(value))
                except (ValueError, argparse.ArgumentTypeError) as error:
                    what = str(error) if isinstance(error, argparse.ArgumentTypeError) else f"{value!r} is not valid"
                    raise Stop(f"environment variable {flag.env}: {what}; unset or correct it", USAGE) from None
        return space

    def error(self, message: str) -> NoReturn:
        prefix, _, arguments = message.partition("unrecognized arguments: ")
        if not prefix and arguments:
            from difflib import get_close_matches

            near = get_close_matches(arguments.split()[0].partition("=")[0], self._option_string_actions, 1, LIKE)
            message += f"; did you mean {near[0]}?" if near else ""
        raise Stop(f"{message}\n{self._usage_line()}", USAGE)

    def _usage_line(self) -> str:
        """Return the usage in one line: argparse's own lists every flag."""
        if self.usage:
            usage = self.usage
        else:
            names = [_format_positional(action) for action in self._actions if not action.option_strings]
            usage = " ".join((self.prog, "[options]", *names))
        return f"usage: {usage}   (all options: {self.prog} --help)"


class SubcommandParser(Parser):
    """A parser of a subcommand, which argparse creates and names itself."""

    def __init__(self, **arguments: Any) -> None:
        prog = arguments.pop("prog", "a2py")
        super().__init__("", arguments.pop("description", arguments.pop("help", "")), **arguments)
        self.prog = prog


def _format_positional(action: argparse.Action) -> str:
    """Return a positional argument as a usage line shows it."""
    name = str(action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest))
    return {"?": f"[{name}]", "*": f"[{name}...]"}.get(str(action.nargs), name)


def use_dashes(args: Sequence[str]) -> list[str]:
    """Return `args` with `--api_base=x` spelled `--api-base=x`, up to a lone `--`."""
    out, is_after_dashes = [], False
    for arg in args:
        is_after_dashes = is_after_dashes or arg == "--"
        name, equals, value = arg.partition("=")
        is_flag = arg.startswith("--") and not is_after_dashes
        out.append(name.replace("_", "-") + equals + value if is_flag else arg)
    return out
