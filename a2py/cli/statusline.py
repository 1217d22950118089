"""`a2py statusline`: one line for Claude Code's status line: model, cost of the session, context used, cache share.

Claude Code runs the command after each answer and gives it JSON on standard input (code.claude.com, statusline; seen
with 2.1.332, 2026-11). It must be quick, so this module imports neither argparse nor aiohttp.

Knows: that JSON, the ledger. Must not know: prices, how rows come into the ledger.
Invariants: always prints one line and ends with 0, because anything else would blank the status line.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

from a2py.cli.exits import OK
from a2py.cli.state import ledger_path
from a2py.printable import printable

if TYPE_CHECKING:
    from a2py.cli import options
    from a2py.ledger.query import SessionSum

DESCRIPTION = (
    "Print one line for Claude Code: model, cost of the session, context used, share of the prompt from the cache."
)
EXAMPLES = ('"statusLine": {"type": "command", "command": "a2py statusline"}      in ~/.claude/settings.json',)
#: Bytes of the JSON that are read.
LIMIT = 1 << 20
#: Seconds for the proxy to answer, if this user has no ledger of the session.
SECONDS = 0.5
DOT = " · "


def parser(name: str) -> options.Parser:
    from a2py.cli import options

    return options.Parser(name, DESCRIPTION, EXAMPLES)


def run(name: str, argv: list[str]) -> int:
    if argv:
        parser(name).read(argv)
    try:
        status = json.loads(sys.stdin.buffer.read(LIMIT))
    except ValueError:
        status = {}
    status = status if isinstance(status, dict) else {}
    session = status.get("session_id")
    try:
        total = find_session(session, os.environ) if isinstance(session, str) and session else None
    except Exception:  # no sqlite3, a broken file, an odd answer: the rest of the line is still worth something
        total = None
    line = printable(format_line(status, total))
    encoding = sys.stdout.encoding or "ascii"
    print(line.encode(encoding, "replace").decode(encoding))
    return OK


def find_session(session: str, env: Mapping[str, str]) -> SessionSum | None:
    """Return the sum of a session: of this user's ledger, else of the proxy that Claude Code talks to."""
    path = ledger_path(env)
    if os.path.exists(path):
        from a2py.ledger.query import sum_session

        total = sum_session(path, session)
        if total is not None:
            return total
    return ask_proxy(session, env)


def ask_proxy(session: str, env: Mapping[str, str]) -> SessionSum | None:
    base = env.get("ANTHROPIC_BASE_URL", "").rstrip("/").removesuffix("/v1")
    if not base:
        return None
    from urllib.parse import urlencode

    from a2py.cli import http
    from a2py.ledger.query import Group, SessionSum

    key = env.get("ANTHROPIC_AUTH_TOKEN") or env.get("ANTHROPIC_API_KEY") or ""
    query = urlencode({"by": "session", "session": session})
    answer = http.ask(f"{base}/usage?{query}", headers=http.authorization(key), timeout=SECONDS)
    groups = http.read_groups(answer)
    if not groups:
        return None
    return SessionSum(Group.read("session", groups[0]), "", 0)


def format_line(status: Mapping[str, Any], total: SessionSum | None) -> str:
    """Return the line. What is not known is left out; an unknown cost is said."""
    parts = [name_model(status, total)]
    if total is not None:
        cost = format_cost(total.total.cost, bool(total.total.unpriced))
        parts.append(cost if "$" in cost else f"cost {cost}")
    percentage = measure_context(status, total)
    if percentage is not None:
        parts.append(f"context {percentage:.0f} %")
    if total is not None:
        group = total.total
        prompt = group.input_tokens + group.cache_read_tokens + group.cache_write_tokens
        if prompt:
            parts.append(f"cache {100 * group.cache_read_tokens / prompt:.0f} %")
    return DOT.join(parts)


def name_model(status: Mapping[str, Any], total: SessionSum | None) -> str:
    """Return the model that Claude Code asks for, and the one that answers."""
    model = status.get("model")
    names = model if isinstance(model, dict) else {"id": model}
    client_model = next(
        (name for key in ("display_name", "id") if isinstance(name := names.get(key), str) and name), ""
    )
    upstream = total.upstream if total is not None else ""
    if not upstream or upstream in (client_model, names.get("id")):
        return client_model or "a2py"
    return f"{client_model} → {upstream}" if client_model else upstream


def format_cost(cost: float | None, is_partial: bool) -> str:
    """Return a cost in dollars: `unknown`, or with `≥` if only a part of it is known."""
    if cost is None or (is_partial and not cost):
        return "unknown"
    text = f"${cost:,.2f}" if cost >= 1 or not cost else f"${cost:.4f}"
    return f"≥{text}" if is_partial else text


def measure_context(status: Mapping[str, Any], total: SessionSum | None) -> float | None:
    """Return the share of the context that is used, in percent: as Claude Code says, else by the latest prompt; None if
    it is not known."""
    window = status.get("context_window")
    window = window if isinstance(window, dict) else {}
    percentage, size = window.get("used_percentage"), window.get("context_window_size")
    if _is_number(percentage):
        return float(percentage)
    if not _is_number(size) or not size:
        return None
    current = window.get("current_usage")
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    counts = [current.get(name) for name in names] if isinstance(current, dict) else []
    tokens = sum(count for count in counts if _is_number(count)) or (total.prompt if total is not None else 0)
    return 100 * tokens / size if tokens else None


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
