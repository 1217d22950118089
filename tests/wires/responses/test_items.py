"""Parts of a Responses input: what this API has no form for."""

from __future__ import annotations

import orjson

from tests.wires.responses.test_tools import prepare


def test_a_pdf_is_never_sent_as_an_image() -> None:
    source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    document = {"type": "document", "source": source}
    upstream_request = prepare(
        {"messages": [{"role": "user", "content": [document]}]},
        {"wire": "responses", "quirks": {"documents": "image_url"}},
    )
    assert "input_image" not in orjson.dumps(orjson.loads(upstream_request.body)).decode()
