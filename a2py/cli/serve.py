"""`a2py serve`: from flags to a running proxy.

Knows: a2py.proxy's `serve`, event loops, the demo's life. Must not know: HTTP, models.
Invariants: nothing listens on a public address without a key unless it was said twice (an address, and --insecure).
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import gc
import os
import pickle
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TextIO, cast

from a2py.cli import handover, http, listen, options, record, rotate
from a2py.cli.control import READY, Worker
from a2py.cli.exits import CONFIG, OK, REFUSED, UNAVAILABLE, USAGE, Stop
from a2py.cli.notify import Notifier
from a2py.cli.orders import Orders
from a2py.cli.reload import Reloader
from a2py.cli.source import Source, choose, demo_config, master_key, process_env
from a2py.cli.summary import loopback, own_url, target, text
from a2py.cli.terminal import Terminal, closing, on_terminal
from a2py.cli.workers import Supervisor
from a2py.cli.workers import command as again
from a2py.config import Config
from a2py.proxy.log import Log

if TYPE_CHECKING:
    from a2py.proxy.server import Server

EXAMPLES = (
    "a2py                                                 a file here, keys in the environment, Ollama, or the demo",
    "a2py --config litellm_config.yaml --port 4000",
    "a2py --model deepseek/deepseek-chat                  one model, its key in DEEPSEEK_API_KEY",
    "a2py --model openai/qwen3 --api_base http://localhost:8000/v1",
    "a2py --host 0.0.0.0                                  other machines too: needs a master key",
)
HELP = "Serve models to Claude Code and any other Anthropic client."


def parser(name: str) -> options.Parser:
    out = options.Parser(name, HELP, EXAMPLES).flags(options.SOURCE, options.LISTEN, options.SERVER)
    out.add_argument("--health", action="store_true", help="ask each model for one token, print who answers, and end")
    out.add_argument("--test", action="store_true", help="send one request to the proxy that is running, print the answer, and end")
    return out


def run(name: str, argv: list[str]) -> int:
    args = parser(name).read(argv)
    if args.health or args.test:
        from a2py.cli.quick import health, test

        return health(args) if args.health else test(args)
    worker, sockets = Worker(os.environ), listen.inherited(os.environ, os.getpid())
    try:
        given = worker.configuration()
    except EOFError:
        return OK  # the parent has gone
    if given is not None:
        return serve_for_parent(args, given, worker, sockets)
    source = choose(args, process_env(), os.getcwd())
    tls = tls_context(args.ssl_certfile_path, args.ssl_keyfile_path)
    host, port = args.host or options.HOST, options.PORT if args.port is None else args.port
    count = 1 if worker.number is not None else args.num_workers or 1
    if count > 1 and sys.platform == "win32":
        Terminal().warn(f"on Windows one process serves, not {count}: leave --num-workers (NUM_WORKERS) out")
        count = 1
    offered = os.environ.get(handover.VARIABLE, "")
    if offered and not listen.fit(sockets, host, port):
        for sock in sockets:  # of the one before, which listened elsewhere
            sock.close()
        sockets = []
    hosts = [listen.host(sock) for sock in sockets if not listen.local(sock)] if sockets else [host]

    def check(config: Config) -> None:
        """What a start refuses."""
        for each in hosts:
            check_public(each, Source(config, ""), bool(args.insecure))
        check_capture(config.settings.capture_dir)

    for each in hosts:
        check_public(each, source, bool(args.insecure))
    try:
        if offered and not sockets:
            sockets = listen.bind(host, port, count)
        if count > 1:
            return supervise(argv, args, source, check, count, sockets, host, port, tls is not None)
        offer = handover.Offer(offered, sockets) if offered else None
        run_loop(_serve(args, source, host, port, tls, worker, sockets, offer, check))
    except OSError as error:
        raise Stop(_bind_message(error, host, port, tls is not None), UNAVAILABLE) from None
    return OK


def serve_for_parent(args: argparse.Namespace, given: bytes, worker: Worker, sockets: list[socket.socket]) -> int:
    """Serve what the parent has read and checked."""
    config, what = pickle.loads(given)
    tls = tls_context(args.ssl_certfile_path, args.ssl_keyfile_path)
    host = args.host or options.HOST
    run_loop(_serve(args, Source(config, what), host, 0, tls, worker, sockets, None, lambda config: None))
    return OK


def supervise(
    argv: list[str],
    args: argparse.Namespace,
    source: Source,
    check: Callable[[Config], None],
    count: int,
    sockets: list[socket.socket],
    host: str,
    port: int,
    tls: bool,
) -> int:
    """N workers; this process only watches over them, and reads the configuration for them."""
    if source.config is not None:
        check_capture(source.config.settings.capture_dir)
    sockets = sockets or listen.bind(host, port, count)
    offer = handover.Offer(os.environ[handover.VARIABLE], sockets) if os.environ.get(handover.VARIABLE) else None
    url = _url_of(sockets[0].getsockname(), host, tls)
    log = _log(source.config, 1)

    async def main() -> int:
        made = Supervisor(again(["serve", *argv]), sockets, count, url, os.environ, log.warning, pickle.dumps((source.config, source.what)))
        if offer is not None:
            made.serving, made.ending = offer.open, lambda: _has_successor(offer, url)
        if source.config is not None and source.again is not None:
            reloader = Reloader(source.config, source.again, check, made.notifier, _warns(log))
            made.load = lambda: _reload_pickled(reloader, source.what, log)
        return await made.run()

    return asyncio.run(main())


def _reload_pickled(reloader: Reloader, what: str, log: Log) -> bytes | None:
    """A new configuration for the workers; None: it was refused."""
    try:
        return pickle.dumps((reloader.load(), what))
    except Exception as error:
        log.warning("reload refused", error=str(error) or type(error).__name__)
        return None


def _warns(log: Log) -> Callable[[str], None]:
    return lambda warning: log.warning("configuration", warning=warning)


def _has_successor(offer: handover.Offer, url: str) -> bool:
    """Offer the sockets no longer. Return whether a successor serves on them."""
    if not offer.close():
        return False
    successor = record.current()
    return successor is not None and successor.pid != os.getpid() and successor.url == url


def _log(config: Config | None, every: int = rotate.EVERY) -> Log:
    """`every`: lines between two looks whether the log was moved aside; one who writes little looks each time."""
    moved = os.environ.get(rotate.VARIABLE, "")
    stream = cast(TextIO, rotate.Rotating(moved, every=every)) if moved else None
    return Log(stream, "json" if config is not None and config.settings.json_logs else "text")


def _url_of(address: Any, host: str, tls: bool) -> str:
    """Where a listening socket is reached; `unix:PATH` for a Unix socket."""
    return f"unix:{os.fsdecode(address)}" if isinstance(address, (str, bytes)) else own_url(host, address[1], tls)


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """asyncio.run, on uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


