"""Ask servers what they are, so that a deployment behind `openai/` and an api_base is served by what its server says of
itself.

Who is asked, and when (`a2py: discover: false` switches all of it off):
- an address of this machine or a private one: at the start, and again after a connection to it has failed (it may come
  back as another program, or with another model);
- any other host that the provider table does not know: once, after the first request that succeeded there, with that
  deployment's key;
- a host of the provider table: never.
Of several workers one asks at the start (`is_asker`), and what any of them learns reaches the others (`on_report`,
`take`).

Knows: addresses, time, which paths are asked. Must not know: what an answer means (evidence/server.py), what a
deployment does with it.
Invariants: never in a request's way; one question to a server at a time; at most ANSWER_BYTES and ANSWER_SECONDS for
each answer; at most MAX_SERVERS servers; a refused or strange answer is no failure, nothing is logged above info.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

import orjson

from a2py.deployment import Deployment
from a2py.evidence.message import ServerReport
from a2py.evidence.server import MODELS, ROOT_PATHS, Answer, ServerWord, read
from a2py.jsonsize import exceeds
from a2py.providers import row_is_guess
from a2py.proxy.lessons import iso_date
from a2py.upstream import Failure, Upstream
from a2py.wires.common.headers import build_headers

#: Bytes and seconds of one answer. A relay's list of some thousand models has 1 MB.
ANSWER_BYTES, ANSWER_SECONDS = 2 * 1024 * 1024, 5.0
#: JSON values of one answer.
ANSWER_VALUES = 200_000
#: Servers that are remembered.
MAX_SERVERS = 256
#: Seconds until a server that could not be reached is asked again, doubled each time, and how often (a large model
#: loads for minutes).
FIRST_WAIT, MAX_WAIT, TRIES = 2.0, 60.0, 20


def is_private(base: str) -> bool:
    """Return whether `base` is on this machine or in a private network: by its address, or by a name that no public
    name server answers for (a name without a dot, as in a compose file; `.local`, `.internal`, `.lan`,
    `.home.arpa`)."""
    try:
        host = (urlsplit(base).hostname or "").lower()
    except ValueError:
        return False
    try:
        address = ip_address(host)
    except ValueError:
        return bool(host) and (
            "." not in host or host.endswith((".localhost", ".local", ".internal", ".lan", ".home.arpa"))
        )
    return address.is_private or address.is_loopback or address.is_link_local or address.is_unspecified


class Discovery:
    """`on_change` is called with base → word after each server that was recognized anew. The words of one process
    outlive a reload.

    `is_asker`: ask private servers at the start; `on_report`: called with each answer, for other processes."""

    def __init__(self, on_change: Callable[[Mapping[str, ServerWord]], None]) -> None:
        self.reports: dict[str, ServerReport] = {}  # by base
        self.is_on = self.is_asker = True
        self.on_report: Callable[[ServerReport], None] = lambda report: None
        self._on_change = on_change
        self._upstream: Upstream | None = None
        self._stale: dict[str, Deployment] = {}  # private servers that could not be reached
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._decided_bases: set[str] = set()  # bases of which it is decided whether they are asked after a success

    @property
    def words(self) -> dict[str, ServerWord]:
        """What the servers said of themselves, by base."""
        return {base: report.word for base, report in self.reports.items()}

    def start(self, upstream: Upstream, deployments: Iterable[Deployment], is_on: bool) -> None:
        """Ask the private servers among `deployments` that were not asked yet. Call again after a reload."""
        self._upstream = upstream
        self.is_on = is_on
        for deployment in deployments if is_on and self.is_asker else ():
            if _is_asked_at_start(deployment) and deployment.base not in self.reports:
                self._ask(deployment, TRIES)

    def note_success(self, deployment: Deployment) -> None:
        """Note that a request to `deployment` has succeeded."""
        base = deployment.base
        if not self.is_on or base in self._tasks:
            return
        if base in self._stale:
            self._ask(self._stale.pop(base), 1)
        elif base not in self._decided_bases and len(self._decided_bases) < MAX_SERVERS:
            self._decided_bases.add(base)  # so that the next requests pay nothing
            if base not in self.reports and _is_unknown(deployment) and not is_private(base):
                self._ask(deployment, 1)

    def note_failed_connection(self, deployment: Deployment) -> None:
        """Note that a connection to `deployment` has failed: what its server said may no longer hold when it is
        back."""
        if self.is_on and deployment.base not in self._tasks and _is_asked_at_start(deployment):
            self._stale.setdefault(deployment.base, deployment)

    def take(self, report: ServerReport) -> None:
        """Take what another process has report: this one need not ask."""
        base = report.base
        self._stale.pop(base, None)
        task = self._tasks.get(base)
        if task is not None:
            task.cancel()
        self._keep(report)

    async def close(self) -> None:
        self.is_on = False
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ask(self, deployment: Deployment, tries: int) -> None:
        base = deployment.base
        if base in self._tasks or (base not in self.reports and len(self.reports) + len(self._tasks) >= MAX_SERVERS):
            return
        task = self._tasks[base] = asyncio.get_running_loop().create_task(self._learn(deployment, tries))
        task.add_done_callback(lambda _: self._tasks.pop(base))

    async def _learn(self, deployment: Deployment, tries: int) -> None:
        base = deployment.base
        word = await self._word(deployment, tries)
        if word is None:
            if is_private(base):
                self._stale[base] = deployment
        else:
            report = ServerReport(base, word, iso_date(time.time()))
            self._keep(report)
            self.on_report(report)

    def _keep(self, report: ServerReport) -> None:
        earlier = self.reports.get(report.base)
        if len(self.reports) >= MAX_SERVERS if earlier is None else earlier.word == report.word:
            return
        self.reports[report.base] = report
        if self.is_on:
            self._on_change(self.words)

    async def _word(self, deployment: Deployment, tries: int) -> ServerWord | None:
        """Return what the server says; None if it cannot be reached."""
        wait = FIRST_WAIT
        while True:
            answers = await self._answers(deployment)
            if answers:
                return read(answers)
            tries -= 1
            if tries <= 0:
                return None
            await asyncio.sleep(wait)
            wait = min(wait * 2, MAX_WAIT)

    async def _answers(self, deployment: Deployment) -> dict[str, Answer]:
        """Ask for the model list and, of a private server, for its root's paths. {}: it cannot be reached."""
        assert self._upstream is not None
        answers: dict[str, Answer] = {}
        base = deployment.base
        first = await fetch(self._upstream, deployment, base + MODELS, ANSWER_SECONDS)
        if first is None:
            return {}
        answers[MODELS] = first
        parts = urlsplit(base)
        for path in ROOT_PATHS if is_private(base) else ():
            answer = await fetch(self._upstream, deployment, f"{parts.scheme}://{parts.netloc}{path}", ANSWER_SECONDS)
            if answer is not None:
                answers[path] = answer
        return answers


