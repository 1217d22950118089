"""`a2py config`: write a first file (configinit.py) or another proxy's (configimport.py), show what is in effect,
validate a file.

Knows: the configuration's tables and its Config. Must not know: how a file is read.
Invariants: no key is ever printed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Callable
from typing import Any

from a2py.cli import options, running
from a2py.cli.configimport import import_file
from a2py.cli.configinit import init
from a2py.cli.exits import FAILED, OK
from a2py.cli.keycheck import check_keys
from a2py.cli.source import read_environment
from a2py.cli.terminal import Terminal, pluralize
from a2py.config import Config, ConfigError, load
from a2py.config.collapse import collapse
from a2py.config.imports.recognize import FORMATS
from a2py.deployment import Deployment
from a2py.quirks import Quirks

EXAMPLES = (
    "a2py config init                                          asks, then writes ./a2py.yaml",
    "a2py config init --provider deepseek --model deepseek-chat --yes",
    "a2py config import ~/.claude-code-router/config.json      another proxy's file, as ./a2py.yaml",
    "a2py config show                                          what is in effect, and where it was set",
    "a2py config validate litellm_config.yaml",
)


def parser(name: str) -> options.Parser:
    out = options.Parser(name, "Write, import, show or validate a configuration.", EXAMPLES)
    commands = out.add_subparsers(
        dest="what", required=True, metavar="init|import|show|validate", parser_class=options.SubcommandParser
    )
    init_ = commands.add_parser("init", help="write a first file, with comments")
    init_.add_argument(
        "--provider", help="a provider of docs/providers.md, or `openai` with --api-base for any compatible server"
    )
    init_.add_argument(
        "--model", "-m", help="the model, as the provider calls it (default: the first in the server's list)"
    )
    init_.add_argument("--name", help="the name under which clients ask for it (default: the model's)")
    init_.add_argument("--api-base", help="address of the server, if it is not the provider's own")
    init_.add_argument(
        "--master-key",
        action="store_true",
        help="make up a key that clients must send (other machines may connect then)",
    )
    init_.add_argument("--output", "-o", default="a2py.yaml", metavar="FILE", help="default: ./a2py.yaml")
    init_.add_argument("--force", action="store_true", help="replace a file that exists")
    init_.add_argument("--yes", "-y", action="store_true", help="ask nothing: use defaults for what no flag sets")
    import_ = commands.add_parser("import", help="turn another proxy's configuration into one for a2py")
    import_.add_argument("file", help=f"{FORMATS}; recognized by its content")
    import_.add_argument(
        "--output", "-o", default="a2py.yaml", metavar="FILE", help="default: ./a2py.yaml; - prints it, with its keys"
    )
    import_.add_argument("--force", action="store_true", help="replace a file that exists")
    show_ = commands.add_parser("show", help="print the effective configuration, without its secrets")
    show_.flags(options.SOURCE)
    show_.add_argument("--all", action="store_true", help="include settings that have their default")
    show_.add_argument("--json", action="store_true", help="as JSON, for a program")
    validate_ = commands.add_parser("validate", help="read a file and say what is wrong with it")
    validate_.add_argument("file", nargs="?", help="default: the file that a2py would read here")
    validate_.add_argument("--config", "-c", type=options.text, dest="config", help=argparse.SUPPRESS)
    validate_.add_argument("--strict", action="store_true", help="fail on warnings too")
    return out


def run(name: str, argv: list[str]) -> int:
    args = parser(name).read(argv)
    commands: dict[str, Callable[[argparse.Namespace, Terminal], int]] = {
        "init": init,
        "import": import_file,
        "show": show,
        "validate": validate,
    }
    return commands[args.what](args, Terminal())


# -- show ------------------------------------------------------------------------------------------------------

_NO_QUIRKS = Quirks()
#: Fields of a deployment that `_deployment` shows in another form, or not at all: they may hold a secret, or are made
#: of one (`account`).
_SPECIAL = frozenset(
    (
        "name",
        "id",
        "provider",
        "model",
        "base",
        "wire",
        "key",
        "quirks",
        "headers",
        "extra_body",
        "query",
        "overrides",
        "account",
        "fixed_quirks",
    )
)


def describe_effective(config: Config, everything: bool) -> dict[str, Any]:
    """Return what is in effect as plain data. Of secrets, it says only whether they are set."""
    settings = {}
    for item in dataclasses.fields(config.settings):
        value = getattr(config.settings, item.name)
        if everything or item.name in config.origins:
            settings[item.name] = {"value": _plain(value), "from": config.origins.get(item.name, "default")}
    return {
        "files": list(config.sources),
        "master_key": "set" if config.master_key else "not set",
        "default": config.default_name,
        "aliases": dict(config.aliases),
        "models": [_deployment(dep) for dep in config.deployments],
        "settings": settings,
        "warnings": list(config.warnings),
    }


def _deployment(dep: Deployment) -> dict[str, Any]:
    out: dict[str, Any] = {
        "name": dep.name,
        "id": dep.id,
        "upstream": f"{dep.provider}/{dep.model}",
        "base": dep.base,
        "wire": dep.wire,
    }
    out["key"] = "set" if dep.key else "not set"
    quirks = {item.name: getattr(dep.quirks, item.name) for item in dataclasses.fields(dep.quirks)}
    out["quirks"] = {name: _plain(value) for name, value in quirks.items() if value != getattr(_NO_QUIRKS, name)}
    out["headers"] = sorted(dep.headers)
    out["extra_body"] = sorted(dep.extra_body)
    for item in dataclasses.fields(dep):
        value = getattr(dep, item.name)
        if item.name not in _SPECIAL and value != _default(item):
            out[item.name] = _plain(value)
    return {name: value for name, value in out.items() if value not in ({}, [], "")}


def _default(item: dataclasses.Field[Any]) -> Any:
    """Return a field's default, None if it has none."""
    if item.default is not dataclasses.MISSING:
        return item.default
    return item.default_factory() if item.default_factory is not dataclasses.MISSING else None


