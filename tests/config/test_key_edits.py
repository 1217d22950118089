"""Changes to keys.yaml: only what was asked for changes, whatever form the user has given the file."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from a2py.config.key_edits import HEAD, CannotEdit, add_key, quote, set_fields
from a2py.config.keys import parse_keys

A, B = "a" * 64, "b" * 64
NEW: Mapping[str, str] = {"sha256": B, "models": '["x", "y-*"]'}


def names(text: str) -> list[str]:
    return [key.caller.name for key in parse_keys(text.encode(), "keys.yaml")]


def test_the_first_key() -> None:
    text = add_key("", "alice", NEW)
    assert text == f'{HEAD}  alice:\n    sha256: {B}\n    models: ["x", "y-*"]\n'
    assert names(text) == ["alice"]


#: Text before → text after `bob` was added, in which NEW stands for his fields.
ADDITIONS = {
    "comments, and what follows": (
        f"# ours\nkeys:\n  # the first\n  alice:   # she\n    sha256: {A}  # hers\n\n# the rest\nnote: 1\n",
        f"# ours\nkeys:\n  # the first\n  alice:   # she\n    sha256: {A}  # hers\n  bob:\n    NEW\n\n# the rest\nnote: 1\n",
    ),
    "no line end": (f"keys:\n  alice:\n    sha256: {A}", f"keys:\n  alice:\n    sha256: {A}\n  bob:\n    NEW\n"),
    "other indents": (
        f"keys:\n    alice:\n       sha256: {A}\n",
        f"keys:\n    alice:\n       sha256: {A}\n    bob:\n       NEW\n",
    ),
    "nothing below": ("keys:\n", "keys:\n  bob:\n    NEW\n"),
    "nothing below, a comment": ("keys:  # none yet\n", "keys:\n  bob:\n    NEW  # none yet\n"),
    "null": ("keys: null\n", "keys: \n  bob:\n    NEW\n"),
    "a comment alone": ("# ours\n", f"# ours\n{HEAD}  bob:\n    NEW\n"),
    "flow": (f"keys: {{alice: {{sha256: {A}}}}}\n", f"keys: {{bob: {{FLOW}}, alice: {{sha256: {A}}}}}\n"),
    "empty flow": ("keys: {}\n", "keys: {bob: {FLOW}}\n"),
    "JSON": (
        f'{{"keys": {{"alice": {{"sha256": "{A}"}}}}}}',
        f'{{"keys": {{bob: {{FLOW}}, "alice": {{"sha256": "{A}"}}}}}}',
    ),
    "the end of a document": (
        f"---\nkeys:\n  alice:\n    sha256: {A}\n...\n",
        f"---\nkeys:\n  alice:\n    sha256: {A}\n  bob:\n    NEW\n...\n",
    ),
    "a list at the end": (
        f"keys:\n  alice:\n    sha256: {A}\n    models:\n      - a\n      - b\n",
        f"keys:\n  alice:\n    sha256: {A}\n    models:\n      - a\n      - b\n  bob:\n    NEW\n",
    ),
    "a text block at the end": (
        f"keys:\n  alice:\n    sha256: {A}\n    note: |\n      # not a comment\n",
        f"keys:\n  alice:\n    sha256: {A}\n    note: |\n      # not a comment\n  bob:\n    NEW\n",
    ),
    "a mark of the order of bytes": (
        f"\ufeffkeys:\n  alice:\n    sha256: {A}\n",
        f"keys:\n  alice:\n    sha256: {A}\n  bob:\n    NEW\n",
    ),
}


@pytest.mark.parametrize("case", ADDITIONS)
def test_a_key_is_added(case: str) -> None:
    before, after = ADDITIONS[case]
    indent = after.partition("NEW")[0].rpartition("\n")[2]
    block = f"\n{indent}".join(f"{field}: {value}" for field, value in NEW.items())
    flow = ", ".join(f"{field}: {value}" for field, value in NEW.items())
    assert add_key(before, "bob", NEW) == after.replace("NEW", block).replace("FLOW", flow)


def test_windows_line_ends_stay() -> None:
    text = add_key(f"keys:\r\n  alice:\r\n    sha256: {A}\r\n", "bob", NEW)
    assert text.startswith(f"keys:\r\n  alice:\r\n    sha256: {A}\r\n") and names(text) == ["alice", "bob"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            f"keys:\n  # she\n  alice:\n    sha256: {A}  # hers\n    team: x\n",
            f"keys:\n  # she\n  alice:\n    revoked: now\n    sha256: {B}  # hers\n    team: x\n",
        ),
        (f"keys: {{alice: {{team: x, sha256: '{A}'}}}}", f"keys: {{alice: {{revoked: now, team: x, sha256: {B}}}}}"),
        (
            f"keys:\n  alice:\n    revoked: false\n    sha256: {A}\n  bob: {{sha256: {B}1}}\n",
            f"keys:\n  alice:\n    revoked: now\n    sha256: {B}\n  bob: {{sha256: {B}1}}\n",
        ),
    ],
)
def test_fields_are_set(before: str, after: str) -> None:
    assert set_fields(before, "alice", {"sha256": B, "revoked": "now"}) == after


@pytest.mark.parametrize(
    "text",
    [
        f"base: &k\n  sha256: {A}\nkeys:\n  alice: *k\n  carol: *k\n",
        "keys:\n  alice: {}\n",
        "keys:\n  alice: 1\n",
        "keys: 1\n",
        "other: 1\n",
        "keys:\n  alice: [\n",
        "- 1\n",
    ],
)
def test_a_form_that_can_t_be_changed_is_refused(text: str) -> None:
    with pytest.raises(CannotEdit):
        set_fields(text, "alice", {"sha256": B})


@pytest.mark.parametrize("text", ["keys: 1\n", "other: 1\n", "keys: &a {x: *a}"])
def test_a_form_that_takes_no_key_is_refused(text: str) -> None:
    with pytest.raises(CannotEdit):
        add_key(text, "bob", NEW)


VALUES = st.recursive(
    st.text(max_size=6) | st.booleans(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(("a", "b: c", "#")), inner, max_size=2),
    max_leaves=3,
)
NAMES = st.text("abc-#: ", min_size=1, max_size=6)


@settings(max_examples=30)  # YAML's parser in Python takes a millisecond for each
@given(
    st.dictionaries(NAMES, st.dictionaries(st.sampled_from("xyz"), VALUES, min_size=1), max_size=2),
    st.booleans(),
    VALUES,
)
def test_whatever_the_file_holds_nothing_else_changes(
    keys: dict[str, dict[str, object]], flow: bool, other: object
) -> None:
    """In every form that YAML's own writer makes: the change, or a refusal."""
    values = {"keys": keys, "other": other}
    text = yaml.safe_dump(values, default_flow_style=flow, allow_unicode=True, sort_keys=False)
    try:
        after = add_key(text, "new-key", {"sha256": B})
        after = set_fields(after, "new-key", {"revoked": quote("now")})
    except CannotEdit:
        assert "&id" in text, "only what two places share can't be changed in one"
        return
    expected = {"keys": {**keys, "new-key": {"sha256": B, "revoked": "now"}}, "other": other}
    assert yaml.safe_load(after) == expected
    for name in keys:
        if name != "new-key" and yaml.safe_load(text)["keys"].get(name):
            output = set_fields(text, name, {"own": quote("# x: y")})
            assert yaml.safe_load(output)["keys"][name] == {**keys[name], "own": "# x: y"}


@given(st.text(max_size=30).filter(str.isprintable))
def test_a_quoted_text_is_itself(text: str) -> None:
    assert yaml.safe_load(quote(text)) == text
