"""Find the a2py that is running, or describe the one that would: its URL, its key, its models.

Knows: the health page, the models list, flags. Must not know: how either is served.
Invariants: a server is used only if it says that it is an a2py and accepts our key.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from a2py.cli import http, options
from a2py.cli.clientenv import SMALLEST_WINDOW, Target
from a2py.cli.exits import UNAVAILABLE, Stop
from a2py.cli.record import read_running
from a2py.cli.source import Source, choose, master_key
from a2py.cli.summary import describe_target, own_url
from a2py.config import Config, ConfigError
from a2py.config.bases import is_local_or_ip
from a2py.deployment import Deployment
from a2py.errors import ApiError

URL = options.Flag(("--url",), "the running proxy (default: the one on $HOST:$PORT, 127.0.0.1:4000)", metavar="URL")

#: Seconds that a local server may take to say how many tokens it reads.
WINDOW_SECONDS = 3.0


def find_url(args: argparse.Namespace, env: Mapping[str, str]) -> str:
    """Return the URL at which to look for a running a2py.

    In this order: --url, $A2PY_URL, host and port if any is set, the proxy in the background, the default port."""
    url = getattr(args, "url", None) or env.get("A2PY_URL", "").strip()
    if url:
        url = url if "://" in url else f"http://{url}"
        return str(url.rstrip("/").removesuffix("/v1"))
    host, port = getattr(args, "host", None) or env.get("HOST", "").strip(), getattr(args, "port", None) or _port(env)
    record = read_running() if not host and not port else None
    return record.url if record is not None else own_url(host or options.HOST, port or options.PORT)


def _port(env: Mapping[str, str]) -> int:
    try:
        return options.port(env.get("PORT", "").strip())
    except argparse.ArgumentTypeError:
        return 0


def choose_source(args: argparse.Namespace, env: Mapping[str, str], *, inspect: bool = False) -> Source:
    """Return what `a2py serve` would serve here. `inspect`: the caller sends nothing, so no consent is needed."""
    return choose(args, env, os.getcwd(), inspect=inspect)


async def find_windows(deployments: Sequence[Deployment]) -> list[int]:
    """Return the contexts of the deployments in tokens, 0 if unknown: as configured, else as a local server says
    (Ollama, vLLM, llama.cpp …). Deployments that cannot work are not asked."""
    from a2py.cli.facts import gather
    from a2py.upstream import Upstream

    upstream = Upstream()

    async def find(dep: Deployment) -> int:
        is_local = dep.quirks.context_probe or is_local_or_ip(urlsplit(dep.base).netloc)
        if dep.max_input_tokens or dep.problem or not is_local:
            return dep.max_input_tokens
        return (await gather(upstream, dep, WINDOW_SECONDS)).context

    try:
        return await asyncio.gather(*map(find, deployments))
    finally:
        await upstream.close()


async def measure_target(target: Target, config: Config) -> Target:
    """Return `target` with the context that its model really has."""
    try:
        dep = config.resolve(target.model or config.default_name)[0]
    except ApiError:
        return target
    if target.is_routed and target.window:
        return target
    return replace(target, window=(await find_windows([dep]))[0])


def describe_small_window(target: Target) -> str:
    """Return what to tell the user if the context is too small for Claude Code, "" if it is large enough or unknown."""
    if not 0 < target.window < SMALLEST_WINDOW:
        return ""
    return (
        f"{target.model or 'The default model'} has a context of {target.window:,} tokens, "
        "too small for Claude Code: give it "
        f"{SMALLEST_WINDOW:,} or more (Ollama: OLLAMA_CONTEXT_LENGTH=65536; other servers: their own setting, and "
        "model_info.max_input_tokens)"
    )


def configure_target(args: argparse.Namespace, env: Mapping[str, str], url: str, *, inspect: bool = False) -> Target:
    """Return a target at `url` as the configuration here describes it.

    `inspect`: do not ask for consent. A configuration without consent sends nothing."""
    source = choose_source(args, env, inspect=inspect)
    if source.config is None:
        return Target(url, own_key(env, master_key(None, env, os.getcwd())), "demo", ("demo",))
    target = describe_target(source.config, url)
    target = replace(target, token=own_key(env, target.token))
    return target if source.unapproved_pairs else asyncio.run(measure_target(target, source.config))


def is_a2py(url: str) -> bool:
    """Return whether an a2py answers at `url`."""
    answer = http.ask(url + "/health/liveliness", timeout=1)
    page = answer.json() if answer is not None else None
    return isinstance(page, dict) and page.get("name") == "a2py"


def find_answering(url: str, key: str, model: str = "") -> Target | None:
    """Return the a2py at `url` with what it serves, None if there is none or it asks for another key.

    `model`: the one to use, if it is served there."""
    if not is_a2py(url):
        return None
    answer = http.ask(url + "/v1/models?limit=1000", headers=http.authorization(key))
    body = answer.json() if answer is not None and answer.status == 200 else None
    rows = body.get("data") if isinstance(body, dict) else None
    return _read_models(Target(url, key), rows, model) if isinstance(rows, list) else None


def _read_models(target: Target, rows: list[Any], model: str) -> Target:
    """Return `target` with the models that it lists, and the limits of the one to use."""
    # An id may be an invented spelling for clients that accept claude-* names only; display_name is the served name.
    row_of: dict[str, dict[str, Any]] = {}
    for row in rows:
        if isinstance(row, dict) and isinstance(row.get("id"), str):
            row_of.setdefault(str(row.get("display_name") or row["id"]), row)
    names = tuple(row_of)
    name = model if model in row_of else next(iter(names), "")
    limits = map(row_of.get(name, {}).get, ("max_input_tokens", "max_tokens"))
    window, output = (limit if isinstance(limit, int) else 0 for limit in limits)
    return replace(target, model=name, names=names, window=window, output=output)


def own_key(env: Mapping[str, str], master: str) -> str:
    """Return the key that a2py's commands send: $A2PY_KEY, else the `master` key."""
    return env.get("A2PY_KEY", "").strip() or master


