"""Parsers of single values: what they accept, what they reject, and the messages."""

from __future__ import annotations

from typing import Any

import pytest

from a2py.config import values as v
from a2py.config.error import ConfigError
from a2py.config.tree import Node, node_of, parse, resolve


def node(text: str, **env: str) -> Node:
    """The value of `a` in `a: text`."""
    return resolve(parse(f"a: {text}".encode(), "f.yaml", lambda _: None), env).value["a"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("parser", "text", "value"),
    [
        (v.text, "x", "x"),
        (v.text, "' x '", "x"),
        (v.text, "2024-10-21", "2024-10-21"),
        (v.text, "007", "007"),
        (v.text, "true", "true"),
        (v.boolean, "true", True),
        (v.boolean, "No", False),
        (v.boolean, "'False'", False),
        (v.boolean, "1", True),
        (v.boolean, "0", False),
        (v.whole(), "3", 3),
        (v.whole(), "'3'", 3),
        (v.whole(), "3.0", 3),
        (v.whole(1), "1", 1),
        (v.number(), "2", 2.0),
        (v.number(), "'0.5'", 0.5),
        (v.number(), "1e3", 1000.0),
        (v.choice("show", "hide"), "HIDE", "hide"),
        (v.cache_ttl, "true", ""),
        (v.cache_ttl, "'no'", "none"),
        (v.cache_ttl, "1H", "1h"),
        (v.switch_or_path, "false", False),
        (v.switch_or_path, "'True'", True),
        (v.switch_or_path, "/etc/ca.pem", "/etc/ca.pem"),
        (v.texts, "[a, 1, null]", ("a", "1")),
        (v.texts, "'a, b,,c'", ("a", "b", "c")),
        (v.texts, "5", ("5",)),
        (
            v.hosts,
            "[a2py.lan, 'A.lan:4000', null, '[::1]:80', my_service]",
            ("a2py.lan", "A.lan:4000", "[::1]:80", "my_service"),
        ),
        (v.hosts, "'a.lan, b.lan'", ("a.lan", "b.lan")),
        (
            v.origins,
            "['https://App.example/', 'https://a.example:443', 'http://a.example:443', 'http://localhost:3000', 'http://b.example:80']",
            (
                "https://app.example",
                "https://a.example",
                "http://a.example:443",
                "http://localhost:3000",
                "http://b.example",
            ),
        ),
        (
            v.origins,
            "'http://[::1]:80, chrome-extension://abc, app://obsidian.md:80'",
            ("http://[::1]", "chrome-extension://abc", "app://obsidian.md:80"),
        ),
        (v.origins, "[]", ()),
        (v.mapping, "{a: {b: [1]}}", {"a": {"b": [1]}}),
        (v.anything, "[1, {a: b}]", [1, {"a": "b"}]),
        (v.headers, "{X-A: 1, AI-Resource Group: g}", {"X-A": "1", "AI-Resource-Group": "g"}),
        (v.fallbacks, "[{a: [b, c]}, {d: e}, {a: f}]", {"a": ("b", "c", "f"), "d": ("e",)}),
        (v.fallbacks, "{a: [b]}", {"a": ("b",)}),
        (v.fallbacks, "[{a: [{model: b, messages: []}, c]}, {d: {model: e}}]", {"a": ("b", "c"), "d": ("e",)}),
        (v.names, "[a, {model: b}]", ("a", "b")),
        (v.names, "a", ("a",)),
        (v.counts, "{TimeoutErrorRetries: 3, x: '1'}", {"TimeoutErrorRetries": 3, "x": 1}),
        (v.counts_by_name, "{gpt: {a: 1}}", {"gpt": {"a": 1}}),
        (
            v.aliases,
            "{a: b, c: {model: d, hidden: true}, e: {model: f}}",
            {"a": ("b", False), "c": ("d", True), "e": ("f", False)},
        ),
        (v.overrides, "{'*': {images: false}}", {"*": {"images": False}}),
        (v.organizations, "[o1, o2, null]", ("o1", "o2")),
        (v.organizations, "o1", ("o1",)),
    ],
)
def test_taken(parser: v.Parser, text: str, value: Any) -> None:
    result = parser(node(text), "a")
    assert result == value and type(result) is type(value)


