"""`a2py usage`: tokens and cost of all answers, by model, key, session, agent, day, hour or deployment.

Knows: the running proxy's /usage, the ledger's file, how to draw a table. Must not know: SQL, prices.
Invariants: reads only; a cost that is not known is never shown as 0; no text of the ledger reaches a terminal or a
spreadsheet as anything but text.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from a2py.cli import http, options, state
from a2py.cli.exits import FAILED, OK, UNAVAILABLE, USAGE, Stop
from a2py.cli.statusline import format_cost
from a2py.cli.terminal import Terminal, pluralize
from a2py.ledger.query import COLUMNS, GROUPS, parse_since
from a2py.printable import printable

EXAMPLES = (
    "a2py usage                          by model, as long as rows are kept",
    "a2py usage --by day --since 7d",
    "a2py usage --by session --since today --csv",
)
HEAD = ("requests", "errors", "input", "cache read", "cache write", "output", "cost")
#: Characters of the longest bar, and of a name in the table.
BAR, NAME = 20, 40
#: What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@")
#: Seconds for the running proxy to sum up a large ledger.
SECONDS = 30.0


def parser(name: str) -> options.Parser:
    from a2py.cli import running

    out = options.Parser(name, "Show the tokens and the cost of all answers, failed ones included.", EXAMPLES)
    out.add_argument("--by", choices=tuple(GROUPS), default="model", help="what a line is for (default: model)")
    out.add_argument("--since", metavar="TIME", help="only from then on: 24h, 7d, today, 2026-11-30")
    form = out.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON, for a program")
    form.add_argument("--csv", action="store_true", help="as CSV, for a spreadsheet")
    out.add_argument("--ledger", type=options.text, metavar="FILE", help="read this file, and ask no proxy")
    return out.flags((running.URL, *options.LISTEN), options.SOURCE)


def run(name: str, argv: list[str]) -> int:
    args, terminal = parser(name).read(argv), Terminal()
    rows = fetch(args, terminal)
    names = [args.by, *COLUMNS]
    if args.json:
        terminal.print_exact(json.dumps([{name: row[name] for name in names} for row in rows], indent=2))
    elif args.csv:
        terminal.print_exact(to_csv([[row[name] for name in names] for row in rows], names))
    elif rows:
        terminal.print(draw(terminal, args.by, rows))
        explain(terminal, rows)
    else:
        terminal.note("no answers yet" if args.since is None else f"no answers since {args.since}")
    return OK


def fetch(args: argparse.Namespace, terminal: Terminal) -> list[dict[str, Any]]:
    """Return the rows: of `--ledger`, else of the running proxy, else of this user's ledger."""
    try:
        since = parse_since(args.since, time.time()) if args.since is not None else 0.0
    except ValueError as error:
        raise Stop(f"--since {args.since}: {error}", USAGE) from None
    if args.ledger is not None:
        path = os.path.expanduser(args.ledger)
        check_file(path)
        return read_file(path, args.by, since, "Correct --ledger, or check that you may read the file")
    rows = ask(args, since, terminal)
    return read_file(state.ledger_path(os.environ), args.by, since) if rows is None else rows


def ask(args: argparse.Namespace, since: float, terminal: Terminal) -> list[dict[str, Any]] | None:
    """Return the running proxy's rows; None if none runs, or it keeps no ledger."""
    from a2py.cli import running
    from a2py.cli.source import read_environment

    env = read_environment()
    url = running.find_url(args, env)
    if not running.is_a2py(url):
        name = "omit --url" if args.url else "unset A2PY_URL" if env.get("A2PY_URL", "").strip() else ""
        if name:
            raise Stop(f"no a2py answers at {url}: start one, or {name} to read this user's ledger", UNAVAILABLE)
        return None
    query = urlencode({"by": args.by, "since": since} if since else {"by": args.by})
    answer = http.ask(f"{url}/usage?{query}", headers=http.authorization(running.find_key(args, env)), timeout=SECONDS)
    groups = http.read_groups(answer)
    if groups is None:
        status = answer.status if answer is not None else 0
        reason = {401: "asks for another key (set A2PY_KEY)", 404: "keeps no ledger"}.get(status, "")
        if args.url and not reason:
            raise Stop(f"the a2py at {url} {_explain(answer)}", FAILED)
        which = "this user's other proxies" if reason else "this user's proxies"
        terminal.warn(f"the a2py at {url} {reason or _explain(answer)}; this is the ledger of {which}")
    return groups


