"""`a2py completion`: print a script that completes commands, flags and their values in bash, zsh or fish.

Knows: the table of commands, each command's parser, the shells' completion (zsh: sourced, or found in fpath).
Must not know: any single flag.
Invariants: the script is made from the parsers, so it is never out of date. After a lone `--`, and where a flag takes a
file, the shell completes files.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import NamedTuple

from a2py.cli import options
from a2py.cli.exits import OK
from a2py.cli.main import COMMANDS
from a2py.cli.terminal import Terminal

EXAMPLES = (
    'eval "$(a2py completion bash)"            in ~/.bashrc',
    'eval "$(a2py completion zsh)"             in ~/.zshrc, after compinit',
    "a2py completion fish > ~/.config/fish/completions/a2py.fish",
)


class Word(NamedTuple):
    """A word that a user can type.

    `values`: what may follow a flag. None: nothing; (): a value that is not known here; else one of these.
    `also`: other spellings, which are not offered."""

    text: str
    help: str = ""
    values: tuple[str, ...] | None = None
    also: tuple[str, ...] = ()


Table = dict[str, list[Word]]


def collect_words() -> Table:
    """Return the words of each command: `serve` → its flags, `config` → its subcommands, `config init` → its flags, ""
    → first words."""
    out: Table = {}
    for name, command in COMMANDS.items():
        _collect(name, import_module(f"a2py.cli.{command.module}").parser(name), out)
    out[""] = [Word(name, command.help) for name, command in COMMANDS.items()] + out["serve"]
    return out


def _collect(key: str, parser: argparse.ArgumentParser, out: Table) -> None:
    words = out[key] = []
    for action in parser._actions:
        help = (action.help or "").split("\n")[0]
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, sub in action.choices.items():
                words.append(Word(name, helps.get(name, "")))
                _collect(f"{key} {name}", sub, out)
        elif not action.option_strings:
            words += [Word(str(choice)) for choice in action.choices or ()]
        elif action.help != argparse.SUPPRESS:
            words += _flag_words(action, help)


def _flag_words(action: argparse.Action, help: str) -> list[Word]:
    """Return a word for each long spelling of a flag."""
    values = None if action.nargs == 0 else tuple(map(str, action.choices or ()))
    short = tuple(flag for flag in action.option_strings if not flag.startswith("--"))
    return [Word(flag, help, values, short) for flag in action.option_strings if flag.startswith("--")]


def _flags_by_values(rows: Table) -> dict[tuple[str, ...], str]:
    """Return, for each tuple of values, the shell pattern of the keys and flags that they may follow."""
    out: dict[tuple[str, ...], list[str]] = {}
    for key, words in rows.items():
        for word in words:
            if word.values is not None and key:
                out.setdefault(word.values, []).extend(f'"{key} {flag}"' for flag in (word.text, *word.also))
    return {values: "|".join(dict.fromkeys(patterns)) for values, patterns in out.items()}


#: Shell code that finds the table's key in the words of the line, and returns early after a `--`. It is the same in
#: bash and zsh, but for the names and numbers of the words.
_KEY = """  local key=serve n
  for ((n = {first}; n < {current}; n++)); do [ "${{{words}[n]}}" = -- ] && {files}; done
  case "${{{words}[{first}]-}}" in
    {commands}) key="${{{words}[{first}]}}" ;;
  esac
  case "$key ${{{words}[{second}]-}}" in
    {pairs}) [ {current} -gt {second} ] && key="$key ${{{words}[{second}]}}" ;;
  esac
  [ {current} -eq {first} ] && key="""


def _key(rows: Table, **names: str) -> str:
    pairs = [key for key in rows if " " in key]
    return _KEY.format(commands="|".join(COMMANDS), pairs="|".join(f'"{key}"' for key in pairs), **names)


def _bash() -> str:
    rows = collect_words()
    values = "\n".join(
        f"    {pattern}) "
        + (f'COMPREPLY=($(compgen -W {shlex.quote(" ".join(choices))} -- "$word")); ' if choices else "")
        + "return ;;"
        for choices, pattern in _flags_by_values(rows).items()
    )
    words = "\n".join(
        f'    "{key}") words={shlex.quote(" ".join(word.text for word in row))} ;;' for key, row in rows.items()
    )
    key = _key(rows, words="COMP_WORDS", first="1", second="2", current="COMP_CWORD", files="return")
    return f"""_a2py() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words
  if [ "$before" = = ]; then before="${{COMP_WORDS[COMP_CWORD-2]}}"; elif [ "$word" = = ]; then word=; fi
  COMPREPLY=()
{key.replace("COMP_CWORD -", "$COMP_CWORD -")}
  case "${{key:-serve}} $before" in
{values}
  esac
  case "$key" in
{words}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _a2py a2py"""


def _zsh() -> str:
    rows = collect_words()

    def describe(row: Iterable[Word]) -> str:
        return " ".join(
            shlex.quote(word.text.replace(":", "\\:") + (f":{word.help}" if word.help else "")) for word in row
        )

    values = "\n".join(
        f"    {pattern}) "
        + (f"compadd -- {' '.join(map(shlex.quote, choices))}" if choices else "_files")
        + "; return ;;"
        for choices, pattern in _flags_by_values(rows).items()
    )
    words = "\n".join(f'    "{key}") items=({describe(row)}) ;;' for key, row in rows.items())
    key = _key(rows, words="words", first="2", second="3", current="CURRENT", files="{ _files; return }")
    return f"""#compdef a2py
