"""`a2py config`: write a first file, show what is in effect, validate.

Knows: the configuration's tables and its Config. Must not know: how a file is read.
Invariants: no key is ever printed; a file that is there is only replaced when --force says so; what is written is 0600.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import secrets
import sys
from collections.abc import Callable
from typing import Any

from a2py.cli import options, running, state, trust
from a2py.cli.exits import FAILED, OK, USAGE, Stop
from a2py.cli.source import process_env
from a2py.cli.terminal import Terminal, counted
from a2py.config import SETTINGS, Config, load
from a2py.deployment import Deployment
from a2py.providers import PROVIDERS
from a2py.quirks import Quirks

EXAMPLES = (
    "a2py config init                                          asks, then writes ./a2py.yaml",
    "a2py config init --provider deepseek --model deepseek-chat --yes",
    "a2py config show                                          what is in effect, and where it was set",
    "a2py config validate litellm_config.yaml",
)


def run(name: str, argv: list[str]) -> int:
    parser = options.Parser(name, "Write, show or validate a configuration.", EXAMPLES)
    commands = parser.add_subparsers(dest="what", required=True, metavar="init|show|validate", parser_class=_Sub)
    init_ = commands.add_parser("init", help="write a first file, with comments")
    init_.add_argument("--provider", help="a provider of docs/providers.md, or `openai` with --api-base for any compatible server")
    init_.add_argument("--model", "-m", help="the provider's name of the model")
    init_.add_argument("--name", help="the name under which clients ask for it (default: the model's)")
    init_.add_argument("--api-base", help="where the server is, for one of your own")
    init_.add_argument("--master-key", action="store_true", help="ask clients for a key, made up now (other machines may connect then)")
    init_.add_argument("--output", "-o", default="a2py.yaml", metavar="FILE", help="default: ./a2py.yaml")
    init_.add_argument("--force", action="store_true", help="replace a file that is there")
    init_.add_argument("--yes", "-y", action="store_true", help="ask nothing: defaults for what no flag says")
    show_ = commands.add_parser("show", help="the effective configuration, without its secrets").flags(options.SOURCE)
    show_.add_argument("--all", action="store_true", help="settings that nobody changed, too")
    show_.add_argument("--json", action="store_true", help="as JSON, for a program")
    check = commands.add_parser("validate", help="read a file and say what is wrong with it")
    check.add_argument("file", nargs="?", help="default: the one that a2py would read here")
    check.add_argument("--config", "-c", dest="config", help=argparse.SUPPRESS)
    check.add_argument("--strict", action="store_true", help="fail on warnings too")
    args = parser.read(argv)
    command: Callable[[argparse.Namespace, Terminal], int] = {"init": init, "show": show, "validate": validate}[args.what]
    return command(args, Terminal())


class _Sub(options.Parser):
    """A parser of a subcommand: argparse names it itself."""

    def __init__(self, **given: Any) -> None:
        prog = given.pop("prog", "a2py config")
        super().__init__("", given.pop("help", ""), **given)
        self.prog = prog


# -- init ----------------------------------------------------------------------------------------------------------------


def init(args: argparse.Namespace, shown: Terminal) -> int:
    path = os.path.abspath(args.output)
    if os.path.lexists(path) and not args.force:  # a link to nowhere too: it would be followed
        raise Stop(f"{args.output} is there already: --force replaces it, -o writes another", FAILED)
    ask = asker(args, shown)
    provider = ask("provider (openai for any compatible server)", args.provider, _likely_provider())
    row = PROVIDERS.get(provider)
    if row is None:
        from difflib import get_close_matches

        near = get_close_matches(provider, PROVIDERS, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(PROVIDERS)}"
        raise Stop(f"unknown provider {provider!r}; {hint}", USAGE)
    model = ask("model, as the provider calls it", args.model, row.default_model)
    if not model:
        raise Stop(f"{provider} has no default model: name one with --model", USAGE)
    base = args.api_base or ("" if row.base else ask("its URL, for example http://localhost:8000/v1", None, ""))
    if not base and not row.base:
        raise Stop(f"{provider} has no address of its own: give one with --api-base", USAGE)
    keyed = not row.key_optional and not (base and provider == "openai")
    master = f"sk-{secrets.token_urlsafe(24)}" if args.master_key else ""
    state.make_private(os.path.dirname(path))
    state.write(path, render(args.name or model, provider, model, base, row.keys[0] if keyed and row.keys else "", master), 0o600)
    shown.print(f"{args.output} written")
    _store_consent(path, shown)
    if keyed and row.keys and not any(os.environ.get(name) for name in row.keys):
        shown.print(f"now set its key: export {row.keys[0]}=… (or write that line into .env), then: a2py")
    else:
        shown.print("now: a2py" if args.output == "a2py.yaml" else f"now: a2py --config {args.output}")
    return OK


def _store_consent(path: str, shown: Terminal) -> None:
    """Store consent for a file that `init` wrote: the user chose its host. The keys need not be set yet, so all count as set."""
    keys = {name: "set" for row in PROVIDERS.values() for name in row.keys}
    pairs = load(path, {**process_env(), **keys}, os.path.dirname(path), untrusted=True).pairs
    try:
        if pairs:
            trust.approve(path, pairs)
    except Stop as stop:
        shown.warn(f"a2py will ask before it serves this file: {stop}")


def _likely_provider() -> str:
    return next(
        (row.name for row in PROVIDERS.values() if row.name != "anthropic" and any(os.environ.get(key) for key in row.keys)), "openai"
    )


def asker(args: argparse.Namespace, shown: Terminal) -> Callable[[str, str | None, str], str]:
    """A function (question, what a flag said, default) → answer; it asks on a terminal only."""
    silent = args.yes or not sys.stdin.isatty()

    def ask(question: str, given: str | None, default: str) -> str:
        if given is not None or silent:
            return given if given is not None else default
        shown.err.write(f"{question}{f' [{default}]' if default else ''}: ")
        shown.err.flush()
        return sys.stdin.readline().strip() or default

    return ask


def render(name: str, provider: str, model: str, base: str, variable: str, master: str) -> str:
    """The file's text. `variable`: holds the key, "" where none is needed; `master`: the key that clients must send, "" for none."""

    def plain(text: str) -> str:
        return json.dumps(text, ensure_ascii=False)  # a JSON string is a YAML string

    lines = [
        "# What a2py serves, in LiteLLM's format; every key: docs/configuration.md. `a2py config validate` checks it.",
        "model_list:",
        f"  - model_name: {plain(name)}  # what clients ask for; Claude Code's own claude-* names go to the first model that works",
        "    litellm_params:",
        f"      model: {plain(f'{provider}/{model}')}",
    ]
    if base:
        lines.append(f"      api_base: {plain(base)}")
    lines.append(
        f"      api_key: os.environ/{variable}  # the key itself stays in the environment or in .env"
        if variable
        else "      # api_key: os.environ/NAME"
    )
    lines += ["    # model_info:", "    #   max_input_tokens: 128000  # Claude Code compacts in time when it knows", ""]
    lines.append("general_settings:" if master else "# general_settings:")
    lines.append(
        f"  master_key: {plain(master)}"
        if master
        else "#   master_key: os.environ/LITELLM_MASTER_KEY  # needed as soon as other machines may connect"
    )
    lines += ["", "# a2py:"]
    for row in SETTINGS:
        own = next((path for path in row.paths if path.startswith("a2py.")), "")
        if own and row.kind == "set" and not row.attr.startswith("_"):
            default = json.dumps(list(row.default) if isinstance(row.default, (tuple, frozenset)) else row.default)
            lines.append(f"#   {own.removeprefix('a2py.')}: {default}  # {row.meaning}")
    return "\n".join(lines) + "\n"


