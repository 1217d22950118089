"""The proxy inside another aiohttp application, or a test.

Knows: `aiohttp.web.Application`. Must not know: sockets, signals (server.py runs the proxy by itself).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from a2py.proxy.app import Proxy
from a2py.proxy.log import Log

if TYPE_CHECKING:
    from a2py.config import Config

PROXY: web.AppKey[Proxy] = web.AppKey("proxy", Proxy)


def build_app(config: Config, *, clock: Callable[[], float] = time.monotonic, log: Log | None = None) -> web.Application:
    """The proxy as an `aiohttp.web.Application`; `app[PROXY]` is the `Proxy`. Serve it with `handler_cancellation=True`: else an upstream
    learns that the client has left only when the next byte can't be written."""
    proxy = Proxy(config, clock=clock, log=log)
    app = web.Application(client_max_size=0)
    app[PROXY] = proxy
    app.router.add_route("*", "/{path:.*}", proxy.handle)

    async def life(app: web.Application) -> AsyncIterator[None]:
        await proxy.start()
        yield
        await proxy.close()

    app.cleanup_ctx.append(life)
    return app
