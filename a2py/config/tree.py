"""YAML text → a tree of values that know their file, line and column.

Knows: YAML's safe subset, anchors and merge keys, `os.environ/NAME`. Must not know: what any key means.
Invariants: no tag constructs an object; a file has at most MAX_BYTES, a tree at most MAX_NODES values and MAX_DEPTH
levels, where an alias counts each time it is used; a scalar keeps its text, so a key `0123` or a version `2024-10-21`
is not changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import yaml

from a2py.config.error import ConfigError
from a2py.config.variables import Variables, variables

MAX_BYTES = 4 << 20
MAX_NODES = 200_000
MAX_DEPTH = 40
#: What to do about a tree that is too deep or too large.
FLATTEN = (
    f"Write at most {MAX_DEPTH} levels and {MAX_NODES:,} values: look for a bracket that is not closed, or an alias"
    " (*name)."
)
#: Texts up to this length cannot nest deeply enough to crash libyaml's composer, which ends the process at some 30,000
#: levels (PyYAML 6.0.3).
SHALLOW = 4096

#: libyaml's parser is some ten times faster (7 ms against 70 ms for 300 deployments). Some builds of PyYAML lack it.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

ENVIRON = "os.environ/"
_KEPT_AS_TEXT = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:binary")


class Mark(NamedTuple):
    """A place. `line` and `column` start at 1; 0 for what is in no file (command line, environment)."""

    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


_NOWHERE = Mark()


@dataclass(slots=True)
class Node:
    """One value of the tree.

    `value`: a scalar, `dict[str, Node]` or `list[Node]`; `at`, `key_at`: places of the value and of its key; `raw`: a
    scalar as it was written; `env`: the NAME of an `os.environ/NAME`, whose value is None if the variable is unset."""

    value: Any
    at: Mark = _NOWHERE
    key_at: Mark = _NOWHERE
    raw: str = ""
    env: str = ""

    def get(self, key: str) -> Node | None:
        """Return the child `key` of a mapping, None if it is missing or null."""
        child = self.value.get(key) if isinstance(self.value, dict) else None
        return child if child is not None and child.value is not None else None


def node_of(value: Any, file: str) -> Node:
    """Return a tree of plain Python values, as if they were read from `file`."""
    at = Mark(file)
    if isinstance(value, Mapping):
        return Node({str(k): node_of(v, file) for k, v in value.items()}, at, at)
    if isinstance(value, (list, tuple)):
        return Node([node_of(v, file) for v in value], at, at)
    return Node(value, at, at, raw="" if value is None else str(value))


def plain(node: Node) -> Any:
    """Return the Python values of a tree."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def parse(data: bytes, file: str, warn: Callable[[str], None]) -> Node:
    """Return the tree of a YAML document. Raise ConfigError if it is not valid YAML; warn about duplicate keys."""
    if len(data) > MAX_BYTES:
        raise ConfigError(f"the file is larger than {MAX_BYTES >> 20} MB", file=file)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line, column = _place(data[: e.start].decode("utf-8", "replace"))
        raise ConfigError(
            "the file is not UTF-8 text", file=file, line=line, column=column, cure="Save it as UTF-8."
        ) from None
    try:
        if len(text) > SHALLOW:
            _check_depth(text, file)
        loader = _Base(text)
        try:
            root = loader.get_single_node()
            return _Reader(loader, file, warn).read(root, 0, None) if root is not None else Node(None, Mark(file))
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as e:
        is_open = "quoted scalar" in (
            e.context or ""
        )  # the mistake is where the quote opens, not at the end of the file
        mark = (e.context_mark if is_open else None) or e.problem_mark or e.context_mark
        problem = _UNDEFINED_ALIAS.sub("an undefined alias", ", ".join(filter(None, (e.context, e.problem))))
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        if "maximum nesting depth" in problem:  # PyYAML 6.0.4 counts by itself, before `_check_depth` can
            raise ConfigError("the file is nested too deeply", file=file, line=line, column=1, cure=FLATTEN) from None
        raise ConfigError(
            f"not valid YAML: {problem}", file=file, line=line, column=column, cure=_cure(problem)
        ) from None
    except RecursionError:
        message = "the file is nested too deeply, or its anchors refer to themselves"
        raise ConfigError(message, file=file, cure=FLATTEN) from None
    except yaml.reader.ReaderError as e:
        line, column = _place(text[: e.position] if isinstance(e.position, int) else "")
        cure = "Remove the control character."
        raise ConfigError(
            "the file contains a character that YAML does not allow", file=file, line=line, column=column, cure=cure
        ) from None


