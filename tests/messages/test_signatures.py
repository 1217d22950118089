"""Vendor state in signatures: it comes back as it went, and what was forged or cut is no envelope."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2py.messages import signatures
from a2py.messages.signatures import KINDS, VendorState, is_ours, is_plain, make, read

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    st.sampled_from(sorted(KINDS)), st.text(max_size=20), st.dictionaries(st.text(max_size=5), json_values, max_size=4)
)
def test_there_and_back(kind: str, origin: str, state: dict[str, Any]) -> None:
    state.pop("o", None)
    signature = make(kind, origin, state)
    assert signature.isascii()
    assert is_ours(signature)
    assert read(signature) == VendorState(kind, origin, state)


def test_the_vendor_cannot_speak_for_another_origin() -> None:
    assert read(make("details", "chat:openrouter:x", {"o": "native:anthropic:y", "d": []})) == VendorState(
        "details", "chat:openrouter:x", {"d": []}
    )


def test_half_a_surrogate_pair_in_hidden_text() -> None:
    assert read(make("t", "o", {"text": "a\ud83d"})) == VendorState("t", "o", {"text": "a\ufffd"})


def forge(body: bytes, kind: str = "t", head: str = "a2py1") -> str:
    return f"{head}.{kind}.{base64.urlsafe_b64encode(body).decode().rstrip('=')}"


@pytest.mark.parametrize(
    "signature",
    [
        None,
        7,
        b"a2py1.t.e30",
        "",
        "EqQBCkYIARgC",  # Anthropic's own
        "a2py1.t",
        "a2py1.t.",
        "a2py1.t.x",
        "a2py1.t.e30",  # {}: no origin
        forge(b'{"o": 1}'),
        forge(b'{"o": null}'),
        forge(b'["o"]'),
        forge(b'"o"'),
        forge(b"{"),
        forge(b'{"o": "\xff"}'),
        forge(b'{"o": "x"}', kind="nope"),
        forge(b'{"o": "x"}', kind="T"),
        forge(b'{"o": "x"}', head="a2py2"),
        forge(b'{"o": "x"}') + "=",
        forge(b'{"o": "x"}') + "\n",
        " " + forge(b'{"o": "x"}'),
        forge(b'{"o": "x", "d": ' + b"[" * 1000 + b"]" * 1000 + b"}"),  # readable, but too deep to be sent on
        forge(b"[" * 100_000),
    ],
)
def test_what_is_no_envelope(signature: Any) -> None:
    assert read(signature) is None


def test_a_cut_envelope_is_none_or_an_honest_one() -> None:
    whole = make("responses", "responses:openai:gpt", {"items": [{"encrypted_content": "x" * 50}]})
    for n in range(len(whole)):
        assert read(whole[:n]) is None


def test_an_oversized_one_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    signature = make("t", "o", {"text": "x" * 1000})
    monkeypatch.setattr(signatures, "LIMIT", len(signature))
    assert read(signature) is not None
    monkeypatch.setattr(signatures, "LIMIT", len(signature) - 1)
    assert read(signature) is None


@pytest.mark.parametrize(
    ("signature", "claim"),
    [("a2py1.t.x", True), ("a2py1.", True), ("a2py1", False), ("", False), (None, False), ({"a": 1}, False)],
)
def test_ours_is_only_the_claim(signature: Any, claim: bool) -> None:
    assert is_ours(signature) is claim


def test_the_form_is_the_published_one() -> None:
    version, kind, payload = make("t", "chat:x:y", {}).split(".")
    assert (version, kind) == ("a2py1", "t")
    assert orjson.loads(base64.urlsafe_b64decode(payload + "==")) == {"o": "chat:x:y"}


@pytest.mark.parametrize(
    ("signature", "plain"),
    [
        (make("t", "chat:x:y", {}), True),
        (make("details", "chat:x:y", {"d": []}), False),
        ("EqQB", False),
        (None, True),
        ({"a": 1}, True),
    ],
)
def test_a_plain_signature_carries_no_vendor_state(signature: Any, plain: bool) -> None:
    assert is_plain(signature) is plain
