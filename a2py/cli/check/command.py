"""`a2py check`: which models are probed, how the findings are printed and written.

Knows: flags, tables, the configuration file. Must not know: what a probe asks.
Invariants: it says what it costs before it asks. The exit code is 0 only if nothing is broken. One cause is printed
once: the probes that a failure prevents are counted, not listed.
"""

from __future__ import annotations

import argparse
import json
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from a2py.cli import options, running, state
from a2py.cli.check import write
from a2py.cli.check.bench import SECONDS, Bench
from a2py.cli.check.finding import FAIL, FOUND, NO, OK, SKIPPED, Finding, Progress
from a2py.cli.check.probes import PROBES, probe
from a2py.cli.embedded import open_source
from a2py.cli.eventloop import run_loop
from a2py.cli.exits import FAILED, USAGE, Stop
from a2py.cli.exits import OK as DONE
from a2py.cli.source import Source, read_environment
from a2py.cli.summary import is_loopback
from a2py.cli.terminal import Terminal, pluralize
from a2py.config import Config
from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.printable import printable
from a2py.upstream import Upstream

EXAMPLES = (
    "a2py check                       every model of the configuration here",
    "a2py check gpt --only tools,images",
    "a2py check --write               put the quirks that work into the configuration file",
    "a2py check --offline             only the file: no request is sent",
)
STYLES = {OK: "green", FOUND: "cyan", NO: "yellow", FAIL: "red", SKIPPED: "dim"}
#: What a model usually costs (the demo: 14 requests, some 1,100 tokens, 2026-11).
COST = "some 20 small requests, a few thousand tokens, a model"
#: Width of the titles' column.
WIDTH = max(len(row.title) for row in PROBES.values())


@dataclass(frozen=True)
class Choice:
    """What the flags ask for. `names`: only these models; `only`: only these probes; empty: all."""

    names: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    is_offline: bool = False
    is_json: bool = False
    should_write: bool = False
    seconds: float = SECONDS


def parser(name: str) -> options.Parser:
    description = "Probe each model: what its server accepts and does, and what to do if that is not enough."
    out = options.Parser(name, description, EXAMPLES)
    out.add_argument("names", nargs="*", metavar="NAME", help="only these models (default: all)")
    out.add_argument("--only", metavar="A,B", help=f"only these probes: {', '.join(PROBES)}")
    out.add_argument("--offline", action="store_true", help="check the configuration, send nothing")
    out.add_argument("--write", action="store_true", help="write the quirks that work into the configuration file")
    out.add_argument("--json", action="store_true", help="the findings as JSON, for a program")
    out.add_argument(
        "--seconds", type=float, default=SECONDS, metavar="S", help=f"for one answer (default {SECONDS:.0f})"
    )
    return out.flags(options.SOURCE)


def run(name: str, argv: list[str]) -> int:
    args = parser(name).read(argv)
    only = tuple(filter(None, (args.only or "").split(",")))
    for word in only:
        if word not in PROBES:
            raise Stop(f"there is no probe {word!r}; there are: {', '.join(PROBES)}", USAGE)
    choice = Choice(tuple(args.names), only, args.offline, args.json, args.write, args.seconds)
    return run_probes(args, choice)


def run_probes(args: argparse.Namespace, choice: Choice) -> int:
    """Run the probes, and return the exit code. `a2py --health` uses this, too. `args`: the flags of the source."""
    source = running.choose_source(args, read_environment(), inspect=choice.is_offline)
    code = DONE

    async def main() -> None:
        nonlocal code
        async with AsyncExitStack() as stack:
            code = await _check(choice, source, await open_source(stack, source, args))

    run_loop(main())
    return code


def pick_deployments(config: Config, names: tuple[str, ...]) -> list[Deployment]:
    """Return the deployments to probe: those of `names`, else all.

    A wildcard stands for the provider's default model. Models that don't write text are not probed."""
    deployments: dict[tuple[str, str], Deployment] = {}
    for name in names or config.list_chat_names():
        try:
            matches = config.resolve(name)
            if not any(dep.is_chat for dep in matches):
                raise Stop(f"{name} is a model for {matches[0].mode}: check probes models that write text", FAILED)
            for dep in matches:
                if dep.is_chat:
                    deployments.setdefault((dep.id, dep.model), dep)
        except ApiError as error:
            if names:
                raise Stop(error.message, FAILED) from None
    return list(deployments.values())


