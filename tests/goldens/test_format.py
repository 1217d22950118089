"""The golden runner itself, on a small document and a wire of a few lines: it must fail where a document and the code
differ."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.messages.types import Call, Outcome, Prepared, Sink, Usage
from a2py.slices import Slices
from a2py.wires.types import Wire
from tests import golden


class Echo:
    """A stream of lines, each a text; it ends well after `end`."""

    is_finished = False

    def __init__(self, request: Prepared, sink: Sink) -> None:
        self.sink, self.line, self.is_over = sink, b"", False

    def feed(self, data: bytes) -> None:
        if data[:1] == b"{":
            self.sink.text(0, orjson.loads(data)["text"])
            self.is_over = True
            return
        *lines, self.line = (self.line + data).split(b"\n")
        for line in lines:
            self.is_over = self.is_over or line == b"end"
            if not self.is_over:
                self.sink.text(0, line.decode("latin-1"))

    def close(self) -> Outcome:
        was_over, self.is_over = self.is_over, True
        if was_over:
            return Outcome(usage=Usage(3, 4))
        return Outcome(error=ApiError("upstream", "cut"))


def prepare_in_slices(call: Call, to: Deployment, stream: bool) -> Slices[Prepared]:
    yield
    if call.request.max_tokens == 13:
        raise ApiError("invalid_request", "max_tokens: no")
    body = orjson.dumps({"model": to.model, "stream": stream, "n": len(call.request.messages)})
    return Prepared("http://x", {"X-A": "1"}, body, stream, degraded=("top_k",) if "top_k" in call.request.body else ())


DOC = """# Topic

## Z1 hello

Prose about `quirk`.

```config
{"model": "m"}
```
```upstream-request
{"stream": true, "model": "m", "n": 1}
```
```upstream-headers
x-a: 1
x-b: (absent)
```
```upstream
Hi␍
 you‹e9›
end
```
```client
message_start
content_block_start 0 text
content_block_delta 0 text_delta "Hi\\r"
content_block_delta 0 text_delta " youé"
content_block_stop 0
message_delta end_turn in 3 out 4
message_stop
```
```also unary
{"text": "Hi\\r youé"}
```
```request
{"max_tokens": 5, "messages": [{"role": "assistant", "content": "$reply"}, {"role": "user", "content": "x"}]}
```
```upstream-request
{"stream": false, "model": "m", "n": 2}
```
```upstream
{"text": "again"}
```
```client
{"content": [{"type": "text", "text": "again"}], "stop_reason": "end_turn", "usage": "in 3 out 4"}
```
"""


@pytest.fixture(autouse=True)
def echo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden, "wire", lambda name: Wire(prepare_in_slices, Echo))  # type: ignore[arg-type]


def cases(folder: Path, text: str) -> list[golden.Case]:
    path = folder / "topic.md"
    path.write_text(text, "utf-8")
    return golden.read(path)


def test_a_right_document_passes(tmp_path: Path) -> None:
    (case,) = cases(tmp_path, DOC)
    assert (case.id, case.prose) == ("topic: Z1 hello", "Prose about `quirk`.")
    golden.run(case)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('text_delta "Hi\\r"', 'text_delta "Ho"', "topic.md:23: ```client differs"),
        ('"n": 1', '"n": 2', "topic.md:11: ```upstream-request differs"),
        ("x-a: 1", "x-a: 2", "```upstream-headers differs"),
        ('{"text": "Hi', '{"text": "Ho', "topic.md:32: gives another message"),
        ('{"max_tokens": 5,', '{"top_k": 1, "max_tokens": 5,', "degraded \\['top_k'\\], but no"),
        ('{"max_tokens": 5,', '{"max_tokens": 13,', "the request was refused"),
        ('"text": "again"}]', '"text": "Again"}]', "```client differs"),
        ('{"model": "m"}', '{"model": m}', "topic.md:8: ```config is not JSON"),
        ("```also unary", "```alas unary", "unknown block ```alas"),
        ("in 3 out 4\nmessage_stop\n```", "in 3 out 4\nmessage_stop", "never closed|is not JSON|differs"),
    ],
)
def test_a_wrong_document_fails(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in DOC
    with pytest.raises(AssertionError, match=says):
        for case in cases(tmp_path, DOC.replace(old, new)):
            golden.run(case)


def test_a_case_that_checks_nothing_fails(tmp_path: Path) -> None:
    (case,) = cases(tmp_path, "## Z1 nothing\n\n```upstream\nend\n```\n")
    with pytest.raises(AssertionError, match="checks nothing"):
        golden.run(case)


def test_errors(tmp_path: Path) -> None:
    text = (
        "## A\n```request\n"
        '{"max_tokens": 13, "messages": [{"role": "user", "content": "x"}]}\n```\n```client\n'
        'error 400 invalid_request_error "max_tokens: no"\nkind: invalid_request\n```\n'
        '## B\n```upstream 429 retry-after=7\nslow\n```\n```client\nerror 429 rate_limit_error "slow"\nkind: rate_limit\nretry-after: 7\n```\n'
        '## C\n```upstream\nHi∎\n```\n```client\nerror api_error "cut"\n```\n'
    )
    for case in cases(tmp_path, text):
        golden.run(case)


def test_write_fills_the_checked_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = DOC.replace('{"stream": true, "model": "m", "n": 1}\n', "").replace(
        'text_delta "Hi\\r"\n', 'text_delta "?"\n'
    )
    twice = empty + DOC.replace("Z1", "Z2")
    monkeypatch.setattr(golden, "WRITE", True)
    for case in cases(tmp_path, twice):
        golden.run(case)
    monkeypatch.setattr(golden, "WRITE", False)
    golden_cases = golden.read(tmp_path / "topic.md")
    assert len(golden_cases) == 2
    for case in golden_cases:
        golden.run(case)
    assert '{"model": "m", "stream": true, "n": 1}' in (tmp_path / "topic.md").read_text("utf-8")


def test_pretty_breaks_only_what_is_long() -> None:
    assert golden.pretty({"a": [1, {"b": "c"}]}) == '{"a": [1, {"b": "c"}]}'
    assert (
        golden.pretty({"a": ["x" * 80, "y" * 80]})
        == '{\n  "a": [\n    "' + "x" * 80 + '",\n    "' + "y" * 80 + '"\n  ]\n}'
    )
