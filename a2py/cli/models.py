"""`a2py models`: what the configuration serves, under which names, with which context (`--explain`: explain.py).

Knows: flags, how a server says how much it reads (running.py). Must not know: how a configuration is found (source.py).
Invariants: a configuration without consent is listed, but none of its servers is asked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from a2py.cli import options, running
from a2py.cli.exits import OK
from a2py.cli.source import Source, read_environment
from a2py.cli.summary import Row, list_rows
from a2py.cli.terminal import Terminal

EXAMPLES = (
    "a2py models",
    "a2py models --json",
    "a2py models --explain local       why the running a2py asks `local` as it does",
)
COLUMNS = ("name", "upstream", "wire", "context", "host")
#: What is written instead of a context that nobody knows.
UNKNOWN = "?"
#: Word in the table → its meaning. Only words that the table contains are explained.
WORDS = {
    "chat": "wire chat: the upstream gets OpenAI chat completions",
    "responses": "wire responses: the upstream gets OpenAI Responses",
    "native": "wire native: the upstream gets Anthropic Messages",
    "context": "context: how many tokens a model reads",
    UNKNOWN: "? is unknown; set model_info.max_input_tokens",
    "→": "→ is another name for that model",
    "✗": "✗ cannot be used until the problem is solved",
}


def parser(name: str) -> options.Parser:
    out = options.Parser(
        name, "List the models that a2py would serve here: name, upstream, wire, context, host.", EXAMPLES
    )
    out.flags(options.SOURCE, (running.URL, *options.LISTEN))
    out.add_argument(
        "--explain", metavar="NAME", help="why the model NAME is asked as it is: each quirk with its reason"
    )
    out.add_argument("--json", action="store_true", help="as JSON, for a program")
    return out


def run(name: str, argv: list[str]) -> int:
    args, terminal = parser(name).read(argv), Terminal()
    if args.explain:
        from a2py.cli.explain import run as run_explain

        return run_explain(args, read_environment())
    source = running.choose_source(args, read_environment(), inspect=True)
    table = _table(source)
    if args.json:
        models = [
            {
                "name": row.name,
                "upstream": row.upstream,
                "wire": row.wire,
                "context": context or None,
                "host": row.place,
            }
            for row, context in table
        ]
        default = source.config.default_name if source.config else "demo"
        terminal.print(json.dumps({"source": source.what, "default": default, "models": models}, indent=2))
        return OK
    terminal.note(f"from {source.what}")
    if source.unapproved_pairs:
        terminal.warn(f"{source.what} sends secrets that need your consent: run a2py trust --show")
    for warning in source.config.warnings if source.config is not None else ():
        terminal.warn(warning)
    if not table:
        return OK
    cells = [
        (row.name, row.upstream, row.wire, f"{context:,}" if context else UNKNOWN if row.wire else "", row.place)
        for row, context in table
    ]
    terminal.print(terminal.table(cells, COLUMNS))
    terminal.note(terminal.style(explain_words(cells), "dim", terminal.err))
    return OK


def explain_words(cells: Sequence[tuple[str, ...]]) -> str:
    """Return the meanings of the words that the table contains."""
    words = {"context", *(cell if cell in WORDS else cell[:1] for row in cells for cell in row)}
    return "\n".join(meaning for word, meaning in WORDS.items() if word in words)


def _table(source: Source) -> list[tuple[Row, int]]:
    """Return the rows with their contexts in tokens, 0 if unknown.

    Asks local servers, if the user trusts the configuration."""
    if source.config is None:
        from a2py.demo import CONTEXT

        return [(Row("demo", "demo/demo", "chat", "embedded"), CONTEXT)]
    table = list_rows(source.config)
    deployments = source.config.deployments
    if source.unapproved_pairs:
        contexts = [dep.max_input_tokens for dep in deployments]
    else:
        contexts = asyncio.run(running.find_windows(deployments))
    return [(row, contexts[n] if n < len(contexts) else 0) for n, row in enumerate(table)]
