"""What people are told of a refusal, where a golden says too little. The wordings themselves: goldens/errors.md."""

from __future__ import annotations

import orjson
import pytest

from a2py.wires.failure import read
from a2py.wires.refusal.peer import Peer
from tests.proxied import deployment


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("http://127.0.0.1:8000", "try `api_base: http://127.0.0.1:8000/v1`, and check the model's name"),
        ("http://127.0.0.1:8000/api", "check `api_base` and the model's name"),
    ],
)
def test_an_address_without_a_path_may_lack_v1(base: str, words: str) -> None:
    assert words in read(404, {}, b"Not Found", Peer.of(deployment(base))).message


def test_a_limit_of_nothing_is_not_below_nothing() -> None:
    words = "max_tokens: 100 > 0, which is the maximum allowed number of output tokens"
    error = read(400, {}, orjson.dumps({"error": {"message": words}}), Peer.of(deployment("http://127.0.0.1:1/v1")))
    assert "-1" not in error.message and error.limit >= 0
