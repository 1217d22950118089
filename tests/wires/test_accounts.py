"""State that a vendor keeps for one account never goes to another one of the same name; plain thoughts of the same model do."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from a2py.deployment import Deployment, digest_account, is_same_model
from a2py.messages import signatures
from a2py.messages.request import parse
from a2py.messages.types import Call
from a2py.quirks import Quirks
from a2py.slices import at_once
from a2py.wires import wire

MINE, OTHER = digest_account("https://a/v1", "sk-1"), digest_account("https://a/v1", "sk-2")


def body_of(name: str, account: str, kind: str, state: dict[str, Any]) -> dict[str, Any]:
    """Return what goes upstream of a turn whose thinking was made by `account`, asked at MINE."""
    dep = Deployment(
        "m", "m", "openai", "gpt-5", "https://a/v1", wire=name, account=MINE, quirks=Quirks(reasoning_history="reply")
    )
    signature = signatures.make(kind, dep.origin.replace(MINE, account), state)
    turn = [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm", "signature": signature},
                {"type": "text", "text": "Yes"},
            ],
        },
        {"role": "user", "content": "And?"},
    ]
    request = parse(orjson.dumps({"model": "m", "max_tokens": 100, "messages": turn}))
    body: dict[str, Any] = orjson.loads(
        at_once(wire(name).prepare_in_slices(Call(request, "msg_1", 0.0), dep, False)).body
    )
    return body


def test_accounts_differ_by_address_and_key() -> None:
    assert MINE != OTHER != digest_account("https://b/v1", "sk-1") and len(MINE) == 8
    assert is_same_model(f"chat:openai:m@{MINE}", f"chat:openai:m@{OTHER}") and is_same_model(
        "chat:openai:m", f"chat:openai:m@{MINE}"
    )
    assert not is_same_model(f"chat:openai:m@{MINE}", f"chat:openai:n@{MINE}")


@pytest.mark.parametrize("account", [MINE, OTHER], ids=["own", "other"])
def test_encrypted_reasoning_stays_with_its_account(account: str) -> None:
    state = {"item": {"id": "rs_1", "encrypted_content": "secret"}}
    body = orjson.dumps(body_of("responses", account, "responses", state))
    assert (b"secret" in body and b"rs_1" in body) is (account == MINE)


@pytest.mark.parametrize("account", [MINE, OTHER], ids=["own", "other"])
def test_vendor_fields_stay_with_their_account_and_thoughts_do_not(account: str) -> None:
    state = {"f": {"reasoning_opaque": "secret"}, "r": "reasoning"}
    message = body_of("chat", account, "fields", state)["messages"][1]
    assert message["reasoning"] == "Hm"
    assert ("reasoning_opaque" in message) is (account == MINE)


@pytest.mark.parametrize("account", [MINE, OTHER], ids=["own", "other"])
def test_raw_reasoning_of_responses_goes_to_every_account(account: str) -> None:
    state = {"raw": True, "item": {"id": "rs_mine"}}
    item = body_of("responses", account, "responses", state)["input"][1]
    assert item["content"] == [{"type": "reasoning_text", "text": "Hm"}] and (item.get("id") == "rs_mine") is (
        account == MINE
    )
