"""`a2py config init`: write a first configuration file.

Knows: providers, the settings table, the models list of an OpenAI-compatible server. Must not know: how a file is read.
Invariants: a file that exists is replaced only with --force; the file is written with mode 0600; a key is never
written, only the name of its variable.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from a2py.cli import consent, http, state
from a2py.cli.exits import FAILED, OK, USAGE, Stop
from a2py.cli.source import read_environment
from a2py.cli.terminal import Terminal, on_terminal
from a2py.config import SETTINGS, load
from a2py.providers import PROVIDERS, Provider

#: How many models of a server's list are shown.
MAX_MODELS = 12
#: Statuses of a server that wants a key.
NEEDS_KEY = (401, 403)
#: (question, value of its flag, default) → answer.
Ask = Callable[[str, "str | None", str], str]


class Server(NamedTuple):
    """A server at an address that the user named. `status`: of its models list, 0 if nobody answers."""

    base: str
    status: int = 0
    models: tuple[str, ...] = ()


def init(args: argparse.Namespace, terminal: Terminal) -> int:
    path = os.path.abspath(args.output)
    if os.path.lexists(path) and not args.force:  # also a dangling link, which writing would follow
        raise Stop(f"{args.output} exists: --force replaces it, -o writes another file", FAILED)
    ask = asker(args, terminal)
    row = _choose_provider(args, ask)
    provider, base = row.name, _choose_address(args, ask, row)
    server = Server(base)
    if base and args.model is None:
        server = describe_server(base, terminal)
    model = ask("model, as the provider calls it", args.model, server.models[0] if server.models else row.default_model)
    if not model:
        raise Stop(f"{provider} has no default model: name one with --model", USAGE)
    variable = _choose_variable(ask, row, server)
    master = f"sk-{secrets.token_urlsafe(24)}" if args.master_key else ""
    state.make_private(os.path.dirname(path))
    state.write(path, render(args.name or model, f"{provider}/{model}", server.base, variable, master), 0o600)
    terminal.print(f"{args.output} written")
    _store_consent(path, variable, terminal)
    start = "a2py" if args.output == "a2py.yaml" else f"a2py --config {args.output}"
    if variable and not any(os.environ.get(name) for name in {variable, *row.keys}):
        terminal.print(f"next, set its key: export {variable}=… (or write that line into .env), then run: {start}")
    else:
        terminal.print(f"next: {start}")
    return OK


def _choose_variable(ask: Ask, row: Provider, server: Server) -> str:
    """Return the variable that holds the key, "" if none is needed. `server`: the user's own, or none."""
    needs_key = not row.key_optional and not (server.base and row.name == "openai")
    variable = row.keys[0] if needs_key and row.keys else ""
    if not variable and server.status in NEEDS_KEY:
        variable = ask("environment variable that holds its key", None, row.keys[0] if row.keys else "OPENAI_API_KEY")
    return variable


def _choose_provider(args: argparse.Namespace, ask: Ask) -> Provider:
    """Return the row of the provider that the user names. Raise Stop if it is unknown."""
    provider = ask("provider (openai for any compatible server)", args.provider, _likely_provider())
    row = PROVIDERS.get(provider)
    if row is None:
        from difflib import get_close_matches

        near = get_close_matches(provider, PROVIDERS, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(PROVIDERS)}"
        raise Stop(f"unknown provider {provider!r}; {hint}", USAGE)
    return row


def _choose_address(args: argparse.Namespace, ask: Ask, row: Provider) -> str:
    """Return the address of the user's own server, "" for the provider's own. Raise Stop if there is neither."""
    base = args.api_base or ""
    if not base and (row.name == "openai" or not row.base):
        note = " (Enter: OpenAI itself)" if row.base else ""
        base = ask(f"address of the server, for example http://localhost:8000/v1{note}", None, "")
    if not base and not row.base:
        raise Stop(f"{row.name} has no default address: name one with --api-base", USAGE)
    return str(base)