async def _check(choice: Choice, source: Source, config: Config) -> int:
    terminal, names = Terminal(), choice.names
    broken = [dep for dep in config.deployments if dep.problem and (not names or dep.name in names)]
    models = pick_deployments(config, names)
    warnings = pluralize(len(config.warnings), "warning")
    terminal.note(f"from {source.what}: {len(models)} to probe, {len(broken)} that can't work, {warnings}")
    _print_problems(terminal, config, broken, models)
    if choice.is_offline:
        return FAILED if broken or not config.deployments else DONE
    if not choice.only and models:
        terminal.note(f"this costs {COST}")
    upstream = Upstream(force_ipv4=config.settings.force_ipv4, proxy=config.settings.upstream_proxy)
    try:
        results = [(dep, await _probe(terminal, upstream, dep, choice)) for dep in models]
    finally:
        await upstream.close()
    _print_results(terminal, config, choice, results)
    return FAILED if broken or not models or any(_has_failed(progress) for _, progress in results) else DONE


def _has_failed(progress: Progress) -> bool:
    return any(finding.state == FAIL for finding in progress.findings.values())


def _print_problems(terminal: Terminal, config: Config, broken: list[Deployment], models: list[Deployment]) -> None:
    """Print what is known without a request: warnings, models that can't work, keys that travel unencrypted."""
    for warning in config.warnings:
        terminal.warn(warning)
    for dep in broken:
        terminal.error(dep.problem)
    for dep in models:
        if dep.key and dep.base.startswith("http://") and not is_loopback(urlsplit(dep.base).hostname or ""):
            terminal.warn(f"{dep.name}: its key travels unencrypted to {urlsplit(dep.base).netloc}")


def _print_results(
    terminal: Terminal, config: Config, choice: Choice, results: list[tuple[Deployment, Progress]]
) -> None:
    """Print the findings as JSON if that is asked for, and write or print the quirks that work."""
    if choice.is_json:
        rows = [_describe_result(dep, progress) for dep, progress in results]
        terminal.print(json.dumps(rows, indent=2, ensure_ascii=False))
    quirks = {dep.id: progress.quirks for dep, progress in results if progress.quirks}
    if quirks:
        _write_quirks(terminal, config, quirks, choice.should_write)


async def _probe(terminal: Terminal, upstream: Upstream, dep: Deployment, choice: Choice) -> Progress:
    """Probe one deployment, and print each finding at once."""
    bench = Bench(dep, upstream, choice.seconds)
    if choice.is_json:
        return await probe(bench, choice.only)
    head = f"{dep.name} ({dep.provider}/{dep.model} at {urlsplit(dep.base).netloc}, {dep.wire} wire)"
    terminal.print(terminal.style(head, "bold"))

    def report(name: str, finding: Finding) -> None:
        if finding.state != SKIPPED:
            _print_finding(terminal, PROBES[name].title, finding)

    progress = await probe(bench, choice.only, report)
    for reason, count in _count_skipped(progress).items():
        _print_finding(terminal, pluralize(count, "other probe"), Finding(SKIPPED, reason))
    terminal.print(terminal.style(f"  {pluralize(bench.requests, 'request')}, {bench.tokens:,} tokens", "dim"))
    return progress


def _print_finding(terminal: Terminal, title: str, finding: Finding) -> None:
    mark = terminal.style(finding.state.ljust(5), STYLES[finding.state])
    terminal.print(f"  {mark} {title.ljust(WIDTH)}  {printable(finding.what)}")
    if finding.advice:
        terminal.print(f"        {' ' * WIDTH}{terminal.style(f'→ {printable(finding.advice)}', 'dim')}")


def _count_skipped(progress: Progress) -> dict[str, int]:
    """Return, for each reason, how many probes it prevented."""
    counts: dict[str, int] = {}
    for finding in progress.findings.values():
        if finding.state == SKIPPED:
            counts[finding.what] = counts.get(finding.what, 0) + 1
    return counts


def _describe_result(dep: Deployment, progress: Progress) -> dict[str, Any]:
    findings = {name: finding._asdict() for name, finding in progress.findings.items()}
    return {
        "name": dep.name,
        "id": dep.id,
        "upstream": f"{dep.provider}/{dep.model}",
        "wire": dep.wire,
        "findings": findings,
    }


def _write_quirks(terminal: Terminal, config: Config, quirks: write.QuirksById, should_write: bool) -> None:
    """Write the quirks that work into the file if `should_write`, else print them."""
    path = config.sources[0] if config.sources else ""
    if should_write and path:
        path = os.path.join(os.getcwd(), path)
        with open(path, encoding="utf-8") as file:
            text = write.edit(file.read(), quirks)
        if text is not None:
            state.write(path, text)
            terminal.note(f"{path}: written")
            return
        terminal.warn(f"{path} can't be edited line by line (YAML's flow style, or an alias); add this by hand:")
    else:
        place = f"into {path} (or: a2py check --write)" if path else "into a file (a2py config init writes one)"
        terminal.note(f"these quirks work; put them {place}:")
    terminal.print(write.snippet(quirks))
