"""`a2py keys`: make, list, revoke and rotate the keys of clients in keys.yaml.

Knows: flags, the file's place, how a key is made. Must not know: how a key is checked (proxy/keys.py), YAML.
Invariants: a key is printed once, alone on standard output, and written nowhere; one process at a time changes the
file; a file with a mistake is not changed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any

from a2py.budget import parse_budget
from a2py.caller import MASTER, Caller
from a2py.cli import options, state
from a2py.cli.exits import CONFIG, FAILED, OK, USAGE, Stop
from a2py.cli.source import read_environment
from a2py.cli.terminal import Terminal
from a2py.config import Config, ConfigError, load
from a2py.config import key_edits as edits
from a2py.config.dotenv import find_keys, locate
from a2py.config.keys import NAME, NAME_RULE, Key, parse_expiry, parse_keys
from a2py.patterns import overlap

EXAMPLES = (
    "a2py keys new alice                                    prints the key, once",
    "a2py keys new ci --models gpt-5,claude-* --rpm 60 --expires 2027-01-31",
    "a2py keys new bob --budget 20/day                      US dollars; hour, day, week, month or total (UTC)",
    "a2py keys list",
    "a2py keys rotate alice                                 another key, with the same limits",
    "a2py keys revoke bob",
)
#: Random bytes of a key.
BYTES = 32
#: Names of models without a price that a warning shows.
MAX_NAMED = 5
HEAD = ("key", "models", "limits", "budget", "spent", "state")


def parser(name: str) -> options.Parser:
    out = options.Parser(name, "Make, list, revoke and rotate the keys of clients.", EXAMPLES)
    commands = out.add_subparsers(
        dest="what", required=True, metavar="new|list|revoke|rotate", parser_class=options.SubcommandParser
    )
    new = commands.add_parser("new", help="make a key, and print it once")
    new.add_argument("name", metavar="NAME", help="whose key it is; `a2py usage --by key` shows it")
    new.add_argument("--models", metavar="NAMES", help="the only models that it may ask for: a,b,claude-*")
    new.add_argument("--rpm", type=options.positive, metavar="N", help="requests a minute")
    new.add_argument("--tpm", type=options.positive, metavar="N", help="tokens a minute")
    new.add_argument("--max-parallel", type=options.positive, metavar="N", help="requests at a time")
    new.add_argument("--budget", type=_budget, metavar="N/PERIOD", help="US dollars an hour, day, week, month or total")
    new.add_argument("--expires", type=_expiry, metavar="DATE", help="to the end of this day (UTC), or a time")
    new.add_argument("--admin", action="store_true", help="may also read the usage of all keys, /metrics and the page")
    list_ = commands.add_parser("list", help="show all keys with their limits, and what they have spent")
    list_.add_argument("--json", action="store_true", help="as JSON, for a program")
    revoke = commands.add_parser("revoke", help="refuse a key from now on")
    rotate = commands.add_parser("rotate", help="replace a key by a new one with the same limits, and print it once")
    for one in (revoke, rotate):
        one.add_argument("name", metavar="NAME", help="of the key")
    for one in (new, list_, revoke, rotate):
        one.add_argument(
            "--config",
            "-c",
            type=options.text,
            metavar="FILE",
            help="the configuration: the keys are in keys.yaml beside it",
        )
    return out


def run(name: str, argv: list[str]) -> int:
    args = parser(name).read(argv)
    commands: dict[str, Callable[[argparse.Namespace, Terminal], int]] = {
        "new": new,
        "list": show,
        "revoke": revoke,
        "rotate": rotate,
    }
    return commands[args.what](args, Terminal())


def _budget(text: str) -> str:
    try:
        return str(parse_budget(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no budget: {error}") from None


def _expiry(text: str) -> str:
    try:
        if parse_expiry(text) <= time.time():
            raise argparse.ArgumentTypeError(f"{text!r} is over")
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no date: {error}") from None
    return text.strip()


# -- commands ----------------------------------------------------------------------------------------------------------


def new(args: argparse.Namespace, terminal: Terminal) -> int:
    if not NAME.fullmatch(args.name) or args.name == MASTER.name:
        reason = "is the name of the master key" if args.name == MASTER.name else f"is no name ({NAME_RULE})"
        raise Stop(f"{args.name!r} {reason}: choose another", USAGE)
    models = _read_models(args.models)
    path, config = find_file(args), _load_config(args)
    if args.budget and config is not None and config.settings.ledger is False:
        raise Stop(
            "a budget needs the ledger, and `a2py: ledger` is false: nobody would know what the key has spent. Remove"
            " `ledger: false`, or leave out --budget",
            CONFIG,
        )
    token, fields = make_key(), {"created": _now()}
    fields = {"sha256": _digest(token), **_limits(args, models), **fields}
    with state.lock("keys"):
        text, keys = read_file(path)
        _refuse_existing(args.name, keys, path)
        _write(path, text, lambda: edits.add_key(text, args.name, fields))
    terminal.print_exact(token)
    terminal.note(f"{args.name}: written to {path}. The key above is shown only this once.")
    if not keys and (config is None or not config.master_key):
        terminal.note("It is the first key: from now on every client needs one.")
    if config is not None:
        caller = next(key.caller for key in read_file(path)[1] if key.caller.name == args.name)
        for warning in warnings_of(caller, config):
            terminal.warn(warning)
    return OK


def revoke(args: argparse.Namespace, terminal: Terminal) -> int:
    path = find_file(args)
    with state.lock("keys"):
        text, keys = read_file(path)
        if not _find(args.name, keys, path).is_revoked:
            _write(path, text, lambda: edits.set_fields(text, args.name, {"revoked": _now()}))
    terminal.note(f"{args.name} is revoked in {path}. A running proxy refuses it within a second.")
    return OK


def rotate(args: argparse.Namespace, terminal: Terminal) -> int:
    path, token = find_file(args), make_key()
    with state.lock("keys"):
        text, keys = read_file(path)
        key = _find(args.name, keys, path)
        if key.is_revoked:
            raise Stop(f"{args.name} is revoked: make another key, or remove its line `revoked` from {path}", FAILED)
        if key.caller.is_expired(time.time()):
            raise Stop(f"{args.name} has expired: make another key, or change its line `expires` in {path}", FAILED)
        fields = {"sha256": _digest(token), "rotated": _now()}
        _write(path, text, lambda: edits.set_fields(text, args.name, fields))
    terminal.print_exact(token)
    terminal.note(f"{args.name}: written to {path}. The old key is refused; the one above is shown only this once.")
    return OK


def show(args: argparse.Namespace, terminal: Terminal) -> int:
    path = find_file(args)
    keys, now = read_file(path)[1], time.time()
    config = _load_config(args)
    spent = read_spent(_ledger_path(config), keys, now, terminal)
    if args.json:
        rows = [_describe(key, spent.get(key.caller.name), now) for key in keys]
        terminal.print_exact(json.dumps(rows, indent=2))
    elif keys:
        terminal.print(terminal.table([_cells(key, spent.get(key.caller.name), now) for key in keys], HEAD))
        if config is not None and config.redis is not None and any(key.caller.budget for key in keys):
            terminal.note(
                "spent: what this machine's ledger has. Budgets count what all replicas at"
                f" {config.redis.label} have spent."
            )
    else:
        terminal.note(f"no keys in {path}: make one with `a2py keys new NAME`")
    return OK


# -- the file ----------------------------------------------------------------------------------------------------------


def find_file(args: argparse.Namespace) -> str:
    """Return the path of keys.yaml: beside the configuration that a2py would read here."""
    env, cwd = read_environment(), os.getcwd()
    config_file = locate(args.config, env, cwd)
    if config_file is not None and not os.path.isfile(config_file.path):
        raise Stop(f"there is no configuration {config_file.path}: correct its name", CONFIG)
    path = find_keys(config_file.path if config_file is not None else None, env)
    if not path:
        raise Stop("there is no home directory for keys.yaml: name a configuration with --config", CONFIG)
    return path


def read_file(path: str) -> tuple[str, tuple[Key, ...]]:
    """Return the text of keys.yaml and its keys, nothing without a file. Raise ConfigError for a mistake."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return "", ()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Stop(f"{path} can't be read: {reason}. Run this as its owner, or correct its rights", FAILED) from None
    return data.decode("utf-8", "replace"), parse_keys(data, path)


