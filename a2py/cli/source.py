"""What is served: a file, a one-liner, the keys in the environment, an Ollama, or the demo; in this order.

Knows: flags and a2py.config. Must not know: how anything is served.
Invariants: nothing is started here; the demo's Config needs its address, so a `Source` without a config stands for it; a file that was
merely found in the working folder is returned only with the user's consent to what it sends, unless the caller only inspects it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from a2py.cli import ollama, trust
from a2py.cli.exits import CONFIG, USAGE, Stop
from a2py.config import Config, ConfigError, environment, from_environment, load, single
from a2py.config.dotenv import locate, read_dotenv
from a2py.config.pairs import Pair, Use
from a2py.quirks import override

#: Flags that say something of --model and mean nothing without it.
_OF_MODEL = ("alias", "api_base", "api_key", "api_version", "max_tokens", "temperature")
#: The demo upstream takes thinking as `thinking: {type}`, and OpenAI's form of everything else.
DEMO_QUIRKS: Mapping[str, Any] = {"reasoning": "thinking_type"}
#: What a person may do who sees the demo and wants a model.
CURE = (
    "set a key (OPENAI_API_KEY, DEEPSEEK_API_KEY, OPENROUTER_API_KEY, … in the environment or in .env)",
    "or start Ollama",
    "or write a file: a2py config init",
)


@dataclass(frozen=True)
class Source:
    """`config` None: the demo. `what`: what decided, for the log; `again`: reads it anew (None: nothing to read); `unapproved`: what
    it would send without consent, always empty unless the caller only inspects."""

    config: Config | None
    what: str
    again: Callable[[], Config] | None = None
    unapproved: Mapping[Pair, Use] = field(default_factory=dict)


def process_env() -> dict[str, str]:
    """The environment, and below it the file `env` in $CREDENTIALS_DIRECTORY (systemd's LoadCredential=env:…, a container's secret), in the form of a .env."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not directory:
        return dict(os.environ)
    try:
        with open(os.path.join(directory, "env"), encoding="utf-8") as file:
            told = read_dotenv(file.read(), "credential env", os.environ, lambda _: None)
    except PermissionError:
        raise Stop(
            f"{os.path.join(directory, 'env')} can't be read by this user"
            + (f" ({os.getuid()})" if hasattr(os, "getuid") else "")
            + ": it holds the keys; give it to this user, or let others read it (chmod 444, in a directory that is 0700)",
            CONFIG,
        ) from None
    except (OSError, UnicodeDecodeError):
        told = {}
    return {**told, **os.environ}


def choose(
    args: argparse.Namespace,
    env: Mapping[str, str],
    cwd: str,
    look: Callable[[Mapping[str, str]], ollama.Ollama | None] = ollama.find,
    *,
    inspect: bool = False,
) -> Source:
    """The source that `args` and `env` (without .env, which is read here) ask for. ConfigError for a file with a mistake; Stop for one that
    needs consent and does not get it. `inspect`: the caller sends nothing, so no consent is needed; see `Source.unapproved`."""
    if not args.model:
        for name in _OF_MODEL:
            if getattr(args, name) is not None:
                raise Stop(f"--{name.replace('_', '-')} goes with --model", USAGE)
    if args.demo:
        return Source(None, "the demo model, as --demo asks")
    if args.model:
        if args.config:
            raise Stop("give either --config or --model", USAGE)
        return Source(_changed(_single(args, env, cwd), args), f"--model {args.model}")
    located = locate(args.config, env, cwd)
    if located is not None:
        path, untrusted = located

        def read(ask: bool) -> Config:
            config = load(path, env, cwd, untrusted=untrusted)
            if not inspect:
                trust.require(config, path, ask=ask)
            return _changed(config, args)

        config, shown = read(True), path.removeprefix(os.path.join(cwd, ""))
        return Source(config, shown, lambda: read(False), trust.unapproved(config, path) if inspect else {})
    notes: list[str] = []
    whole = environment(env, cwd, notes.append)
    of_keys = from_environment(whole)
    if of_keys is not None:
        return Source(_changed(_with_notes(of_keys, notes), args), "the keys in the environment")
    found = look(whole)
    if found is not None:
        names = (found.model, *(name for name in found.names if name != found.model))
        asked = whole if whole.get("OLLAMA_API_BASE", "").strip() else whole.having("OLLAMA_API_BASE", found.base)
        of_ollama = from_environment(asked, names)
        if of_ollama is not None:
            return Source(_changed(_with_notes(of_ollama, notes), args), f"the Ollama at {found.base}")
    return Source(None, "the demo model: there is no file, no key in the environment and no Ollama")


def obtain_consent(args: argparse.Namespace, env: Mapping[str, str], cwd: str) -> None:
    """Ask for consent before a proxy is started that has no terminal. Raise Stop if that proxy would be refused."""
    located = None if args.demo or args.model else locate(args.config, env, cwd)
    if located is None or not located.untrusted:
        return
    try:
        config = load(located.path, env, cwd, untrusted=True)
    except ConfigError:
        return  # the proxy reports it
    trust.require(config, located.path, ask=True)


def _single(args: argparse.Namespace, env: Mapping[str, str], cwd: str) -> Config:
    params = {name: getattr(args, name) for name in (*_OF_MODEL, "request_timeout")}
    notes: list[str] = []
    return _with_notes(single(args.model, env=environment(env, cwd, notes.append), **params), notes)


def _with_notes(config: Config, notes: list[str]) -> Config:
    """Return `config` with the warnings from reading .env."""
    return replace(config, warnings=(*notes, *config.warnings)) if notes else config


def _changed(config: Config, args: argparse.Namespace) -> Config:
    """`config` with what the command line says on top."""
    wanted: dict[str, tuple[Any, str]] = {
        "request_timeout": (args.request_timeout, "request_timeout"),
        "capture_dir": (getattr(args, "capture", None), "capture_dir"),
        "json_logs": ({"json": True, "text": False}.get(getattr(args, "log_format", None) or ""), "json_logs"),
    }
    changes = {name: value for value, name in wanted.values() if value is not None}
    if not changes and not getattr(args, "insecure", None):
        return config
    return replace(config, settings=replace(config.settings, **changes), insecure=config.insecure or bool(getattr(args, "insecure", None)))


def master_key(config: Config | None, env: Mapping[str, str], cwd: str) -> str:
    """The key that clients must send; without a Config (the demo's) that of the environment and .env."""
    return config.master_key if config is not None else environment(env, cwd).get("LITELLM_MASTER_KEY", "").strip()


def demo_config(base: str, context: int, args: argparse.Namespace) -> Config:
    """The configuration that serves the demo upstream at `base` under every name. Of the environment only the master key counts."""
    key = master_key(None, process_env(), os.getcwd())
    config = single(model="openai/demo", alias="demo", api_base=base, env={"LITELLM_MASTER_KEY": key})
    deployments = tuple(
        replace(
            dep,
            id="demo/demo",
            provider="demo",
            overrides=DEMO_QUIRKS,
            quirks=override(dep.quirks, dict(DEMO_QUIRKS)),
            max_input_tokens=context,
        )
        for dep in config.deployments
    )
    return _changed(replace(config, deployments=deployments, binders={}), args)
