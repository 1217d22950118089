"""The search backend of a configuration: LiteLLM's `search_tools` and `websearch_interception`, or `a2py: search`.

Knows: their keys, which variables a backend reads. Must not know: how a backend is asked.
Invariants: a secret of an untrusted file's search tool that would leave for another host than its own service's makes
a `Pair`, as a deployment's does; without a choice of the user's no search is ever made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from a2py.config.bases import parse_base
from a2py.config.missing import EFFECTS
from a2py.config.pairs import Pair, Use, Way, find_route, is_file, origin_of
from a2py.config.prefixes import Warn
from a2py.config.tree import Node
from a2py.config.values import fail, number, wrong
from a2py.config.variables import NOWHERE, Origin, Variables

if TYPE_CHECKING:
    from a2py.search.backends import Backend

#: LiteLLM's callback that makes searches (docs.litellm.ai, web search integration, 2026-11).
CALLBACK = "websearch_interception"
_CALLBACKS = "litellm_settings.callbacks"
#: Seconds that a search may take.
SECONDS = 15.0
#: The parser of other seconds.
_parse_seconds = number(0.1, 600)


@dataclass(frozen=True, slots=True)
class SearchTool:
    """`name`: for the log; `backend`: its row in a2py/search/backends.py; `engine`: Google's search engine id;
    `providers`: prefixes whose deployments get searches, None for all that can't search by themselves."""

    name: str
    backend: str
    base: str
    key: str = field(default="", repr=False)
    engine: str = ""
    timeout: float = SECONDS
    providers: frozenset[str] | None = None
    ssl_verify: bool | str = True

    def serves(self, provider: str) -> bool:
        """Return whether models of `provider` get searches."""
        return self.providers is None or provider in self.providers


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which search tool the file wants. `name` "": its first one."""

    name: str
    node: Node
    path: str
    providers: frozenset[str] | None = None


def read_search(
    tree: Node,
    env: Variables,
    secret_files: Mapping[str, str],
    way: Way,
    warn: Warn,
    pairs: dict[Pair, Use],
) -> SearchTool | None:
    """Return the search backend that the tree chooses; None if it chooses none. Raise `ConfigError`.

    `pairs` receives the secrets that an untrusted file would send to a host that is not their own."""
    _warn_callbacks(tree, warn)
    choice = _find_choice(tree)
    if choice is None:
        return None
    tools = _list_tools(tree)
    if choice.name:
        item = next((item for name, item, _ in tools if name == choice.name), None)
    else:
        item = tools[0][1] if tools else None
    from a2py.search.backends import BACKENDS  # not loaded where nothing is searched

    if item is not None:
        return _read_tool(item, choice, BACKENDS, env, secret_files, way, pairs)
    if choice.name in BACKENDS:
        return _from_variables(BACKENDS[choice.name], choice, env, way, pairs)
    names = [name for name, _, _ in tools] + sorted(BACKENDS)
    raise wrong(
        choice.node,
        choice.path,
        "the name of a search tool",
        f"Write one of: {', '.join(names)}; or describe it in `search_tools:` (docs/search.md).",
        is_public=True,
    )


def _below(tree: Node, section: str, key: str) -> Node | None:
    node = tree.get(section)
    return node.get(key) if node is not None else None


def _find_choice(tree: Node) -> _Choice | None:
    node = _below(tree, "a2py", "search")
    parameters = _below(tree, "litellm_settings", "websearch_interception_params")
    path = "litellm_settings.websearch_interception_params"
    callback = _find_callback(_below(tree, "litellm_settings", "callbacks"))
    if node is not None and node.value not in (None, False, ""):
        if not isinstance(node.value, str):
            raise wrong(node, "a2py.search", "the name of a search tool", "Write `search: searxng`, for example.")
        return _Choice(node.raw.strip(), node, "a2py.search", _read_providers(parameters, path))
    if callback is None or (node is not None and node.value is False):
        return None
    if isinstance(callback.value, dict):  # `- websearch_interception: {search_tool_name: …}`
        inner = callback.get(CALLBACK)
        if inner is not None and isinstance(inner.value, dict):
            parameters, path = inner, f"{_CALLBACKS}.{CALLBACK}"
    providers = _read_providers(parameters, path)
    name = parameters.get("search_tool_name") if parameters else None
    if name is None:
        return _Choice("", callback, _CALLBACKS, providers)
    text = name.raw.strip() if isinstance(name.value, str) else ""
    return _Choice(text, name, f"{path}.search_tool_name", providers)


def _warn_callbacks(tree: Node, warn: Warn) -> None:
    """Warn about the callbacks that a2py does not have."""
    callbacks = _below(tree, "litellm_settings", "callbacks")
    if callbacks is None:
        return
    items = callbacks.value if isinstance(callbacks.value, list) else [callbacks]
    names = [", ".join(item.value) if isinstance(item.value, dict) else item.raw for item in items]
    others = [name for name in names if name and name != CALLBACK]
    if others:
        verb = "is" if len(others) == 1 else "are"
        place = f"{callbacks.key_at}: `{_CALLBACKS}`"
        warn(f"{place}: {', '.join(others)} {verb} ignored: {EFFECTS['callbacks']}.")


def _find_callback(callbacks: Node | None) -> Node | None:
    """Return the item of LiteLLM's `callbacks` that means searches."""
    if callbacks is None:
        return None
    items = callbacks.value if isinstance(callbacks.value, list) else [callbacks]
    for item in items:
        if item.value == CALLBACK or (isinstance(item.value, dict) and CALLBACK in item.value):
            return item
    return None


