"""The table of docs/translation.md that sets the wires side by side, against what the wires do."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from a2py.deployment import Deployment
from a2py.messages.request import parse
from a2py.messages.types import JSON, Call
from a2py.wires import WIRES, wire

DOCS = Path(__file__).parents[2] / "docs" / "translation.md"
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQK"}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
SCHEMA = {"type": "json_schema", "schema": {"type": "object", "properties": {}}}
#: Row → a request that needs it, and the name under which its loss is told.
FEATURES: dict[str, tuple[JSON, str]] = {
    "text, tools, results, parallel calls": (
        {
            "tools": [{"name": "f", "input_schema": {"type": "object"}}],
            "messages": [
                {"role": "user", "content": "Hi"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": i, "name": "f", "input": {}} for i in "ab"],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": i, "content": "ok"} for i in "ba"]},
            ],
        },
        "tools",
    ),
    "images": ({"messages": [{"role": "user", "content": [IMAGE]}]}, "image"),
    "PDFs": ({"messages": [{"role": "user", "content": [PDF]}]}, "document"),
    "structured output": ({"output_config": {"format": SCHEMA}}, "output_format"),
    "stop sequences": ({"stop_sequences": ["END"]}, "stop"),
    "web search": ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search"),
    "other server tools": (
        {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]},
        "code_execution",
    ),
    "`top_k`": ({"top_k": 40}, "top_k"),
}


def rows() -> dict[str, dict[str, str]]:
    text = DOCS.read_text("utf-8")
    lines = [line for line in text[text.index("side by side") :].split("\n") if line.startswith("|")]
    head, _, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: dict(zip(head[1:], cells, strict=True)) for name, *cells in body}


def degraded_fields(name: str, more: JSON) -> tuple[str, ...]:
    body = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}], **more}
    to = Deployment("n", "i", "custom", "m", "http://x/v1", wire=name)
    return wire(name).prepare(Call(parse(orjson.dumps(body)), "msg_1", 0.0), to, True).degraded


def test_the_table_names_each_wire_and_each_feature() -> None:
    table = rows()
    assert set(FEATURES) <= set(table)
    assert all(list(cells) == list(WIRES) for cells in table.values())


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize("feature", FEATURES)
def test_each_cell_tells_the_truth(feature: str, name: str) -> None:
    cell = rows()[feature][name]
    more, field = FEATURES[feature]
    fields = degraded_fields(name, more)
    assert cell.startswith(("carried", "dropped")), cell
    assert (field in fields) is cell.startswith("dropped"), fields


@pytest.mark.parametrize("name", WIRES)
def test_the_paths(name: str) -> None:
    to = Deployment("n", "i", "custom", "m", "http://x", wire=name)
    body = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]}
    upstream_request = wire(name).prepare(Call(parse(orjson.dumps(body)), "msg_1", 0.0), to, True)
    assert f"`{upstream_request.url.removeprefix('http://x')}`" == rows()["path"][name]
