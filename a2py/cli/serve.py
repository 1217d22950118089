"""`a2py serve`: check the flags, open the sockets, then serve in this process or in several.

Knows: flags, what a start refuses, sockets. Must not know: HTTP, models, what a serving process does (serving.py).
Invariants: nothing listens on a public address without a master key unless the user asks twice (the address, and
--insecure).
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import ipaddress
import os
import pickle
import re
import socket
import ssl
import sys
from dataclasses import replace
from importlib.util import find_spec
from urllib.parse import urlsplit

from a2py.cli import handover, listen, litellmflags, options, running
from a2py.cli.control import Worker
from a2py.cli.division import describe_division
from a2py.cli.eventloop import run_loop
from a2py.cli.exits import CONFIG, OK, REFUSED, UNAVAILABLE, USAGE, Stop
from a2py.cli.keycheck import check_keys
from a2py.cli.notify import Notifier
from a2py.cli.reload import Reloader
from a2py.cli.serving import Job, check_capture, has_successor, open_log, serve_job, warnings_to
from a2py.cli.sharing import Sharing
from a2py.cli.source import Source, choose, is_insecure, master_key, read_environment
from a2py.cli.summary import describe_served, is_loopback, own_url
from a2py.cli.terminal import Terminal
from a2py.cli.workers import Hooks, Supervisor
from a2py.cli.workers import build_command as command_line
from a2py.config import Config
from a2py.config.collapse import collapse
from a2py.hostname import parse_host
from a2py.proxy.log import Log

EXAMPLES = (
    "a2py                                                 a file here, keys in the environment, Ollama, or the demo",
    "a2py --config litellm_config.yaml --port 4000",
    "a2py --model deepseek/deepseek-chat                  one model, its key in DEEPSEEK_API_KEY",
    "a2py --model openai/qwen3 --api_base http://localhost:8000/v1",
    "a2py --host 0.0.0.0                                  other machines too: needs a master key",
)
#: What no name of a host has: only digits and dots, or characters of a URL.
_IMPOSSIBLE = re.compile(r"\A[0-9.]*\Z|[/\[\]@:\s]")


def parser(name: str) -> options.Parser:
    description = "Serve models to Claude Code and any other Anthropic client."
    out = options.Parser(name, description, EXAMPLES).flags(options.SOURCE, options.LISTEN, options.SERVER)
    out.add_argument(
        "--health", action="store_true", help="send each model one short request, print the results, and exit"
    )
    out.add_argument(
        "--test", action="store_true", help="send one request to the running proxy, print the answer, and exit"
    )
    litellmflags.add_flags(out)
    return out


def run(name: str, argv: list[str]) -> int:
    args = parser(name).read(argv)
    if args.health or args.test or args.skip_server_startup:
        return run_once(args)
    worker, sockets = Worker(os.environ), listen.take_inherited(os.environ, os.getpid())
    try:
        payload = worker.configuration()
    except EOFError:
        return OK  # the parent has died
    if payload is not None:  # the parent has read and checked the configuration
        config, what = pickle.loads(payload)
        tls = load_tls(args.ssl_certfile_path, args.ssl_keyfile_path)
        job = Job(args, Source(config, what), args.host or options.HOST, 0, tls, sockets)
        run_loop(serve_job(job, worker))
        return OK
    job = make_job(args, sockets)
    count = 1 if worker.number is not None else count_workers(args)
    path = os.environ.get(handover.VARIABLE, "")
    try:
        if not job.sockets and (path or count > 1):
            job.sockets = listen.bind(job.host, job.port, count)
        if path:
            job.offer = handover.Offer(path, job.sockets)
        if count > 1:
            return supervise(argv, job, count)
        run_loop(serve_job(job, worker))
    except OSError as error:
        raise Stop(describe_bind_error(error, job), UNAVAILABLE) from None
    return OK


def run_once(args: argparse.Namespace) -> int:
    """Do what a flag asks for instead of serving."""
    if args.skip_server_startup:
        Terminal().note("nothing to prepare: a2py has no database, and --skip-server-startup asks for nothing else")
        return OK
    from a2py.cli.health import health, test

    return health(args) if args.health else test(args)


def make_job(args: argparse.Namespace, sockets: list[socket.socket]) -> Job:
    """Return what to serve, checked. Raise Stop or ConfigError for what a start refuses."""
    for warning in litellmflags.describe_ignored(args):
        Terminal().warn(warning)
    source = choose(args, read_environment(), os.getcwd())
    tls = load_tls(args.ssl_certfile_path, args.ssl_keyfile_path)
    host, port = args.host or options.HOST, options.PORT if args.port is None else args.port
    check_host(host)
    if os.environ.get(handover.VARIABLE) and not listen.have_address(sockets, host, port):
        for sock in sockets:  # handed over by a proxy that listened elsewhere
            sock.close()
        sockets = []
    hosts = [listen.listening_host(sock) for sock in sockets if not listen.is_unix(sock)] if sockets else [host]

    def check(config: Config) -> bool:
        check_strict(config, bool(args.strict))
        has_keys = check_keys(config)
        check_redis(config)
        for each in hosts:
            check_public(each, Source(config, ""), bool(args.insecure) or has_keys)
        check_capture(config.settings.capture_dir)
        return has_keys

    if source.config is not None:
        check_strict(source.config, bool(args.strict))
        check_redis(source.config)
    has_keys = check_keys(source.config)
    for each in hosts:
        check_public(each, source, bool(args.insecure) or has_keys)
    return Job(args, source, host, port, tls, sockets, check)


def check_strict(config: Config, is_strict: bool) -> None:
    """Raise Stop for the warnings and problems of `config` if the user wants none."""
    problems = collapse(dep.problem for dep in config.deployments if dep.problem)
    if is_strict and (config.warnings or problems):
        lines = "\n".join(f"  {line}" for line in (*config.warnings, *problems))
        raise Stop(f"--strict allows no warning:\n{lines}", CONFIG)


def check_redis(config: Config) -> None:
    """Raise Stop if `config` shares limits over Redis, and nothing here speaks its protocol."""
    if config.redis is not None and find_spec("redis") is None:
        raise Stop(
            f"the configuration shares its limits over {config.redis.label}, and the package for it is not installed:"
            " pip install 'a2py[redis]'",
            CONFIG,
        )


def count_workers(args: argparse.Namespace) -> int:
    count = int(args.num_workers or 1)
    if count > 1 and sys.platform == "win32":
        Terminal().warn(f"on Windows one process serves, not {count}: omit --num-workers (NUM_WORKERS)")
        return 1
    return count


def supervise(argv: list[str], job: Job, count: int) -> int:
    """Run `count` workers. This process watches over them and reads the configuration for them."""
    source = job.source
    if source.config is not None:
        check_capture(source.config.settings.capture_dir)
    url = job.url(job.sockets[0].getsockname())
    log = open_log(source.config, 1)
    notifier, hooks = Notifier(os.environ, os.getpid()), Hooks(log.warning)
    notifier.describe(describe_served(source.config, source.what) if source.config else f"serving {source.what}")
    offer = job.offer
    if offer is not None:
        hooks.serving, hooks.ending = offer.open, lambda: has_successor(offer, url)
    if source.config is not None and source.again is not None:
        reloader = Reloader(source.config, source.again, job.check, notifier, warnings_to(log), source.what)
        hooks.load = lambda: _pickle_reload(reloader, source.what, log, count)

    async def main() -> int:
        command, sharing = command_line(["serve", *argv]), Sharing(job.sockets, count)
        config = pickle.dumps((_with_division(source.config, count), source.what))
        return await Supervisor(command, sharing, url, os.environ, notifier, hooks, config).run()

    return asyncio.run(main())


def _with_division(config: Config | None, count: int) -> Config | None:
    """Return `config` with the warning that `count` workers divide its limits."""
    warning = describe_division(config, count) if config is not None else ""
    return replace(config, warnings=(*config.warnings, warning)) if config is not None and warning else config


def _pickle_reload(reloader: Reloader, what: str, log: Log, count: int) -> bytes | None:
    """Return a new configuration for the workers, None if it was refused."""
    before = describe_division(reloader.config, count)
    try:
        config = reloader.load()
    except Exception as error:
        log.warning("reload refused", error=str(error) or type(error).__name__)
        return None
    warning = describe_division(config, count)
    if warning not in ("", before):
        log.warning("configuration", warning=warning)
    return pickle.dumps((config, what))


def check_host(host: str) -> None:
    """Raise Stop if `host` can be neither an address nor a name: `300.1.2.3`, `127.0.0.1:4000`, `[::1]`, a URL."""
    try:
        ipaddress.ip_address(host)
        return
    except ValueError:
        if _IMPOSSIBLE.search(host) is None:
            return
    parts = parse_host(host)
    if parts is None or (_IMPOSSIBLE.search(parts.name) and not parts.is_address):
        raise Stop(f"{host} is neither an IP address nor the name of a host: correct --host (or $HOST)", USAGE)
    port = f" --port {parts.port}" if parts.port else ""
    raise Stop(f"{host} is more than an address: write --host {parts.name}{port}", USAGE)


def check_public(host: str, source: Source, insecure: bool) -> None:
    """Raise Stop if `host` is a public address and nothing protects the keys."""
    env = read_environment()
    has_key = bool(master_key(source.config, env, os.getcwd()))
    if is_loopback(host) or has_key or insecure or is_insecure(source.config, env):
        return
    raise Stop(
        f"{host} is a public address, and without a master key anybody who reaches it can spend your keys: set "
        "LITELLM_MASTER_KEY (or general_settings.master_key), make keys (`a2py keys new`), or pass --insecure "
        "(A2PY_INSECURE=1) if something else protects it",
        REFUSED,
    )


def load_tls(cert: str | None, key: str | None) -> ssl.SSLContext | None:
    if cert is None and key is None:
        return None
    if cert is None:
        raise Stop("--ssl-keyfile-path needs --ssl-certfile-path", USAGE)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise Stop(
            f"the certificate {cert} (key {key or 'in the same file'}) can't be loaded: {reason}", CONFIG
        ) from None
    return context


def is_listening(url: str) -> bool:
    """Return whether a program accepts connections at `url`. One that is too busy to do so counts, too."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), timeout=1).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        pass
    return True


def describe_bind_error(error: OSError, job: Job) -> str:
    """Return what to tell a person whose address cannot be bound."""
    host, port = job.host, job.port
    if error.errno == errno.EADDRINUSE:
        url = own_url(host, port, job.tls is not None)
        if running.is_a2py(url):
            return (
                f"port {port} on {host} is taken: an a2py answers there already (use it, or choose another "
                "with --port N)"
            )
        if is_listening(url):
            return f"port {port} on {host} is taken: another program listens there (choose another with --port N)"
        return (
            f"port {port} on {host} is taken, but nobody listens at {urlsplit(url).netloc}: another program has bound"
            " the port, or its connection to elsewhere uses it (choose another with --port N, or try again later)"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"this user may not open port {port}: choose one above 1023 with --port N"
    # asyncio (CPython 3.13.0) skips such an address, and then raises an error without a number because none is left.
    if error.errno == errno.EADDRNOTAVAIL or "could not bind on any address" in str(error):
        return f"{host} is not an address of this machine: correct --host"
    return f"{host}:{port} can't be opened: {error.strerror or type(error).__name__}"
