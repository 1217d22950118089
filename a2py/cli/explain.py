"""`a2py models --explain NAME`: the quirks of a model that differ from the common subset, and why each is so.

Knows: the health page of a running a2py, what a configuration alone knows. Must not know: how a quirk comes about
(a2py.evidence).
Invariants: no key and no address of an upstream is shown; without a running a2py no server is asked.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from a2py.cli import http, running
from a2py.cli.clientenv import Target
from a2py.cli.exits import FAILED, OK, UNAVAILABLE, Stop
from a2py.cli.terminal import Terminal
from a2py.errors import ApiError
from a2py.evidence.explain import explain
from a2py.evidence.fact import SOURCES

#: What is written instead of a context that nobody knows.
UNKNOWN = "unknown (set model_info.max_input_tokens)"


def run(args: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Print why the model `args.explain` is asked as it is."""
    terminal, name = Terminal(), str(args.explain)
    # --model and --demo describe a proxy of their own, which does not run.
    target = None if args.model or args.demo else running.find_running(args, env)
    if target is not None:
        origin, deployments = f"the a2py at {target.url}", _ask(target, name)
    else:
        what, deployments = _read(args, env, name)
        origin = f"{what} alone: no a2py answers at {running.find_url(args, os.environ)}, so no server has been asked"
    if args.json:
        page = {"is_running": target is not None, "origin": origin, "deployments": deployments}
        terminal.print(json.dumps(page, indent=2, ensure_ascii=False))
        return OK
    terminal.note(f"from {origin}")
    terminal.print("\n\n".join(_format(terminal, deployment) for deployment in deployments))
    return OK


def _ask(target: Target, name: str) -> list[dict[str, Any]]:
    """Return what the running a2py knows of `name`."""
    headers = http.authorization(target.token)
    answer = http.ask(f"{target.url}/health?model={quote(name, safe='')}", headers=headers)
    page = answer.json() if answer is not None else None
    if answer is None or not isinstance(page, dict):
        raise Stop(f"{target.url}: no answer from /health", UNAVAILABLE)
    if answer.status != 200:
        error = page.get("error")
        raise Stop(f"{target.url}: {error.get('message') if isinstance(error, dict) else answer.status}", FAILED)
    deployments = page.get("deployments")
    return [each for each in deployments if isinstance(each, dict)] if isinstance(deployments, list) else []


def _read(args: argparse.Namespace, env: Mapping[str, str], name: str) -> tuple[str, list[dict[str, Any]]]:
    """Return where the configuration comes from, and what it and the tables know of `name`."""
    source = running.choose_source(args, env, inspect=True)
    if source.config is None:
        raise Stop(f"{source.what}: the demo model has no quirks to explain")
    try:
        deployments = source.config.resolve(name)
    except ApiError as error:
        raise Stop(error.message) from None
    patterns = source.config.settings.quirks
    return source.what, [
        {
            "name": dep.name,
            "provider": dep.provider,
            "model": dep.model,
            "wire": dep.wire,
            **explain(dep, patterns, None, ()),
        }
        for dep in deployments
    ]


def _format(terminal: Terminal, deployment: Mapping[str, Any]) -> str:
    head = f"{deployment.get('name')}: {deployment.get('provider')}/{deployment.get('model')}"
    lines = [f"{terminal.style(head, 'bold')}, wire {deployment.get('wire')}"]
    if "problem" in deployment:
        return "\n".join([*lines, f"✗ {deployment['problem']}"])
    server, context, quirks = deployment.get("server"), deployment.get("context"), deployment.get("quirks")
    if isinstance(server, dict):
        program = " ".join(filter(None, (str(server.get("program")), str(server.get("version") or ""))))
        lines.append(f"server: {program} ({server.get('reason')}; {server.get('date')})")
    lines.append(f"context: {context:,} tokens" if isinstance(context, int) else f"context: {UNKNOWN}")
    if not isinstance(quirks, dict) or not quirks:
        return "\n".join([*lines, "no quirks: the common subset, which every server takes"])
    return "\n".join([*lines, *_format_quirks(terminal, quirks)])


def _format_quirks(terminal: Terminal, quirks: Mapping[str, Any]) -> list[str]:
    """Return each reason with the quirks that it gives, those that outweigh the others first."""
    groups: dict[tuple[int, str], list[tuple[str, str]]] = {}
    for quirk, fact in quirks.items():
        if isinstance(fact, dict):
            source, date = str(fact.get("source")), fact.get("date")
            head = f"{source}{f', {date}' if date else ''}: {fact.get('reason')}"
            rank = -SOURCES.index(source) if source in SOURCES else 0
            groups.setdefault((rank, head), []).append((quirk, json.dumps(fact.get("value"), ensure_ascii=False)))
    lines = []
    for (_, head), rows in sorted(groups.items()):
        lines += [terminal.style(head, "dim"), terminal.table(rows, indent="  ")]
    return lines