def _read_providers(parameters: Node | None, path: str) -> frozenset[str] | None:
    """Return the prefixes of `enabled_providers` in `parameters`, whose key is `path`."""
    node = parameters.get("enabled_providers") if parameters is not None else None
    if node is None or node.value is None:
        return None
    if not isinstance(node.value, list):
        raise wrong(
            node, f"{path}.enabled_providers", "a list of providers", "Write `enabled_providers: [openai, groq]`."
        )
    return frozenset(item.raw.strip() for item in node.value)


def _list_tools(tree: Node) -> list[tuple[str, Node, str]]:
    """Return name, item and path of each of `search_tools`."""
    out = []
    for path, node in (
        ("search_tools", tree.get("search_tools")),
        ("router_settings.search_tools", _below(tree, "router_settings", "search_tools")),
    ):
        if node is None or node.value is None:
            continue
        if not isinstance(node.value, list):
            raise wrong(node, path, "a list", "Begin each item with `- search_tool_name: …`.")
        for index, item in enumerate(node.value):
            name = item.get("search_tool_name")
            if name is None or not isinstance(name.value, str):
                raise wrong(item, f"{path}[{index}]", "a search tool with a name", "Write `search_tool_name: …`.")
            out.append((name.raw.strip(), item, f"{path}[{index}]"))
    return out


def _read_tool(
    item: Node,
    choice: _Choice,
    backends: Mapping[str, Backend],
    env: Variables,
    secret_files: Mapping[str, str],
    way: Way,
    pairs: dict[Pair, Use],
) -> SearchTool:
    """Return a search tool of the file. What it does not set comes from the backend's variables."""
    params = item.get("litellm_params")
    provider = params.get("search_provider") if params else None
    name = provider.raw.strip().lower() if provider is not None and isinstance(provider.value, str) else ""
    label = f"search_tools.{item.value['search_tool_name'].raw}"
    if name not in backends or params is None:
        place = provider if provider is not None else item
        cure = f"Write one of: {', '.join(sorted(backends))}. SearXNG can ask most other engines for you."
        raise wrong(place, f"{label}.search_provider", "a search service that a2py knows", cure, is_public=True)
    account = _read_account(params, label, backends[name], env, secret_files)
    seconds = params.get("timeout")
    limit = SECONDS if seconds is None else _parse_seconds(seconds, f"{label}.timeout")
    tool = account.make_tool(_text(item, "search_tool_name"), backends[name], choice, way.verify, limit)
    _check(tool, backends[name], item, label)
    account.check_address(tool, way, item, label)
    account.collect_pairs(tool, backends[name], way, str(item.at), env, pairs)
    return tool


def _from_variables(backend: Backend, choice: _Choice, env: Variables, way: Way, pairs: dict[Pair, Use]) -> SearchTool:
    """Return the tool of `a2py: search: tavily`: all of it from the backend's variables."""
    account = _read_account(None, choice.path, backend, env, {})
    tool = account.make_tool(backend.name, backend, choice, way.verify, SECONDS)
    _check(tool, backend, choice.node, choice.path)
    account.check_address(tool, way, choice.node, choice.path)
    account.collect_pairs(tool, backend, way, str(choice.node.at), env, pairs)
    return tool


