"""`a2py check --write` inserts quirks into the configuration file and keeps the rest, or changes nothing."""

from __future__ import annotations

import pytest
import yaml

from a2py.cli.check.write import edit, snippet

FOUND_ONE = {"openai/x": {"images": False, "reasoning": "effort"}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "model_list: []\n",
        "model_list: []",
        "a2py:\n",
        "a2py: {}\nmodel_list: []\n",
        "model_list: []\na2py: {}",
        "a2py:  # ours\n  keepalive_seconds: 5  # keep\nmodel_list: []\n",
        "a2py:\n    quirks:\n        openai/x:\n            images: true  # wrong\n        other: {images: true}\n",
        "a2py:\n  quirks: {}\n  drain_seconds: 1\n",
        "a2py:\n  quirks:\n    'openai/x':\n      tools: true\nmodel_list:\n- a: 1\n",
        "# only a comment\n",
        "model_list:\n- model_name: é # ü\n  x: |\n    a2py:\n      no\na2py:\n  drain_seconds: 1",
    ],
)
def test_quirks_are_written_between_what_is_there(text: str) -> None:
    output = edit(text, FOUND_ONE)
    assert output is not None
    before, after = yaml.safe_load(text) or {}, yaml.safe_load(output)
    for name, value in FOUND_ONE["openai/x"].items():
        assert after["a2py"]["quirks"]["openai/x"][name] == value
    ours = after.pop("a2py")
    old = before.pop("a2py", None) or {}
    assert after == before
    assert {k: v for k, v in ours.items() if k != "quirks"} == {k: v for k, v in old.items() if k != "quirks"}
    for id, quirks in (old.get("quirks") or {}).items():
        assert ours["quirks"][id] == {**quirks, **FOUND_ONE.get(id, {})}
    assert [line for line in text.splitlines() if "#" in line and "wrong" not in line] == [
        line for line in output.splitlines() if "#" in line and "wrong" not in line
    ]
    assert ("# wrong" in text) == ("# wrong" in output)
    assert edit(output, FOUND_ONE) == output


@pytest.mark.parametrize(
    "text",
    [
        "a2py: {quirks: {x: {images: true}}}\n",
        "a2py: [1]\n",
        "- 1\n",
        "a2py: [\n",
        "a2py:\n  quirks:\n    openai/x: {images: true}\n",
    ],
)
def test_what_can_not_be_edited_line_by_line_is_left(text: str) -> None:
    assert edit(text, FOUND_ONE) is None


def test_the_lines_to_write_by_hand_say_the_same() -> None:
    assert yaml.safe_load(snippet({"a/b#2": {"sampling": frozenset({"top_p"}), "tools": False}})) == {
        "a2py": {"quirks": {"a/b#2": {"sampling": ["top_p"], "tools": False}}}
    }
