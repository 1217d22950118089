"""How a difference is said: values in short, quirks that are not the usual ones, settings."""

from __future__ import annotations

from a2py.deployment import Deployment
from a2py.quirks import Quirks
from a2py.wires.changes import Question
from a2py.wires.changes.change import TEXT_LIMIT, count, rule, show


def question(**more: object) -> Question:
    dep = Deployment("n", "i", "custom", "m", "http://x/v1", quirks=Quirks(max_tokens_field="max_completion_tokens"))
    return Question(dep, {}, **more)  # type: ignore[arg-type]


def test_values_are_shown_in_short() -> None:
    assert (
        show("text") == "text" and show({"a": [1, None]}) == '{"a":[1,null]}' and show(frozenset("ba")) == '["a","b"]'
    )
    assert len(show("x" * 1000)) == TEXT_LIMIT and show("x" * 1000).endswith("…")
    assert (count(1, "block"), count(1200, "block"), rule("a8")) == ("1 block", "1,200 blocks", "translation.md#a8")


def test_only_quirks_that_are_set_are_named() -> None:
    assert question().explain("", ("images", "max_tokens_field")) == "quirk max_tokens_field: max_completion_tokens"
    query = question(reasons={"max_tokens_field": "table: it refuses the other"})
    assert query.explain("so", ("max_tokens_field",)).startswith(
        "so; quirk max_tokens_field: max_completion_tokens (table"
    )
    assert question().explain("", ("images",)) == ""


def test_settings_are_found() -> None:
    dep = Deployment("n", "i", "custom", "m", "http://x/v1", params={"seed": 1}, extra_body={"top_k": 1})
    query = Question(dep, {})
    assert "`extra_body`" in query.find_setting("top_k") and "`seed`" in query.find_setting("seed")
    assert query.find_setting("other") == ""
