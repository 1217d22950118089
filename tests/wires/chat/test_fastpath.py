"""The fast path gives what the slow path gives: every recording, every golden, every cut, and streams made to mislead
it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2py.messages.reply import Reply
from a2py.messages.types import JSON, Prepared
from a2py.messages.writer import Writer
from a2py.wires.chat import fastpath
from a2py.wires.chat.fastpath import REST_LIMIT, TRIES, FastDecoder, find_frame
from a2py.wires.chat.stream import ChatDecoder
from tests import golden, streams
from tests.recordings import Recording, recordings

BASE: JSON = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def chunk(delta: JSON, finish: str | None = None, **more: Any) -> bytes:
    body = {**BASE, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}
    return b"data: " + orjson.dumps(body) + b"\n\n"


def text(s: str) -> bytes:
    return chunk({"content": s})


def args(s: str, index: int = 0, **more: Any) -> bytes:
    return chunk({"tool_calls": [{"index": index, "function": {"arguments": s}, **more}]})


START = chunk({"role": "assistant", "content": ""})
END = chunk({}, "stop") + b"data: [DONE]\n\n"
CALL = chunk(
    {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]}
)


def outcome(cls: type[ChatDecoder], sink: Any, pieces: Iterable[bytes], request: Prepared) -> tuple[Any, ...]:
    """Everything that one can see of a decoder: the client's bytes per feed's total, the message, how it ended."""
    decoder = cls(request, sink)
    out = []
    for piece in pieces:
        data = by_lane(decoder, piece)
        if data:
            out.append(data)
            continue
        decoder.feed(piece)
        if isinstance(sink, Writer):
            out.append(sink.take())
    end = decoder.close()
    if isinstance(sink, Writer):
        sink.close(end)
        out.append(sink.take())
        message: Any = b"".join(out)
    else:
        message = sink.message(end, streams.ESTIMATE) if end.error is None else None
    error = end.error and (end.error.kind, end.error.message)
    return (
        message,
        end.reason,
        end.usage,
        error,
        end.stop_sequence,
        end.model,
        end.notes,
        end.output_estimate,
        decoder.is_finished,
    )


def by_lane(decoder: ChatDecoder, piece: bytes) -> bytes:
    """What the client gets of a piece that may pass the decoder by; b"": it may not."""
    splice = decoder.splice
    if splice is None or not (piece.startswith(splice.before) and piece.endswith(splice.after)):
        return b""
    string = piece[len(splice.before) : -len(splice.after)]
    return string.join(splice.around) if string and splice.take(string) else b""


def by_event(data: bytes) -> list[bytes]:
    return [part + b"\n\n" for part in data.split(b"\n\n")[:-1]] + [data.rpartition(b"\n\n")[2]]


def some_splits(data: bytes, count: int = 10) -> Iterable[list[bytes]]:
    """Whole, byte by byte, event by event, and some of the others (test_contract runs them all, on the same
    decoder)."""
    cuts = list(streams.splits(data))
    return [
        *cuts[:2],
        by_event(data),
        *cuts[2 : -streams.RANDOM_SPLITS : max(1, len(cuts) // count)],
        *cuts[-streams.RANDOM_SPLITS :],
    ]


def same(
    data: bytes, pieces: Iterable[list[bytes]] | None = None, modes: tuple[str, ...] = ("show",), **options: Any
) -> None:
    request = streams.upstream_request(**options)
    for mode in modes:
        slow = outcome(ChatDecoder, streams.writer(mode), [data], request)
        for cut in pieces if pieces is not None else some_splits(data):
            assert outcome(FastDecoder, streams.writer(mode), cut, request) == slow
        whole = outcome(ChatDecoder, Reply("msg_1", "m", "test", mode), [data], request)
        assert outcome(FastDecoder, Reply("msg_1", "m", "test", mode), [data], request) == whole


MODES = ("show", "omit", "none")


@pytest.mark.parametrize("recording", recordings("chat", "stream"))
def test_recordings(recording: Recording) -> None:
    same(recording.data)
    same(recording.data, [[recording.data], by_event(recording.data)], MODES)
    same(recording.data, [[recording.data]], stops=("the",))
    same(recording.data, [[recording.data]], think_tags=True)


@pytest.mark.parametrize("case", golden.cases(), ids=lambda case: case.id)
def test_goldens(case: golden.Case) -> None:
    for step in case.steps():
        for block in [*filter(None, [step.blocks.get("upstream")]), *step.also]:
            data = golden.upstream_bytes(block)
            same(data, modes=MODES)


class Counting(FastDecoder):
    """Counts the chunks that were parsed."""

    chunk_count = 0

    def chunk(self, chunk: JSON, name: bytes = b"") -> None:
        self.chunk_count += 1
        super().chunk(chunk, name)


def count_chunks(data: bytes, size: int = 0) -> int:
    decoder = Counting(streams.upstream_request(), streams.writer())
    for at in range(0, len(data), size or len(data)):
        decoder.feed(data[at : at + (size or len(data))])
    decoder.close()
    return decoder.chunk_count


def test_a_paced_run_passes_by() -> None:
    """Event by event, text and reasoning take the splice from their second chunk on; hidden reasoning and arguments
    never do."""

    def feed(run: list[bytes], mode: str = "show") -> int:
        sink = streams.writer(mode)
        decoder = FastDecoder(streams.upstream_request(), sink)
        pieces = [START, *run]
        passes = 0
        for piece in pieces:
            if by_lane(decoder, piece):
                passes += 1
            else:
                decoder.feed(piece)
        return len(run) - passes

    words = [text(f"word {n}") for n in range(100)]
    thoughts = [chunk({"reasoning_content": f"word {n}"}) for n in range(100)]
    assert feed(words) == feed(thoughts) == 1
    assert feed([*words, *thoughts, *words]) == 1 + len(thoughts) + 1, "reasoning inside the text waits for its end"
    assert (
        feed(thoughts, "omit") == feed(thoughts, "none") == feed([CALL, *(args(f"[{n}] ") for n in range(99))]) == 100
    )


def test_strings_written_in_another_way_do_not_end_a_run() -> None:
    """A server that escapes what is not ASCII: each such chunk is parsed, the others pass."""
    run = [text(f"word {n}").replace(b"word", b"w\\u00f6rd" if n % 3 == 0 else b"word") for n in range(300)]
    same(START + b"".join(run) + END)
    assert count_chunks(START + b"".join(run) + END) < 110
    decoder = Counting(streams.upstream_request(), streams.writer())
    for piece in [START, *run]:
        if not by_lane(decoder, piece):
            decoder.feed(piece)
    assert decoder.chunk_count <= 102


def test_a_lane_is_closed_while_an_event_is_open() -> None:
    decoder = FastDecoder(streams.upstream_request(), streams.writer())
    decoder.feed(START + text("a") + text("b") + text("c"))
    assert decoder.splice is not None
    decoder.feed(text("d")[:9])
    assert decoder.splice is None
    decoder.feed(text("d")[9:])
    assert decoder.splice is not None
    decoder.feed(text("e") + b": comment\n")
    assert decoder.splice is None
    decoder.close()
    assert decoder.splice is None


def test_a_call_without_an_id_goes_the_slow_way() -> None:
    """Only its arguments tell where it ends and the next call with its index and name begins."""

    def call(arguments: str) -> bytes:
        return chunk({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": arguments}}]})

    run = [args('{"x":"'), *[args("word ")] * 50, args('"}')]
    data = b"".join([START, call(""), *run, call('{"x":1}'), END])
    same(data)
    assert count_chunks(data) == data.count(b"data: {")


@pytest.mark.parametrize("size", [0, 400, 1000])
@pytest.mark.parametrize(
    "run",
    [
        [text(f"word {n}") for n in range(100)],
        [chunk({"reasoning_content": f"word {n}"}) for n in range(100)],
        [CALL, *(args(f"[{n}] ") for n in range(100))],
    ],
    ids=["text", "reasoning", "args"],
)
def test_a_run_is_not_parsed(run: list[bytes], size: int) -> None:
    data = START + b"".join(run) + END
    same(data, [[data]], MODES)
    assert count_chunks(data, size) <= 5


def test_the_frame_follows_the_stream() -> None:
    """Reasoning, text, two calls in turns; a `created` that changes now and then: each time one chunk is parsed."""
    parts = [chunk({"reasoning": f"r{n}"}) for n in range(30)] + [text(f"t{n}") for n in range(30)] + [CALL]
    parts += [args(f"a{n}") for n in range(30)]
    for second in range(4):
        parts += [chunk({"content": f"s{n}"}, created=second) for n in range(30)]
    data = START + b"".join(parts) + END
    same(data)
    assert count_chunks(data) < 20
    assert count_chunks(data, 500) < 40


def test_frames_that_never_repeat_cost_a_bounded_search() -> None:
    looks = 0
    original = fastpath.find_frame

    def count_look(line: bytes) -> Any:
        nonlocal looks
        looks += 1
        return original(line)

    data = START + b"".join(chunk({"content": f"t{n}"}, created=n) for n in range(1000)) + END
    same(data, [[data]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fastpath, "find_frame", count_look)
        count_chunks(data, 200)
    assert looks < 1000 / 8


MISLEADING: dict[str, list[bytes]] = {
    "another tail": [text("a"), text("b"), chunk({"content": "c"}, "stop"), text("d")],
    "another event among them": [
        text("a"),
        text("b"),
        b": comment\n\n",
        text("c"),
        chunk({"content": "x"}, created=2),
        text("d"),
    ],
    "an error among them": [text("a"), text("b"), b'data: {"error":{"message":"x"}}\n\n', text("c")],
    "a named event": [text("a"), text("b"), b"event: error\n" + text("c"), text("d")],
    "a bad line": [text("a"), text("b"), b'data: {"choices":\n\n', text("c"), text("d")],
    "a bad line at the end": [CALL, args("{"), args("}"), b"data: {\n\n"],
    "empty strings": [text("a"), text(""), text(""), text("b")],
    "only empty strings": [text("a"), text("b"), chunk({"reasoning": ""}), chunk({"reasoning": "", "content": ""})],
    "short escapes": [text("a"), text('"\\\n\r\t\b\f'), text("\\\\"), text("b\\")],
    "long escapes": [
        text("a"),
        text("b"),
        text("c").replace(b'"c"', b'"\\u00e9\\/"'),
        text("d").replace(b'"d"', b'"\\u000a"'),
    ],
    "a lone half": [text("a"), text("b"), text("c").replace(b'"c"', b'"\\ud83d"'), text("d")],
    "bad escapes": [text("a"), text("b"), text("c").replace(b'"c"', b'"\\x"'), text("d").replace(b'"d"', b'"\\"')],
    "a backslash that eats a quote": [
        text("a"),
        text("b"),
        text("c").replace(b'"c"', b'"c\\"'),
        text("d").replace(b'"d"', b'"\\","x"'),
    ],
    "a quote inside": [text("a"), text("b"), text("c").replace(b'"c"', b'"c","refusal":"no"'), text("d")],
    "control characters": [
        text("a"),
        text("b"),
        text("c").replace(b'"c"', b'"\x01"'),
        text("d").replace(b'"d"', b'"\t"'),
    ],
    "bad UTF-8": [
        text("a"),
        text("b"),
        text("c").replace(b'"c"', b'"\xff"'),
        text("d").replace(b'"d"', b'"\xe2\x82"'),
        text("€😀é\x7f"),
    ],
    "line ends inside": [
        text("a"),
        text("b"),
        text("c").replace(b'"c"', b'"c\nd"'),
        text("d").replace(b'"d"', b'"c\rd"'),
    ],
    "CRLF": [event.replace(b"\n", b"\r\n") for event in (text("a"), text("b"), text("c"))],
    "CR": [event.replace(b"\n", b"\r") for event in (text("a"), text("b"), text("c"))],
    "mixed ends": [
        text("a"),
        text("b"),
        text("c").replace(b"\n", b"\r\n"),
        text("d"),
        b"\n\n\n",
        text("e"),
        b"\r\n",
        text("f"),
        text("g"),
    ],
    "data of two lines": [
        text("a"),
        text("a"),
        text("b").replace(b',"created"', b'\ndata: ,"created"'),
        text("c"),
        text("d"),
    ],
    "a line that is a field of its own": [
        text("a").replace(b',"created"', b'\n,"created"'),
        text("b").replace(b',"created"', b'\n,"created"'),
    ],
    "spaces": [event.replace(b'":', b'": ') for event in (text("a"), text("b"), text("c"))],
    "no space after data": [event.replace(b"data: ", b"data:") for event in (text("a"), text("b"), text("c"))],
    "the key twice": [
        e.replace(b'{"content"', b'{"content":"x","content"') for e in (text("x"), text("y"), text("z"), text("x"))
    ],
    "the key elsewhere": [e.replace(b'"m"', b'{"content":"x"}') for e in (text("x"), text("x"), text("y"), text("z"))],
    "usage in every chunk": [
        chunk({"content": s}, usage={"prompt_tokens": 3, "completion_tokens": n}) for n, s in enumerate("abc")
    ],
    "usage in every choice": [
        chunk(
            {}, choices=[{"index": 0, "delta": {"content": s}, "usage": {"prompt_tokens": 3, "completion_tokens": 9}}]
        )
        for s in "abc"
    ],
    "another choice": [chunk({}, choices=[{"index": 1, "delta": {"content": s}}]) for s in "abc"],
    "two choices": [chunk({}, choices=[{"index": n, "delta": {"content": s}} for n in (0, 1)]) for s in "abc"],
    "text and reasoning at once": [chunk({"content": s, "reasoning": s}) for s in "abc"],
    "reasoning twice": [chunk({"reasoning_content": s, "reasoning": s}) for s in "abc"],
    "content of parts": [chunk({"content": [{"type": "text", "text": s}]}) for s in "abc"],
    "details": [
        chunk({"reasoning": "r"}),
        *(chunk({"reasoning_details": [{"type": "t", "text": s}]}) for s in "ab"),
        text("c"),
        text("d"),
    ],
    "text behind details": [
        text("a"),
        text("b"),
        chunk({"reasoning_details": [{"type": "x", "data": "D"}]}),
        text("c"),
        text("d"),
        text("e"),
    ],
    "text behind state": [text("a"), text("b"), chunk({"reasoning_opaque": "S"}), text("c"), text("d"), text("e")],
    "state beside text": [
        text("a"),
        text("b"),
        chunk({"content": "c", "reasoning_opaque": "S", "x": 1}),
        text("d"),
        text("e"),
    ],
    "refusals": [chunk({"refusal": s}) for s in "abc"],
    "legacy calls": [chunk({"function_call": {"name": "f", "arguments": s}}) for s in ("{", "}")],
    "calls in turns": [
        CALL,
        chunk({"tool_calls": [{"index": 1, "id": "call_2", "function": {"name": "g", "arguments": ""}}]}),
        *(args(s, n) for s in ('{"a":', "1", "}") for n in (0, 1)),
    ],
    "a call on the same index": [CALL, args("{}"), args(" "), CALL.replace(b"call_1", b"call_9"), args("{"), args("}")],
    "names and ids repeated": [CALL, *(args(s, id="call_1") for s in ("{", "}"))],
    "fragments with signatures": [
        CALL,
        *(args(s, extra_content={"google": {"thought_signature": "S"}}) for s in ("{", "}")),
    ],
    "no index": [CALL, *(chunk({"tool_calls": [{"function": {"arguments": s}}]}) for s in ("{", "}", " "))],
    "two fragments": [CALL, *(chunk({"tool_calls": [{"index": 0, "function": {"arguments": s}}] * 2}) for s in "{}")],
    "arguments as an object": [
        CALL,
        *(chunk({"tool_calls": [{"index": 0, "function": {"arguments": {}}}]}) for _ in range(3)),
    ],
    "a long string": [text("a"), text("b" * 3 * REST_LIMIT), text("c"), text("d")],
    "text behind the end": [text("a"), text("b"), b"data: [DONE]\n\n", text("c"), text("d")],
    "deep": [chunk({"content": "x", "y": 0}).replace(b'"y":0', b'"y":' + b"[" * 900 + b"]" * 900) for _ in range(3)],
    "no chunk": [
        b"data: 1\n\n",
        b"data: []\n\n",
        b'data: {"choices":1}\n\n',
        b'data: {"choices":[1]}\n\n',
        text("a"),
        text("b"),
    ],
}


@pytest.mark.parametrize("name", MISLEADING)
def test_misleading(name: str) -> None:
    parts = MISLEADING[name]
    same(START + b"".join(parts) + END)
    same(START + b"".join(parts[:2] * 3 + parts + parts[-1:]), modes=MODES)


def test_a_body_that_is_no_stream_stays_one() -> None:
    same(b"{\n\n" + text("a") + text("b") + text("c"))
    same(b'{"choices":[{"message":{"content":"x"}}]}\n\n')


def test_every_character_that_is_copied_is_what_orjson_writes() -> None:
    for start in range(0, 0x110000, 0x400):
        s = "".join(map(chr, range(start, start + 0x400))).encode("utf-8", "ignore").decode()
        if s:
            data = START + text("a") + text("b") + text(s) + text(s[1:]) + END
            same(data, [[data]])


def test_frame() -> None:
    line = text("hello")[6:-2]
    frame = find_frame(line)
    assert frame is not None
    assert frame.before + b"hello" + frame.after == text("hello")
    assert (frame.kind, frame.call) == ("text", 0)
    unfit: list[Callable[[bytes], bytes]] = [
        lambda line: line[:-1],
        lambda line: line.replace(b"hello", b"h\\u0065llo"),
        lambda line: line.replace(b"null", b'"stop"'),
        lambda line: line.replace(b'"m"', b"\n1"),
        lambda line: line.replace(b'"hello"', b'"hello","content":"hello"'),
    ]
    for change in unfit:
        assert find_frame(change(line)) is None


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "a", "thought": "b"},
        {"content": "a", "audio": {"id": "b"}},
        {"thought": "b"},
        {"tool_calls": [{"index": 0, "function": {"arguments": "a"}, "thought": "b"}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "a", "thought": "b"}}]},
    ],
    ids=lambda delta: orjson.dumps(delta).decode(),
)
def test_a_delta_with_an_unknown_member_has_no_frame(delta: JSON) -> None:
    """`find_frame` lists what a frame may hold, so a field that ChatDecoder learns to read is never skipped here."""
    assert find_frame(chunk(delta)[6:-2]) is None


@pytest.mark.parametrize(
    "delta",
    [
        {"role": "assistant", "content": "a", "refusal": None, "tool_calls": [], "thought": ""},
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "",
                    "type": "function",
                    "function": {"name": None, "arguments": "a"},
                    "thought": None,
                }
            ]
        },
    ],
    ids=["text", "arguments"],
)
def test_a_delta_with_empty_members_has_a_frame(delta: JSON) -> None:
    assert find_frame(chunk(delta)[6:-2]) is not None


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.one_of(st.text().map(text), st.text().map(lambda s: chunk({"reasoning": s})), st.binary(max_size=12)),
        max_size=40,
    ),
    st.data(),
)
def test_any_stream(parts: list[bytes], draw: st.DataObject) -> None:
    data = START + b"".join(parts) + END
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    same(data, [[data], pieces, by_event(data)])


def test_forgiving() -> None:
    """A stream that could not be framed for long is fast once it can."""
    odd = b"".join(chunk({"content": f"t{n}"}, usage={"prompt_tokens": n}) for n in range(20 * TRIES))
    data = START + odd + b"".join(text(f"t{n}") for n in range(400)) + END
    decoder = Counting(streams.upstream_request(), streams.writer())
    for event in data.split(b"\n\n")[:-1]:
        decoder.feed(event + b"\n\n")
    assert decoder.chunk_count < 20 * TRIES + 2 * fastpath.FORGIVE
    same(data, [[data]])
