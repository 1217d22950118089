"""A tree → typed settings and entries, driven by the table alone.

Knows: how keys are looked up in SETTINGS, and how an unknown one is reported. Must not know: any single key.
Invariants: an unknown key never stops anything: it gets one warning with its place and the key that was perhaps meant;
a value of a wrong type is a ConfigError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from a2py.config.dotenv import SECRET
from a2py.config.missing import UnsupportedKey, describe_keys, is_off
from a2py.config.pairs import NO_KEYS, origin_of
from a2py.config.setting_row import Setting
from a2py.config.settings import Entry, Server, Settings
from a2py.config.table import SETTINGS
from a2py.config.tree import Node
from a2py.config.values import secret, wrong
from a2py.config.variables import NOWHERE, Origin, Variables, variables


@dataclass(slots=True)
class Contents:
    """The values of a tree.

    `origins`: attribute → place and key that set it; `value_origins`: attribute → origin of its value; `mistakes`:
    those of the warnings that are about a key which was surely meant otherwise; `literal_keys`: files that contain
    keys, not only names of variables."""

    settings: Settings = field(default_factory=Settings)
    server: Server = field(default_factory=Server)
    entries: list[Entry] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)
    value_origins: dict[str, Origin] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    literal_keys: set[str] = field(default_factory=set)


Schema = dict[str, Any]  # key → Setting, or the Schema below it; "[]": the items of a list


def _schema() -> Schema:
    root: Schema = {}
    for row in SETTINGS:
        for path in row.paths:
            *above, last = path.replace("[]", ".[]").split(".") if not path.startswith(".") else (path,)
            level = root
            for key in above:
                level = level.setdefault(key, {})
            level[last] = row
    return root


SCHEMA = _schema()
_SETTINGS = {f.name for f in fields(Settings)}
_ATTRS = {path: row.attr for row in SETTINGS for path in row.paths}
_RANK = {path: rank for row in SETTINGS for rank, path in enumerate(row.paths)}
#: Attributes whose values are secrets.
_SECRETS = frozenset(row.attr for row in SETTINGS if row.parse is secret)
#: Mappings of which some values are secrets, by their name.
_HOLD_SECRETS = frozenset(("extra_headers", "environment_variables"))


@dataclass(slots=True)
class _Values:
    """The values of the settings, or of one entry.

    `parsed`, `nodes`, `unset`: path without indexes → value, node, and the variable that is not set; `origins`:
    attribute → origin of its value; `places`: attribute → its key, for messages."""

    parsed: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    unset: dict[str, str] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)


class _Reader:
    def __init__(self, env: Variables, secret_files: Mapping[str, str]) -> None:
        self.contents = Contents()
        self.unsupported_keys: dict[str, UnsupportedKey] = {}
        self.env, self.secret_files = env, secret_files

    def warn(self, warning: str) -> None:
        self.contents.warnings.append(warning)

    def read(self, tree: Node) -> Contents:
        contents = self.contents
        values = _Values(origins=contents.value_origins)
        self.read_mapping(tree, SCHEMA, "", "", values)
        attrs = self.collect(values)
        contents.origins = {
            _ATTRS[path]: f"{values.nodes[path].key_at} {path}" for path in sorted(values.parsed, key=_RANK.__getitem__)
        }
        for path, name in values.unset.items():
            self.warn(f"{place_of(values.nodes[path], path)} is ignored: the variable {name} is not set. Set {name}.")
        contents.settings = Settings(**{attr: value for attr, value in attrs.items() if attr in _SETTINGS})
        contents.server = Server(**{attr: value for attr, value in attrs.items() if attr not in _SETTINGS})
        contents.warnings += describe_keys(self.unsupported_keys.values())
        return contents

    def read_mapping(self, node: Node, schema: Schema, path: str, label: str, values: _Values) -> None:
        """Read the keys of a mapping. `path`: keys from the top with `[]`; `label`: the same with each item's index."""
        if node.value is None:
            return
        if not isinstance(node.value, dict):
            raise wrong(node, label, "a mapping", "Write one `key: value` a line, indented.")
        for key, child in node.value.items():
            below, label_below = (f"{path}.{key}", f"{label}.{key}") if path else (key, key)
            self.read_key(key, child, schema, below, label_below, values)

    def read_key(self, key: str, node: Node, schema: Schema, path: str, label: str, values: _Values) -> None:
        row, pattern = schema.get(key), key
        if row is None:
            patterns = (
                (pattern, row) for pattern, row in schema.items() if "*" in pattern and fnmatchcase(key, pattern)
            )
            pattern, row = next(patterns, (key, None))
        if row is None:
            self.warn_unknown(key, node, schema, label)
        elif isinstance(row, Setting) and (meant := row.find_mistake(key)) is not None:
            self.warn_misspelt(f" Did you mean `{meant}`?" if meant else "", node, label)
        elif isinstance(row, dict):
            if "[]" in row:
                self.read_list(node, row["[]"], path, label)
            else:
                self.read_mapping(node, row, path, label, values)
        elif row.kind == "warned" and not is_off(node):
            name = path.replace("[]", "")
            self.unsupported_keys.setdefault(name, UnsupportedKey(name, node, row.meaning))
        elif row.kind == "set":
            self.read_value(row, node, path.removesuffix(key) + pattern, label, values)

    def read_value(self, row: Setting, node: Node, path: str, label: str, values: _Values) -> None:
        values.nodes[path] = node
        values.places[row.attr] = place_of(node, label)
        origin = origin_of(row.attr, node, self.env, self.secret_files)
        if origin != NOWHERE:
            values.origins[row.attr] = values.origins.get(row.attr, NOWHERE) | origin
        if node.value is None or (row.attr in _SECRETS and is_blank(node)):
            if node.env:
                values.unset[path] = node.env
            elif row.attr == "master_key":
                self.warn(describe_empty_key(node, path))
            return
        for child, name in _unset_parts(node):
            self.warn(f"{child.at}: a part of `{label}` is ignored: the variable {name} is not set. Set {name}.")
        value = row.parse(node, label)
        if path.endswith("*"):  # the keys of a pattern make one mapping
            value = {**values.parsed.get(path, {}), label.rpartition(".")[2]: value}
        values.parsed[path] = value
        self.contents.literal_keys.update(
            child.at.file
            for child in _secret_nodes(row.attr, node)
            if child.raw and not child.env and child.raw.lower() not in NO_KEYS
        )
        if row.attr == "master_key" and not path.startswith("general_settings"):
            self.warn(f"{place_of(node, path)} is used. Better write it below `general_settings:`.")

    def read_list(self, node: Node, schema: Schema, path: str, label: str) -> None:
        if node.value is None:
            return
        if not isinstance(node.value, list):
            raise wrong(node, label, "a list", "Begin each item with `- model_name: …`.")
        for index, child in enumerate(node.value):
            values = _Values()
            self.read_mapping(child, schema, f"{path}[]", f"{label}[{index}]", values)
            unset = {_ATTRS[path]: name for path, name in values.unset.items()}
            file = self.secret_files.get(child.at.file, "")
            attrs = {**self.collect(values), "places": values.places, "unset": unset, "origins": values.origins}
            self.contents.entries.append(Entry(at=child.at, index=index, file=file, **attrs))

    def collect(self, values: _Values) -> dict[str, Any]:
        """Return attribute → value. If several paths set an attribute, the last one of its row wins."""
        out: dict[str, Any] = {}
        for path in sorted(values.parsed, key=_RANK.__getitem__):
            value, attr = values.parsed[path], _ATTRS[path]
            out[attr] = {**out.get(attr, {}), **value} if path.endswith("*") else value
        return out

    def warn_unknown(self, key: str, node: Node, schema: Schema, label: str) -> None:
        near = get_close_matches(key, [other for other in schema if "*" not in other and other != "[]"], 1, 0.75)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        if not near and (sections := _sections_with(key, label)):
            hint = f" Write it below `{sections[0]}:`." if sections[0] else " Write it at the top of the file."
        self.warn_misspelt(hint, node, label)

    def warn_misspelt(self, hint: str, node: Node, label: str) -> None:
        warning = f"{place_of(node, label)} is unknown and ignored.{hint}"
        self.warn(warning)
        if hint:
            self.contents.mistakes.append(warning)