def _write(path: str, text: str, edit: Callable[[], str]) -> None:
    """Replace the file by what `edit` makes of its text."""
    try:
        new_text = edit()
        parse_keys(new_text.encode(), path)
    except edits.CannotEdit as error:
        raise Stop(
            f"{path} has a form that a2py can't change ({error}): write it as docs/keys.md shows", FAILED
        ) from None
    if not text:
        state.make_private(os.path.dirname(path))
    state.write(path, new_text)


def _find(name: str, keys: Sequence[Key], path: str) -> Key:
    for key in keys:
        if key.caller.name == name:
            return key
    names = ", ".join(key.caller.name for key in keys) or "none"
    raise Stop(f"there is no key {name!r} in {path} (there are: {names}): make one with `a2py keys new`", FAILED)


def _refuse_existing(name: str, keys: Sequence[Key], path: str) -> None:
    for key in keys:
        if key.caller.name == name:
            state, cure = "", f"`a2py keys rotate {name}` replaces it"
            if key.is_revoked:
                state, cure = " (revoked)", "choose another name"
            elif key.caller.is_expired(time.time()):
                state, cure = " (expired)", f"choose another name, or change its line `expires` in {path}"
            raise Stop(f"there is a key {name} already{state}: {cure}", FAILED)


def make_key() -> str:
    """Return a new key: `sk-` and 256 random bits."""
    return f"sk-{secrets.token_urlsafe(BYTES)}"


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _read_models(text: str | None) -> list[str]:
    if text is None:
        return []
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or not all(map(str.isprintable, names)):
        raise Stop(f"--models {text!r}: write names with commas, for example gpt-5,claude-*", USAGE)
    return names


