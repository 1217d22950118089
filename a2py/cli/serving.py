"""One process that serves: start the server, say that it listens, obey SIGHUP and a parent, hand the sockets over.

Knows: a2py.proxy's `serve`, who waits for this process (notify.py), its parent (orders.py), its successor
(handover.py). Must not know: HTTP, how the flags were read, how the sockets were opened.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TextIO, cast

from a2py.cli import handover, record, rotate
from a2py.cli.clientenv import FOREIGN_TOKEN
from a2py.cli.control import READY, Worker
from a2py.cli.embedded import open_source
from a2py.cli.eventloop import settle
from a2py.cli.exits import CONFIG, Stop
from a2py.cli.keycheck import with_keys
from a2py.cli.notify import Notifier
from a2py.cli.orders import Orders
from a2py.cli.reload import Reloader
from a2py.cli.source import Source
from a2py.cli.state import ledger_path, page_secret_path
from a2py.cli.summary import StartReport, describe_served, describe_target, own_url, summarize
from a2py.cli.terminal import Terminal, on_terminal, watch_terminal
from a2py.config import Config
from a2py.deployment import Deployment
from a2py.proxy.log import Log
from a2py.proxy.share import WHOLE, Share

if TYPE_CHECKING:
    from a2py.proxy.server import Server
    from a2py.upstream import Upstream


@dataclass
class Job:
    """What a process serves, and where.

    `host`, `port`: bound if there are no `sockets`, which are open already. `check`: raises Stop for a configuration
    that a start refuses. `offer`: the sockets on offer to a successor, None if this process has no successor."""

    args: argparse.Namespace
    source: Source
    host: str
    port: int
    tls: ssl.SSLContext | None
    sockets: list[socket.socket] = field(default_factory=list)
    check: Callable[[Config], bool] = lambda config: False
    offer: handover.Offer | None = None

    def url(self, address: Any) -> str:
        """Return the URL of a listening socket's `address`; `unix:PATH` for a Unix socket."""
        if isinstance(address, (str, bytes)):
            return f"unix:{os.fsdecode(address)}"
        return own_url(self.host, address[1], self.tls is not None)


async def serve_job(job: Job, worker: Worker) -> None:
    """Serve until SIGTERM, Ctrl-C or the parent's order to end."""
    from a2py.proxy import files
    from a2py.proxy.server import Lifecycle, Listen, serve
    from a2py.proxy.timeouts import Timeouts

    files.raise_limit()
    timeouts = Timeouts(idle=job.args.keepalive_timeout) if job.args.keepalive_timeout else Timeouts()
    async with AsyncExitStack() as stack:
        config = with_keys(await open_source(stack, job.source, job.args), os.environ)
        check_capture(config.settings.capture_dir)
        log = open_log(config)
        notifier, stop, at_once = Notifier(os.environ, os.getpid()), asyncio.Event(), asyncio.Event()
        for beat in (asyncio.ensure_future(notifier.beat()), asyncio.ensure_future(worker.beat())):
            stack.callback(beat.cancel)
        orders = Orders(worker, stop, at_once, log)
        is_worker = worker.number is not None
        url = ""

        def on_start(server: Server) -> None:
            server.services.ui.secret_file = page_secret_path(os.environ)
            server.services.ui.check = probe_model
            if is_worker:
                stack.callback(orders.begin(server).cancel)

        def ready(addresses: list[Any]) -> None:
            nonlocal url
            url = job.url(addresses[0])
            orders.announce = lambda: announce(job, config, addresses[0], log)
            worker.say(READY)
            orders.join()
            if job.offer is not None:
                job.offer.open()
            notifier.ready(url, "serving")
            if not is_worker:
                orders.announce()

        def draining() -> bool:
            """Return whether another process accepts from the same sockets."""
            notifier.stopping()
            return orders.is_handed_over or (job.offer is not None and has_successor(job.offer, url))

        notifier.describe(describe_served(config, job.source.what))
        settle()
        life = Lifecycle(
            stop=stop,
            at_once=at_once,
            signals=not is_worker,
            on_start=on_start,
            on_ready=ready,
            on_drain=draining,
            load=None if is_worker else _reload(job, config, notifier, log),
            asks_servers=not (is_worker and worker.has_same_version),
            share=Share(worker.number or 0, worker.count) if config.redis is None else WHOLE,
        )
        listen, ledger = Listen(job.host, job.port, job.sockets, job.tls), ledger_path(os.environ)
        await serve(config, listen, life, log=log, timeouts=timeouts, ledger=ledger)


