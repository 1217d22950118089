"""Secrets in bodies: as they are, with escapes, over two reads, over events of a stream, cut off in the middle."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2py.proxy.redact import REDACTED, Redactor, Span, apply

KEY, OTHER, ODD = "sk-live-0123456789", "other/key+42==", 'p"a\\ssé😀word'
MARK = REDACTED.decode()


def without(text: str, *secrets: str) -> str:
    return Redactor(secrets or (KEY, OTHER, ODD)).body(text.encode())[0].decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing here", "nothing here"),
        (f"a {KEY} b {KEY}{OTHER}", f"a {MARK} b {MARK}{MARK}"),
        ('"\\u0073k-live-0123456789"', f'"{MARK}"'),
        ('"sk-live-\\u0030123456789\\u0039"', f'"{MARK}9"' if KEY.endswith("99") else f'"{MARK}\\u0039"'),
        ("sk-live-012345678\\u0039 \\u0073k", f"{MARK} \\u0073k"),
        ("".join(f"\\u{ord(char):04x}" for char in KEY), MARK),
        ("".join(f"\\U{ord(char):04X}".replace("U", "u") for char in KEY), MARK),
        (json.dumps(json.dumps({"a": KEY})).replace("s", "\\\\u0073"), f'"{{\\"a\\": \\"{MARK}\\"}}"'),
        ("other\\/key+42==", MARK),
        ("other\\\\\\/key+42==", MARK),
        ("other%2Fkey%2B42%3D%3D", MARK),
        (json.dumps(ODD), f'"{MARK}"'),
        (json.dumps(ODD, ensure_ascii=False), f'"{MARK}"'),
        (json.dumps(json.dumps(ODD)), f'"\\"{MARK}\\""'),
        ("sk-live-", MARK),
        ("x sk-live-01234", f"x {MARK}"),
        ("x \\u0073k-live-01234", f"x {MARK}"),
        ("x sk-live", "x sk-live"),
        ("sk-live-01234 x", "sk-live-01234 x"),
    ],
)
def test_how_a_secret_may_be_spelt(text: str, expected: str) -> None:
    assert without(text) == expected


def test_short_ones_are_words() -> None:
    assert without("abc abcd", "abc") == "abc abcd" and without("abc abcd", "abcd") == f"abc {MARK}"
    assert Redactor(()).body(b"x", [0, 1]) == (b"x", [0, 1])


def test_the_longest_of_two_is_taken() -> None:
    assert without("my-key-and-more my-key", "my-key", "my-key-and-more") == f"{MARK} {MARK}"
    assert without("abcdefgh", "abcdef", "defgh!", "cdefgh") == MARK


def test_a_text_that_holds_none_is_the_same() -> None:
    odd = "caf\udce9 \\u0041"
    assert Redactor((KEY,)).text(odd) == odd
    assert Redactor(("caf\udce9",)).text(f"a {odd}") == f"a {MARK} \\u0041"


@pytest.mark.parametrize("cut", range(len(KEY) + 5))
def test_over_two_reads(cut: int) -> None:
    data = f"ab{KEY}cd".encode()
    output, cuts = Redactor((KEY,)).body(data, [0, cut, len(data)])
    pieces = [output[start:end] for start, end in pairwise(cuts)]
    assert b"".join(pieces) == output == b"ab%bcd" % REDACTED
    assert pieces[0] == data[:cut] if cut <= 2 else pieces[0].startswith(b"ab" + REDACTED)


def test_apply() -> None:
    assert apply(b"0123456789", [Span(2, 4, b"x"), Span(4, 5, b""), Span(8, 10, b"yyyy")], [0, 2, 3, 4, 5, 9, 10]) == (
        b"01x567yyyy",
        [0, 2, 3, 3, 3, 10, 10],
    )
    assert apply(b"", [], [0]) == (b"", [0])


# -- over the events of a stream ---------------------------------------------------------------------------------------


def events(*values: Any, line: str = "\n") -> bytes:
    return "".join(f"data: {json.dumps(value)}{line}{line}" for value in values).encode()


def chat(text: str) -> dict[str, Any]:
    return {"id": "c1", "choices": [{"index": 0, "delta": {"content": text}}], "usage": None}


def anthropic(index: int, **delta: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def arguments(index: int, text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": index, "function": {"arguments": text}}]}}]}


def responses(item: str, text: str) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "item_id": item, "output_index": 0, "content_index": 0, "delta": text}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            [chat("my "), chat("sk-li"), chat("ve-0123"), chat("456789"), chat(" it is")],
            ["my ", MARK, "", "", " it is"],
        ),
        ([anthropic(0, text="a sk-live-01"), anthropic(0, text="23456789 b")], [f"a {MARK}", " b"]),
        (
            [anthropic(1, partial_json='{"k":"\\u0073k-'), anthropic(1, partial_json='live-0123456789"}')],
            [f'{{"k":"{MARK}', '"}'],
        ),
        (
            [responses("i", "sk-live-"), responses("j", "sk-live-01234567"), responses("i", "0123456789")],
            [MARK, MARK, ""],
        ),
        ([arguments(0, "sk-live-"), arguments(1, "no secret"), arguments(0, "0123456789")], [MARK, "no secret", ""]),
        ([chat("sk-live-"), chat("x")], ["sk-live-", "x"]),
        ([chat("x"), chat("sk-live-0")], ["x", MARK]),
    ],
)
def test_over_events(values: list[Any], expected: list[str]) -> None:
    def strings(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [
                text
                for name, inner in value.items()
                if name not in ("type", "id", "item_id")
                for text in strings(inner)
            ]
        return (
            [text for inner in value for text in strings(inner)]
            if isinstance(value, list)
            else [value]
            if isinstance(value, str)
            else []
        )

    for line in ("\n", "\r\n"):
        data = Redactor((KEY,)).body(events(*values, line=line))[0]
        outputs = [json.loads(event.partition("data: ")[2]) for event in data.decode().split(line * 2) if event]
        assert [strings(value) for value in outputs] == [[text] for text in expected]


def test_other_events_stay_as_they_are() -> None:
    odd = b'data:  {"a" :  "sk-"}\n\ndata: {"a": 1.0}\n\nevent: x\ndata: {broken\n\ndata: [DONE]\n\n: comment\n\n'
    assert Redactor((KEY,)).body(odd)[0] == odd
    data = odd + events(chat("sk-live-0"), chat("123456789"))
    assert Redactor((KEY,)).body(data)[0].startswith(odd)


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_is_split_wherever(seed: int) -> None:
    """A secret, spelt at random, within a string that is streamed in random pieces, whose bytes come in random
    reads."""
    dice = random.Random(seed)
    secret = dice.choice((KEY, OTHER, ODD))
    spelt = "".join(
        f"\\u{ord(char):04x}" if dice.random() < 0.2 and ord(char) < 0x10000 else json.dumps(char)[1:-1]
        for char in secret
    )
    text = "before " + spelt + " after"
    places = sorted({0, len(text), *(dice.randrange(len(text)) for _ in range(dice.randrange(6)))})
    parts = [text[start:end] for start, end in pairwise(places)]
    data = events(*(anthropic(0, partial_json=part) for part in parts))
    cuts = sorted({0, len(data), *(dice.randrange(len(data)) for _ in range(dice.randrange(9)))})
    output, new_cuts = Redactor((KEY, OTHER, ODD)).body(data, cuts)
    assert (
        len(new_cuts) == len(cuts) and new_cuts == sorted(new_cuts) and new_cuts[0] == 0 and new_cuts[-1] == len(output)
    )
    content = "".join(json.loads(line[6:])["delta"]["partial_json"] for line in output.decode().splitlines() if line)
    assert content == f"before {MARK} after"


@settings(deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_bytes_of_any_kind(data: bytes, cuts: list[int]) -> None:
    cuts = sorted(min(cut, len(data)) for cut in cuts)
    output, new_cuts = Redactor((KEY,)).body(data, cuts)
    assert (output, new_cuts) == (data, cuts)
