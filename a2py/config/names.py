"""The configuration of the server, and the look-up of deployments by a model name.

A name is looked up in stages (`_Names.iter_matches`). The first stage that has deployments wins:

    claude-opus-5-5-20260101[1m]     as it is, then without `[1m]`, then without the date
    claude-*                         the most specific pattern that matches
    Claude-Opus-5-5                  the same again, ignoring case
    anthropic/gpt-5, claude-gpt-5    without the prefix that Claude Code's discovery needs
    claude-whatever                  the default model
    *                                everything else

Knows: how names are matched. Must not know: files, the environment, how one of several deployments is picked.
Invariants: frozen; `resolve` depends only on its argument; a name that is configured exactly always means just that;
secrets are not in repr.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from operator import attrgetter

from a2py.config.pairs import Pair, Use
from a2py.config.redis import RedisAddress
from a2py.config.search import SearchTool
from a2py.config.settings import Settings
from a2py.deployment import Deployment
from a2py.errors import ApiError, unknown_model
from a2py.evidence.resolve import apply_evidence
from a2py.evidence.server import ServerWord, is_chat_name
from a2py.providers import PROVIDERS, find_host_row

#: How many model names a 404 lists.
MAX_SUGGESTIONS = 40
#: How many models of wildcards, and how many look-ups, are cached. Clients choose the names.
MAX_BOUND = 512
#: Longest name to look up, in characters. Hugging Face's names and file paths fit.
MAX_NAME = 1024
#: How many aliases of aliases are followed.
MAX_ALIASES = 8
_LONG_CONTEXT = re.compile(r"\[\d+[mk]\]\Z", re.IGNORECASE)
_DATE = re.compile(r"[-@]20\d{6}\Z")
_CLAUDE = re.compile(r"(?:\A|[./])claude-", re.IGNORECASE)
_CLAUDE_WORD = re.compile(r"claude|anthropic", re.IGNORECASE)
#: Claude Code's model discovery drops ids without "claude" or "anthropic". The first prefix is put before such ids.
#: Requests may use either.
_PREFIXES = ("anthropic/", "claude-")
#: Providers to which a `*` may send `claude-*` names unchanged.
_SERVES_CLAUDE = frozenset(("anthropic", "litellm_proxy"))

#: (model of the entry with its stars replaced, name in the request) → deployment
Binder = Callable[[str, str], Deployment]


@dataclass(frozen=True)
class Config:
    """`aliases`: further name → name (either side may hold a `*`); `hidden_names`: aliases that no list shows;
    `insecure`: a public address without a key is allowed; `sources`: files read, in order; `default_name`: the
    public name that unknown `claude-*` names go to, "" if none; `origins`: setting → file, line and key that set it;
    `binders`: id of a wildcard deployment → how it is made for one model; `pairs`: which secrets an untrusted file
    would send to hosts that are not their own provider's. The user must consent before it is served. `mistakes`:
    those of the warnings that say that a key or a name was surely meant otherwise. `has_models`: its files have a
    model_list, of which the deployments are (else they are of the environment). `has_choice`: variables of another
    proxy name its models (choice.py). `search`: where searches of models that can't search are made, None: nowhere.
    `redis`: where limits are shared. `servers`: base → what the server there says of itself (`with_servers`).
    `keys_path`: file of the clients' keys (keys.py), "" for none; it need not exist."""

    deployments: tuple[Deployment, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    hidden_names: frozenset[str] = frozenset()
    settings: Settings = field(default_factory=Settings)
    master_key: str = field(default="", repr=False)
    insecure: bool = False
    has_models: bool = False
    has_choice: bool = False
    warnings: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    default_name: str = ""
    origins: Mapping[str, str] = field(default_factory=dict, repr=False)
    binders: Mapping[str, Binder] = field(default_factory=dict, repr=False, compare=False)
    pairs: Mapping[Pair, Use] = field(default_factory=dict, repr=False, compare=False)
    search: SearchTool | None = None
    redis: RedisAddress | None = None
    servers: Mapping[str, ServerWord] = field(default_factory=dict, repr=False, compare=False)
    keys_path: str = ""
    _names: _Names = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_names", _Names(self))

    def resolve(self, model: str) -> tuple[Deployment, ...]:
        """Return the deployments of `model` that work. Those of a wildcard are bound to the model.

        Raise ApiError: `not_found`, which lists the known names, or `permission` if every deployment has a problem."""
        matches = self._names.look_up(model)
        if not matches:
            raise unknown_model(self._unknown(model))
        working = tuple(dep for dep in matches if not dep.problem) if any(dep.problem for dep in matches) else matches
        if not working:
            raise ApiError(
                "permission", "; ".join(dict.fromkeys(dep.problem for dep in matches[:3])), should_retry=False
            )
        return working

    def find(self, model: str) -> tuple[Deployment, ...]:
        """Return the deployments of `model`, also those with a problem; () if nothing answers to the name."""
        return self._names.look_up(model)

    def with_servers(self, servers: Mapping[str, ServerWord]) -> Config:
        """Return this configuration with what the servers at its bases say of themselves: quirks, contexts, the models
        behind wildcards and the home of `claude-*`."""
        deployments = tuple(inform(dep, self.settings, servers) for dep in self.deployments)
        config = replace(self, deployments=deployments, servers=servers, default_name="")
        return replace(config, default_name=find_default_name(config))

    def knows(self, model: str) -> bool:
        """Return whether `model` is configured by name, alias or wildcard, not only as some `claude-*` name."""
        return bool(self._names.find(model, claude=False))

    def can_chat(self, model: str) -> bool:
        """Return whether one of the deployments that `knows` finds can answer /v1/messages."""
        return any(dep.is_chat for dep in self._names.find(model, claude=False))

    def serves(self, model: str) -> bool:
        """Return whether anything, a default included, answers to `model`."""
        return bool(self._names.look_up(model))

    def find_own_name(self, model: str) -> str:
        """Return the name of the file, of a model or an alias, of which `model` is a spelling; otherwise `model`."""
        return self._names.find_own_name(model)

    def has_name(self, model: str) -> bool:
        """Return whether the file has `model` itself, so that rules do not send it elsewhere.

        It has the names of models and aliases in every spelling, and what its patterns serve. A bare `*` and a pattern
        that takes `claude-…` names do not say that the user wants one of these: Claude Code asks for them by itself."""
        return self._names.is_own(model)

    def list_names(self) -> tuple[str, ...]:
        """Return the public names that work and are not hidden: models, aliases, and of a wildcard the models that its
        server lists, the home of `claude-*` first, else the provider's default model."""
        names = [name for dep in self.deployments for name in self._public_names(dep)]
        names += [alias for alias in self.aliases if "*" not in alias]
        visible = (
            name for name in dict.fromkeys((*names, self.default_name)) if name and name not in self.hidden_names
        )
        return tuple(name for name in visible if any(not dep.problem for dep in self._names.find(name)))

    def list_chat_names(self) -> tuple[str, ...]:
        """Return those of `list_names` that can answer /v1/messages."""
        return tuple(name for name in self.list_names() if any(dep.is_chat for dep in self._names.find(name)))

    def _public_names(self, dep: Deployment) -> tuple[str, ...]:
        if "*" not in dep.name:
            return (dep.name,)
        if dep.base in self.servers:
            names = [fill_name(dep, model.id) for model in self.servers[dep.base].models]
            return tuple(sorted(filter(None, names), key=lambda name: name != self.default_name))
        return (public_name(dep, self.servers),) if dep.name != "*" else ()

    def make_discovery_id(self, name: str) -> str:
        """Return `name` as an id that Claude Code's model discovery keeps and `resolve` understands."""
        return name if _CLAUDE_WORD.search(name) else _PREFIXES[0] + name

    def _unknown(self, model: str) -> str:
        names, label = self.list_names(), model[:100]
        # Only the key of these may be missing: "not served here" alone would hide that their names are right.
        broken = dict.fromkeys(dep.name for dep in self.deployments if dep.problem and dep.name not in names)
        near = get_close_matches(label, (*names, *broken), 1, 0.8)
        patterns = ", ".join(dict.fromkeys(dep.name for dep in self.deployments if "*" in dep.name and not dep.problem))
        parts = [f"model: {label} is not served here" + (f"; did you mean {near[0]}?" if near else "")]
        parts.append(f"known names: {_shorten_list(names) or 'none'}" + (f"; patterns: {patterns}" if patterns else ""))
        if broken:
            parts.append(f"configured, but not usable (`a2py models` says why): {_shorten_list(tuple(broken))}")
        return "; ".join(parts)


def _shorten_list(names: Sequence[str]) -> str:
    rest = len(names) - MAX_SUGGESTIONS
    return ", ".join(names[:MAX_SUGGESTIONS]) + (f" and {rest} more" if rest > 0 else "")


def inform(dep: Deployment, settings: Settings, servers: Mapping[str, ServerWord]) -> Deployment:
    """Return `dep` with what its server says of itself, unchanged if that is nothing."""
    word = servers.get(dep.base)
    return dep if word is None or dep.problem else apply_evidence(dep, settings.quirks, word)


def fill_name(dep: Deployment, model: str) -> str:
    """Return the name under which the wildcard `dep` serves the upstream's `model`, "" for none."""
    if dep.name.count("*") != 1 or "*" not in dep.model:
        return ""  # without a star in the model, any name means it
    parts = match_stars(tuple(dep.model.lower().split("*")), model)
    return dep.name.replace("*", parts[0], 1) if parts is not None and len(parts) == 1 else ""


def public_name(dep: Deployment, servers: Mapping[str, ServerWord]) -> str:
    """Return a name that `dep` answers to. Of a wildcard it is the first chat model that its server lists, else the
    default model of a provider at its own address. "" if neither is known: an id that nobody has named is never asked
    for."""
    if "*" not in dep.name:
        return dep.name
    if dep.base in servers:
        return next((name for model in servers[dep.base].chat_models if (name := fill_name(dep, model))), "")
    row = PROVIDERS.get(dep.provider)
    default = row.default_model if row and dep.model == "*" and _is_at_home(dep) else ""
    return fill_name(dep, default) if default else ""


def _is_at_home(dep: Deployment) -> bool:
    """Return whether `dep` is asked at an address of its own provider."""
    row = PROVIDERS.get(dep.provider)
    return row is not None and (dep.base in (row.base, row.native) or find_host_row(dep.base) == dep.provider)


def find_default_name(config: Config) -> str:
    """Return the public name for unknown `claude-*` names, "" if there is none.

    It is `a2py: default_model`, else the first chat model that works. A wildcard of a server whose models only its own
    list names comes after all others."""
    name = config.settings.default_model
    if name:
        return name if config.knows(name) else ""
    chat = tuple(filter(attrgetter("is_chat"), config.deployments))
    working = [dep for dep in chat if not dep.problem] or chat
    wildcards = [dep for dep in working if "*" in dep.name and not _is_at_home(dep)]
    first = [dep for dep in working if dep not in wildcards and is_chat_name(dep.model)]
    return next((name for dep in (*first, *wildcards) if (name := public_name(dep, config.servers))), "")


def match_stars(pattern: tuple[str, ...], name: str) -> tuple[str, ...] | None:
    """Return the text for each star between the parts of `pattern` (lower case); None if `name` does not match.

    Earlier stars take as much as they can: ("a-", "-", "") matches a-b-c-d with ("b-c", "d"). Not a regular expression,
    because one with four stars needed minutes for a name of 900 letters."""
    lower_name = name.lower()
    if len(lower_name) != len(name):  # İ in lower case is two characters, which would shift all positions
        lower_name = name
    head, *inside, tail = pattern
    end = len(name) - len(tail)
    if end < len(head) or not lower_name.startswith(head) or not lower_name.endswith(tail):
        return None
    matches: list[str] = []
    for part in reversed(inside):
        at = lower_name.rfind(part, len(head), end)
        if at < 0:
            return None
        matches.append(name[at + len(part) : end])
        end = at
    return name[len(head) : end], *reversed(matches)


def _sort_key(name: str) -> tuple[int, int]:
    """Return a sort key: longest literal prefix first, then most literal characters."""
    return -name.index("*"), -len(name.replace("*", ""))


def fill_stars(model: str, parts: tuple[str, ...]) -> str:
    """Return `model` with its stars replaced by `parts`, one by one."""
    for part in parts:
        model = model.replace("*", part, 1)
    return model


class _Names:
    """The look-up of names in one configuration, with caches."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.groups: dict[str, tuple[Deployment, ...]] = {}
        for dep in config.deployments:
            self.groups[dep.name] = (*self.groups.get(dep.name, ()), dep)
        wildcards = [name for name in (*self.groups, *config.aliases) if "*" in name and name != "*"]
        self.patterns = [
            (tuple(name.lower().split("*")), name) for name in sorted(dict.fromkeys(wildcards), key=_sort_key)
        ]
        plain = [name for name in (*config.aliases, *self.groups) if "*" not in name]
        self.spellings = {_DATE.sub("", name).casefold(): name for name in plain} | {
            name.casefold(): name for name in plain
        }
        self.bindings: dict[str, tuple[Deployment, ...]] = {}
        self.lookups: dict[str, tuple[Deployment, ...]] = {}  # name → deployments of an earlier look-up

    def look_up(self, model: str) -> tuple[Deployment, ...]:
        """Return `find(model)`, and remember it: a `claude-*` name goes through all stages (7 µs)."""
        matches = self.lookups.get(model)
        if matches is None:
            matches = self.find(model)
            if matches:
                if len(self.lookups) >= MAX_BOUND:
                    self.lookups.clear()
                self.lookups[model] = matches
        return matches

    def find(self, model: str, *, claude: bool = True, star: bool = True, depth: int = 0) -> tuple[Deployment, ...]:
        """Return the deployments of the first stage that has some, else ().

        `claude`: use the default for unknown `claude-*` names. `star`: use a bare `*`. `depth`: aliases followed."""
        if depth > MAX_ALIASES or not 0 < len(model) <= MAX_NAME:
            return ()
        return next(filter(None, self.iter_matches(model, claude, star, depth)), ())

    def iter_matches(self, model: str, claude: bool, star: bool, depth: int) -> Iterator[tuple[Deployment, ...]]:
        """Yield what `model` may mean, best first. Each is looked up only if the ones before it have no deployments."""
        bare = _LONG_CONTEXT.sub("", model)
        spellings = tuple(dict.fromkeys((model, bare, _DATE.sub("", bare))))
        for name in spellings:
            yield self.find_exact(name, star, depth)
        yield self.find_pattern(bare, False, star, depth)
        for name in spellings:
            spelling = self.spellings.get(name.casefold(), name)
            yield self.find_exact(spelling, star, depth) if spelling != name else ()
        yield self.find_pattern(bare, True, star, depth)
        for prefix in _PREFIXES:
            if bare.startswith(prefix):
                yield self.find(bare[len(prefix) :], claude=False, star=False, depth=depth + 1)
        if claude:
            yield self.find_default(bare, depth)
        if star:
            yield self.bind_pattern("*", (bare,), bare) if "*" in self.groups else ()
            yield self.find(self.config.aliases.get("*", ""), claude=False, star=False, depth=depth + 1)

    def is_own(self, model: str) -> bool:
        """Return whether `model` is a name of the file (see `Config.has_name`)."""
        bare = _LONG_CONTEXT.sub("", model)
        if any(
            name in self.spellings or name.casefold() in self.spellings for name in (model, bare, _DATE.sub("", bare))
        ):
            return True
        if not bare.lower().startswith("claude-") and self.find_pattern(bare, True, False, 0):
            return True
        return any(bare.startswith(prefix) and self.is_own(bare[len(prefix) :]) for prefix in _PREFIXES)

    def find_own_name(self, model: str, depth: int = 0) -> str:
        """Return what `Config.find_own_name` does. The stages are those of `iter_matches`."""
        bare = _LONG_CONTEXT.sub("", model)
        exact = (model, bare, _DATE.sub("", bare))
        spellings = tuple(self.spellings.get(name.casefold(), "") for name in exact)
        for names, fold in ((exact, False), (spellings, True)):
            own = next((name for name in names if self.find_exact(name, True, depth)), "")
            if own or self.find_pattern(bare, fold, True, depth):
                return own or model
        rests = (bare[len(prefix) :] for prefix in _PREFIXES if bare.startswith(prefix))
        rest = next((rest for rest in rests if self.find(rest, claude=False, star=False, depth=depth + 1)), "")
        return self.find_own_name(rest, depth + 1) if rest else model

    def find_default(self, model: str, depth: int) -> tuple[Deployment, ...]:
        """Return the deployments for an unknown `claude-*` name, unless a `*` accepts the name unchanged."""
        default = self.config.default_name
        if not _CLAUDE.search(model):
            return ()
        if not default:
            return self.bind_unchanged(model)
        is_taken = any(
            not dep.problem and ("*" not in dep.model or dep.provider in _SERVES_CLAUDE)
            for dep in self.groups.get("*", ())
        )
        return (
            ()
            if is_taken and not self.config.settings.default_model
            else self.find(default, claude=False, depth=depth + 1)
        )

    def bind_unchanged(self, model: str) -> tuple[Deployment, ...]:
        """Return the first wildcard that works, bound to `model` itself: its server lists no models."""
        for pattern, group in self.groups.items():
            is_usable = any(not dep.problem and dep.model.count("*") == 1 for dep in group)
            if pattern.count("*") == 1 and pattern != "*" and is_usable:
                return self.bind_pattern(pattern, (model,), pattern.replace("*", model, 1))
        return ()

    def find_exact(self, name: str, star: bool, depth: int) -> tuple[Deployment, ...]:
        if "*" in name:
            return ()
        target = self.config.aliases.get(name, "")
        return self.groups.get(name) or self.find(target, claude=False, star=star, depth=depth + 1)

    def find_pattern(self, model: str, fold: bool, star: bool, depth: int) -> tuple[Deployment, ...]:
        """Return the deployments of the most specific pattern that matches. `fold`: ignore case."""
        for pattern, name in self.patterns:
            matches = match_stars(pattern, model)
            if matches is None or not (fold or model.startswith(name.partition("*")[0])):
                continue
            if name in self.groups:
                return self.bind_pattern(name, matches, model)
            if target := self.find(
                fill_stars(self.config.aliases[name], matches), claude=False, star=star, depth=depth + 1
            ):
                return target
        return ()

    def bind_pattern(self, pattern: str, parts: tuple[str, ...], name: str) -> tuple[Deployment, ...]:
        """Return the deployments of `pattern` for the model `name`. They are made once, and cached."""
        if name not in self.bindings:
            if len(self.bindings) >= MAX_BOUND:
                self.bindings.clear()
            self.bindings[name] = tuple(self.bind_one(dep, parts, name) for dep in self.groups[pattern])
        return self.bindings[name]

    def bind_one(self, dep: Deployment, parts: tuple[str, ...], name: str) -> Deployment:
        """Return the wildcard deployment `dep` with its stars replaced by `parts`, under the public `name`."""
        if dep.problem:
            return dep
        if dep.name == "*" and find_host_row(dep.base) == dep.provider:
            # Clients ask a `*` for openai/gpt-5.4, too. No vendor's own ids begin with the vendor's name.
            parts = (parts[0].removeprefix(dep.provider + "/"),)
        model = fill_stars(dep.model, parts)
        binder = self.config.binders.get(dep.id)
        if binder:
            bound = inform(binder(model, name), self.config.settings, self.config.servers)
            return replace(bound, weight=dep.weight, group=dep.name, name_parallel=dep.name_parallel, seat=dep.seat)
        bound = replace(dep, name=name, model=model, max_input_tokens=0, group=dep.name)
        return apply_evidence(bound, self.config.settings.quirks, self.config.servers.get(dep.base))
