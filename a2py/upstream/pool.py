"""Keep idle connections for the next request to the same server.

Knows: `Connection`. Must not know: requests, how a connection is made.
Invariants: a connection is idle in the pool or belongs to one exchange, never both. Idle connections are bounded in
number and age.
"""

from __future__ import annotations

import asyncio

from a2py.upstream.connect import Route
from a2py.upstream.connection import Connection

#: Seconds that an idle connection is kept. Most servers close theirs after 60 to 75.
IDLE_SECONDS = 45.0
#: Seconds after which a connection is not used again: the host may have moved.
MAX_AGE = 600.0
#: Idle connections to one server, and to all.
IDLE_EACH, IDLE_ALL = 64, 256


class Pool:
    """Connections by route. `connections`: all that are open, idle or not; `idle`: how many are idle."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._idle_by_route: dict[Route, list[Connection]] = {}
        self.idle = 0
        self._timer: asyncio.TimerHandle | None = None
        self.connections: dict[Connection, tuple[Route, float]] = {}  # with the loop time when they were opened
        self._is_closed = False

    def add(self, connection: Connection, route: Route) -> None:
        """Add a new connection, which is in use."""
        self.connections[connection] = route, self._loop.time()

    def take(self, route: Route) -> Connection | None:
        """Return the idle connection that was used last and can take a request, None if there is none. Close those that
        can't."""
        idle = self._idle_by_route.get(route)
        while idle:
            connection = idle.pop()
            self.idle -= 1
            if not idle:
                del self._idle_by_route[route]
            if self._is_usable(connection):
                return connection
            connection.close()
        return None

    def take_back(self, connection: Connection) -> None:
        """Keep a connection that is not in use any more, or close it if there are enough."""
        route, _ = self.connections[connection]
        idle = self._idle_by_route.get(route, [])
        if self._is_closed or self.idle >= IDLE_ALL or len(idle) >= IDLE_EACH:
            connection.close()
            return
        idle.append(connection)
        self._idle_by_route[route] = idle
        self.idle += 1
        if self._timer is None:
            self._timer = self._loop.call_later(IDLE_SECONDS, self._sweep)

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        if connection not in self.connections:
            return
        route, _ = self.connections.pop(connection)
        idle = self._idle_by_route.get(route, [])
        if connection in idle:
            idle.remove(connection)
            self.idle -= 1
            if not idle:
                del self._idle_by_route[route]

    def _is_usable(self, connection: Connection) -> bool:
        now = self._loop.time()
        return now - self.connections[connection][1] < MAX_AGE and connection.is_usable(now, IDLE_SECONDS)

    def _sweep(self) -> None:
        """Close what has been idle for too long."""
        self._timer = None
        for idle in list(self._idle_by_route.values()):
            for connection in list(idle):
                if not self._is_usable(connection):
                    connection.close()
        if self.idle:
            self._timer = self._loop.call_later(IDLE_SECONDS / 4, self._sweep)

    def close(self) -> None:
        """Close all connections, also those in use."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for connection in list(self.connections):
            connection.close()