@pytest.mark.parametrize(
    ("parser", "text", "message", "path"),
    [
        (v.text, "[x]", "must be text, got a list", "a"),
        (v.boolean, "2", "must be true or false, got 2", "a"),
        (v.boolean, "maybe", "must be true or false, got 'maybe'", "a"),
        (v.boolean, "{}", "must be true or false, got a mapping", "a"),
        (v.whole(), "three", "must be a whole number of at least 0, got 'three'", "a"),
        (v.whole(), "true", "must be a whole number of at least 0, got true", "a"),
        (v.whole(), "1.5", "must be a whole number of at least 0, got 1.5", "a"),
        (v.whole(), "-1", "must be a whole number of at least 0, got -1", "a"),
        (v.whole(1), "0", "must be a whole number of at least 1, got 0", "a"),
        (v.number(), "false", "must be a number of at least 0, got false", "a"),
        (v.number(), ".nan", "must be a number of at least 0, got nan", "a"),
        (v.number(), ".inf", "must be a number of at least 0, got inf", "a"),
        (v.number(), "[1]", "must be a number of at least 0, got a list", "a"),
        (v.number(), "30s", "must be a number of at least 0, got '30s'", "a"),
        (v.choice("show", "hide"), "none", "must be show or hide, got 'none'", "a"),
        (v.cache_ttl, "2h", "must be true, false, 5m or 1h, got '2h'", "a"),
        (v.switch_or_path, "[1]", "must be true or false, got a list", "a"),
        (v.texts, "{a: b}", "must be a list, got a mapping", "a"),
        (v.texts, "[[a]]", "must be text, got a list", "a[0]"),
        (v.hosts, "[a.lan, 'http://a.lan']", "must be a host without http://, got 'http://a.lan'", "a[1]"),
        (v.hosts, "'*'", "must be a host without http://, got '*'", "a"),
        *(
            (
                v.origins,
                f"['{name}']",
                f"must be an origin without a path and without *, got {'text' if '@' in name else repr(name)}",
                "a[0]",
            )
            for name in (
                "*",
                "null",
                "app.example",
                "https://a.example/x",
                "https://*.a.example",
                "https://a.example:x",
                "https://u@a.example",
            )
        ),
        (v.mapping, "x", "must be a mapping, got text", "a"),
        (v.headers, "{'a: b': c}", "must be under a header name of letters, digits and hyphens, got text", "a.a: b"),
        (v.headers, '{a: "b\\r\\nEvil: 1"}', "must be a header value without line breaks, got text", "a.a"),
        (
            v.headers,
            "{Content-Length: '5'}",
            "must be a header that may be set, got text",
            "a.Content-Length",
        ),
        (v.fallbacks, "[a]", "must be a mapping, got text", "a[0]"),
        (v.fallbacks, "[{a: [{x: y}]}]", "must be a model name, or a mapping with `model`, got a mapping", "a[0].a[0]"),
        (v.counts, "{a: x}", "must be a whole number of at least 0, got 'x'", "a.a"),
        (v.counts_by_name, "{g: {a: x}}", "must be a whole number of at least 0, got 'x'", "a.g.a"),
        (v.aliases, "{a: {model: b, hidden: perhaps}}", "must be true or false, got 'perhaps'", "a.a.hidden"),
        (v.aliases, "[a]", "must be a mapping, got a list", "a"),
        (v.overrides, "{x: 1}", "must be a mapping, got 1", "a.x"),
        (
            v.credentials,
            "[{credential_name: x, credential_values: 1}]",
            "must be a mapping, got 1",
            "a[0].credential_values",
        ),
    ],
)
def test_refused(parser: v.Parser, text: str, message: str, path: str) -> None:
    with pytest.raises(ConfigError) as excinfo:
        parser(node(text), "a")
    assert (excinfo.value.message, excinfo.value.path, excinfo.value.file, excinfo.value.line) == (
        message,
        path,
        "f.yaml",
        1,
    )


@pytest.mark.parametrize(
    ("parser", "text", "cure"),
    [
        (v.text, "[x]", "Write one word, or a text in quotes."),
        (v.boolean, "maybe", "Write `timeout: true`."),
        (v.whole(), "x", "Write `timeout: 1`."),
        (v.whole(), "2.5", "Write `timeout: 2`."),
        (v.whole(4), "1", "Write `timeout: 4`."),
        (v.number(), "30s", "Write `timeout: 1`."),
        (v.choice("show", "hide"), "x", "Write `timeout: show`."),
        (v.hosts, "[x, '*']", "Write `- a2py.lan:4000`."),
        (v.hosts, "'*'", "Write `timeout: a2py.lan:4000`."),
        (v.mapping, "x", "Write one `key: value` a line, indented below it."),
        (v.texts, "{a: b}", "Begin each item with `- `."),
        (v.headers, "{TE: x}", "Remove it: the connection sets TE itself."),
        (v.fallbacks, "[{a: [{x: y}]}]", "Write `model: NAME` in it."),
    ],
)
def test_each_error_says_what_to_write(parser: v.Parser, text: str, cure: str) -> None:
    with pytest.raises(ConfigError) as error:
        parser(node(text), "router_settings.timeout")
    assert error.value.cure == cure


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost", "'localhost'"),
        ("http://10.0.0.1:8000/v1", "'http://10.0.0.1:8000/v1'"),
        ("sk-abc", "text"),
        ("http://u:p@h", "text"),
        ("http://h?key=x", "text"),
        ("a1b2c3d4e5f6g7h8", "text"),
        ("a\nb", "text"),
        ("schlüssel", "text"),
        ("x" * 41, "text"),
    ],
)
def test_only_short_texts_that_are_no_secrets_are_quoted(text: str, expected: str) -> None:
    assert v.quote_text(text) == expected


def test_a_value_of_the_environment_is_told_by_its_name() -> None:
    with pytest.raises(ConfigError, match=r"must be a whole number of at least 0, got the value of \$LIMIT"):
        v.whole()(node("os.environ/LIMIT", LIMIT="secret"), "a")
    assert (
        v.boolean(node("os.environ/ON", ON="true"), "a") is True
        and v.number()(node("os.environ/N", N=" 2.5 "), "a") == 2.5
    )


def test_unset_variables_inside_are_left_out() -> None:
    assert v.headers(node("{A: os.environ/NO, B: b}"), "a") == {"B": "b"}
    assert v.texts(node("[os.environ/NO, b]"), "a") == ("b",)


def test_credentials_stay_nodes() -> None:
    credentials = v.credentials(
        node("[{credential_name: x, credential_values: {api_key: k}, credential_info: {}}, {credential_name: y}]"), "a"
    )
    assert list(credentials) == ["x"] and credentials["x"].value["api_key"].raw == "k"


def test_kinds_of_nothing() -> None:
    with pytest.raises(ConfigError, match="must be a mapping, got nothing"):
        v.mapping(node_of(None, "f"), "a")
