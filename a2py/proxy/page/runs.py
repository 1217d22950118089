"""What the page has done: a request asked again, a request of its own, the probes of `a2py check`.

Knows: which headers of a recorded request are sent again. Must not know: upstreams, how a request is answered
(messages_api.py), what a probe asks.
Invariants: all of it costs tokens, and nothing of it happens without a POST of the page; requests are in the ledger as
those of the agent `page`, with the key that has opened the page; one check runs at a time.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import orjson

from a2py.caller import Caller
from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.proxy.aiohttp_server import BaseRequest, StreamResponse
from a2py.proxy.client import PassedStream
from a2py.proxy.log import Record
from a2py.proxy.messages_api import create_message
from a2py.proxy.page.desk import Desk
from a2py.proxy.page.reader import Reader
from a2py.proxy.responses import PAGE_HEADERS
from a2py.proxy.services import Services

#: The agent of the page's own requests in the ledger.
AGENT = "page"
#: Beginnings of the headers that are sent again: what a request means, and what rules look at. No credentials.
_SENT_AGAIN = ("anthropic-", "x-claude-code-", "x-stainless-", "x-app", "user-agent")

JSON = dict[str, Any]


class Runs:
    """What the page may start. `is_checking`: a check runs."""

    def __init__(self, desk: Desk, reader: Reader) -> None:
        self.desk = desk
        self._reader = reader
        self.is_checking = False

    async def ask(self, request: BaseRequest, record: Record, caller: Caller) -> StreamResponse:
        """Answer a request as /v1/messages would. Raise `ApiError`."""
        return await self._run(request, record, caller)

    async def replay(self, request: BaseRequest, record: Record, caller: Caller, id: str) -> StreamResponse:
        """Ask the same as the request `id`. Raise `ApiError`."""
        detail = await self._reader.describe_client(id)
        if not detail["path"].rstrip("/").endswith("/v1/messages"):
            reason = "Only a request to /v1/messages can be asked again here: copy it as a command for curl"
            raise ApiError("invalid_request", reason, should_retry=False)
        body = (await self._reader.read(id, "body")).encode("latin-1")
        headers = {name: value for name, value in detail["headers"] if name.startswith(_SENT_AGAIN)}
        host = {name: value for name, value in request.headers.items() if name.lower() == "host"}
        return await self._run(request.clone(headers={**headers, **host}), record, caller, body)

    async def _run(
        self, request: BaseRequest, record: Record, caller: Caller, body: bytes | None = None
    ) -> StreamResponse:
        record.account.caller, record.account.agent = caller, AGENT
        answer = await create_message(self.desk.services, request, record, body, PAGE_HEADERS)
        if isinstance(answer, ApiError):
            raise answer
        return answer

    async def check(self, request: BaseRequest, record: Record, model: object) -> StreamResponse:
        """Probe `model`, None for all, and answer with a line for each probe. Raise `ApiError`."""
        services = self.desk.services
        if services.ui.check is None:
            raise ApiError("not_found", "This proxy can't probe models: run `a2py check`", should_retry=False)
        deployments = _pick(services, model)
        if self.is_checking:
            raise ApiError("rate_limit", "A check runs already: wait for its end", retry_after=10)
        self.is_checking = True
        try:
            stream = PassedStream(request, record.id, 1 << 20, PAGE_HEADERS, services.timeouts.stall)
            stream.commit(200, {"content-type": "application/x-ndjson"}, None)
            for deployment in deployments:
                async with aclosing(services.ui.check(deployment, services.upstream)) as rows:  # type: ignore[type-var]
                    async for row in rows:
                        place = {"type": "row", "model": deployment.name, "deployment": deployment.id}
                        stream.write(orjson.dumps({**place, **row}, option=orjson.OPT_APPEND_NEWLINE))
            record.status = 200
            return stream.finish(b'{"type":"end"}\n')
        finally:
            self.is_checking = False


def _pick(services: Services, model: object) -> list[Deployment]:
    """Return the deployments to probe: those of the name `model`, or of all names. Raise `ApiError`."""
    config = services.config
    if model is not None and not isinstance(model, str):
        raise ApiError("invalid_request", "model: write a name, or null for all", should_retry=False)
    names = config.list_chat_names() if model is None else (model,)
    candidates = {(one.id, one.model): one for name in names for one in config.resolve(name)}
    deployments = [services.lessons.apply(one) for one in candidates.values() if one.is_chat and not one.problem]
    if not deployments:
        raise ApiError("not_found", "There is no model that can be probed", should_retry=False)
    return deployments
