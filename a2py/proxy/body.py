"""Read the body of a client's request, within the limits of size and time.

Knows: aiohttp's `StreamReader`, what a slow or broken body means for the client. Must not know: what is in the body,
paths.
Invariants: at most `limit` bytes and one read are in memory; every failure is an `ApiError`.
"""

from __future__ import annotations

import asyncio

from a2py.errors import ApiError
from a2py.proxy.aiohttp_server import BaseRequest, HttpProcessingError, RequestPayloadError, StreamReader
from a2py.proxy.connection import drop_frames
from a2py.proxy.timeouts import Timeouts

MIB = 1024 * 1024


async def read_body(request: BaseRequest, limit: int, timeouts: Timeouts) -> bytes:
    """Return the request's body.

    `limit` is in bytes. Raise `ApiError`: 413 if the body is larger, 408 if it is too slow, 400 if it is not framed as
    its head says."""
    length = request.content_length
    if length is not None and length > limit:
        raise _too_large(limit)
    if request.headers.get("expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    content = request.content
    body = bytearray()  # not a list: pieces of a byte or two would take 40 bytes each
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeouts.body_pause
    while not content.at_eof():
        try:
            if content.is_eof():  # all of it has arrived: no timer is needed
                piece = content.read_nowait()
            else:
                credit = len(body) / timeouts.body_rate  # seconds that the bytes so far have paid for
                piece = await _read_some(content, min(deadline + credit, loop.time() + timeouts.body_pause))
        except asyncio.TimeoutError as error:
            drop_frames(error)
            # aiohttp then reads on for `Timeouts.linger`: a reset would take the answer along
            content.set_exception(None)  # type: ignore[arg-type]
            raise ApiError(
                "timeout",
                f"The request body stalled for {timeouts.body_pause:.0f} s, or brought less than"
                f" {timeouts.body_rate} bytes a second",
                status=408,
            ) from None
        except (RequestPayloadError, HttpProcessingError, ConnectionError) as error:
            drop_frames(error)
            raise ApiError("invalid_request", f"The request body is broken ({type(error).__name__})") from None
        body += piece
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


async def _read_some(content: StreamReader, deadline: float) -> bytes:
    """Return the next bytes of a body that has not arrived completely. Raise `asyncio.TimeoutError` at `deadline` (loop
    time)."""
    timer = asyncio.get_running_loop().call_at(deadline, content.set_exception, asyncio.TimeoutError())
    try:
        return await content.readany()
    finally:
        timer.cancel()


def _too_large(limit: int) -> ApiError:
    return ApiError(
        "request_too_large",
        f"Request exceeds the maximum size: the body is larger than {limit // MIB} MiB (`a2py: max_body_mb`)",
    )