class _Part(NamedTuple):
    """A value that the backend gets, and where it comes from. `name`: its key or variable."""

    name: str = ""
    text: str = ""
    origin: Origin = NOWHERE


class _Account(NamedTuple):
    """How the backend is asked, with the origin of each part."""

    key: _Part
    base: _Part
    engine: _Part

    def make_tool(
        self, name: str, backend: Backend, choice: _Choice, ssl_verify: bool | str, seconds: float
    ) -> SearchTool:
        base = self.base.text or backend.base
        return SearchTool(
            name,
            backend.name,
            base.rstrip("/"),
            self.key.text,
            self.engine.text,
            seconds,
            choice.providers,
            ssl_verify,
        )

    def check_address(self, tool: SearchTool, way: Way, node: Node, path: str) -> None:
        """Raise `ConfigError` if a folder's `.env` chose the address or the way there, and a secret that is not its own
        would go there."""
        route = find_route(tool.base, way.verify, {}, way.proxy)
        secrets = sorted(self.key.origin.holds | self.engine.origin.holds)
        choice = self.base.name if self.base.origin.dotenv else way.find_dotenv_choice(tool.base)
        if choice and secrets and not route.loopback:
            problem = f"would send {', '.join(secrets)} to {route.label}, which .env chose by {choice}"
            raise fail(node.at, path, problem, f"Set {choice} in the environment or in the file.")

    def collect_pairs(
        self, tool: SearchTool, backend: Backend, way: Way, place: str, env: Variables, pairs: dict[Pair, Use]
    ) -> None:
        """Add the secrets that go to a host that is neither their own service's, nor this machine, nor the user's own
        choice."""
        route = find_route(tool.base, way.verify, {}, way.proxy)
        if route.loopback:
            return
        own: set[str] = set()
        if route.is_straight and self._is_own_address(tool, backend):
            own = {backend.key, backend.engine_variable, backend.base_variable}
        for secret in self.key.origin.holds | self.base.origin.holds | self.engine.origin.holds:
            if secret not in own:
                pairs[Pair(secret, route.label)] = Use(place, is_file(secret) or bool(env.get(secret)))

    def _is_own_address(self, tool: SearchTool, backend: Backend) -> bool:
        """Return whether the address is the service's, or the one that the user set in the variable for it."""
        if self.base.origin.holds == {backend.base_variable}:
            return True
        return bool(backend.base) and urlsplit(tool.base)[:2] == urlsplit(backend.base)[:2]


def _read_account(
    params: Node | None, label: str, backend: Backend, env: Variables, secret_files: Mapping[str, str]
) -> _Account:
    """Return what the file sets, and the backend's variables for the rest."""

    def read(name: str, variable: str) -> _Part:
        node = params.get(name) if params is not None else None
        text = _text(params, name) if params is not None else ""
        if node is not None and isinstance(node.value, bool):
            raise wrong(node, f"{label}.{name}", "text", "Write it in quotes, or take it out.")
        if node is not None and text:
            return _Part(node.env or name, text, origin_of("api_key", node, env, secret_files))
        text = env.lookup(variable).strip() if variable else ""
        return _Part(variable, text, env.origin(variable)) if text else _Part(variable)

    return _Account(
        read("api_key", backend.key),
        read("api_base", backend.base_variable),
        read("search_engine_id", backend.engine_variable),
    )


def _check(tool: SearchTool, backend: Backend, node: Node, path: str) -> None:
    """Raise `ConfigError` if the backend can't be asked."""
    missing = ""
    if not tool.base.startswith(("http://", "https://")) or parse_base(tool.base) is None:
        missing = f"`api_base`, or the variable {backend.base_variable}: the address of your {backend.name} server"
    elif not tool.key and not backend.is_keyless:
        missing = f"`api_key`, or the variable {backend.key}"
    elif backend.engine_variable and not tool.engine:
        missing = f"`search_engine_id`, or the variable {backend.engine_variable}"
    if missing:
        raise fail(node.at, path, f"needs {missing}", "Set it, or take it out.")


def _text(node: Node, name: str) -> str:
    child: Any = node.get(name)
    return child.raw.strip() if child is not None and isinstance(child.value, (str, int)) else ""
