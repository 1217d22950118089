"""Make the web searches of a reply, and ask the model again with what they bring.

It is imported only where the configuration names a search backend.

Knows: the account at the backend, limits of time and size, what the log says. Must not know: which call is a search
(a2py/search), what the client gets (answer.py).
Invariants: a search never raises; no address that a result names is asked; redirects are not followed; the key is in no
message.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson

from a2py import jsonsize
from a2py.deployment import Deployment
from a2py.messages.types import Call, Outcome, Sink
from a2py.search import loop as hops
from a2py.search.backends import BACKENDS, Account, Question, read_pages
from a2py.search.page import SHORT_QUERY
from a2py.upstream.client import api_error
from a2py.upstream.failure import Failure
from a2py.wires.common.search import can_search

if TYPE_CHECKING:
    from a2py.config.search import SearchTool
    from a2py.proxy.inbound import Inbound
    from a2py.proxy.services import Services

#: Bytes of a backend's answer. Ten results with their texts have some 100 KB.
ANSWER = 4 * 1024 * 1024
#: Status of a backend → Anthropic's error code. Any other failure is `unavailable`.
_CODES = {429: "too_many_requests", 414: "query_too_long"}
#: Statuses of a query that the service does not accept.
_INVALID = (400, 422)
#: What a status means that needs somebody to do something.
_HINTS = {
    401: "Check its key.",
    402: "Its credit is used up.",
    403: "Check its key; SearXNG needs `json` in its settings' `search: formats`.",
    404: "Check its `api_base`.",
}


class Searching:
    """The searches of one attempt. `call`: what the model is asked next; `count`: hops so far."""

    def __init__(self, services: Services, inbound: Inbound, tool: SearchTool, loop: hops.Loop) -> None:
        self._services = services
        self._inbound = inbound
        self._tool = tool
        self._loop = loop
        self._sink: Sink | None = None

    @property
    def call(self) -> Call:
        return self._loop.call

    @property
    def count(self) -> int:
        return self._loop.count

    def open(self, sink: Sink | None, origin: str) -> Sink:
        """Return the sink of the next hop. `sink`: the client's reply, for the first hop; the others write into it,
        too."""
        if sink is not None:
            self._sink = sink
        assert self._sink is not None
        return self._loop.open(self._sink, origin)

    @property
    def is_open(self) -> bool:
        """Whether a hop has begun, so that the client's reply has its sink."""
        return self._sink is not None

    def list_searches(self, outcome: Outcome) -> list[hops.Search]:
        """Return the searches that the hop asks for; none if the reply is over."""
        return self._loop.end_hop(outcome)

    async def run(self, searches: list[hops.Search], outcome: Outcome) -> bool:
        """Make `searches`. Return whether the model is to be asked again, with what they brought."""
        await asyncio.gather(*(self._search(search) for search in searches if search.query is not None))
        errors = [search.error for search in searches if search.error]
        self._inbound.record.notes.append(
            f"searched {len(searches)} at {self._tool.name}" + (f", failed: {','.join(errors)}" if errors else "")
        )
        return self._loop.add_results(outcome)

    def finish(self, outcome: Outcome) -> Outcome:
        """Return the outcome of all hops."""
        return self._loop.finish(outcome)

    def sum_up(self, last: Outcome | None) -> Outcome | None:
        """Return the outcome of all hops of a reply that broke off; `last`: of the latest hop. None if none has
        ended."""
        return self._loop.sum_up(last)

    async def _search(self, search: hops.Search) -> None:
        """Fill in the pages of `search`, or its error."""
        tool, query = self._tool, search.query
        assert query is not None
        backend = BACKENDS[tool.backend]
        question = backend.build(query, Account(tool.base, tool.key, tool.engine))
        recording = self._inbound.recording
        start = recording.begin_search() if recording is not None else 0.0
        problem = ""
        try:
            status, data = await self._ask(question)
            if len(data) > ANSWER:
                search.error, problem = "unavailable", f"answered more than {ANSWER} bytes"
            elif status == 200:
                answer = None if jsonsize.exceeds(data) else orjson.loads(data)
                if isinstance(answer, dict):
                    search.pages = read_pages(backend, answer, query)
                else:
                    search.error, problem = "unavailable", "answered something else than a JSON object"
            else:
                search.error = _CODES.get(status, "unavailable")
                if status in _INVALID and len(query.text) > SHORT_QUERY:
                    search.error = "query_too_long"
                problem = f"answered HTTP {status}. {_HINTS.get(status, '')}".rstrip()
        except Failure as failure:
            search.error, problem = "unavailable", api_error(failure.cause, _backend_deployment(tool)).message
        except ValueError:
            search.error, problem = "unavailable", "answered something that is no JSON"
        self._services.metrics.add("a2py_searches_total", tool=tool.name, result=search.error or "ok")
        if recording is not None:
            recording.add_search(query.text, start, len(search.pages), search.error)
        if problem:
            place = _backend_deployment(tool).address
            self._services.log.warning("search failed", tool=tool.name, backend=tool.backend, at=place, problem=problem)

    async def _ask(self, question: Question) -> tuple[int, bytes]:
        """Return the status and the body of the backend's answer. Raise `Failure`."""
        tool, upstream = self._tool, self._services.upstream
        status, _, data = await upstream.fetch(
            _backend_deployment(tool), question.url, question.headers, question.body, tool.timeout, ANSWER + 1
        )
        return status, data


def _backend_deployment(tool: SearchTool) -> Deployment:
    """Return the backend as what upstream connections are made for."""
    return Deployment("", tool.name, tool.backend, "", tool.base, key=tool.key, ssl_verify=tool.ssl_verify)


def begin(services: Services, inbound: Inbound, deployment: Deployment) -> Searching | None:
    """Return the searches of an attempt at `deployment`; None if the request offers no web search, if the upstream
    searches by itself, or if the configuration has no backend for its provider."""
    tool = inbound.config.search
    if tool is None or not tool.serves(deployment.provider) or can_search(deployment.wire, deployment.quirks):
        return None
    loop = hops.begin(inbound.call)
    return None if loop is None else Searching(services, inbound, tool, loop)
