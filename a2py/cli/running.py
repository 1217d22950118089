"""The a2py that runs already, and the one that would: which URL, which key, which models.

Knows: its health page, its models list, flags. Must not know: how either is served.
Invariants: what answers is only used if it says that it is an a2py and takes our key.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from a2py.cli import http, options
from a2py.cli.clientenv import SMALLEST_WINDOW, Target
from a2py.cli.exits import UNAVAILABLE, Stop
from a2py.cli.record import current
from a2py.cli.source import Source, choose, master_key
from a2py.cli.summary import own_url, target
from a2py.config import Config, ConfigError
from a2py.config.bases import local as local_base
from a2py.deployment import Deployment
from a2py.errors import ApiError

URL = options.Flag(("--url",), "the proxy that runs already (default: the one on $HOST:$PORT, 127.0.0.1:4000)", metavar="URL")

#: Seconds for a server of one's own to say how much it can read.
WINDOW_SECONDS = 3.0


def url_of(args: argparse.Namespace, env: Mapping[str, str]) -> str:
    """Where a running a2py is looked for: --url, $A2PY_URL, host and port where they are given, the one in the background, the usual port."""
    given = getattr(args, "url", None) or env.get("A2PY_URL", "").strip()
    if given:
        given = given if "://" in given else f"http://{given}"
        return str(given.rstrip("/").removesuffix("/v1"))
    host, port = getattr(args, "host", None) or env.get("HOST", "").strip(), getattr(args, "port", None) or _port(env)
    record = current() if not host and not port else None
    return record.url if record is not None else own_url(host or options.HOST, port or options.PORT)


def _port(env: Mapping[str, str]) -> int:
    try:
        return options.port(env.get("PORT", "").strip())
    except argparse.ArgumentTypeError:
        return 0


def local(args: argparse.Namespace, env: Mapping[str, str], *, inspect: bool = False) -> Source:
    """What `a2py serve` would serve here. `inspect`: the caller sends nothing, so no consent is needed."""
    return choose(args, env, os.getcwd(), inspect=inspect)


async def window(dep: Deployment) -> int:
    """The context of a deployment, in tokens: as configured, else what a server of one's own says (Ollama, vLLM, llama.cpp …); 0: unknown."""
    if dep.max_input_tokens or not (dep.quirks.context_probe or local_base(urlsplit(dep.base).netloc)):
        return dep.max_input_tokens
    from a2py.cli.check.facts import gather
    from a2py.upstream import Upstream

    upstream = Upstream()
    try:
        return (await gather(upstream, dep, WINDOW_SECONDS)).context
    finally:
        await upstream.close()


async def measured(aim: Target, config: Config) -> Target:
    """`aim` with the window that its model really has."""
    try:
        dep = config.resolve(aim.model)[0]
    except ApiError:
        return aim
    return replace(aim, window=await window(dep))


def too_small(aim: Target) -> str:
    """What to say of a window in which Claude Code can't work; "" where it is large enough, or unknown."""
    if not 0 < aim.window < SMALLEST_WINDOW:
        return ""
    return (
        f"{aim.model} has a context of {aim.window:,} tokens, too small for Claude Code: give it {SMALLEST_WINDOW:,} or more (Ollama: "
        "OLLAMA_CONTEXT_LENGTH=65536; other servers: their own setting, and model_info.max_input_tokens)"
    )


def configured(args: argparse.Namespace, env: Mapping[str, str], url: str, *, inspect: bool = False) -> Target:
    """A target at `url` as the configuration here describes it. `inspect`: do not ask for consent; without it, send nothing."""
    source = local(args, env, inspect=inspect)
    if source.config is None:
        return Target(url, master_key(None, env, os.getcwd()), "demo", ("demo",))
    aim = target(source.config, url)
    return aim if source.unapproved else asyncio.run(measured(aim, source.config))


def answering(url: str, key: str) -> Target | None:
    """The a2py at `url`, with what it serves; None: there is none, or it asks for another key."""
    hello = http.ask(url + "/health/liveliness", timeout=1)
    told = hello.json() if hello is not None else None
    if not isinstance(told, dict) or told.get("name") != "a2py":
        return None
    headers = {"authorization": f"Bearer {key}"} if key else {}
    listed = http.ask(url + "/v1/models?limit=1000", headers=headers)
    body = listed.json() if listed is not None and listed.status == 200 else None
    rows = body.get("data") if isinstance(body, dict) else None
    if not isinstance(rows, list):
        return None
    rows = [row for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]
    names = tuple(dict.fromkeys(str(row.get("display_name") or row["id"]) for row in rows))  # an offered id is another spelling of a name
    limits = map((rows or [{}])[0].get, ("max_input_tokens", "max_tokens"))
    window, output = (limit if isinstance(limit, int) else 0 for limit in limits)
    return Target(url, key, names[0] if names else "", names, window, output)


def present(args: argparse.Namespace, env: Mapping[str, str]) -> Target | None:
    """The running a2py with the model, limits and key that the configuration here knows for it."""
    url = url_of(args, env)
    try:
        known: Target | None = configured(args, env, url, inspect=True)
    except ConfigError:
        known = None  # a broken file here says nothing of the one that runs
    found = answering(url, known.token if known else master_key(None, env, os.getcwd()))
    if found is None:
        return None
    if known is not None and known.model in found.names:
        return replace(known, url=url, names=found.names)
    return found


def required(args: argparse.Namespace, env: Mapping[str, str]) -> Target:
    found = present(args, env)
    if found is None:
        raise Stop(
            f"no a2py answers at {url_of(args, env)} (or it asks for another master key): start one with `a2py`, or name it with --url",
            UNAVAILABLE,
        )
    return found
