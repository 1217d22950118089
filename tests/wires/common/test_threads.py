"""Threads: who may carry them, and what the others answer."""

from __future__ import annotations

import orjson
import pytest

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.messages.request import parse
from a2py.quirks import Quirks
from a2py.wires.common import threads

BODY = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
THREAD = parse(orjson.dumps({**BODY, "thread": {"type": "create"}}))


def deployment(wire: str, betas: str) -> Deployment:
    quirks = Quirks(native_betas=betas)  # type: ignore[arg-type]
    return Deployment("n", "i", "p", "m", "http://x", wire=wire, quirks=quirks)


@pytest.mark.parametrize(("wire", "betas"), [("chat", "all"), ("native", "none")])
def test_an_upstream_that_keeps_no_threads_refuses_them(wire: str, betas: str) -> None:
    with pytest.raises(ApiError, match="m keeps no conversations") as excinfo:
        threads.check(THREAD, deployment(wire, betas))
    assert excinfo.value.kind == "invalid_request" and excinfo.value.details == {"error_code": threads.CODE}
    threads.check(parse(orjson.dumps(BODY)), deployment(wire, betas))


def test_anthropic_itself_carries_them() -> None:
    threads.check(THREAD, deployment("native", "all"))
