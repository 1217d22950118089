"""A tree → typed settings and entries, driven by the table alone.

Knows: how keys are looked up in SETTINGS, and how an unknown one is told. Must not know: any single key.
Invariants: an unknown key never stops anything: one warning with its path and what was perhaps meant; a wrong type is a ConfigError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from a2py.config.dotenv import SECRET
from a2py.config.pairs import NO_KEYS, origin_of
from a2py.config.table import SETTINGS, Setting
from a2py.config.tree import Mark, Node
from a2py.config.values import wrong
from a2py.config.variables import NOWHERE, Origin, Variables, variables


@dataclass(frozen=True, slots=True)
class Settings:
    """What the file sets for the whole server. Meanings and defaults: table.py and docs/configuration.md. Times are seconds."""

    keepalive_seconds: float = 25.0
    delta_keepalive_seconds: float = 15.0
    commit_seconds: float = 15.0
    unasked_thinking: str = "show"
    quirks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    default_model: str = ""
    discover: bool = True
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    drain_seconds: float = 30.0
    drain_delay: float = 0.0
    enable_drain_endpoint: bool = False
    max_body_mb: int = 32
    max_connections: int = 2000
    buffer_kb: int = 256
    capture_dir: str = ""
    num_retries: int = 2
    request_timeout: float = 6000.0
    timeout: float = 0.0
    stream_timeout: float = 0.0
    retry_after: float = 0.0
    retry_policy: Mapping[str, int] = field(default_factory=dict)
    model_group_retry_policy: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    default_fallbacks: tuple[str, ...] = ()
    context_window_fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    max_fallbacks: int = 5
    allowed_fails: int = 3
    cooldown_time: float = 5.0
    disable_cooldowns: bool = False
    routing_strategy: str = "simple-shuffle"
    max_parallel_requests: int = 0
    global_max_parallel_requests: int = 0
    drop_params: bool = False
    modify_params: bool = False
    use_chat_completions_url: bool = False
    reasoning_auto_summary: bool | None = None
    estimate_initial_input_tokens: bool = True
    set_verbose: bool = False
    json_logs: bool = False
    ssl_verify: bool | str = True
    force_ipv4: bool = False
    trust_env: bool = True


@dataclass(eq=False, repr=False)  # half the time of a frozen one at import (4 ms)
class Entry:
    """One item of `model_list`, as it was written. `at`: where; `unset`: attribute → variable that it names and that is not set; `origins`:
    attribute → origin of its value, with those of the settings (see pairs.py); `file`: the path of its file, if literal keys in that file are
    secrets."""

    at: Mark = field(default_factory=Mark)
    index: int = 0
    unset: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    file: str = ""
    model_name: str = ""
    model: str = ""
    api_base: str = ""
    api_key: str = ""
    azure_ad_token: str = ""
    api_version: str = ""
    custom_llm_provider: str = ""
    organization: tuple[str, ...] = ()
    credential_name: str = ""
    max_tokens: int = 0
    max_completion_tokens: int = 0
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    reasoning_effort: Any = None
    thinking: Mapping[str, Any] | None = None
    timeout: float = 0.0
    stream_timeout: float = 0.0
    retries: int = -1
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    drop_params: bool = False
    additional_drop_params: tuple[str, ...] = ()
    allowed_openai_params: tuple[str, ...] = ()
    use_chat_completions_api: bool = False
    rpm: int = 0
    tpm: int = 0
    weight: float | None = None
    order: int = 0
    max_parallel_requests: int = 0
    keepalive_seconds: float = 0.0
    ssl_verify: bool | str | None = None
    seed: Any = None
    frequency_penalty: Any = None
    presence_penalty: Any = None
    logit_bias: Any = None
    verbosity: Any = None
    service_tier: Any = None
    parallel_tool_calls: Any = None
    id: str = ""
    mode: str = ""
    supported_endpoints: tuple[str, ...] = ()
    base_model: str = ""
    cache_control_ttl: str = ""
    max_input_tokens: int = 0
    max_output_tokens: int = 0
    supports_reasoning: bool | None = None
    supports_vision: bool | None = None
    supports_function_calling: bool | None = None
    quirks: Mapping[str, Any] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The place of the entry, for messages: `litellm_config.yaml:12, model_list[3]`."""
        return f"{self.at}, model_list[{self.index}]" if self.at.line else str(self.at)


@dataclass(slots=True)
class Read:
    """What a tree holds. `server`: the rows that are neither Settings nor Entry (master_key, aliases, …); `origins`: attribute → where it
    was set; `values_from`: attribute → origin of its value; `literal_keys`: the files that hold keys, not only names of variables."""

    settings: Settings = field(default_factory=Settings)
    entries: list[Entry] = field(default_factory=list)
    server: dict[str, Any] = field(default_factory=dict, repr=False)
    origins: dict[str, str] = field(default_factory=dict)
    values_from: dict[str, Origin] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
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
_SECRETS = frozenset(("master_key", "api_key", "azure_ad_token"))
#: Mappings of which some values are secrets, by their name.
_HOLD_SECRETS = frozenset(("extra_headers", "environment_variables"))


@dataclass(slots=True)
class _Walk:
    """Values found in one tree or one entry of it: path without indexes → value. `origins`: attribute → origin of its value."""

    found: dict[str, Any]
    nodes: dict[str, Node]
    unset: dict[str, str]
    origins: dict[str, Origin]


