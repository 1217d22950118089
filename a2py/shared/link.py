"""One connection to Redis over which many calls are under way at once.

The `redis` package connects, logs in, does TLS, and writes and reads the protocol. Its own clients send one call at a
time over a connection, which costs 200 µs each; here calls of one turn of the loop are one write.

Knows: the package's `Connection`. Must not know: scripts, limits, when to connect again.
Invariants: a call ends within CALL_SECONDS with its reply, or with LinkError; the reply of a call that was given up
goes to `late`; replies arrive in the order of the calls, so what is sent later is never carried out earlier.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from redis.asyncio import Connection, ConnectionPool, SSLConnection
from redis.exceptions import NoScriptError, RedisError, ResponseError

from a2py.shared.trouble import LinkError, describe, describe_refusal

#: Seconds for one call, and for connecting and logging in.
CALL_SECONDS, CONNECT_SECONDS = 0.25, 2.0
#: If calls are given up this many seconds too late, this process was busy or stopped: they get as long again.
STALL_SECONDS = 0.05
#: How often in a row they get as long again.
MAX_STALLS = 5
#: Calls that are under way at once. More are refused.
MAX_CALLS = 10_000
FAILURES = (RedisError, OSError, asyncio.TimeoutError, EOFError, ValueError)


def make_pool(url: str, options: Mapping[str, Any]) -> ConnectionPool:
    """Return what makes the connections. Raise ValueError for a URL that the package does not understand.

    A connection waits for replies also while nothing was asked, so a `socket_timeout` of the URL would end it. The time
    limits are those of the calls."""
    pool = ConnectionPool.from_url(url, **{"protocol": 2, **options})
    pool.connection_kwargs["socket_timeout"] = None
    return pool


class Late(LinkError):
    """A call was not answered in time. The connection goes on."""


class ScriptMissing(Exception):
    """Redis does not know the script of an EVALSHA."""


class _Call:
    __slots__ = ("due", "future", "late", "on_missing", "on_refusal")

    def __init__(
        self,
        future: asyncio.Future[Any] | None,
        due: float,
        late: Callable[[Any], None] | None = None,
        on_missing: Callable[[], object] | None = None,
        on_refusal: Callable[[], object] | None = None,
    ) -> None:
        self.future = future  # None: nobody waits, or has given up
        self.due = due  # 0: its time is over
        self.late = late
        self.on_missing = on_missing
        self.on_refusal = on_refusal


class Link:
    """`on_end`: called once when the connection has ended, with the reason; `on_late`: called for each call that has
    not been answered in time, with what to say of it."""

    def __init__(
        self, pool: ConnectionPool, on_end: Callable[[LinkError], None], on_late: Callable[[LinkError], None]
    ) -> None:
        self._pool = pool
        self._on_end = on_end
        self._on_late = on_late
        self._connection: Connection | None = None
        self._calls: deque[_Call] = deque()
        self._unsent: list[bytes] = []
        self._has_unsent = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._stalls = 0
        self.is_open = False

    async def open(self) -> None:
        """Connect and log in. Raise LinkError."""
        try:
            connection = self._connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            await asyncio.wait_for(connection.connect(), CONNECT_SECONDS)
        except (*FAILURES, TypeError, AttributeError) as error:  # the last two: of a URL with strange options
            await self.close()
            raise self._describe(error) from None
        self.is_open = True
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._write(connection)), loop.create_task(self._read(connection))]

    async def close(self) -> None:
        """Close the connection. Calls that are under way fail.

        A cancellation may be lost in the package's time limits (`asyncio.wait_for` before Python 3.12). So the tasks
        also end by themselves: there is nothing to write, and nothing more to read."""
        self._end(LinkError("is closed"))
        connection, self._connection = self._connection, None
        tasks, self._tasks = self._tasks, []
        own = asyncio.current_task()
        for task in tasks:
            if task is not own:
                task.cancel()
        if connection is not None:
            try:
                await asyncio.wait_for(connection.disconnect(nowait=True), CONNECT_SECONDS)
            except FAILURES:
                pass
        await asyncio.gather(*(task for task in tasks if task is not own), return_exceptions=True)

    def call(self, *arguments: Any, late: Callable[[Any], None] | None = None) -> asyncio.Future[Any]:
        """Send a command. The future's result is the reply. Its exception is a LinkError, or a ScriptMissing.

        `late`: gets the reply if it comes after the call was given up."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if not self.is_open or len(self._calls) >= MAX_CALLS:
            future.set_exception(LinkError("is not connected"))
            return future
        self._send(arguments, _Call(future, loop.time() + CALL_SECONDS, late))
        return future

    async def wait(self, *arguments: Any, late: Callable[[Any], None] | None) -> Any:
        """Send a command and return the reply, as `call`. If this task is cancelled as the reply comes, `late` gets
        it."""
        future = self.call(*arguments, late=late)
        try:
            return await future
        except asyncio.CancelledError:
            if late is not None and not future.cancelled() and future.exception() is None:
                late(future.result())
            raise

    def tell(
        self,
        *arguments: Any,
        on_missing: Callable[[], object] | None = None,
        on_refusal: Callable[[], object] | None = None,
    ) -> bool:
        """Send a command whose reply nobody waits for. Return False if it can't be sent. `on_missing`: called if Redis
        does not know the script; `on_refusal`: if it answers with another error."""
        if not self.is_open or len(self._calls) >= MAX_CALLS:
            return False
        due = asyncio.get_running_loop().time() + CALL_SECONDS
        self._send(arguments, _Call(None, due, on_missing=on_missing, on_refusal=on_refusal))
        return True

    def _send(self, arguments: tuple[Any, ...], call: _Call) -> None:
        assert self._connection is not None
        self._unsent += self._connection.pack_command(*arguments)
        self._calls.append(call)
        self._has_unsent.set()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(call.due, self._check_time)

    def _check_time(self) -> None:
        """Give up the calls whose time is over.

        If this process itself was busy, their answers may have arrived: they are read first."""
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        first = next((call.due for call in self._calls if call.due), 0.0)
        if first and now - first > STALL_SECONDS and self._stalls < MAX_STALLS:
            self._stalls += 1
            for call in self._calls:
                if call.due:
                    call.due = max(call.due, now + STALL_SECONDS)
            self._timer = loop.call_later(STALL_SECONDS, self._check_time)
            return
        for call in self._calls:
            if call.due > now:
                self._timer = loop.call_at(call.due, self._check_time)
                break
            if call.due:
                call.due = 0.0
                future, call.future = call.future, None
                error = Late(f"does not answer within {CALL_SECONDS * 1000:g} ms")
                if future is not None and not future.done():
                    future.set_exception(error)
                self._on_late(error)

    async def _write(self, connection: Connection) -> None:
        while self.is_open:
            await self._has_unsent.wait()
            self._has_unsent.clear()
            data, self._unsent = self._unsent, []
            try:
                await connection.send_packed_command(data, check_health=False)
            except FAILURES as error:
                self._end(self._describe(error))
                return

    async def _read(self, connection: Connection) -> None:
        while self.is_open:
            try:
                reply = await connection.read_response(disable_decoding=True, disconnect_on_error=False)
            except ResponseError as error:
                reply = error
            except FAILURES as error:
                self._end(self._describe(error))
                return
            if not self._calls:
                self._end(LinkError("gives an answer that nothing was asked for"))
                return
            self._take(self._calls.popleft(), reply)

    def _take(self, call: _Call, reply: Any) -> None:
        self._stalls = 0
        future = call.future
        is_waited_for = future is not None and not future.done()
        if isinstance(reply, ResponseError):
            is_missing = isinstance(reply, NoScriptError)
            if future is not None and is_waited_for:
                future.set_exception(ScriptMissing() if is_missing else describe_refusal(reply))
            else:
                react = call.on_missing if is_missing else call.on_refusal
                if react is not None:
                    react()
        elif future is not None and is_waited_for:
            future.set_result(reply)
        elif call.late is not None:
            call.late(reply)

    def _describe(self, error: BaseException) -> LinkError:
        return describe(error, CONNECT_SECONDS, issubclass(self._pool.connection_class, SSLConnection))

    def _end(self, reason: LinkError) -> None:
        """Fail all calls that are under way."""
        was_open, self.is_open = self.is_open, False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._calls:
            future = self._calls.popleft().future
            if future is not None and not future.done():
                future.set_exception(LinkError(str(reason), reason.cure))
        self._unsent.clear()
        self._has_unsent.set()  # ends the task that writes
        if was_open:
            self._on_end(reason)