def place_of(node: Node, path: str) -> str:
    """Return the place of a key, for messages: ``litellm_config.yaml:7: `router_settings.timeout` ``."""
    at = node.key_at
    return f"{at}: `{path}`" if at.line else f"{at}: `{path.rpartition('.')[2]}`"


def is_blank(node: Node) -> bool:
    return node.value is None or (isinstance(node.value, str) and not node.value.strip())


def describe_empty_key(node: Node, path: str) -> str:
    return f"{place_of(node, path)} is ignored: it is empty. Write a key, or remove the line."


def _secret_nodes(attr: str, node: Node) -> list[Node]:
    if attr in _HOLD_SECRETS and isinstance(node.value, dict):
        return [child for name, child in node.value.items() if SECRET.search(name)]
    if attr == "search_tools" and isinstance(node.value, list):
        params = (item.get("litellm_params") for item in node.value)
        keys = (child.get("api_key") for child in params if child is not None)
        return [key for key in keys if key is not None]
    return [node] if attr in _SECRETS else []


def _sections_with(key: str, label: str) -> list[str]:
    """Return the sections in which `key` is known, first those of the same half of the file: models or settings."""
    paths = [
        path
        for row in SETTINGS
        if row.kind in ("set", "ignored")
        for path in row.paths
        if path.rpartition(".")[2] == key
    ]
    paths.sort(key=lambda path: path.startswith("model_list") == label.startswith("model_list"))
    return [path.rpartition(".")[0] for path in reversed(paths)]


def _unset_parts(node: Node) -> list[tuple[Node, str]]:
    """Return the parts of a mapping or list whose variable is not set, each with the variable's name."""
    value = node.value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [
        part
        for child in children
        for part in ([(child, child.env)] if child.env and child.value is None else _unset_parts(child))
    ]


def read(tree: Node, env: Mapping[str, str] | None = None, secret_files: Mapping[str, str] | None = None) -> Contents:
    """Return the values of a tree that was resolved with `env`. Raise ConfigError if a value has the wrong type.

    `secret_files`: name of a file, as marks show it, → its path, if its literal keys are secrets."""
    return _Reader(variables(env or {}), secret_files or {}).read(tree)
