"""Two experiments of bench/replicas.py, with real processes and a real Redis. The others take minutes."""

from __future__ import annotations

import asyncio

import pytest

from bench import replicas
from tests import redis_server

pytestmark = [pytest.mark.real]


@pytest.fixture(autouse=True)
def server() -> None:
    why = redis_server.missing()
    if why:
        pytest.skip(why)


def test_ten_of_forty_requests_get_through_three_replicas() -> None:
    assert asyncio.run(replicas.run("forty", 120))["through"] == 10


def test_no_request_fails_while_redis_is_frozen() -> None:
    results = asyncio.run(replicas.run("frozen", 120))
    assert results["requests"] >= 900 and results["failures"] == 0
    assert len(results["log"]) == 9, "one line a change, of each replica"


def test_the_window_of_the_upstream_counts_what_it_says() -> None:
    upstream = replicas.Upstream(0.0)
    upstream.starts = [0.0, 1.0, 59.9, 60.0, 61.5]
    assert upstream.most_in(60) == 3
