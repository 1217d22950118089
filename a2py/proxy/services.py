"""What outlives a request: the configuration in force, and everything that requests share.

A request's handlers get a `Services` instead of the application, so that they depend only on what is below them.
Nothing here knows that there are routes or exchanges.

Knows: how the shared parts are made and closed. Must not know: HTTP, paths, what a request does with the parts.
Invariants: `upstream` exists between `start` and `close`; a reload replaces `config` and nothing that a running request
holds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.evidence.explain import explain
from a2py.evidence.server import ServerWord
from a2py.proxy.books import Books
from a2py.proxy.bus import Bus
from a2py.proxy.cachehealth import CacheHealth
from a2py.proxy.context import Contexts
from a2py.proxy.discovery import Discovery
from a2py.proxy.keys import Keyring, check_budgets
from a2py.proxy.lessons import Lessons
from a2py.proxy.limits import Limits
from a2py.proxy.log import Log, Record
from a2py.proxy.metrics import Metrics
from a2py.proxy.pace import Pace
from a2py.proxy.responses import new_id
from a2py.proxy.router import Router
from a2py.proxy.sizes import Sizes
from a2py.proxy.timeouts import Timeouts
from a2py.proxy.tokenizers import Tokenizers
from a2py.upstream import Upstream, tls

if TYPE_CHECKING:
    from a2py.config import Config
    from a2py.proxy.connections import Connections
    from a2py.proxy.keylimits import KeyLimits
    from a2py.proxy.news import News
    from a2py.proxy.recording import Recording, Room

#: Seconds after the start at which the system's certificates are read, unless a request needs them earlier. Reading
#: takes 35 ms, in which nothing else runs, so it should not delay the first connections.
TRUST_DELAY = 0.2


class Interruptible(Protocol):
    """An exchange, as the server sees it."""

    def interrupt(self, error: ApiError) -> None:
        """Make the exchange answer with `error` now."""


class Watcher(Protocol):
    """Who keeps requests while somebody looks at them (page/recorder.py). `room`: for all recordings."""

    room: Room

    def begin(self, id: str, recording: Recording) -> None:
        """Take the recording of a request that has begun."""

    def end(self, record: Record) -> None:
        """Take over a request that has ended."""

    def add_refusal(self, id: str, body: bytes) -> None:
        """Take the body of an error that the client got."""


class Desk(Protocol):
    """The page's part in this process (page/desk.py)."""

    async def close(self) -> None:
        """End every page that is open."""


class Ui:
    """The page at /ui, as the proxy sees it.

    `watcher`: None as long as nobody looks at requests; `desk`: made when the page is needed for the first time;
    `adjust`: does as the configuration says; `secret_file`: what opens the page of a proxy without keys, "" for
    nothing; `check`: probes a model, as `a2py check` does (cli/serving.py sets it)."""

    def __init__(self) -> None:
        self.watcher: Watcher | None = None
        self.desk: Desk | None = None
        self.adjust: Callable[[], None] = lambda: None
        self.secret_file = ""
        self.check: Check | None = None


#: Yields what each probe of a deployment has found.
Check = Callable[[Deployment, Upstream], AsyncIterator[dict[str, str]]]