def parts_present() -> dict[str, bool]:
    """Which optional parts are there."""
    from importlib.util import find_spec

    from aiohttp import http_parser

    c_parser = http_parser.HttpRequestParser is not getattr(http_parser, "HttpRequestParserPy", None)
    return {"c_parser": c_parser, "uvloop": find_spec("uvloop") is not None}


def check_public(host: str, source: Source, insecure: bool) -> None:
    config = source.config
    keyed = bool(master_key(config, process_env(), os.getcwd()))
    allowed = insecure or os.environ.get("A2PY_INSECURE", "") == "1" or (config is not None and config.insecure)
    if loopback(host) or keyed or allowed:
        return
    raise Stop(
        f"{host} is a public address, and without a master key anybody who reaches it spends your keys: set LITELLM_MASTER_KEY "
        "(or general_settings.master_key), or say --insecure (A2PY_INSECURE=1) if something else guards it",
        REFUSED,
    )


def check_capture(directory: str) -> None:
    """A directory that can't hold captures is told at the start, not at each request."""
    if not directory:
        return
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        writable = os.access(directory, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise Stop(f"captures can't be written into {directory}: name another directory with --capture (or `a2py: capture_dir`)", CONFIG)


def tls_context(cert: str | None, key: str | None) -> ssl.SSLContext | None:
    if cert is None and key is None:
        return None
    if cert is None:
        raise Stop("--ssl-keyfile-path goes with --ssl-certfile-path", USAGE)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        what = error.strerror or type(error).__name__ if isinstance(error, OSError) else type(error).__name__
        raise Stop(f"the certificate {cert} (key {key or 'in the same file'}) can't be loaded: {what}", CONFIG) from None
    return context


async def open_source(stack: AsyncExitStack, source: Source, args: argparse.Namespace) -> Config:
    """The source's Config; starts the demo upstream where it stands for it."""
    if source.config is not None:
        return source.config
    from a2py.demo import CONTEXT, Demo

    demo = await stack.enter_async_context(Demo())
    return demo_config(demo.base, CONTEXT, args)


async def _serve(
    args: argparse.Namespace,
    source: Source,
    host: str,
    port: int,
    tls: ssl.SSLContext | None,
    worker: Worker,
    sockets: list[socket.socket],
    offer: handover.Offer | None,
    check: Callable[[Config], None],
) -> None:
    from a2py.proxy import files
    from a2py.proxy.server import Lifecycle, Listen, serve
    from a2py.proxy.timeouts import Timeouts

    files.raise_limit()
    timeouts = Timeouts(idle=args.keepalive_timeout) if args.keepalive_timeout else Timeouts()
    async with AsyncExitStack() as stack:
        config = await open_source(stack, source, args)
        check_capture(config.settings.capture_dir)
        log = _log(config)
        notifier, stop, at_once = Notifier(os.environ, os.getpid()), asyncio.Event(), asyncio.Event()
        for beat in (asyncio.ensure_future(notifier.beat()), asyncio.ensure_future(worker.beat())):
            stack.callback(beat.cancel)
        announce = announcer(config, source, host, tls is not None, log)
        orders = Orders(worker, stop, at_once, log)
        url = ""

        def on_start(server: Server) -> None:
            if worker.number is not None:
                stack.callback(orders.begin(server).cancel)

        def ready(addresses: list[Any]) -> None:
            nonlocal url
            url = _url_of(addresses[0], host, tls is not None)
            orders.announce = lambda: announce(addresses)
            worker.say(READY)
            if offer is not None:
                offer.open()
            notifier.ready(url, "serving")
            if worker.number is None:
                announce(addresses)

        def draining() -> bool:
            notifier.stopping()
            return orders.handed_over or (offer is not None and _has_successor(offer, url))

        settle()
        life = Lifecycle(
            stop=stop,
            at_once=at_once,
            signals=worker.number is None,
            on_start=on_start,
            on_ready=ready,
            on_drain=draining,
            load=_reload(source, config, notifier, check, log) if worker.number is None else None,
        )
        await serve(config, Listen(host, port, sockets, tls), life, log=log, timeouts=timeouts)


#: New objects after which the garbage collector looks for cycles. With 5,000 and more, eight requests of 100 KB at a time need no collection;
#: with 2,000, collections take 52 µs of each request (bench/NOTES.md). Requests leave no cycles (tests/whole/test_relay_garbage.py), but a closed TLS
#: connection is one, of 7 objects and 1 to 2 KB (asyncio's, until Python 3.11): 10,000 keep at most some 2 MB of them waiting.
COLLECT_AFTER = 10_000


def settle() -> None:
    """Take what the start has made out of the garbage collector's sight, so that no collection walks through all imported modules in the middle
    of a stream, and let it look for cycles after COLLECT_AFTER objects, not after 700."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 10, 10)


def _reload(source: Source, config: Config, notifier: Notifier, check: Callable[[Config], None], log: Log) -> Callable[[], Config] | None:
    """What SIGHUP does. Without a file there is nothing to read again: in the background that changes nothing (`systemctl reload` must not
    end the service), on a terminal SIGHUP keeps its meaning. With one, too, once the terminal has been closed."""
    if source.again is None:
        return None if on_terminal() else notifier.reloading(lambda: config)
    reloader, closed = Reloader(config, source.again, check, notifier, _warns(log)), closing()

    def load() -> Config:
        if closed():
            os.kill(os.getpid(), signal.SIGTERM)
            return reloader.config
        return reloader.load()

    return notifier.reloading(load)


def announcer(config: Config, source: Source, host: str, tls: bool, log: Any) -> Callable[[list[Any]], None]:
    """Prints the summary once the addresses listen; one line where the log is JSON."""

    def announce(addresses: list[Any]) -> None:
        url = listening = _url_of(addresses[0], host, tls)
        if url.startswith("unix:"):
            url = "http://localhost"  # for a front server, which knows where it is
        else:
            listening = f"{f'[{host}]' if ':' in host else host}:{addresses[0][1]}"
        aim = target(config, url)
        if config.settings.json_logs:
            log.info("started", url=url, source=source.what, models=list(aim.names), model=aim.model, warnings=list(config.warnings))
            return
        shown = Terminal()
        key_variable = bool(config.master_key) and os.environ.get("LITELLM_MASTER_KEY") == config.master_key
        shown.note(text(shown, config, aim, source.what, listening, parts_present(), source.config is None, key_variable))

    return announce


def _bind_message(error: OSError, host: str, port: int, tls: bool) -> str:
    if error.errno == errno.EADDRINUSE:
        url = own_url(host, port, tls)
        who, use = ("an a2py answers there already", "use it, or ") if answers(url) else ("another program listens there", "")
        return f"port {port} on {host} is taken: {who} ({use}choose another with --port N)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} may not be opened by this user: choose one above 1023 with --port N"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine: correct --host"
    return f"{host}:{port} can't be opened: {error.strerror or type(error).__name__}"


def answers(url: str) -> bool:
    """Whether an a2py answers at `url`."""
    answer = http.ask(url + "/health/liveliness", timeout=1)
    told = answer.json() if answer is not None else None
    return isinstance(told, dict) and told.get("name") == "a2py"
