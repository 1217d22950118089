"""Stop sequences and think tags, however the text is cut."""

from __future__ import annotations

import random

import pytest

from a2py.wires.common.filters import Stops, ThinkTags, count_held


@pytest.mark.parametrize("size", range(1, 9))
def test_filters_depend_on_the_concatenation(size: int) -> None:
    text = "\n<think>b</think>\n\nc</think><think>d<th"
    tags = ThinkTags()
    pieces = [p for n in range(0, len(text), size) for p in tags.feed(text[n : n + size])] + tags.close()
    assert ["".join(s for t, s in pieces if t is flag) for flag in (False, True)] == ["c</think><think>d<th", "b"]
    stops = Stops(["END", "EN!"])
    out = "".join(stops.feed(c) for c in "a E EN b END c") + stops.close()
    assert (out, stops.match) == ("a E EN b ", "END")
    assert stops.feed("more") == ""


def first_stop(stops: list[str], text: str) -> tuple[str, str | None]:
    for end in range(len(text) + 1):
        matches = [stop for stop in stops if text[:end].endswith(stop)]
        if matches:
            stop = max(matches, key=len)
            return text[: end - len(stop)], stop
    return text, None


@pytest.mark.parametrize(
    ("stops", "text", "out", "match"),
    [
        (["ab", "abc"], "xabcd", "x", "ab"),  # the text was cut behind it, or not
        (["b", "ab"], "xab", "x", "ab"),
        (["cd", "abcde"], "abcde", "ab", "cd"),
        (["aab"], "aaab", "a", "aab"),
        (["abab", "babb"], "ababb", "", "abab"),
        (["aabaaac"], "aabaabaaac", "aab", "aabaaac"),
        (["END"], "the EN", "the EN", None),
        ([], "text", "text", None),
    ],
)
def test_the_stop_that_ends_first_wins_however_the_text_is_cut(
    stops: list[str], text: str, out: str, match: str | None
) -> None:
    assert first_stop(stops, text) == (out, match)
    for size in range(1, len(text) + 1):
        cut = Stops(stops)
        assert "".join([cut.feed(text[n : n + size]) for n in range(0, len(text), size)]) + cut.close() == out
        assert cut.match == match


def test_any_stops_in_any_text() -> None:
    dice = random.Random(7)
    for _ in range(2000):
        stops = ["".join(dice.choices("ab", k=dice.randint(1, 7))) for _ in range(dice.randint(1, 3))]
        text = "".join(dice.choices("abc", k=25))
        cuts = sorted(dice.sample(range(26), 4))
        cut = Stops(stops)
        out = "".join([cut.feed(text[a:b]) for a, b in zip([0, *cuts], [*cuts, 25], strict=True)]) + cut.close()
        assert (out, cut.match) == first_stop(stops, text)


def test_text_goes_on_after_what_was_held_back() -> None:
    """A tool call in between: the two texts are two blocks."""
    stops = Stops(["END"])
    assert stops.feed("xEN") + stops.close() + stops.feed("D") + stops.close() == "xEND"
    assert stops.match is None


def test_a_tag_behind_endless_white_space_is_none() -> None:
    for blank, pieces in ((4096, [(True, "a")]), (4097, [(False, " " * 4097 + "<think>a")])):
        for size in (1, 1000, 5000):
            text = " " * blank + "<think>a"
            tags = ThinkTags()
            parts = [p for n in range(0, len(text), size) for p in tags.feed(text[n : n + size])] + tags.close()
            assert [(t, "".join(s for u, s in parts if u is t)) for t in {t for t, _ in parts}] == pieces


def test_held() -> None:
    assert [count_held(s, ("</t>",)) for s in ("", "x", "x<", "x</t", "x</t>")] == [0, 0, 1, 3, 0]