_a2py() {{
  local -a items
  local before="${{words[CURRENT-1]}}"
  [[ "${{words[CURRENT]}}" = --*=* ]] && before="${{words[CURRENT]%%=*}}" && compset -P '*='
{key.replace("CURRENT -", "$CURRENT -")}
  case "${{key:-serve}} $before" in
{values}
  esac
  case "$key" in
{words}
  esac
  _describe a2py items || _files
}}
if [[ "$funcstack[1]" = _a2py ]]; then _a2py "$@"; else compdef _a2py a2py; fi"""


def _fish() -> str:
    rows = collect_words()
    conditions = _fish_conditions(rows)
    lines = [
        f"complete -c a2py -f -n __fish_use_subcommand -a {name} -d {shlex.quote(command.help)}"
        for name, command in COMMANDS.items()
    ]
    for key, condition in [("serve", f"not __fish_seen_subcommand_from {' '.join(COMMANDS)}"), *conditions.items()]:
        lines += [_fish_line(condition, word) for word in rows[key]]
    return "\n".join(lines)


def _fish_conditions(rows: Table) -> dict[str, str]:
    """Return, for each key of the table but "", the condition under which fish offers its words."""
    conditions = {key: f"__fish_seen_subcommand_from {key.split()[0]}" for key in rows if key}
    for key in conditions:
        subcommands = [word.text for word in rows[key] if not word.text.startswith("--")]
        if " " in key:
            conditions[key] += f"; and __fish_seen_subcommand_from {key.split()[1]}"
        elif any(f"{key} {name}" in rows for name in subcommands):
            conditions[key] += f"; and not __fish_seen_subcommand_from {' '.join(subcommands)}"
    return conditions


def _fish_line(condition: str, word: Word) -> str:
    line = f"complete -c a2py -n {shlex.quote(condition)} "
    line += f"-l {word.text[2:]}" if word.text.startswith("--") else f"-f -a {word.text}"
    if word.values is not None:
        line += f" -x -a {shlex.quote(' '.join(word.values))}" if word.values else " -r"
    return line + (f" -d {shlex.quote(word.help)}" if word.help else "")


SHELLS: dict[str, Callable[[], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}


def parser(name: str) -> options.Parser:
    description = "Print a script with which a shell completes a2py's commands, flags and their values."
    out = options.Parser(name, description, EXAMPLES)
    out.add_argument("shell", choices=tuple(SHELLS))
    return out


def run(name: str, argv: list[str]) -> int:
    args = parser(name).read(argv)
    Terminal().print(SHELLS[args.shell]())
    return OK
