"""`a2py check`: which models are probed, how the findings are shown and written.

Knows: flags, tables, the configuration file. Must not know: what a probe asks.
Invariants: it says what it will cost before it asks; exit code 0 only if nothing is broken.
"""

from __future__ import annotations

import argparse
import json
import os
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

from a2py.cli import options, running, state
from a2py.cli.check import write
from a2py.cli.check.bench import SECONDS, Bench
from a2py.cli.check.probes import FAIL, FOUND, NO, OK, PROBES, SKIPPED, Finding, Seen, probe
from a2py.cli.exits import FAILED, USAGE, Stop
from a2py.cli.exits import OK as DONE
from a2py.cli.serve import open_source, run_loop
from a2py.cli.source import Source, process_env
from a2py.cli.summary import loopback
from a2py.cli.terminal import Terminal, counted
from a2py.config import Config
from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.printable import printable
from a2py.upstream import Upstream

EXAMPLES = (
    "a2py check                       every model of the configuration here",
    "a2py check gpt --only tools,images",
    "a2py check --write               put what was found into the configuration file",
    "a2py check --offline             only the file: no request is sent",
)
STYLES = {OK: "green", FOUND: "cyan", NO: "yellow", FAIL: "red", SKIPPED: "dim"}
#: What one model costs at most, and what it usually does (the demo: 22 requests, some 2,500 tokens).
COST = "some 20 small requests, a few thousand tokens, a model"


def run(name: str, argv: list[str]) -> int:
    parser = options.Parser(name, "Probe each model: what its server takes and does, and what to do where that is not enough.", EXAMPLES)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these models (default: all)")
    parser.add_argument("--only", metavar="A,B", help=f"only these probes: {', '.join(PROBES)}")
    parser.add_argument("--offline", action="store_true", help="check the configuration, send nothing")
    parser.add_argument("--write", action="store_true", help="write found quirks into the configuration file")
    parser.add_argument("--json", action="store_true", help="the findings as JSON, for a program")
    parser.add_argument("--seconds", type=float, default=SECONDS, metavar="S", help=f"for one answer (default {SECONDS:.0f})")
    args = parser.flags(options.SOURCE).read(argv)
    only = tuple(filter(None, (args.only or "").split(",")))
    for word in only:
        if word not in PROBES:
            raise Stop(f"there is no probe {word!r}; there are: {', '.join(PROBES)}", USAGE)
    return run_probes(args, only)


def run_probes(args: argparse.Namespace, only: tuple[str, ...]) -> int:
    """The command behind its flags; also `a2py --health`."""
    source = running.local(args, process_env(), inspect=getattr(args, "offline", False))
    code = DONE

    async def main() -> None:
        nonlocal code
        async with AsyncExitStack() as stack:
            code = await _check(args, source, await open_source(stack, source, args), only)

    run_loop(main())
    return code


def chosen(config: Config, names: list[str]) -> list[Deployment]:
    """The deployments to probe: those of `names`, else all; of a wildcard the provider's default model."""
    found: dict[tuple[str, str], Deployment] = {}
    for name in names or config.listing():
        try:
            for dep in config.resolve(name):
                found.setdefault((dep.id, dep.model), dep)
        except ApiError as error:
            if names:
                raise Stop(error.message, FAILED) from None
    return list(found.values())


async def _check(args: argparse.Namespace, source: Source, config: Config, only: tuple[str, ...]) -> int:
    shown = Terminal()
    names, offline = getattr(args, "names", []), getattr(args, "offline", False)
    as_json, seconds = getattr(args, "json", False), getattr(args, "seconds", SECONDS)
    broken = [dep for dep in config.deployments if dep.problem and (not names or dep.name in names)]
    models = chosen(config, names)
    shown.note(f"from {source.what}: {len(models)} to probe, {len(broken)} that can't work, {counted(len(config.warnings), 'warning')}")
    for warning in config.warnings:
        shown.warn(warning)
    for dep in broken:
        shown.error(dep.problem)
    for dep in models:
        if dep.key and dep.base.startswith("http://") and not loopback(urlsplit(dep.base).hostname or ""):
            shown.warn(f"{dep.name}: its key travels unencrypted to {urlsplit(dep.base).netloc}")
    if offline:
        return FAILED if broken or not config.deployments else DONE
    if not only and models:
        shown.note(f"this costs {COST}")
    upstream = Upstream(force_ipv4=config.settings.force_ipv4)
    try:
        seen = [(dep, await _one(shown, upstream, dep, only, seconds, as_json)) for dep in models]
    finally:
        await upstream.close()
    if as_json:
        shown.print(json.dumps([_plain(dep, result) for dep, result in seen], indent=2, ensure_ascii=False))
    found = {dep.id: result.quirks for dep, result in seen if result.quirks}
    if found:
        _written(shown, config, found, getattr(args, "write", False))
    failed = any(finding.state == FAIL for _, result in seen for finding in result.findings.values())
    return FAILED if failed or broken or not models else DONE


async def _one(shown: Terminal, upstream: Upstream, dep: Deployment, only: tuple[str, ...], seconds: float, quiet: bool) -> Seen:
    bench = Bench(dep, upstream, seconds)
    width = max(len(row.title) for row in PROBES.values())

    def told(name: str, finding: Finding) -> None:
        if quiet:
            return
        mark = shown.style(finding.state.ljust(5), STYLES[finding.state])
        shown.print(f"  {mark} {PROBES[name].title.ljust(width)}  {printable(finding.what)}")
        if finding.advice:
            shown.print(f"        {' ' * width}{shown.style(f'→ {printable(finding.advice)}', 'dim')}")

    if not quiet:
        head = f"{dep.name} ({dep.provider}/{dep.model} at {urlsplit(dep.base).netloc}, {dep.wire} wire)"
        shown.print(shown.style(head, "bold"))
    seen = await probe(bench, only, told)
    if not quiet:
        shown.print(shown.style(f"  {counted(bench.asked, 'request')}, {bench.tokens:,} tokens", "dim"))
    return seen


def _plain(dep: Deployment, seen: Seen) -> dict[str, Any]:
    findings = {name: finding._asdict() for name, finding in seen.findings.items()}
    return {"name": dep.name, "id": dep.id, "upstream": f"{dep.provider}/{dep.model}", "wire": dep.wire, "findings": findings}


def _written(shown: Terminal, config: Config, found: write.Found, wanted: bool) -> None:
    """Found quirks, into the file or onto the screen."""
    path = config.sources[0] if config.sources else ""
    if wanted and path:
        path = os.path.join(os.getcwd(), path)
        with open(path, encoding="utf-8") as file:
            text = write.edited(file.read(), found)
        if text is not None:
            state.write(path, text)
            shown.note(f"{path}: written")
            return
        shown.warn(f"{path} is written in a way that can't be edited line by line; put this into it:")
    else:
        where = f"into {path} (or: a2py check --write)" if path else "into a configuration file (a2py config init writes one)"
        shown.note(f"found; put this {where}:")
    shown.print(write.snippet(found))