async def fetch(upstream: Upstream, deployment: Deployment, address: str, seconds: float) -> Answer | None:
    """Ask the server of `deployment` for `address`. Return its answer, None if there was none in time."""
    address += f"?{deployment.query}" if deployment.query else ""
    try:
        status, headers, body = await upstream.fetch(
            deployment, address, build_headers(deployment, False), None, seconds, ANSWER_BYTES + 1
        )
    except Failure:
        return None
    return Answer(status, headers, _json(body))


def _is_unknown(deployment: Deployment) -> bool:
    """Return whether only its server can say what stands at `deployment`."""
    return _can_be_asked(deployment) and row_is_guess(deployment.provider, deployment.base)


def _is_asked_at_start(deployment: Deployment) -> bool:
    """Return whether `deployment` is on this machine or net. Its list counts even if its prefix names the program."""
    return _can_be_asked(deployment) and is_private(deployment.base)


def _can_be_asked(deployment: Deployment) -> bool:
    return not deployment.problem and deployment.wire != "native"


def _json(body: bytes) -> object:
    """Return the JSON value in `body`, None if it is none, or too large to be read at once."""
    if len(body) > ANSWER_BYTES or exceeds(body, ANSWER_VALUES):
        return None
    try:
        return orjson.loads(body)
    except ValueError:
        return None
