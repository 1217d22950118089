"""`a2py models`: what the configuration serves, under which names.

Knows: flags. Must not know: how a configuration is found or shown (source.py, summary.py).
"""

from __future__ import annotations

import json

from a2py.cli import options, running
from a2py.cli.exits import OK
from a2py.cli.source import process_env
from a2py.cli.summary import rows
from a2py.cli.terminal import Terminal


def run(name: str, argv: list[str]) -> int:
    parser = options.Parser(
        name, "List the models that a2py would serve here: name, upstream, wire, host.", ("a2py models", "a2py models --json")
    )
    parser.flags(options.SOURCE)
    parser.add_argument("--json", action="store_true", help="as JSON, for a program")
    args = parser.read(argv)
    source = running.local(args, process_env(), inspect=True)
    config, shown = source.config, Terminal()
    if config is None:
        listed = [("demo", "demo/demo", "chat", "embedded")]
    else:
        listed = rows(config)
    if args.json:
        models = [dict(zip(("name", "upstream", "wire", "host"), row, strict=True)) for row in listed]
        shown.print(json.dumps({"source": source.what, "default": config.default_name if config else "demo", "models": models}, indent=2))
        return OK
    shown.note(f"from {source.what}")
    if source.unapproved:
        shown.warn(f"{source.what} sends what is not allowed yet: a2py trust --show")
    shown.print(shown.table(listed, ("name", "upstream", "wire", "host")))
    return OK