def _reload(job: Job, config: Config, notifier: Notifier, log: Log) -> Callable[[], Config] | None:
    """Return the function to call on SIGHUP, None to leave SIGHUP alone.

    Without a file there is nothing to read again. A background process must then ignore SIGHUP, because `systemctl
    reload` must not end the service; on a terminal, SIGHUP ends it as usual. With a file, SIGHUP ends it only if the
    terminal has been closed."""
    if job.source.again is None:
        return None if on_terminal() else notifier.reloading(lambda: config)
    warn, is_closed = warnings_to(log), watch_terminal()
    reloader = Reloader(config, job.source.again, job.check, notifier, warn, job.source.what)

    def load() -> Config:
        if is_closed():
            os.kill(os.getpid(), signal.SIGTERM)
            return reloader.config
        return reloader.load()

    return notifier.reloading(load)


async def probe_model(deployment: Deployment, upstream: Upstream) -> AsyncIterator[dict[str, str]]:
    """Yield what each probe of `a2py check` finds, for the page."""
    from a2py.cli.check.rows import probe_rows  # not loaded before somebody asks for it

    async for row in probe_rows(deployment, upstream):
        yield row


def announce(job: Job, config: Config, address: Any, log: Log) -> None:
    """Print what is served and how to use it; one line if the log is JSON."""
    url = listening = job.url(address)
    if url.startswith("unix:"):
        url = "http://localhost"  # the front server's address, which only the user knows
    else:
        listening = f"{f'[{job.host}]' if ':' in job.host else job.host}:{address[1]}"
    client = describe_target(config, url)
    if not config.master_key and os.path.exists(config.keys_path):
        client = replace(client, token=FOREIGN_TOKEN)
    if config.settings.json_logs:
        log.info(
            "started",
            url=url,
            source=job.source.what,
            models=list(client.names),
            model=client.model,
            warnings=list(config.warnings),
        )
        return
    terminal = Terminal()
    in_variable = bool(config.master_key) and os.environ.get("LITELLM_MASTER_KEY") == config.master_key
    report = StartReport(
        config, client, job.source.what, listening, job.source.config is None, in_variable, has_c_parser()
    )
    terminal.note(summarize(terminal, report))


def has_c_parser() -> bool:
    """Return whether aiohttp's C parser is installed."""
    from a2py.proxy.aiohttp_server import aiohttp

    http_parser = aiohttp.http_parser
    return http_parser.HttpRequestParser is not getattr(http_parser, "HttpRequestParserPy", None)


def check_capture(directory: str) -> None:
    """Raise Stop if captures cannot be written, so that the start reports it and not each request."""
    if not directory:
        return
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        is_writable = os.access(directory, os.W_OK)
    except OSError:
        is_writable = False
    if not is_writable:
        raise Stop(
            f"captures can't be written into {directory}: name another directory with --capture (or `a2py: "
            "capture_dir`)",
            CONFIG,
        )


def open_log(config: Config | None, every: int = rotate.EVERY) -> Log:
    """Return the log on standard error.

    `every`: how many lines to write before checking whether the file has been moved."""
    path = os.environ.get(rotate.VARIABLE, "")
    stream = cast(TextIO, rotate.Rotating(path, every=every)) if path else None
    return Log(stream, "json" if config is not None and config.settings.json_logs else "text")


def warnings_to(log: Log) -> Callable[[str], None]:
    """Return a function that logs a warning about the configuration."""
    return lambda warning: log.warning("configuration", warning=warning)


def has_successor(offer: handover.Offer, url: str) -> bool:
    """Withdraw the offer of the sockets. Return whether a successor serves on them."""
    if not offer.close():
        return False
    successor = record.read_running()
    return successor is not None and successor.pid != os.getpid() and successor.url == url
