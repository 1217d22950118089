"""Bodies of clients: mistakes get Anthropic's messages, unknown fields pass."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2py.errors import ApiError
from a2py.messages.request import parse, parse_in_slices
from a2py.messages.types import JSON, Request
from tests import recordings

USER = {"role": "user", "content": "Hi"}
BODY: JSON = {"model": "claude-x", "max_tokens": 100, "messages": [USER]}
PNG = {"type": "base64", "media_type": "image/png", "data": "AAAA"}


def read(**changes: Any) -> Request:
    return parse(orjson.dumps({**BODY, **changes}))


def with_blocks(*blocks: Any, role: str = "user") -> JSON:
    return {"messages": [{"role": role, "content": list(blocks)}]}


def test_a_small_request() -> None:
    raw = orjson.dumps(BODY)
    request = parse(raw)
    assert request == Request(body=BODY, model="claude-x", messages=[USER], max_tokens=100, size=len(raw))
    assert request.messages is request.body["messages"]


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"stream": True}, "stream", True),
        ({"stream": False}, "stream", False),
        ({"stream": None}, "stream", False),
        ({"system": "Be short."}, "system", [{"type": "text", "text": "Be short."}]),
        ({"system": ""}, "system", []),
        ({"system": None}, "system", []),
        (
            {"system": [{"type": "text", "text": "a", "cache_control": {}}]},
            "system",
            [{"type": "text", "text": "a", "cache_control": {}}],
        ),
        ({"tools": None}, "tools", []),
        ({"tools": [{"name": "f", "input_schema": {}}]}, "tools", [{"name": "f", "input_schema": {}}]),
        ({"tools": [{"name": "f", "input_schema": []}]}, "tools", [{"name": "f", "input_schema": {}}]),
        ({"tools": [{"name": "f", "input_schema": None}]}, "tools", [{"name": "f", "input_schema": {}}]),
        (
            {"tools": [{"type": "web_search_20250305", "name": "w"}]},
            "tools",
            [{"type": "web_search_20250305", "name": "w"}],
        ),
        ({"tools": [{"type": "mcp_toolset"}]}, "tools", [{"type": "mcp_toolset"}]),
        ({"tool_choice": {"type": "brand_new"}}, "tools", []),
        ({"tool_choice": {"type": "tool", "name": "f"}}, "tools", []),
    ],
)
def test_what_the_wires_read(changes: JSON, field: str, value: Any) -> None:
    assert getattr(read(**changes), field) == value


@pytest.mark.parametrize(
    ("thinking", "mode"),
    [
        (None, ""),
        ({"type": "disabled"}, "none"),
        ({"type": "enabled", "budget_tokens": 1024}, "show"),
        ({"type": "adaptive", "display": "updates"}, "show"),
        ({"type": "adaptive", "display": "omitted"}, "omit"),
        ({"type": "between_tools"}, "show"),
        ({}, "show"),
    ],
)
def test_thinking_mode(thinking: Any, mode: str) -> None:
    assert read(thinking=thinking).thinking_mode == mode
    assert read().thinking_mode == ""


def test_ids_of_the_history_are_known_wherever_they_stand() -> None:
    use = {"type": "tool_use", "name": "f", "input": {}}
    document = {"type": "document", "source": {"type": "content", "content": [{**use, "id": "c"}]}}
    request = read(
        messages=[
            {"role": "assistant", "content": [{**use, "id": "a"}, {**use, "id": "b"}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [document]}]},
        ]
    )
    assert request.tool_ids == {"a", "b", "c"}


@pytest.mark.parametrize(
    "block",
    [
        {"type": "text", "text": ""},
        {"type": "image", "source": PNG},
        {"type": "image", "source": {"type": "url", "url": "https://x"}},
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
        {"type": "document", "source": {"type": "content", "content": "x"}},
        {"type": "tool_result", "tool_use_id": "a"},
        {"type": "tool_result", "tool_use_id": "a", "content": None},
        {"type": "tool_result", "tool_use_id": "a", "content": "x"},
        {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "tool_reference", "tool_name": "f"}]},
        {"type": "thinking", "thinking": "x"},
        {"type": "redacted_thinking", "data": 7},
        {"type": "search_result", "content": None},
        {"type": "search_result", "content": [{"type": "text", "text": "x"}], "source": "s", "title": "t"},
        {"type": "brand_new", "anything": [1]},
        {"type": "server_tool_use"},
    ],
)
def test_blocks_that_pass(block: JSON) -> None:
    assert read(**with_blocks(block)).messages[0]["content"] == [block]


STRING, LIST, DICT = (
    "Input should be a valid string",
    "Input should be a valid list",
    "Input should be a valid dictionary",
)
BAD_BLOCKS: list[tuple[Any, str]] = [
    (7, f"messages.0.content.0: {DICT}"),
    ({}, "messages.0.content.0.type: Field required"),
    ({"type": 7}, "messages.0.content.0.type: Field required"),
    ({"type": "text"}, "messages.0.content.0.text.text: Field required"),
    ({"type": "text", "text": None}, f"messages.0.content.0.text.text: {STRING}"),
    ({"type": "image"}, "messages.0.content.0.image.source: Field required"),
    ({"type": "image", "source": "x"}, f"messages.0.content.0.image.source: {DICT}"),
    ({"type": "image", "source": {}}, "messages.0.content.0.image.source.type: Field required"),
    ({"type": "image", "source": {**PNG, "data": 1}}, f"messages.0.content.0.image.source.base64.data: {STRING}"),
    (
        {"type": "image", "source": {**PNG, "media_type": None}},
        f"messages.0.content.0.image.source.base64.media_type: {STRING}",
    ),
    (
        {"type": "image", "source": {**PNG, "data": ""}},
        "messages.0.content.0.image.source.base64: image cannot be empty",
    ),
    ({"type": "document", "source": {"type": "url"}}, "messages.0.content.0.document.source.url.url: Field required"),
    (
        {"type": "document", "source": {"type": "text"}},
        "messages.0.content.0.document.source.text.data: Field required",
    ),
    (
        {"type": "document", "source": {"type": "content"}},
        "messages.0.content.0.document.source.content.content: Field required",
    ),
    (
        {"type": "document", "source": {"type": "content", "content": [{"type": "text"}]}},
        "messages.0.content.0.document.source.content.content.0.text.text: Field required",
    ),
    ({"type": "tool_use"}, "messages.0.content.0.tool_use.id: Field required"),
    ({"type": "tool_use", "id": 7}, f"messages.0.content.0.tool_use.id: {STRING}"),
    ({"type": "tool_use", "id": "a"}, "messages.0.content.0.tool_use.name: Field required"),
    ({"type": "tool_use", "id": "a", "name": "f"}, "messages.0.content.0.tool_use.input: Field required"),
    ({"type": "tool_use", "id": "a", "name": "f", "input": "{}"}, f"messages.0.content.0.tool_use.input: {DICT}"),
    ({"type": "tool_result"}, "messages.0.content.0.tool_result.tool_use_id: Field required"),
    (
        {"type": "tool_result", "tool_use_id": "a", "content": 7},
        "messages.0.content.0.tool_result.content: Input should be a valid string or a valid list",
    ),
    (
        {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "image", "source": 1}]},
        f"messages.0.content.0.tool_result.content.0.image.source: {DICT}",
    ),
    ({"type": "thinking"}, "messages.0.content.0.thinking.thinking: Field required"),
    (
        {"type": "search_result", "content": {}},
        "messages.0.content.0.search_result.content: Input should be a valid string or a valid list",
    ),
]


@pytest.mark.parametrize(("block", "message"), BAD_BLOCKS)
def test_blocks_that_are_refused(block: Any, message: str) -> None:
    expect_refusal({**BODY, **with_blocks(block)}, message)


def expect_refusal(body: Any, message: str, **options: Any) -> None:
    with pytest.raises(ApiError) as excinfo:
        parse(orjson.dumps(body), **options)
    assert excinfo.value.kind == "invalid_request"
    assert excinfo.value.message == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": None}, "model: Field required"),
        ({"model": 7}, f"model: {STRING}"),
        ({"model": ""}, "model: String should have at least 1 character"),
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": "9"}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": True}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": 1.5}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"messages": None}, "messages: Field required"),
        ({"messages": {}}, f"messages: {LIST}"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": ["x"]}, f"messages.0: {DICT}"),
        ({"messages": [USER, {"content": "x"}]}, "messages.1.role: Field required"),
        (
            {"messages": [USER, {"role": "tool", "content": "x"}]},
            "messages.1.role: Input should be 'user', 'assistant' or 'system'",
        ),
        (
            {"messages": [{"role": ["user"], "content": "x"}]},
            "messages.0.role: Input should be 'user', 'assistant' or 'system'",
        ),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        (
            {"messages": [{"role": "user", "content": None}]},
            "messages.0.content: Input should be a valid string or a valid list",
        ),
        ({"system": 7}, "system: Input should be a valid string or a valid list"),
        ({"system": ["x"]}, f"system.0: {DICT}"),
        ({"system": [{"type": "text"}]}, "system.0.text: Field required"),
        ({"tools": {}}, f"tools: {LIST}"),
        ({"tools": ["x"]}, f"tools.0: {DICT}"),
        ({"tools": [{}]}, "tools.0.custom.name: Field required"),
        ({"tools": [{"name": ""}]}, "tools.0.custom.name: String should have at least 1 character"),
        ({"tools": [{"name": "f"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tools": [{"type": "custom", "name": "f", "input_schema": [1]}]}, f"tools.0.custom.input_schema: {DICT}"),
        ({"tools": [{"type": 7, "name": "f"}]}, f"tools.0.type: {STRING}"),
        ({"temperature": "hot"}, "temperature: Input should be a valid number"),
        ({"temperature": True}, "temperature: Input should be a valid number"),
        ({"top_k": 1.5}, "top_k: Input should be a valid integer"),
        ({"top_k": False}, "top_k: Input should be a valid integer"),
        ({"stop_sequences": "END"}, f"stop_sequences: {LIST}"),
        ({"stop_sequences": ["END", 7]}, f"stop_sequences.1: {STRING}"),
        ({"stream": "yes"}, "stream: Input should be a valid boolean"),
        ({"stream": 1}, "stream: Input should be a valid boolean"),
        ({"thinking": "on"}, f"thinking: {DICT}"),
        ({"tool_choice": "auto"}, f"tool_choice: {DICT}"),
        ({"tool_choice": {}}, "tool_choice.type: Field required"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.tool.name: Field required"),
        ({"metadata": []}, f"metadata: {DICT}"),
        ({"output_config": "high"}, f"output_config: {DICT}"),
        ({"output_format": 1}, f"output_format: {DICT}"),
        ({"service_tier": ["auto"]}, f"service_tier: {STRING}"),
    ],
)
def test_fields_that_are_refused(changes: JSON, message: str) -> None:
    expect_refusal({**BODY, **changes}, message)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"nope", b'{"model": "\x00"}'])
def test_what_is_no_json(raw: bytes) -> None:
    with pytest.raises(ApiError, match="not valid JSON"):
        parse(raw)


def test_what_is_beyond_the_parser() -> None:
    with pytest.raises(ApiError, match=r"The request body nests deeper than 1,024 levels"):
        parse(b"[" * 100_000)
    with pytest.raises(ApiError, match=r"The request body has a number that is too large for a double .*column 6"):
        parse(b'{"z":1e400}')


@pytest.mark.parametrize("raw", [b"[]", b"7", b"null", b'"x"'])
def test_what_is_no_object(raw: bytes) -> None:
    with pytest.raises(ApiError, match="not a JSON object"):
        parse(raw)


def test_half_a_surrogate_pair_does_not_end_a_session() -> None:
    """JavaScript cuts strings between the halves; such a tool result stays in the history for good."""
    raw = rb'{"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "cut \ud83d"}]}'
    assert parse(raw).messages[0]["content"] == "cut \ufffd"


def test_counting_needs_no_max_tokens() -> None:
    body = {"model": "m", "messages": [USER]}
    assert parse(orjson.dumps(body), counting=True).max_tokens == 0
    assert parse(orjson.dumps({**body, "max_tokens": "x"}), counting=True).max_tokens == 0
    expect_refusal(body, "max_tokens: Field required")
    expect_refusal({"messages": [USER]}, "model: Field required", counting=True)


def nest(levels: int, kind: str) -> JSON:
    block: JSON = {"type": "text", "text": "core"}
    for _ in range(levels):
        if kind == "tool_result":
            block = {"type": "tool_result", "tool_use_id": "a", "content": [block]}
        elif kind == "search_result":
            block = {"type": "search_result", "content": [block]}
        else:
            block = {"type": "document", "source": {"type": "content", "content": [block]}}
    return block


@pytest.mark.parametrize("kind", ["tool_result", "document", "search_result"])
def test_content_within_content_has_an_end(kind: str) -> None:
    assert read(**with_blocks(nest(4, kind)))
    with pytest.raises(ApiError, match=r"messages\.0\.content\.0.*nested too deeply") as excinfo:
        read(**with_blocks(nest(80, kind)))
    assert excinfo.value.kind == "invalid_request"
    assert len(excinfo.value.message) < 2000


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "content", "text", "source", "x"]), inner, max_size=3)
    ),
    max_leaves=10,
)
FIELDS = [
    "model",
    "max_tokens",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "stop_sequences",
    "thinking",
    "stream",
    "metadata",
    "top_k",
    "service_tier",
    "new",
]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=4), st.lists(json_values, max_size=3))
def test_only_api_errors(changes: JSON, blocks: list[Any]) -> None:
    raw = orjson.dumps({**BODY, **with_blocks(*blocks), **changes})
    try:
        request = parse(raw)
    except ApiError as error:
        assert error.status == 400
        return
    assert request.size == len(raw)
    assert all(isinstance(message["content"], (str, list)) for message in request.messages)
    assert all(isinstance(tool, dict) for tool in request.tools)


# -- limits ------------------------------------------------------------------------------------------------------------


def test_as_many_messages_as_the_vendor_takes() -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "x"}]}
    assert len(read(messages=[message] * 100_000).messages) == 100_000
    expect_refusal(
        {**BODY, "messages": [message] * 100_001},
        "messages: List should have at most 100000 items after validation, not 100001",
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "m" * 257}, "model: String should have at most 256 characters"),
        (
            {"stop_sequences": ["x"] * 257},
            "stop_sequences: List should have at most 256 items after validation, not 257",
        ),
        ({"stop_sequences": ["x", "x" * 4097]}, "stop_sequences.1: String should have at most 4096 characters"),
        (
            {"tools": [{"name": "x" * 257, "input_schema": {}}]},
            "tools.0.custom.name: String should have at most 256 characters",
        ),
        (
            with_blocks({"type": "tool_use", "id": "a", "name": "x" * 257, "input": {}}, role="assistant"),
            "messages.0.content.0.tool_use.name: String should have at most 256 characters",
        ),
        (
            with_blocks(*[{"type": "text", "text": "x"}] * 600, {"type": "text"}),  # also in a later slice
            "messages.0.content.600.text.text: Field required",
        ),
    ],
)
def test_what_is_too_long_is_refused(changes: JSON, message: str) -> None:
    expect_refusal({**BODY, **changes}, message)


@pytest.mark.parametrize("extra", [[[]] * 600_000, [0] * 1_010_000, {f"k{n}": 1 for n in range(550_000)}])
def test_too_many_values_are_refused_before_they_are_parsed(extra: Any) -> None:
    raw = orjson.dumps({"model": "m", "x": extra})  # no message at all: that is never found out
    with pytest.raises(ApiError) as excinfo:
        parse(raw)
    assert (excinfo.value.status, excinfo.value.type) == (413, "request_too_large")
    assert excinfo.value.message.startswith(
        "Request exceeds the maximum size: it holds more than 1,010,000 JSON values."
    )


def test_punctuation_in_strings_is_no_value() -> None:
    assert len(read(messages=[{"role": "user", "content": '[{"a": 1},' * 300_000}]).messages) == 1


@pytest.mark.parametrize(("values", "passes"), [(240_000, True), (260_000, False)])
def test_a_deep_nest_is_refused_where_there_is_much_to_write(values: int, passes: bool) -> None:
    raw = orjson.dumps(BODY)[:-1] + b', "x": ' + b"[" * 260 + b"]" * 260 + b', "y": [' + b"1," * values + b"1]}"
    if passes:
        assert parse(raw).body["x"]
        return
    with pytest.raises(ApiError) as excinfo:
        parse(raw)
    assert (excinfo.value.status, excinfo.value.message) == (
        400,
        "The request body is nested too deeply: more than 254 levels",
    )


@pytest.mark.parametrize(
    ("changes", "slices"),
    [
        ({}, 3),
        ({"messages": [{"role": "user", "content": "x"}] * 5000}, 3 + 10),
        (with_blocks(*[{"type": "text", "text": "x"}] * 5000), 3 + 10),
        ({"tools": [{"name": "x", "input_schema": {}}] * 5000}, 3 + 10),
        ({"tools": [{"name": "x", "input_schema": {"properties": {f"p{n}": {} for n in range(600)}}}] * 3}, 3 + 2),
        ({"x": [1] * 260_000}, 3 + 1),  # also written, to see how deep it is
        ({"x": "," * 1_200_000}, 3 + 2 + 1),  # also counted, 1 MB a slice, and written
    ],
)
def test_slices(changes: JSON, slices: int) -> None:
    assert len(list(parse_in_slices(orjson.dumps({**BODY, **changes})))) == slices


def test_schemas_are_made_valid() -> None:
    wrong: JSON = {"type": "object", "required": None}
    right: JSON = {"type": "object"}
    addition = {"type": "tool_addition", "tool": {"definition": {"name": "g", "input_schema": wrong}}}
    request = read(
        tools=[{"name": "f", "input_schema": wrong}],
        output_config={"format": {"type": "json_schema", "schema": wrong}},
        output_format={"type": "json_schema", "schema": wrong},
        messages=[USER, {"role": "system", "content": [addition, {"type": "tool_addition", "tool": "g"}]}],
    )
    body = request.body
    assert request.tools[0]["input_schema"] == right
    assert body["output_config"]["format"]["schema"] == body["output_format"]["schema"] == right
    assert body["messages"][1]["content"][0]["tool"]["definition"]["input_schema"] == right


# -- real ones ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capture", recordings.captures())
def test_captured_requests_pass(capture: recordings.Capture) -> None:
    request = parse(orjson.dumps(capture.body))
    assert request.body == capture.body


@pytest.mark.parametrize("capture", recordings.captures(counting=True))
def test_captured_counts_pass(capture: recordings.Capture) -> None:
    assert parse(orjson.dumps(capture.body), counting=True).body == capture.body
