"""The flags that commands share, LiteLLM's spelling included.

Knows: argparse, the table of flags. Must not know: what a flag does.
Invariants: dashes and underscores in an option's name mean the same; a flag that is absent is None, so that the environment
(HOST, PORT, NUM_WORKERS) and then the default can speak.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from a2py.cli.exits import USAGE, Stop

HOST, PORT = "127.0.0.1", 4000


class Flag(NamedTuple):
    """`type` bool: a switch. `env`: the variable that speaks where the flag is absent."""

    names: tuple[str, ...]
    help: str
    type: Callable[[str], Any] | type = str
    metavar: str = ""
    env: str = ""
    choices: tuple[str, ...] = ()


def positive(text: str) -> int:
    return _whole(text, 1, None, "a whole number of at least 1")


def port(text: str) -> int:
    return _whole(text, 0, 65535, "a port, 0 to 65535")


def _whole(text: str, least: int, most: int | None, what: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least or (most is not None and value > most):
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value


#: What is served: of the file, or of a one-liner without a file.
SOURCE = (
    Flag(("--config", "-c"), "the configuration file (LiteLLM's format)", metavar="FILE"),
    Flag(("--model", "-m"), "serve this one model, no file: provider/name, for example deepseek/deepseek-chat", metavar="NAME"),
    Flag(("--alias",), "the name under which --model is served (any other name reaches it too)", metavar="NAME"),
    Flag(("--api-base",), "where --model is served, for example http://localhost:8000/v1", metavar="URL"),
    Flag(("--api-key",), "the key for --model; better: set its variable, a command line can be read by others", metavar="KEY"),
    Flag(("--api-version",), "Azure's api-version for --model", metavar="V"),
    Flag(("--max-tokens",), "output limit where the client sets none, for --model", positive, "N"),
    Flag(("--temperature",), "temperature where the client sets none, for --model", float, "T"),
    Flag(("--drop-params",), "leave out what the upstream refuses (a2py does so anyway)", bool),
    Flag(("--request-timeout",), "seconds for a whole reply that is not streamed", float, "S"),
    Flag(("--demo",), "serve the embedded demo model, whatever else there is", bool),
)
LISTEN = (
    Flag(("--host",), f"address to listen on (default {HOST}; $HOST)", metavar="ADDR", env="HOST"),
    Flag(("--port", "-p"), f"port to listen on (default {PORT}; $PORT)", port, "N", env="PORT"),
)
SERVER = (
    Flag(("--num-workers",), "processes that share the port (default 1; $NUM_WORKERS)", positive, "N", env="NUM_WORKERS"),
    Flag(("--keepalive-timeout",), "seconds that an idle client connection is kept", float, "S"),
    Flag(("--ssl-keyfile-path",), "TLS: the private key", metavar="FILE"),
    Flag(("--ssl-certfile-path",), "TLS: the certificate", metavar="FILE"),
    Flag(("--insecure",), "permit a public address without a master key ($A2PY_INSECURE=1)", bool),
    Flag(("--debug", "--detailed-debug"), "LiteLLM's; the log is the same (--capture shows what went where)", bool),
    Flag(("--log-format",), "json or text (default text, or what the file says)", choices=("json", "text")),
    Flag(("--capture",), "write every request and reply into DIR, redacted, replayable as a test", metavar="DIR"),
)


class Parser(argparse.ArgumentParser):
    """An argparse parser that ends with a `Stop`, and takes `--api_base` for `--api-base`."""

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
        """The flags of a command line, with the environment's HOST, PORT and NUM_WORKERS where a flag is absent."""
        space = self.parse_args(dashed(args))
        for flag in (*LISTEN, *SERVER):
            name = flag.names[0][2:].replace("-", "_")
            given = os.environ.get(flag.env, "").strip() if flag.env else ""
            if given and getattr(space, name, False) is None:
                try:
                    setattr(space, name, flag.type(given))
                except (ValueError, argparse.ArgumentTypeError):
                    raise Stop(
                        f"the environment variable {flag.env} is {given!r}, which is no {name}; unset or correct it", USAGE
                    ) from None
        return space

    def error(self, message: str) -> NoReturn:
        unknown, _, given = message.partition("unrecognized arguments: ")
        if not unknown:
            from difflib import get_close_matches

            near = get_close_matches(given.split()[0].partition("=")[0], self._option_string_actions, 1)
            message += f"; did you mean {near[0]}?" if near else ""
        raise Stop(f"{message}\n{self.format_usage().strip()}\nmore: {self.prog} --help", USAGE)


def dashed(args: Sequence[str]) -> list[str]:
    """`--api_base=x` → `--api-base=x`, up to a lone `--`."""
    out, rest = [], False
    for arg in args:
        rest = rest or arg == "--"
        name, equals, value = arg.partition("=")
        out.append(name.replace("_", "-") + equals + value if arg.startswith("--") and not rest else arg)
    return out