def describe_server(address: str, terminal: Terminal) -> Server:
    """Ask the server at `address` for its models, tell the user, and return what it said.

    A missing scheme or /v1 is added if the server answers there."""
    base = (address if "://" in address else f"http://{address}").rstrip("/")
    bases = [base] if urlsplit(base).path else [f"{base}/v1", base]
    servers = [list_models(each) for each in bases]
    server = next((server for server in servers if server.models), max(servers, key=lambda server: server.status > 0))
    if server.models:
        more = f" and {len(server.models) - MAX_MODELS} more" if len(server.models) > MAX_MODELS else ""
        terminal.note(f"{server.base} lists: {', '.join(server.models[:MAX_MODELS])}{more}")
    elif server.status in NEEDS_KEY:
        terminal.note(f"{server.base} needs a key to list its models (status {server.status})")
    elif server.status:
        terminal.note(f"{server.base} answers, but has no models list (status {server.status})")
    else:
        terminal.warn(f"no server answers at {server.base} yet: check the address, or start the server before a2py")
    return server


def list_models(base: str) -> Server:
    """Return the names in the models list at `base`. The request carries no key: the server is not trusted yet."""
    answer = http.ask(f"{base}/models")
    if answer is None:
        return Server(base)
    body = answer.json() if answer.status == 200 else None
    rows = body.get("data") if isinstance(body, dict) else None
    names = [row.get("id") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return Server(base, answer.status, tuple(name for name in names if isinstance(name, str) and name))


def _store_consent(path: str, variable: str, terminal: Terminal) -> None:
    """Store consent for a file that `init` wrote: the user chose its host.

    The keys may not be set yet, so all count as set."""
    keys = {name: "set" for row in PROVIDERS.values() for name in row.keys}
    keys.update({variable: "set"} if variable else {})
    pairs = load(path, {**read_environment(), **keys}, os.path.dirname(path), is_untrusted=True).pairs
    try:
        if pairs:
            consent.approve(path, pairs)
    except Stop as stop:
        terminal.warn(f"a2py will ask before it serves this file: {stop}")


def _likely_provider() -> str:
    """Return the first provider whose key is set, else openai."""
    rows = (row for row in PROVIDERS.values() if row.name != "anthropic")
    return next((row.name for row in rows if any(os.environ.get(key) for key in row.keys)), "openai")


def asker(args: argparse.Namespace, terminal: Terminal) -> Ask:
    """Return a function that asks on a terminal, and otherwise returns the flag's value or the default."""
    is_silent = args.yes or not on_terminal()

    def ask(question: str, flag: str | None, default: str) -> str:
        if flag is not None or is_silent:
            return flag if flag is not None else default
        terminal.prompt(f"{question}{f' [{default}]' if default else ''}: ")
        return sys.stdin.readline().strip() or default

    return ask


def render(name: str, model: str, base: str, variable: str, master: str) -> str:
    """Return the file's text.

    `model`: `provider/model`. `variable`: the variable that holds the key, "" if none is needed. `master`: the key that
    clients must send, "" for none."""

    def quote(text: str) -> str:
        return json.dumps(text, ensure_ascii=False)  # a JSON string is a YAML string

    comment = "# what clients ask for; Claude Code's own claude-* names go to the first model that works"
    lines = [
        "# What a2py serves, in LiteLLM's format; every key: docs/configuration.md. `a2py config validate` checks it.",
        "model_list:",
        f"  - model_name: {quote(name)}  {comment}",
        "    litellm_params:",
        f"      model: {quote(model)}",
    ]
    if base:
        lines.append(f"      api_base: {quote(base)}")
    if variable:
        lines.append(f"      api_key: os.environ/{variable}  # the key itself stays in the environment or in .env")
    else:
        lines.append("      # api_key: os.environ/NAME")
    lines += ["    # model_info:", "    #   max_input_tokens: 128000  # lets Claude Code compact in time", ""]
    if master:
        lines += ["general_settings:", f"  master_key: {quote(master)}"]
    else:
        lines += ["# general_settings:"]
        lines += ["#   master_key: os.environ/LITELLM_MASTER_KEY  # needed as soon as other machines may connect"]
    lines += ["", "# a2py:"]
    for row in SETTINGS:
        own = next((path for path in row.paths if path.startswith("a2py.")), "")
        if own:
            default = json.dumps(list(row.default) if isinstance(row.default, (tuple, frozenset)) else row.default)
            lines.append(f"#   {own.removeprefix('a2py.')}: {default}  # {row.meaning}")
    return "\n".join(lines) + "\n"