def _check_depth(text: str, file: str) -> None:
    """Raise ConfigError if the text nests deeper than MAX_DEPTH.

    Parser events need no stack, so counting them is safe (3 ms for 300 deployments)."""
    depth = 0
    for event in yaml.parse(text, Loader=_Base):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                line = event.start_mark.line + 1 if event.start_mark else 0
                raise ConfigError("the file is nested too deeply", file=file, line=line, column=1, cure=FLATTEN)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _place(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - before.rfind("\n")


_UNDEFINED_ALIAS = re.compile(r"undefined alias .*", re.DOTALL)
#: A part of the parser's message → what to do.
_CURES = (
    ("alias", 'Quote a name that begins with *: model_name: "*".'),
    ("cannot start any token", "Indent with spaces, not tabs. Quote values that begin with @, ` or %."),
    (
        "mapping values are not allowed",
        "Quote a value that contains a colon and a space, or correct the indentation.",
    ),
    ("simple key", "Write a colon after the key, or correct the indentation."),
    ("expected ':'", "Write a colon after the key, or correct the indentation."),
    (
        "expected <block end>",
        "Correct the indentation: items of one list, and keys of one mapping, begin in one column.",
    ),
    (
        "parsing a block",
        "Correct the indentation: items of one list, and keys of one mapping, begin in one column.",
    ),
    ("quoted scalar", "Write the closing quote."),
    ("flow", "Write the closing bracket or the comma."),
    ("single document", "Remove the second `---`."),
    ("constructor", "Remove the tag (the word that begins with !)."),
)


def _cure(problem: str) -> str:
    return next((cure for part, cure in _CURES if part in problem), "")


class _Reader:
    def __init__(self, loader: Any, file: str, warn: Callable[[str], None]) -> None:
        self.loader, self.file, self.warn = loader, file, warn
        self.count = 0

    def mark(self, node: yaml.Node) -> Mark:
        return Mark(self.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def read(self, node: yaml.Node, depth: int, key: yaml.Node | None) -> Node:
        at = self.mark(node)
        key_at = self.mark(key) if key is not None else at
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_NODES:
            raise ConfigError(
                "the file is nested too deeply, or its anchors refer to themselves",
                file=self.file,
                line=at.line,
                column=at.column,
                cure=FLATTEN,
            )
        if isinstance(node, yaml.MappingNode):
            return Node(self.mapping(node, depth), at, key_at)
        if isinstance(node, yaml.SequenceNode):
            return Node([self.read(child, depth + 1, None) for child in node.value], at, key_at)
        value = node.value if node.tag in _KEPT_AS_TEXT else self.scalar(node, at)
        return Node(value, at, key_at, raw=node.value)

    def scalar(self, node: yaml.Node, at: Mark) -> Any:
        try:
            return self.loader.construct_object(node)
        except ValueError:  # `!!int x`: the constructor's own message would show the value
            raise ConfigError(
                "the value does not fit its tag", file=self.file, line=at.line, column=at.column, cure="Remove the tag."
            ) from None

    def mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Node]:
        names: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in names:
                    self.warn(
                        f"{self.mark(key)}: the key `{key.value}` is written twice, and the last one is used. Remove "
                        f"one."
                    )
                names.add(key.value)
        self.loader.flatten_mapping(node)
        out: dict[str, Node] = {}
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode):
                at = self.mark(key)
                raise ConfigError(
                    "a key must be a word, got a list or a mapping", file=self.file, line=at.line, column=at.column
                )
            out[key.value] = self.read(child, depth + 1, key)
        return out


_NAME = re.compile(r"[^\s=]+\Z")


def resolve(node: Node, env: Mapping[str, str]) -> Node:
    """Return the tree with the variable's value for every `os.environ/NAME`, None if it is unset or empty."""
    return _resolve(node, variables(env))


def _resolve(node: Node, env: Variables) -> Node:
    value = node.value
    if isinstance(value, dict):
        return replace(node, value={key: _resolve(child, env) for key, child in value.items()})
    if isinstance(value, list):
        return replace(node, value=[_resolve(child, env) for child in value])
    if isinstance(value, str) and value.startswith(ENVIRON) and _NAME.match(name := value[len(ENVIRON) :].strip()):
        variable = env.lookup(name) or None
        return replace(node, value=variable, raw=variable or "", env=name)
    return node


def merge(base: Node, extra: Node) -> Node:
    """Return `base` with what `extra` adds: join lists, merge mappings; of other values `base` wins."""
    if isinstance(base.value, dict) and isinstance(extra.value, dict):
        out = dict(base.value)
        for key, child in extra.value.items():
            out[key] = merge(out[key], child) if key in out else child
        return replace(base, value=out)
    if isinstance(base.value, list) and isinstance(extra.value, list):
        return replace(base, value=base.value + extra.value)
    return extra if base.value is None else base
