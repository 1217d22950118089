"""YAML with line numbers: values, messages about mistakes, and hostile or deeply nested files."""

from __future__ import annotations

import pytest
import yaml

from a2py.config import tree
from a2py.config.error import ConfigError
from a2py.config.tree import MAX_BYTES, MAX_DEPTH, MAX_NODES, Mark, merge, node_of, parse, plain, resolve


@pytest.fixture(params=["C", "Python"], autouse=True)
def both_loaders(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "Python":
        monkeypatch.setattr(tree, "_Base", yaml.SafeLoader)


def read(text: str | bytes) -> tree.Node:
    return parse(text.encode() if isinstance(text, str) else text, "f.yaml", lambda _: None)


def mistake(text: str | bytes) -> ConfigError:
    with pytest.raises(ConfigError) as excinfo:
        read(text)
    assert excinfo.value.file == "f.yaml"
    return excinfo.value


def test_plain_values_and_places() -> None:
    root = read("a: 1\nb:\n  - x\n  - c: true\n    d: null\n")
    assert plain(root) == {"a": 1, "b": ["x", {"c": True, "d": None}]}
    second = root.value["b"].value[1].value["c"]
    assert second.at == Mark("f.yaml", 4, 8) and second.key_at == Mark("f.yaml", 4, 5)
    assert str(second.at) == "f.yaml:4" and str(Mark("environment")) == "environment"
    assert (
        root.get("a")
        and root.get("zz") is None
        and root.value["b"].value[1].get("d") is None
        and root.value["a"].get("x") is None
    )


def test_empty_files() -> None:
    assert read("").value is None and read("# nothing\n").value is None and plain(read("a:\n")) == {"a": None}


def test_a_scalar_keeps_its_text() -> None:
    root = read("v: 2024-10-21\nk: 0123\nn: 3.10\nb: !!binary aGk=\nt: 12:30:00\nno: yes\n")
    assert [root.value[k].raw for k in ("v", "k", "n", "b", "t", "no")] == [
        "2024-10-21",
        "0123",
        "3.10",
        "aGk=",
        "12:30:00",
        "yes",
    ]
    assert root.value["v"].value == "2024-10-21" and root.value["no"].value is True


def test_a_byte_order_mark_is_no_part_of_the_file() -> None:
    assert plain(read(b"\xef\xbb\xbfa: 1\n")) == {"a": 1}


def test_anchors_and_merge_keys() -> None:
    root = read("x-base: &base {api_key: k, rpm: 1}\na:\n  <<: *base\n  rpm: 2\nb: *base\n")
    assert plain(root)["a"] == {"api_key": "k", "rpm": 2} and plain(root)["b"] == {"api_key": "k", "rpm": 1}


def test_a_key_that_stands_twice_is_told_and_the_last_counts() -> None:
    messages: list[str] = []
    root = parse(b"a: 1\nb: {c: 1, c: 2}\na: 3\n", "f.yaml", messages.append)
    assert plain(root) == {"a": 3, "b": {"c": 2}}
    assert messages == [
        "f.yaml:3: the key `a` is written twice, and the last one is used. Remove one.",
        "f.yaml:2: the key `c` is written twice, and the last one is used. Remove one.",
    ]


def test_a_merge_is_no_second_key() -> None:
    messages: list[str] = []
    parse(b"x: &x {a: 1}\ny: &y {b: 1}\nz:\n  <<: *x\n  <<: *y\n  a: 2\n", "f.yaml", messages.append)
    assert messages == []


@pytest.mark.parametrize(
    ("text", "line", "cure"),
    [
        ("model_list:\n  - model_name: *\n", 2, "Quote a name"),
        ("a: *nobody\n", 1, "Quote a name"),
        ("a:\n\t- b\n", 2, "not tabs"),
        ("a: @b\n", 1, "Quote values that begin with @"),
        ("a: b: c\n", 1, "Quote a value"),
        ("a:\n  b: 1\n c: 2\n", 3, "indentation"),
        ("a:\n  - b\n  c: 1\n", 3, "indentation"),
        ("a: 'b\nc: 1\nd: 2\n", 1, "closing quote"),  # where it opens
        ("a: [1, 2\nb: 3\n", 2, ""),
        ("a: {b: 1\n", 2, "bracket"),
        ("a: 1\nb\nc: 2\n", 3, "Write a colon"),
        ("a: 1\n---\nb: 2\n", 2, "---"),
        ("a: !ENV x\n", 1, "tag"),
        ("a: !!python/object/apply:os.system x\n", 1, "tag"),
    ],
)
def test_what_is_no_yaml_names_line_and_cure(text: str, line: int, cure: str) -> None:
    error = mistake(text)
    assert error.line == line and error.column >= 1 and cure in error.cure, (str(error), error.cure)
    assert str(error).startswith(f"f.yaml:{line}: not valid YAML: ") and "\n" not in str(error)


def test_an_undefined_alias_is_not_shown() -> None:
    assert "sk-abc" not in str(mistake("api_key: *sk-abc\n"))


def test_a_tag_constructs_nothing() -> None:
    assert plain(read("a: !!python/object/apply:os.system ['echo no']\n")) == {"a": ["echo no"]}


def test_a_value_that_does_not_fit_its_tag_is_not_shown() -> None:
    error = mistake("a: !!int secret\n")
    assert error.line == 1 and "tag" in error.message and "secret" not in str(error)


def test_keys_must_be_words() -> None:
    assert "a key must be a word" in str(mistake("? [a, b]\n: 1\n"))
    assert plain(read("1: a\ntrue: b\n")) == {"1": "a", "true": "b"}


def test_text_that_is_no_utf8_or_holds_control_characters() -> None:
    error = mistake(b"a: 1\nb: \xff\n")
    assert (error.line, error.column) == (2, 4) and "UTF-8" in error.message
    error = mistake("a: 1\nb: \x07\n")
    assert error.line == 2 and "control character" in error.cure


def test_sizes_are_bounded() -> None:
    assert "larger than" in str(mistake(b" " * (MAX_BYTES + 1)))
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for name, below in zip("bcdefg", "abcdef", strict=True):
        bomb += f"{name}: &{name} [{', '.join(['*' + below] * 10)}]\n"
    assert MAX_NODES < 10**6 and "refer to themselves. Write at most 40 levels" in str(mistake(bomb))


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: &a\n  b: *a\n", "[" * (MAX_DEPTH + 5) + "]" * (MAX_DEPTH + 5)])
def test_what_refers_to_itself_or_nests_is_refused(text: str) -> None:
    message = str(mistake(text))
    assert "nested too deeply" in message and "Write at most 40 levels" in message


@pytest.mark.parametrize("part", ["[", "- ", "{a: ", "? "])
def test_depth_cannot_crash_the_process(part: str) -> None:
    assert "nested too deeply. Write at most 40 levels" in str(mistake(part * 100_000))


def test_a_long_flat_file_is_read() -> None:
    assert len(plain(read("a:\n" + "  - {b: [1]}\n" * 3000))["a"]) == 3000


def test_variables_are_put_in() -> None:
    root = resolve(
        read("a: os.environ/A\nb: [os.environ/NONE, {c: 'os.environ/EMPTY'}]\nd: xos.environ/A\ne: os.environ/\n"),
        {"A": "1", "EMPTY": ""},
    )
    assert plain(root) == {"a": "1", "b": [None, {"c": None}], "d": "xos.environ/A", "e": "os.environ/"}
    assert root.value["a"].env == "A" and root.value["a"].raw == "1" and root.value["b"].value[0].env == "NONE"


def test_trees_are_merged() -> None:
    base, extra = (
        node_of({"l": [1], "m": {"a": 1}, "s": "x", "n": None}, "f"),
        node_of({"l": [2], "m": {"a": 2, "b": 3}, "s": "y", "n": 1, "z": 1}, "g"),
    )
    assert plain(merge(base, extra)) == {"l": [1, 2], "m": {"a": 1, "b": 3}, "s": "x", "n": 1, "z": 1}


def test_recursion_of_the_loader_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def deep(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr(tree._Reader, "read", deep)
    assert "Write at most 40 levels" in str(mistake("a: 1\n"))


def test_an_error_without_place_or_key_is_one_line() -> None:
    assert str(ConfigError("no file")) == "no file."
    assert str(ConfigError("bad", file="f", line=1, column=2, path="a.b", cure="Do.")) == "f:1: `a.b` bad. Do."
