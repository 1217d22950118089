"""Text on its way to the sink: think tags, stop sequences, and what they hold back when another part begins."""

from __future__ import annotations

from typing import Any

import pytest

from a2py.wires.common.textwriter import TextWriter
from tests import streams


class Sink:
    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []

    def text(self, key: str, text: str) -> None:
        self.texts.append((key, text))

    def thinking(self, key: str, text: str) -> None:
        self.texts.append((key, text))


def write(*pieces: tuple[str, str], **options: Any) -> tuple[list[tuple[str, str]], TextWriter]:
    """Return what the sink gets of `pieces` (key, text), and the writer."""
    sink: Any = Sink()
    writer = TextWriter(streams.upstream_request(**options), sink, "think")
    for key, text in pieces:
        writer.write(key, text)
    writer.flush()
    return sink.texts, writer


def test_without_filters_text_passes_as_it_is() -> None:
    out, writer = write(("a", "x"), ("b", ""))
    assert out == [("a", "x"), ("b", "")]
    assert writer.has_output and writer.stop_sequence is None


def test_text_that_is_held_back_is_written_under_its_own_key_before_another_part() -> None:
    out, writer = write(("a", "x E"), ("a", "N"), ("b", "D y"), stops=("END",))
    assert out == [("a", "x "), ("a", "EN"), ("b", "D y")]
    assert writer.stop_sequence is None


def test_text_after_a_stop_sequence_is_dropped() -> None:
    out, writer = write(("a", "x END y"), ("a", "z"), ("b", "w"), stops=("END",))
    assert out == [("a", "x ")]
    assert writer.stop_sequence == "END"


@pytest.mark.parametrize("options", [{"think_tags": True}, {"think_open": True}])
def test_thinking_is_split_off(options: dict[str, bool]) -> None:
    text = "Hm.</think>Hi" if "think_open" in options else "<think>Hm.</think>Hi"
    out, writer = write(*(("a", char) for char in text), **options)
    assert [("".join(text for key, text in out if key == name)) for name in ("think", "a")] == ["Hm.", "Hi"]
    assert writer.has_output


def test_stop_sequences_are_not_searched_in_thinking() -> None:
    out, writer = write(("a", "<think>END</think>x END y"), think_tags=True, stops=("END",))
    assert out == [("think", "END"), ("a", "x ")]
    assert writer.stop_sequence == "END"


def test_nothing_is_shown_while_all_text_is_held_back() -> None:
    sink: Any = Sink()
    writer = TextWriter(streams.upstream_request(stops=("END",)), sink, "think")
    writer.write("a", "EN")
    assert not writer.has_output and sink.texts == []