def _explain(answer: http.Answer | None) -> str:
    """Return why a proxy did not tell its usage."""
    if answer is None:
        return f"does not tell its usage within {SECONDS:.0f} s"
    message = answer.error_message()
    return f"answered {answer.status}" + (f": {message[:500]}" if message else "")


def check_file(path: str) -> None:
    """Raise Stop unless `path`, which the user has named, is a file."""
    if os.path.isdir(path):
        example = os.path.join(path, os.path.basename(state.ledger_path(os.environ)))
        raise Stop(f"{path} is a folder: name the ledger in it, for example --ledger {example}", FAILED)
    if not os.path.exists(path):
        raise Stop(f"there is no file {path}: correct --ledger, or omit it for your own ledger", FAILED)


def read_file(path: str, by: str, since: float, cure: str = state.LEDGER_CURE) -> list[dict[str, Any]]:
    """Return the rows of a ledger, [] if there is no file. `cure`: what to do if it can't be read."""
    try:
        import sqlite3
    except ImportError:
        raise Stop("this Python has no sqlite3, so it can't read the ledger: use another Python", FAILED) from None
    from a2py.ledger.query import sum_by

    try:
        groups = sum_by(path, by, since)
    except (sqlite3.Error, OSError) as error:
        raise Stop(f"the ledger {path} can't be read: {error}. {cure}", FAILED) from None
    return [group.page_row(by) for group in groups]


def to_csv(rows: Sequence[Sequence[Any]], head: Sequence[str]) -> str:
    """Return `rows` as CSV (RFC 4180, with bare line feeds). An unknown cost is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    for row in rows:
        writer.writerow([_csv_text(value) if isinstance(value, str) else value for value in row])
    return out.getvalue().rstrip("\n")


def _csv_text(text: str) -> str:
    """Return `text` for a cell. An apostrophe keeps a spreadsheet from taking it for a formula."""
    text = printable(text)
    return f"'{text}" if text.startswith(_FORMULA) else text


def draw(terminal: Terminal, by: str, rows: Sequence[dict[str, Any]]) -> str:
    """Return the table. In a terminal each line has a bar, its share of the largest line: of cost if all of it is
    known, else of tokens."""
    is_priced = all(row["cost"] is not None for row in rows)
    sizes = [row["cost"] if is_priced else _tokens(row) for row in rows]
    largest = max(sizes) if terminal.out.isatty() else 0
    cells = [[*_cells(_short(row[by]), row), _bar(size, largest)] for row, size in zip(rows, sizes, strict=True)]
    if len(rows) > 1:
        cells.append(_cells("total", _add(rows)))
    table = [("", *HEAD), *cells]
    widths = [max(len(line[i]) for line in table) for i in range(len(HEAD) + 1)]
    lines = [[line[0], *map(str.rjust, line[1 : len(widths)], widths[1:]), *line[len(widths) :]] for line in table]
    return terminal.table(lines[1:], (by, *lines[0][1:]))


def _cells(name: str, row: Mapping[str, Any]) -> list[str]:
    return [
        name,
        *(f"{row[column]:,}" for column in COLUMNS[:6]),
        format_cost(row["known_cost"], bool(row["unpriced"])),
    ]


def _add(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sum of all rows."""
    costs = [row["known_cost"] for row in rows if row["known_cost"] is not None]
    sums = {column: sum(row[column] for row in rows) for column in (*COLUMNS[:6], "unpriced")}
    return {**sums, "known_cost": sum(costs) if costs else None}


def _bar(size: float, largest: float) -> str:
    return "█" * round(BAR * size / largest) if largest else ""


def _tokens(row: dict[str, Any]) -> int:
    return int(sum(row[name] for name in COLUMNS[2:6]))


def _short(name: str) -> str:
    text = printable(name) or "(none)"
    return text if len(text) <= NAME else f"{text[: NAME - 1]}…"


def explain(terminal: Terminal, rows: Sequence[dict[str, Any]]) -> None:
    """Say below the table what its costs are, and what they leave out."""
    from a2py.ledger.prices import read_table

    table = read_table()
    terminal.note(f"cost in US dollars: the configuration's prices, else list prices ({table.source}, {table.date})")
    unpriced = sum(row["unpriced"] for row in rows)
    if unpriced:
        have = "has" if unpriced == 1 else "have"
        cure = "set `input_cost_per_token` and `output_cost_per_token`"
        terminal.note(f"{pluralize(unpriced, 'answer')} {have} no known price: {cure}")
    estimated = sum(row["estimated"] for row in rows)
    if estimated:
        terminal.note(f"estimated in {pluralize(estimated, 'answer')}, because the upstream did not count all tokens")
