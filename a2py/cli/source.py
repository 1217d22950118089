"""Choose what is served: a file, one model from flags, the keys in the environment, an Ollama, or the demo, in this
order.

Knows: flags and a2py.config. Must not know: how anything is served.
Invariants:
- Nothing is started here. The demo's Config needs the demo's address, so a `Source` without a config means the demo.
- A file that is only found in the working folder, not named, is returned only if the user consents to what it sends,
  unless the caller only inspects it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from a2py.cli import consent, ollama
from a2py.cli.exits import CONFIG, USAGE, Stop
from a2py.config import Config, ConfigError, environment, from_environment, load, single
from a2py.config.assemble import is_switched_on
from a2py.config.dotenv import locate, read_dotenv
from a2py.config.pairs import Pair, Use

#: Flags that need --model.
_MODEL_FLAGS = ("alias", "api_base", "api_key", "api_version", "max_tokens", "temperature")
#: How to get a real model instead of the demo.
CURE = (
    "set a key (OPENAI_API_KEY, DEEPSEEK_API_KEY, OPENROUTER_API_KEY, … in the environment or in .env)",
    "or start Ollama",
    "or write a file: a2py config init",
)


@dataclass(frozen=True)
class Source:
    """`config` None: the demo. `what`: where the configuration comes from, for people. `again`: reads it again; None:
    there is nothing to read. `unapproved_pairs`: what it would send without consent; empty unless the caller only
    inspects."""

    config: Config | None
    what: str
    again: Callable[[], Config] | None = None
    unapproved_pairs: Mapping[Pair, Use] = field(default_factory=dict)


def read_environment() -> dict[str, str]:
    """Return the environment, and what the file `env` in $CREDENTIALS_DIRECTORY adds to it.

    The file has the form of a .env. It comes from systemd (LoadCredential=env:…) or is a container's secret."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not directory:
        return dict(os.environ)
    try:
        with open(os.path.join(directory, "env"), encoding="utf-8") as file:
            values = read_dotenv(file.read(), "credential env", os.environ, lambda _: None)
    except PermissionError:
        raise Stop(
            f"{os.path.join(directory, 'env')} can't be read by this user"
            + (f" ({os.getuid()})" if hasattr(os, "getuid") else "")
            + ": it contains the keys; give it to this user, or let others read it (chmod 444, in a directory "
            "with mode 0700)",
            CONFIG,
        ) from None
    except (OSError, UnicodeDecodeError):
        values = {}
    return {**values, **os.environ}


def choose(
    args: argparse.Namespace,
    env: Mapping[str, str],
    cwd: str,
    look: Callable[[Mapping[str, str]], ollama.Ollama | None] = ollama.find,
    *,
    inspect: bool = False,
) -> Source:
    """Return the source that `args` and `env` ask for. `env` does not contain .env, which is read here.

    Raise ConfigError for a file with a mistake, and Stop for a file that needs consent and does not get it. `inspect`:
    the caller sends nothing, so no consent is needed; see `Source.unapproved_pairs`. `look`: finds an Ollama."""
    check_model_flags(args)
    if args.demo:
        return Source(None, "the demo model, as --demo asks")
    if args.model:
        return Source(apply_flags(_single(args, env, cwd), args), f"--model {args.model}")
    config_file = locate(args.config, env, cwd)
    if config_file is not None:
        path, is_untrusted = config_file

        def read(ask: bool) -> Config:
            config = load(path, env, cwd, is_untrusted=is_untrusted)
            if not inspect:
                consent.require(config, path, ask=ask)
            return apply_flags(config, args)

        config, name = read(True), path.removeprefix(os.path.join(cwd, ""))
        return Source(config, name, lambda: read(False), consent.list_unapproved(config, path) if inspect else {})
    notes: list[str] = []
    variables = environment(env, cwd, notes.append)
    config_from_keys = from_environment(variables)
    if config_from_keys is not None:
        what = "the models that the environment names" if config_from_keys.has_choice else "the keys in the environment"
        return Source(apply_flags(_with_notes(config_from_keys, notes), args), what)
    server = look(variables)
    if server is not None:
        names = (server.model, *(name for name in server.names if name != server.model))
        if not variables.get("OLLAMA_API_BASE", "").strip():
            variables = variables.having("OLLAMA_API_BASE", server.base)
        config_from_ollama = from_environment(variables, names)
        if config_from_ollama is not None:
            return Source(apply_flags(_with_notes(config_from_ollama, notes), args), f"the Ollama at {server.base}")
    return Source(None, "the demo model: there is no file, no key in the environment and no Ollama")


def check_model_flags(args: argparse.Namespace) -> None:
    """Raise Stop for a flag that needs --model without it, and for --config or --demo with --model."""
    if not args.model:
        for name in _MODEL_FLAGS:
            if getattr(args, name) is not None:
                raise Stop(f"--{name.replace('_', '-')} needs --model", USAGE)
    elif args.demo or args.config:
        raise Stop(f"give either {'--demo' if args.demo else '--config'} or --model", USAGE)


def obtain_consent(args: argparse.Namespace, env: Mapping[str, str], cwd: str) -> None:
    """Ask for consent before starting a proxy that has no terminal. Raise Stop if the user does not consent."""
    config_file = None if args.demo or args.model else locate(args.config, env, cwd)
    if config_file is None or not config_file.is_untrusted:
        return
    try:
        config = load(config_file.path, env, cwd, is_untrusted=True)
    except ConfigError:
        return  # the proxy itself reports the mistake
    consent.require(config, config_file.path, ask=True)


def _single(args: argparse.Namespace, env: Mapping[str, str], cwd: str) -> Config:
    """Return the configuration of --model and its flags."""
    flags = {name: getattr(args, name) for name in (*_MODEL_FLAGS, "request_timeout")}
    notes: list[str] = []
    return _with_notes(single(args.model, env=environment(env, cwd, notes.append), **flags), notes)


def _with_notes(config: Config, notes: list[str]) -> Config:
    """Return `config` with the warnings from reading .env."""
    return replace(config, warnings=(*notes, *config.warnings)) if notes else config


def apply_flags(config: Config, args: argparse.Namespace) -> Config:
    """Return `config` with the settings that the command line overrides."""
    log_format = getattr(args, "log_format", None) or ""
    flags: dict[str, Any] = {
        "request_timeout": args.request_timeout,
        "capture_dir": getattr(args, "capture", None),
        "json_logs": {"json": True, "text": False}.get(log_format),
    }
    changes = {name: value for name, value in flags.items() if value is not None}
    has_flag = bool(getattr(args, "insecure", None))
    if not changes and not has_flag:
        return config
    return replace(config, settings=replace(config.settings, **changes), insecure=config.insecure or has_flag)


def master_key(config: Config | None, env: Mapping[str, str], cwd: str) -> str:
    """Return the key that clients must send. Without a Config (the demo), it comes from the environment and .env."""
    return config.master_key if config is not None else environment(env, cwd).get("LITELLM_MASTER_KEY", "").strip()


def is_insecure(config: Config | None, env: Mapping[str, str]) -> bool:
    """Return whether the configuration allows a public address without a master key. Without a Config (the demo), only
    the environment does."""
    return config.insecure if config is not None else is_switched_on(env, "insecure")
