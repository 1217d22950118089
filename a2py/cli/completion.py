"""`a2py completion`: commands and flags for bash, zsh and fish.

Knows: the tables of commands and the parsers' flags. Must not know: any single flag.
Invariants: what is printed is made from the parsers themselves, so it can't grow old; files are completed by the shell.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from importlib import import_module

from a2py.cli import options
from a2py.cli.exits import OK
from a2py.cli.main import COMMANDS
from a2py.cli.terminal import Terminal

EXAMPLES = (
    'eval "$(a2py completion bash)"            in ~/.bashrc',
    'eval "$(a2py completion zsh)"             in ~/.zshrc, after compinit',
    "a2py completion fish > ~/.config/fish/completions/a2py.fish",
)


class _Caught(Exception):
    """Carries a parser out of its command before anything is read."""


def flags_of(name: str) -> dict[str, str]:
    """Long flag (or word that must be chosen) → help, of one command; its parser is made, nothing runs."""
    found: dict[str, str] = {}
    read = options.Parser.read

    def catch(self: options.Parser, args: object) -> argparse.Namespace:
        for action in self._actions:
            help = action.help or ""
            if isinstance(action, argparse._SubParsersAction):
                found.update(dict.fromkeys(action.choices, ""))
            elif not action.option_strings and action.choices:
                found.update({str(choice): "" for choice in action.choices})
            elif help != argparse.SUPPRESS:
                found.update({flag: help for flag in action.option_strings if flag.startswith("--")})
        raise _Caught

    options.Parser.read = catch  # type: ignore[method-assign]
    try:
        import_module(f"a2py.cli.{COMMANDS[name].module}").run(name, [])
    except _Caught:
        pass
    finally:
        options.Parser.read = read  # type: ignore[method-assign]
    return found


def words() -> dict[str, dict[str, str]]:
    return {name: flags_of(name) for name in COMMANDS if name != "completion"} | {"completion": dict.fromkeys(SHELLS, "")}


def _bash() -> str:
    cases = "\n".join(f"    {name}) words={shlex.quote(' '.join(flags))} ;;" for name, flags in words().items())
    return f"""_a2py() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" words
  case "${{COMP_WORDS[1]}}" in
{cases}
    *) words={shlex.quote(" ".join([*COMMANDS, *flags_of("serve")]))} ;;
  esac
  [ "$COMP_CWORD" -eq 1 ] && words={shlex.quote(" ".join([*COMMANDS, *flags_of("serve")]))}
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _a2py a2py"""


def _zsh() -> str:
    return "autoload -U +X bashcompinit && bashcompinit\n" + _bash()


def _fish() -> str:
    lines = [
        "complete -c a2py -f -n __fish_use_subcommand -a " + shlex.quote(name) + " -d " + shlex.quote(command.help)
        for name, command in COMMANDS.items()
    ]
    for name, flags in words().items():
        seen = f"'__fish_seen_subcommand_from {name}'"
        for flag, help in flags.items():
            kind = f"-l {flag[2:]}" if flag.startswith("--") else f"-a {flag}"
            lines.append(f"complete -c a2py -n {seen} {kind}" + (f" -d {shlex.quote(help)}" if help else ""))
    return "\n".join(lines)


SHELLS: dict[str, Callable[[], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}


def run(name: str, argv: list[str]) -> int:
    parser = options.Parser(name, "Print what makes a shell complete a2py's commands and flags.", EXAMPLES)
    parser.add_argument("shell", choices=tuple(SHELLS))
    Terminal().print(SHELLS[parser.read(argv).shell]())
    return OK
