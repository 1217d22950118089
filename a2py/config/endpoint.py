"""Where a deployment's requests go, and with which key.

Knows: in which order parameters and variables are read. Must not know: files, wires, how requests are routed.
Invariants: nothing here raises: what cannot work has a `problem`, which shows no key; a key that the environment holds
is not sent to an address that `.env` chose, unless it is this machine's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from a2py.config import bases
from a2py.config.settings import Entry
from a2py.config.values import quote_text
from a2py.config.variables import NOWHERE, Origin, Variables
from a2py.providers import PROVIDERS, Provider, find_host_row

#: Rows of servers on the own machine or network. Their base gets /v1 if it has no path.
_ADDS_V1 = frozenset(("hosted_vllm", "lm_studio", "llamafile", "llamacpp", "sglang", "litellm_proxy"))
#: Rows of Ollama. LiteLLM appends Ollama's own paths to any base, so a base may end before them.
OLLAMA = frozenset(("ollama", "ollama_chat"))


def _first(names: tuple[str, ...], env: Mapping[str, str]) -> tuple[str, str]:
    """Return the first variable that is set, with its value."""
    return next(((name, value) for name in names if (value := env.get(name, "").strip())), ("", ""))


class Key(NamedTuple):
    """A deployment's key. `value`: "" for none; `problem`: why there is none; `name`: its variable or parameter;
    `withheld`: the variable or parameter of a key that exists but may not be sent to the address."""

    value: str = ""
    problem: str = ""
    origin: Origin = NOWHERE
    name: str = ""
    withheld: str = ""


def find_key(entry: Entry, row: Provider, host: str, env: Variables, may_send: Callable[[Origin], bool]) -> Key:
    """Return the key for the base `host`, "" for the row's own. `may_send`: whether a key of this origin may go
    there."""
    own = _find_own_key(entry, row, may_send)
    if own is not None:
        return own
    rows = [PROVIDERS[other]] if row.name == "openai" and host and (other := find_host_row(host)) else []
    key = _find_variable((*rows, row), env, may_send)
    if key.value:
        return _check_key(key.value, key.name, key.origin, entry)
    owner = (rows or [row])[0]
    is_unknown_host = row.name == "openai" and host and not rows
    if key.withheld or owner.key_optional or is_unknown_host:
        return key
    return Key("", _describe_missing_key(entry, owner))


def _find_variable(rows: Iterable[Provider], env: Variables, may_send: Callable[[Origin], bool]) -> Key:
    """Return the key of the first variable of `rows` that is set and may be sent. If there is none, `withheld` says
    whether one is set."""
    withheld = ""
    for name in (name for row in rows for name in row.keys):
        value, origin = env.get(name, "").strip(), env.origin(name)
        if value and not may_send(origin):  # .env chose the address, so .env may give the key
            withheld, value, origin = withheld or name, env.dotenv.get(name, "").strip(), Origin(dotenv=True)
        if value:
            return Key(value, origin=origin, name=name)
    return Key(withheld=withheld)


def _describe_missing_key(entry: Entry, owner: Provider) -> str:
    cure = f"Set {owner.keys[0]} in the environment or in .env, or {_how_to_set(entry, 'api_key')}."
    return f"{entry.place()}: there is no key for {owner.name}. {cure}"


def _find_own_key(entry: Entry, row: Provider, may_send: Callable[[Origin], bool]) -> Key | None:
    """Return the key that the entry itself sets, None if it sets none."""
    if "api_key" in entry.unset:
        problem = unset_problem(entry, "api_key")
        return Key("", "" if row.key_optional else problem, entry.origins.get("api_key", NOWHERE))
    for name in ("api_key", "azure_ad_token"):
        if value := getattr(entry, name):
            origin = entry.origins.get(name, NOWHERE)
            source = f"litellm_params.{name}"
            return _check_key(value, source, origin, entry) if may_send(origin) else Key(withheld=source)
    return None


def _check_key(key: str, source: str, origin: Origin, entry: Entry) -> Key:
    if key.isascii() and key.isprintable():
        return Key(key, "", origin, source)
    parameter = source.removeprefix("litellm_params.")
    place = entry.place(parameter) if parameter != source else f"{entry.place()}: the variable {source}"
    problem = f"{place} has a line break, or letters outside ASCII, which no key has. Copy the key again."
    return Key("", problem, origin)


class Address(NamedTuple):
    """A deployment's base. `is_own`: the file or a variable set it, else it is the row's; `name`: that parameter or
    variable; `problem`: why there is no base."""

    base: bases.Base = bases.Base("")
    is_own: bool = False
    problem: str = ""
    name: str = ""
    origin: Origin = NOWHERE


def find_base(entry: Entry, row: Provider, env: Variables) -> Address:
    """Return the base of the file or of a variable, else the row's."""
    if "api_base" in entry.unset:
        return Address(bases.Base(row.base), problem=unset_problem(entry, "api_base"))
    source, text = ("litellm_params.api_base", entry.api_base) if entry.api_base else _first(row.bases, env)
    if not text:
        if row.base:
            return Address(bases.Base(row.base))
        variable = f", or set {row.bases[0]} in the environment or in .env" if row.bases else ""
        how = _how_to_set(entry, "api_base")
        cure = f"{how[0].upper()}{how[1:]}{variable}."
        return Address(problem=f"{entry.place()}: {row.name} has no default base URL. {cure}")
    base = bases.parse_base(text)
    origin = entry.origins.get("api_base", NOWHERE) if entry.api_base else env.origin(source)
    if base is None:
        place = entry.place("api_base") if entry.api_base else f"{entry.place()}: the variable {source}"
        problem = f"{place} {_describe_wrong_base(text)}"
        return Address(is_own=True, problem=problem, name=source, origin=origin)
    return Address(_complete(base, row), True, "", source, origin)


def _describe_wrong_base(text: str) -> str:
    """Return what is wrong with a base that is no URL, and what to write."""
    if bases.has_wrong_port(text):
        return f"must have a port from 1 to 65535, got {quote_text(text)}. Correct the number after the host."
    url = f"https://{text.strip()}"
    is_host = "." in text and "://" not in text and bases.parse_base(url) is not None and quote_text(text) != "text"
    cure = f"Write {url if is_host else 'a URL such as http://localhost:8000/v1'}."
    return f"must be a URL that begins with http:// or https://, got {quote_text(text)}. {cure}"


def _complete(base: bases.Base, row: Provider) -> bases.Base:
    """Return `base` with the path that the row's servers need and people leave out."""
    if row.name in OLLAMA:
        return bases.complete_ollama(base)
    if row.name == "gemini" and find_host_row(base.url) == row.name:
        return base._replace(url=row.base)
    return bases.add_v1(base) if row.name in _ADDS_V1 else base


def _how_to_set(entry: Entry, parameter: str) -> str:
    return f"write `{parameter}` below litellm_params" if entry.at.line else f"give --{parameter}"


def unset_problem(entry: Entry, attr: str) -> str:
    """Return the problem of a parameter whose variable is not set."""
    name = entry.unset[attr]
    return f"{entry.place(attr)} is os.environ/{name}, but {name} is not set. Set it in the environment or in .env."