class Running:
    """The work that must end before the proxy may stop.

    `exchanges`: requests to models that are being answered; `is_draining`: the proxy is out of rotation; `leave`:
    called when a client asks to take it out."""

    def __init__(self, leave: Callable[[], None], clock: Callable[[], float]) -> None:
        self.leave = leave
        self._clock, self._start_time = clock, clock()
        self.exchanges: set[Interruptible] = set()
        self.is_draining = False
        self._idle: asyncio.Event | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._timers: list[asyncio.TimerHandle] = []

    def uptime(self) -> float:
        """Return the seconds since the start."""
        return self._clock() - self._start_time

    def add(self, exchange: Interruptible) -> None:
        self.exchanges.add(exchange)

    def remove(self, exchange: Interruptible) -> None:
        self.exchanges.discard(exchange)
        if self._idle is not None and not self.exchanges:
            self._idle.set()

    async def wait_until_idle(self) -> None:
        """Return once no exchange runs."""
        while self.exchanges:
            if self._idle is None or self._idle.is_set():
                self._idle = asyncio.Event()
            await self._idle.wait()

    def run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work`, which must not raise, after its answer has gone out. `finish` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)  # the loop itself keeps only weak references to tasks
        task.add_done_callback(self._background.discard)

    def call_later(self, seconds: float, function: Callable[[], object]) -> None:
        """Call `function` after `seconds`, unless `finish` comes first."""
        self._timers.append(asyncio.get_running_loop().call_later(seconds, function))

    async def finish(self) -> None:
        """Wait for everything that runs in the background."""
        for timer in self._timers:
            timer.cancel()
        if self._background:
            await asyncio.wait(self._background)


class Prompts(NamedTuple):
    """What is known of prompts: how many tokens a server counts, how many it takes, what it has cached."""

    tokenizers: Tokenizers
    contexts: Contexts
    cache_health: CacheHealth


class Services:
    """The shared parts of one proxy.

    `clock`: monotonic seconds (tests have their own); `name`: identifies this proxy in the hop header; `leave`: see
    `Running`; `keys`: who may ask; `connections`: the clients' connections, None inside another aiohttp application;
    `bus`: messages between the workers of one parent; `news`: what is told to other processes, None if there are none;
    `ledger`: path of the ledger if the configuration names none, "" for none."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Callable[[], float] = time.monotonic,
        log: Log | None = None,
        timeouts: Timeouts | None = None,
        leave: Callable[[], None] = lambda: None,
        ledger: str = "",
    ) -> None:
        self.config = config
        self.clock = clock
        self.log = log or Log(format="json" if config.settings.json_logs else "text")
        self.timeouts = timeouts or Timeouts()
        self.news: News | None = None
        self.bus = Bus(lambda error: self.log.crash(error, ""))
        self.name = new_id("")[:8]
        self.router = Router(clock, Limits(clock))
        self.limits.places.total_limit = config.settings.global_max_parallel_requests
        self.lessons = Lessons(clock)
        self.metrics = Metrics()
        self.keys = Keyring(clock, lambda event, values: self.log.warning(event, **values))
        self.books = Books(ledger, self.log, self.metrics)
        self.pace = Pace()
        self.sizes = Sizes(self.pace)
        self.prompts = Prompts(Tokenizers(clock, self.pace), Contexts(clock), CacheHealth(clock))
        self.running = Running(leave, clock)
        self.connections: Connections | None = None
        self.ui = Ui()
        self.discovery = Discovery(self._take_words)
        self.upstream: Upstream  # made by `start`, because it belongs to the running loop

    @property
    def limits(self) -> Limits:
        return self.router.limits

    @property
    def needs_key(self) -> bool:
        """Whether clients must have a key."""
        return bool(self.config.master_key or self.keys.rows)

    @cached_property
    def key_limits(self) -> KeyLimits:
        """The limits of keys, made when the first key that has some asks."""
        from a2py.proxy.keylimits import KeyLimits

        return KeyLimits(self.clock, self.limits.share)

    async def start(self) -> None:
        settings = self.config.settings
        self.books.open(settings)
        self.keys.check = lambda rows: check_budgets(rows, self.books.keeper is not None)
        self.keys.on_change = self._forget_keys
        self.keys.open(self.config.keys_path)
        self.keys.watch(lambda: bool(self.config.master_key))
        self.upstream = Upstream(
            self.name, settings.force_ipv4, settings.trust_env, self.metrics.add, settings.upstream_proxy
        )
        search = self.config.search
        bases = [deployment.base for deployment in self.config.deployments] + ([search.base] if search else [])
        if any(base.startswith("https:") for base in bases):
            self.running.call_later(TRUST_DELAY, tls.trusting)
        self.discovery.start(self.upstream, self.config.deployments, settings.discover)
        if self.config.redis is not None:
            from a2py.proxy.sharing import Sharing  # not loaded where no Redis is configured

            sharing = self.router.sharing = Sharing(self.config.redis, self.router, self.log)
            sharing.renew(self.config)
            sharing.exchange_news(self.open_news(), self.discovery)

    async def close(self) -> None:
        self.keys.close()
        if self.news is not None:
            self.news.close()
        await self.bus.close()
        if self.ui.desk is not None:
            await self.ui.desk.close()
        await self.discovery.close()
        await self.running.finish()
        if self.router.sharing is not None:
            await self.router.sharing.close()
        await self.upstream.close()
        self.books.close_budgets()
        if self.books.keeper is not None:
            await self.books.keeper.close()

    def reload(self, config: Config) -> None:
        """Use `config` for every request from now on. Running requests keep the one they began with."""
        self.config = config.with_servers(self.discovery.words) if config.settings.discover else config
        self.limits.places.total_limit = config.settings.global_max_parallel_requests
        tls.forget()
        self.limits.keep_only(deployment.id for deployment in config.deployments)
        self.router.line.renew(self.config.deployments)
        if self.router.sharing is not None:
            self.router.sharing.renew(self.config)
        elif config.redis is not None:
            self.log.warning("limits are shared after a restart only: run a2py restart")
        self.discovery.start(self.upstream, config.deployments, config.settings.discover)
        former = self.books.open(config.settings)
        if former is not None:
            self.running.run_in_background(former.close())
        self.keys.refresh(bool(config.master_key), at_once=True)
        self.ui.adjust()

    def ask_servers(self) -> None:
        """Ask private servers what they are, also after a reload: of several workers this one does it."""
        self.discovery.is_asker = True
        self.discovery.start(self.upstream, self.config.deployments, self.config.settings.discover)

    def join_workers(self, number: int, count: int, send: Callable[[list[bytes]], bool]) -> None:
        """Share what is known with the other workers of one parent (`Bus.connect`)."""
        if self.router.sharing is not None:  # they share over Redis
            self.router.sharing.join_workers(number, count)
        elif count > 1:
            from a2py.proxy.worker_news import WorkerNews  # not loaded by a process that is alone

            WorkerNews(self.open_news(), self.bus, self.limits, self.running.run_in_background)
        self.bus.connect(number, count, send)

    def open_news(self) -> News:
        """Return the news, which are exchanged with other processes from now on."""
        if self.news is None:
            from a2py.proxy.news import News

            self.news = News(self.name, lambda: self.config, self.router.cooldowns, self.lessons, self.sizes)
        return self.news

    def explain(self, deployment: Deployment) -> dict[str, Any]:
        """Return what is known of `deployment`, and why; of a wildcard's models only its own list says something."""
        report = self.discovery.reports.get(deployment.base)
        return explain(deployment, self.config.settings.quirks, report, self.lessons.facts(deployment))

    def _forget_keys(self) -> None:
        """Forget what was counted for keys that are gone."""
        if "key_limits" in self.__dict__:
            self.key_limits.keep_only(key.caller.name for key in self.keys.rows)

    def _take_words(self, words: Mapping[str, ServerWord]) -> None:
        """Serve with what servers have said of themselves from now on. Running requests keep the configuration that
        they began with."""
        self.config = self.config.with_servers(words)
        self.router.line.renew(self.config.deployments)
