"""`a2py demo`: the demo upstream alone, as an OpenAI-compatible server for experiments.

Knows: flags. Must not know: how the demo answers.
"""

from __future__ import annotations

import asyncio

from a2py.cli import options
from a2py.cli.eventloop import run_loop
from a2py.cli.exits import OK, UNAVAILABLE, Stop
from a2py.cli.terminal import Terminal

PORT = 8080
EXAMPLES = (
    "a2py demo --port 8080",
    "a2py --model openai/demo --api_base http://127.0.0.1:8080/v1   (in another terminal)",
)


def parser(name: str) -> options.Parser:
    out = options.Parser(
        name,
        "Serve the demo upstream alone: a small OpenAI-compatible server (chat completions, models) whose model "
        "follows a "
        "few rules.",
        EXAMPLES,
    )
    out.flags(options.LISTEN)
    out.add_argument(
        "--pace", type=float, default=0.012, metavar="S", help="seconds between two tokens (default 0.012)"
    )
    out.add_argument(
        "--context", type=options.positive, default=200_000, metavar="N", help="context in tokens (default 200000)"
    )
    return out


def run(name: str, argv: list[str]) -> int:
    args = parser(name).read(argv)
    host, port = args.host or options.HOST, PORT if args.port is None else args.port
    try:
        run_loop(_serve(host, port, args.pace, args.context))
    except OSError as error:
        raise Stop(
            f"{host}:{port} can't be opened ({error.strerror}): choose another port with --port N", UNAVAILABLE
        ) from None
    return OK


async def _serve(host: str, port: int, pace: float, context: int) -> None:
    from a2py.demo import MODEL, Demo

    async with Demo(host, port, pace, context) as demo:
        Terminal().note(f"demo upstream at {demo.base}, model {MODEL} (Ctrl-C ends it)")
        await asyncio.Event().wait()