def find_key(args: argparse.Namespace, env: Mapping[str, str]) -> str:
    """Return the key for the a2py that is running: $A2PY_KEY, else the master key of the configuration here, else that
    of the environment; "" if there is none."""
    try:
        config = choose_source(args, env, inspect=True).config
    except ConfigError:
        config = None
    return own_key(env, master_key(config, env, os.getcwd()) or master_key(None, env, os.getcwd()))


def find_running(args: argparse.Namespace, env: Mapping[str, str]) -> Target | None:
    """Return the running a2py with the model and key that the configuration here knows for it.

    Its limits are what it says itself: it may have learned the context from its server, and a proxy elsewhere may have
    another configuration. What it does not say is as the configuration here knows it."""
    url = find_url(args, env)
    try:
        expected: Target | None = configure_target(args, env, url, inspect=True)
    except ConfigError:
        expected = None  # a broken file here says nothing about the proxy that is running
    if expected is None:
        return find_answering(url, own_key(env, master_key(None, env, os.getcwd())))
    target = find_answering(url, expected.token, expected.model)
    if target is not None and expected.is_routed:
        return replace(target, model="", window=expected.window, output=expected.output, is_routed=True)
    if target is None or target.model != expected.model:
        return target
    return replace(target, window=target.window or expected.window, output=target.output or expected.output)


def require_running(args: argparse.Namespace, env: Mapping[str, str]) -> Target:
    """Return the running a2py. Raise Stop if there is none."""
    target = find_running(args, env)
    if target is None:
        raise Stop(
            f"no a2py answers at {find_url(args, env)} (or it asks for another key: set A2PY_KEY): "
            "start one with `a2py`, or name it with --url",
            UNAVAILABLE,
        )
    return target