def _limits(args: argparse.Namespace, models: Sequence[str]) -> dict[str, str]:
    """Return the fields of keys.yaml that the flags set."""
    values = {
        "models": f"[{', '.join(map(edits.quote, models))}]" if models else "",
        "rpm": args.rpm,
        "tpm": args.tpm,
        "max_parallel": args.max_parallel,
        "budget": args.budget,
        "expires": edits.quote(args.expires) if args.expires else "",
        "admin": "true" if args.admin else "",
    }
    return {field: str(value) for field, value in values.items() if value}


# -- what is said ------------------------------------------------------------------------------------------------------


def _load_config(args: argparse.Namespace) -> Config | None:
    """Return the configuration beside the keys, None if there is none that can be read: it is only for warnings."""
    env, cwd = read_environment(), os.getcwd()
    config_file = locate(args.config, env, cwd)
    try:
        return (
            load(config_file.path, env, cwd, is_untrusted=config_file.is_untrusted) if config_file is not None else None
        )
    except ConfigError:
        return None


def warnings_of(caller: Caller, config: Config) -> Iterator[str]:
    """Yield what about a key can't work with this configuration."""
    for name in caller.models:
        if not is_served(name, config):
            yield f"no model of the configuration is named {name}: correct `models` in keys.yaml, or add the model"
    if caller.budget is None:
        return
    from a2py.ledger.prices import PriceList

    prices = PriceList()
    own = {one.name for one in config.deployments if caller.lists(one.name)}
    own.update(one.name for name in caller.models for one in config.find(find_example(name)))
    deployments = (one for one in config.deployments if one.name in own and not prices.is_complete(one))
    names = list(dict.fromkeys(one.name for one in deployments))
    if names:
        yield (
            f"no price is known for {', '.join(names[:MAX_NAMED])}, so that a key with a budget can't"
            " ask for it: set `input_cost_per_token` and `output_cost_per_token` in `a2py: prices:` (0 if it costs"
            " nothing)"
        )


def is_served(name: str, config: Config) -> bool:
    """Return whether this configuration has the name or, of a pattern, any name that it takes."""
    if config.find(find_example(name)):
        return True
    names = (*(one.name for one in config.deployments), *config.aliases, *config.list_names())
    return "*" in name and any(overlap(name, each) for each in names)


def find_example(name: str) -> str:
    """Return a name that the pattern `name` takes and that no file has: an unknown `claude-…`, which goes to the
    default model, if it takes one."""
    return "claude-x" if "*" in name and overlap(name, "claude-*") else name.replace("*", "x")


def _ledger_path(config: Config | None) -> str:
    """Return the path of the ledger of this configuration, "" if it keeps none."""
    ledger = config.settings.ledger if config is not None else True
    if ledger is False:
        return ""
    return os.path.expanduser(ledger) if isinstance(ledger, str) else state.ledger_path(os.environ)


def read_spent(path: str, keys: Sequence[Key], now: float, terminal: Terminal) -> dict[str, float]:
    """Return what each key with a budget has spent in its period, as the ledger has it."""
    if not any(key.caller.budget for key in keys) or not os.path.exists(path):
        return {}
    try:
        import sqlite3
    except ImportError:
        return {}
    from a2py.ledger.query import sum_spent

    try:
        return sum_spent(path, [key.caller for key in keys], now)
    except (sqlite3.Error, OSError) as error:
        if "no such table" not in str(error):  # written before there were budgets
            terminal.error(f"the ledger {path} can't be read: {error}. {state.LEDGER_CURE}")
        return {}


def _state(key: Key, now: float) -> str:
    expires = key.caller.expires
    if key.is_revoked:
        return "revoked"
    if expires:
        date = time.strftime("%Y-%m-%d %H:%M", time.gmtime(expires))
        return f"expired {date} UTC" if key.caller.is_expired(now) else f"until {date} UTC"
    return "valid"


def _cells(key: Key, spent: float | None, now: float) -> list[str]:
    caller = key.caller
    limits = [("rpm", caller.rpm), ("tpm", caller.tpm), ("max_parallel", caller.max_parallel)]
    return [
        caller.name + (" (admin)" if caller.is_admin else ""),
        ", ".join(caller.models) or "all",
        ", ".join(f"{name} {value:,}" for name, value in limits if value) or "-",
        str(caller.budget) if caller.budget is not None else "-",
        f"{spent or 0:.4f}" if caller.budget is not None else "-",
        _state(key, now),
    ]


def _describe(key: Key, spent: float | None, now: float) -> dict[str, Any]:
    """Return a key for a program. Times are seconds since the epoch, null for never."""
    caller, budget = key.caller, key.caller.budget
    end = budget.find_end(now) if budget is not None else math.inf
    return {
        "name": caller.name,
        "admin": caller.is_admin,
        "models": list(caller.models),
        "rpm": caller.rpm,
        "tpm": caller.tpm,
        "max_parallel": caller.max_parallel,
        "budget": budget.amount if budget is not None else None,
        "period": budget.period if budget is not None else None,
        "spent": (spent or 0.0) if budget is not None else None,
        "renews": end if math.isfinite(end) else None,
        "expires": caller.expires or None,
        "revoked": key.is_revoked,
    }
