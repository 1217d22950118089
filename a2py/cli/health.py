"""LiteLLM's `--health` and `--test`: send a small request to each model, or one to the running proxy.

Knows: a2py.cli.check's first probe, the Messages API's request. Must not know: how a probe talks to its upstream.
"""

from __future__ import annotations

import argparse

from a2py.cli import http, running
from a2py.cli.exits import FAILED, OK, Stop
from a2py.cli.source import read_environment
from a2py.cli.terminal import Terminal

#: Seconds for the answer to one small request. A local server may have to load the model first.
SECONDS = 120.0


def health(args: argparse.Namespace) -> int:
    """Send each model one request."""
    from a2py.cli.check import Choice, run_probes

    return run_probes(args, Choice(only=("reach",)))


def test(args: argparse.Namespace) -> int:
    """Send one request through the running proxy, as a client would."""
    target = running.require_running(args, read_environment())
    terminal = Terminal()
    model = args.model or target.model or next(iter(target.names), "")
    if not model:
        raise Stop("the proxy lists no model: name one with --model", FAILED)
    body = {"model": model, "max_tokens": 256, "messages": [{"role": "user", "content": "Say hello"}]}
    headers = {"anthropic-version": "2023-06-01", **http.authorization(target.token)}
    answer = http.ask(target.url + "/v1/messages", body=body, headers=headers, timeout=SECONDS)
    reply = answer.json() if answer is not None else None
    if answer is None or not isinstance(reply, dict):
        raise Stop(f"{target.url}: no answer from {model} within {SECONDS:.0f} s", FAILED)
    if answer.status != 200:
        error = reply.get("error")
        raise Stop(f"{model}: {answer.status} {error.get('message') if isinstance(error, dict) else ''}", FAILED)
    text = "".join(block.get("text", "") for block in reply.get("content", []))
    usage = reply.get("usage", {})
    terminal.print(f"{model}: {text.strip()}")
    terminal.note(
        f"({usage.get('input_tokens')} tokens in, {usage.get('output_tokens')} out, {reply.get('stop_reason')})"
    )
    return OK