# -- show ----------------------------------------------------------------------------------------------------------------

_NO_QUIRKS = Quirks()


def effective(config: Config, everything: bool) -> dict[str, Any]:
    """What is in effect, as plain data. Secrets: only whether they are set."""
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
    out: dict[str, Any] = {"name": dep.name, "id": dep.id, "upstream": f"{dep.provider}/{dep.model}", "base": dep.base, "wire": dep.wire}
    out["key"] = "set" if dep.key else "not set"
    quirks = {item.name: getattr(dep.quirks, item.name) for item in dataclasses.fields(dep.quirks)}
    out["quirks"] = {name: _plain(value) for name, value in quirks.items() if value != getattr(_NO_QUIRKS, name)}
    out["headers"] = sorted(dep.headers)
    out["extra_body"] = sorted(dep.extra_body)
    shown = {"name", "id", "provider", "model", "base", "wire", "key", "quirks", "headers", "extra_body", "query", "overrides"}
    for item in dataclasses.fields(dep):
        if item.name not in shown:
            default = (
                item.default
                if item.default is not dataclasses.MISSING
                else item.default_factory()
                if item.default_factory is not dataclasses.MISSING
                else None
            )
            value = getattr(dep, item.name)
            if value != default:
                out[item.name] = _plain(value)
    return {name: value for name, value in out.items() if value not in ({}, [], "")}


def _plain(value: Any) -> Any:
    if isinstance(value, (frozenset, set)):
        return sorted(value)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if hasattr(value, "items"):
        return {str(name): _plain(item) for name, item in value.items()}
    return value


def show(args: argparse.Namespace, shown: Terminal) -> int:
    source = running.local(args, process_env(), inspect=True)
    if source.config is None:
        shown.print(json.dumps({"source": source.what}) if args.json else f"# {source.what}")
        return OK
    told = effective(source.config, args.all)
    if args.json:
        shown.print(json.dumps({"source": source.what, **told}, indent=2, ensure_ascii=False))
        return OK
    shown.note(f"# from {source.what}")
    if source.unapproved:
        shown.warn(f"{source.what} sends what is not allowed yet: a2py trust --show")
    settings = told.pop("settings")
    for name, value in told.items():
        _print(shown, name, value, "")
    shown.print("settings:" if settings else "settings: {}")
    for name, setting in settings.items():
        shown.print(f"  {name}: {json.dumps(setting['value'], ensure_ascii=False)}" + shown.style(f"  # {setting['from']}", "dim"))
    return OK


def _print(shown: Terminal, name: str, value: Any, indent: str) -> None:
    """YAML, of values that are plain."""
    if isinstance(value, dict) and value:
        shown.print(f"{indent}{name}:")
        for key, item in value.items():
            _print(shown, key, item, indent + "  ")
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        shown.print(f"{indent}{name}:")
        for item in value:
            for n, (key, inner) in enumerate(item.items()):
                _print(shown, key, inner, indent + ("  - " if n == 0 else "    "))
    else:
        shown.print(f"{indent}{name}: {json.dumps(value, ensure_ascii=False)}")


# -- validate ------------------------------------------------------------------------------------------------------------


def validate(args: argparse.Namespace, shown: Terminal) -> int:
    config = load(args.file or args.config, process_env(), os.getcwd())
    for warning in config.warnings:
        shown.warn(warning)
    broken = [dep for dep in config.deployments if dep.problem]
    for dep in broken:
        shown.error(dep.problem)
    count = len(config.deployments)
    told = f"{counted(count, 'model')}, {len(broken)} that can't work, {counted(len(config.warnings), 'warning')}"
    shown.print(f"{', '.join(config.sources)}: {told}")
    return FAILED if broken or not count or (args.strict and config.warnings) else OK