def _plain(value: Any) -> Any:
    if isinstance(value, (frozenset, set)):
        return sorted(value)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if hasattr(value, "items"):
        return {str(name): _plain(item) for name, item in value.items()}
    return value


def show(args: argparse.Namespace, terminal: Terminal) -> int:
    source = running.choose_source(args, read_environment(), inspect=True)
    if source.config is None:
        terminal.print(json.dumps({"source": source.what}) if args.json else f"# {source.what}")
        return OK
    data = describe_effective(source.config, args.all)
    if args.json:
        terminal.print(json.dumps({"source": source.what, **data}, indent=2, ensure_ascii=False))
        return OK
    terminal.note(f"# from {source.what}")
    if source.unapproved_pairs:
        terminal.warn(f"{source.what} sends secrets that need your consent: run a2py trust --show")
    settings = data.pop("settings")
    for name, value in data.items():
        _print(terminal, name, value, "")
    terminal.print("settings:" if settings else "settings: {}")
    for name, setting in settings.items():
        origin = terminal.style(f"  # {setting['from']}", "dim")
        terminal.print(f"  {name}: {json.dumps(setting['value'], ensure_ascii=False)}{origin}")
    return OK


def _print(terminal: Terminal, name: str, value: Any, indent: str) -> None:
    """Print plain data as YAML."""
    if isinstance(value, dict) and value:
        terminal.print(f"{indent}{name}:")
        for key, item in value.items():
            _print(terminal, key, item, indent + "  ")
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        terminal.print(f"{indent}{name}:")
        for item in value:
            for n, (key, inner) in enumerate(item.items()):
                _print(terminal, key, inner, indent + ("  - " if n == 0 else "    "))
    else:
        terminal.print(f"{indent}{name}: {json.dumps(value, ensure_ascii=False)}")


# -- validate --------------------------------------------------------------------------------------------------


def validate(args: argparse.Namespace, terminal: Terminal) -> int:
    config = load(args.file or args.config, read_environment(), os.getcwd())
    for warning in config.warnings:
        (terminal.error if args.strict or warning in config.mistakes else terminal.warn)(warning)
    has_usable_keys = _has_usable_keys(config, terminal)
    broken = [dep for dep in config.deployments if dep.problem]
    for problem in collapse(dep.problem for dep in broken):
        terminal.error(problem)
    count = len(config.deployments)
    summary = (
        f"{pluralize(count, 'model')}, {len(broken)} that can't work, {pluralize(len(config.warnings), 'warning')}"
    )
    terminal.print(f"{', '.join(config.sources)}: {summary}")
    if not has_usable_keys or not count or config.mistakes:
        return FAILED
    return FAILED if broken or (args.strict and config.warnings) else OK


def _has_usable_keys(config: Config, terminal: Terminal) -> bool:
    """Return whether a start accepts the file of keys. Print what it would say."""
    try:
        check_keys(config)
    except ConfigError as error:
        terminal.error(str(error))
        return False
    return True
