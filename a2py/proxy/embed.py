"""The proxy inside another aiohttp application, or a test.

Knows: `aiohttp.web.Application`. Must not know: sockets, signals (server.py runs the proxy alone).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from a2py.proxy.app import Proxy  # isort: skip  (before aiohttp, whose import aiohttp_server.py makes cheap)
from aiohttp import web

from a2py.proxy.log import Log
from a2py.proxy.services import Services

if TYPE_CHECKING:
    from a2py.config import Config

PROXY: web.AppKey[Proxy] = web.AppKey("proxy", Proxy)


def build_app(
    config: Config, *, clock: Callable[[], float] = time.monotonic, log: Log | None = None
) -> web.Application:
    """Return the proxy as an `aiohttp.web.Application`; `app[PROXY]` is the `Proxy`.

    Serve it with `handler_cancellation=True`. Otherwise an upstream is not told that the client has left until a byte
    cannot be written."""
    proxy = Proxy(Services(config, clock=clock, log=log))
    app = web.Application(client_max_size=0)
    app[PROXY] = proxy
    app.router.add_route("*", "/{path:.*}", proxy.handle)

    async def run_services(app: web.Application) -> AsyncIterator[None]:
        await proxy.services.start()
        yield
        await proxy.services.close()

    app.cleanup_ctx.append(run_services)
    return app
