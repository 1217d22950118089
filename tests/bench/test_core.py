"""bench/core_chunk.py sends the same bytes on both ways; the bodies of bench/core_request.py are valid requests of
their size, and its figures are of the right kind."""

from __future__ import annotations

import json

import pytest

from a2py.messages.request import parse
from bench import core_chunk, core_request, longest_hold
from bench.shapes import KINDS


@pytest.mark.parametrize("kind", core_request.KINDS)
def test_bodies_have_their_size_and_are_valid(kind: str) -> None:
    raw = json.dumps(core_request.KINDS[kind](300_000), ensure_ascii=False).encode()
    assert 250_000 < len(raw) < 400_000
    request = parse(raw)
    ids = [
        b["tool_use_id"]
        for m in request.messages
        for b in m["content"]
        if isinstance(b, dict) and b["type"] == "tool_result"
    ]
    assert set(ids) == request.tool_ids and len(ids) == len(request.tool_ids)


def test_a_measured_row() -> None:
    row = core_request.measure("image", 200_000, core_request.deployment("chat"), 1)
    assert row.messages == 1
    assert row.bytes <= row.sent <= row.bytes + 1000
    assert row.parse_ms > 0 and row.prepare_ms > 0
    assert row.copies >= 2  # the data URL and the body that holds it


@pytest.mark.parametrize("kind", KINDS)
async def test_a_chunk_is_measured_both_ways(kind: str) -> None:
    """Both write the same (it raises where they don't), and each of its stamps is there."""
    row = await core_chunk.measure(kind, 1)
    assert row.us > 0 and row.without_us > 0 and row.size > core_chunk.CHUNKS * 100


async def test_the_longest_hold_of_a_shape() -> None:
    """Through a real proxy, beside a client and an upstream in processes of their own: one shape that is taken, one
    that is refused."""
    rows: list[longest_hold.Row] = []
    await longest_hold.run(["system messages", "too many messages"], ["native"], rows.append)
    assert [(row.shape, row.status) for row in rows] == [("system messages", 200), ("too many messages", 400)]
    assert all(row.ticks > 10 and row.cpu_ms > 0 and row.bytes > 1_000_000 for row in rows)
