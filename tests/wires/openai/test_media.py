"""Images and documents on the OpenAI wires: what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.messages.types import Call, Request
from a2py.wires.common.draft import Draft
from a2py.wires.openai.media import MEDIA


@pytest.mark.parametrize("kind", ["image", "document"])
def test_a_file_of_anthropics_own_store_is_refused_by_the_name_of_its_block(kind: str) -> None:
    parts: Any = None  # none is made
    draft = Draft(Call(Request({}, "m", []), "msg_1", 0.0), Deployment("n", "i", "c", "m", "http://x"))
    with pytest.raises(ApiError, match=rf"messages\.content\.{kind}\.source.*Send the file itself") as excinfo:
        MEDIA[kind]({"type": kind, "source": {"type": "file", "file_id": "file_1"}}, draft, parts)
    assert excinfo.value.kind == "invalid_request"
