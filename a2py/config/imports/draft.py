"""A configuration that is made from another program's file, and what could not be carried into it.

Knows: the keys of our file that an import writes. Must not know: any other program's format.
Invariants: pure; a note never shows a value that may be a key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from a2py.config.tree import ENVIRON

#: A whole value that names a variable, as claude-code-router writes it: `$NAME` or `${NAME}`.
_REFERENCE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))\Z")
_PART = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Z_][A-Z0-9_]*))")
_PLAIN = re.compile(r"[^\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Source:
    """What is imported. `name`: its file, for messages. `program`: who wrote it, "" if unknown. `env`: the variables
    that a value may name."""

    name: str
    program: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Draft:
    """The new configuration.

    `models`: entries of model_list. `default`: the name for every name that no model has. `names`: further names →
    name. `routes`: entries of `a2py: routes`. `fallbacks`: name → names. `settings`: `section.key` → value. `notes`:
    what could not be carried, or means something else here, one sentence each. `host`, `port`: where the program
    listened.
    `is_partial`: some models could not be carried, so a name that no model has may be one of theirs."""

    source: Source
    models: list[dict[str, Any]] = field(default_factory=list)
    default: str = ""
    names: dict[str, str] = field(default_factory=dict)
    routes: list[dict[str, Any]] = field(default_factory=list)
    fallbacks: dict[str, list[str]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    host: str = ""
    port: str = ""
    is_partial: bool = False

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def add(self, name: str, params: Mapping[str, Any], info: Mapping[str, Any] | None = None) -> None:
        """Add a model, unless the same one is there already."""
        entry: dict[str, Any] = {"model_name": name, "litellm_params": dict(params)}
        if info:
            entry["model_info"] = dict(info)
        if entry not in self.models:
            self.models.append(entry)

    def has(self, name: str) -> bool:
        return any(entry["model_name"] == name for entry in self.models)

    def tree(self) -> dict[str, Any]:
        """Return the configuration in the form of our file."""
        router: dict[str, Any] = {}
        names = {**self.names, **({"*": self.default} if self.default and not self.is_partial else {})}
        if names:
            router["model_group_alias"] = {name: {"model": target, "hidden": True} for name, target in names.items()}
        if self.fallbacks:
            router["fallbacks"] = [{name: targets} for name, targets in self.fallbacks.items()]
        own: dict[str, Any] = {"default_model": self.default} if self.default else {}
        if self.routes:
            own["routes"] = self.routes
        tree: dict[str, Any] = {"model_list": self.models, "router_settings": router, "a2py": own}
        for path, value in self.settings.items():
            section, _, key = path.partition(".")
            tree.setdefault(section, {})[key] = value
        return {key: value for key, value in tree.items() if value}

    def render(self) -> str:
        """Return the text of the file, with the notes as comments at its head."""
        head = [f"# Imported from {_one_line(self.source.name)} ({self.source.program}) by `a2py config import`."]
        if self.notes:
            head += ["# Not carried, or different here:", *(f"# - {_one_line(note)}" for note in self.notes)]
        body = yaml.safe_dump(self.tree(), sort_keys=False, allow_unicode=True, width=120, default_flow_style=False)
        return "\n".join(head) + "\n\n" + body

    def value(self, text: Any, place: str) -> str:
        """Return a text of the source as our file writes it: a variable that it names becomes `os.environ/NAME`.

        A variable inside a longer text is replaced by its value; without one the text stays, because a key may contain
        a `$` (claude-code-router does the same). `place`: the key, for the note."""
        if not isinstance(text, str):
            return ""
        text = text.strip()
        if whole := _REFERENCE.match(text):
            return f"{ENVIRON}{whole[1] or whole[2]}"

        def fill(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            if not self.source.env.get(name):
                self.note(f"{place}: the variable {name} is not set, so it stays as it is written, as it does there.")
            return self.source.env.get(name) or match[0]

        return _PART.sub(fill, text) if "$" in text else text


def whole_number(value: Any) -> int:
    """Return a number of the source, 0 for none: people quote numbers."""
    try:
        number = int(float(value)) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else 0
    except (ValueError, OverflowError):
        return 0
    return max(number, 0)


def _one_line(text: str) -> str:
    return " ".join(_PLAIN.findall(text))