class _Reader:
    def __init__(self, env: Variables, secret_files: Mapping[str, str]) -> None:
        self.out = Read()
        self.missing: list[str] = []
        self.env, self.secret_files = env, secret_files

    def read(self, tree: Node) -> Read:
        walk = _Walk({}, {}, {}, self.out.values_from)
        self.mapping(tree, SCHEMA, "", "", walk)
        values = self.collect(walk, "")
        for path, name in walk.unset.items():
            self.out.warnings.append(f"{walk.nodes[path].at}: {path} is ignored: the variable {name} is not set")
        self.out.settings = Settings(**{attr: value for attr, value in values.items() if attr in _SETTINGS})
        self.out.server = {attr: value for attr, value in values.items() if attr not in _SETTINGS}
        if self.missing:
            told = ", ".join(dict.fromkeys(self.missing))
            self.out.warnings.append(f"not supported here and left out: {told}")
        return self.out

    def mapping(self, node: Node, schema: Schema, path: str, shown: str, walk: _Walk) -> None:
        """`path`: keys from the top with `[]`; `shown`: the same with the index of each item."""
        if node.value is None:
            return
        if not isinstance(node.value, dict):
            raise wrong(node, shown, "a mapping")
        for key, child in node.value.items():
            self.key(key, child, schema, f"{path}.{key}" if path else key, f"{shown}.{key}" if shown else key, walk)

    def key(self, key: str, node: Node, schema: Schema, path: str, shown: str, walk: _Walk) -> None:
        row = schema.get(key) or next(
            (row for pattern, row in schema.items() if "*" in pattern and fnmatchcase(key, pattern)), None
        )
        if row is None:
            self.unknown(key, node, schema, shown)
        elif isinstance(row, dict):
            if "[]" in row:
                self.list(node, row["[]"], path, shown)
            else:
                self.mapping(node, row, path, shown, walk)
        elif row.kind == "warned":
            self.missing.append(path.replace("[]", ""))
        elif row.kind == "set":
            self.leaf(row, node, path, shown, walk)

    def leaf(self, row: Setting, node: Node, path: str, shown: str, walk: _Walk) -> None:
        walk.nodes[path] = node
        origin = origin_of(row.attr, node, self.env, self.secret_files)
        if origin != NOWHERE:
            walk.origins[row.attr] = walk.origins.get(row.attr, NOWHERE) | origin
        if node.value is None:
            if node.env:
                walk.unset[path] = node.env
            return
        for name in _unset(node):
            self.out.warnings.append(f"{node.at}: a part of {shown} is ignored: the variable {name} is not set")
        walk.found[path] = row.parse(node, shown)
        self.out.literal_keys.update(
            child.at.file
            for child in _secrets(row.attr, node)
            if child.raw and not child.env and child.raw.lower() not in NO_KEYS
        )
        if row.attr == "master_key" and not path.startswith("general_settings"):
            self.out.warnings.append(f"{node.key_at}: {path} is taken, but belongs under general_settings")

    def list(self, node: Node, schema: Schema, path: str, shown: str) -> None:
        if node.value is None:
            return
        if not isinstance(node.value, list):
            raise wrong(node, shown, "a list", "each item begins with `- model_name: …`")
        for index, child in enumerate(node.value):
            walk = _Walk({}, {}, {}, {})
            self.mapping(child, schema, f"{path}[]", f"{shown}[{index}]", walk)
            values = self.collect(walk, f"{path}[]")
            unset = {_ATTRS[path]: name for path, name in walk.unset.items()}
            file = self.secret_files.get(child.at.file, "")
            self.out.entries.append(
                Entry(at=child.at, index=index, unset=unset, origins=walk.origins, file=file, **values)
            )

    def collect(self, walk: _Walk, prefix: str) -> dict[str, Any]:
        values = {}
        for path in sorted(walk.found, key=_RANK.__getitem__):
            attr = _ATTRS[path]
            values[attr] = walk.found[path]
            if not prefix:
                self.out.origins[attr] = f"{walk.nodes[path].key_at} {path}"
        return values

    def unknown(self, key: str, node: Node, schema: Schema, shown: str) -> None:
        near = get_close_matches(key, [known for known in schema if "*" not in known and known != "[]"], 1, 0.75)
        hint = f"; did you mean {near[0]}?" if near else ""
        if not near and (places := _elsewhere(key, shown)):
            hint = f"; it belongs under {places[0]}"
        self.out.warnings.append(f"{node.key_at}: unknown key {shown} is ignored{hint}")


def _secrets(attr: str, node: Node) -> list[Node]:
    if attr in _HOLD_SECRETS and isinstance(node.value, dict):
        return [child for name, child in node.value.items() if SECRET.search(name)]
    return [node] if attr in _SECRETS else []


def _elsewhere(key: str, shown: str) -> list[str]:
    """Where `key` is known, those first that are of the same half of the file: its models, or its settings."""
    found = [path for row in SETTINGS if row.kind == "set" for path in row.paths if path.rpartition(".")[2] == key]
    found.sort(key=lambda path: path.startswith("model_list") == shown.startswith("model_list"))
    return [path.rpartition(".")[0] or "the top of the file" for path in reversed(found)]


def _unset(node: Node) -> list[str]:
    children = (
        node.value.values() if isinstance(node.value, dict) else node.value if isinstance(node.value, list) else ()
    )
    return [
        name for child in children for name in ([child.env] if child.env and child.value is None else _unset(child))
    ]


def read(tree: Node, env: Mapping[str, str] | None = None, secret_files: Mapping[str, str] | None = None) -> Read:
    """What a tree holds that was resolved with `env` (see Read); ConfigError on a value of the wrong type. `secret_files`: shown name of a
    file → its path, if its literal keys are secrets."""
    return _Reader(variables(env or {}), secret_files or {}).read(tree)
