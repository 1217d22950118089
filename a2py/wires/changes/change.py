"""One difference between a client's request and the upstream's, and the words for it.

Knows: rules of docs/translation.md by their anchors, quirks, how a value is shown in short.
Must not know: how requests are translated; they are compared as they are.
Invariants: a value is shown in at most TEXT_LIMIT characters; a quirk is named only if it differs from the common
subset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from a2py import jsontext
from a2py.deployment import Deployment
from a2py.messages.types import JSON
from a2py.quirks import Quirks

#: Characters of a value, and of a reason.
TEXT_LIMIT = 120
#: Pages, and their anchors, that a change may refer to besides the rules of translation.md.
UNKNOWN_FIELDS, QUIRKS, SETTINGS = (
    "translation.md#a-the-request",
    "providers.md#every-quirk",
    "configuration.md#all-settings",
)
PASSTHROUGH = "openai-clients.md"
_DEFAULTS = Quirks()


class Change(NamedTuple):
    """`kind`: `renamed`, `dropped`, `added` or `changed`; `path`: in the client's body, "" for what is added; `to`: in
    the upstream's body; `doc`: page and anchor in docs/."""

    kind: str
    path: str
    to: str
    from_value: str
    to_value: str
    because: str
    doc: str


class Question(NamedTuple):
    """A request as it went upstream. `degraded`, `names`: of `Prepared`; `reasons`: quirk → where it is from."""

    deployment: Deployment
    body: JSON
    degraded: tuple[str, ...] = ()
    names: Mapping[str, str] = {}
    reasons: Mapping[str, str] = {}

    def explain(self, text: str, quirks: Iterable[str] = ()) -> str:
        """Return `text` with those of `quirks` that this deployment has set, and where each is from."""
        parts = [text] if text else []
        for name in quirks:
            value = getattr(self.deployment.quirks, name)
            if value != getattr(_DEFAULTS, name):
                reason = self.reasons.get(name, "")
                parts.append(f"quirk {name}: {show(value)}" + (f" ({reason})" if reason else ""))
        return "; ".join(parts)

    def find_setting(self, name: str) -> str:
        """Return where the configuration sets the upstream's field `name`, "" if it does not."""
        if name in self.deployment.extra_body:
            return "the configuration's `extra_body`"
        return f"the configuration's `{name}`" if name in self.deployment.params else ""


def rule(name: str) -> str:
    """Return the place of a rule, for example `a12`."""
    return f"translation.md#{name}"


def show(value: Any) -> str:
    """Return a value in short: as JSON, cut."""
    if isinstance(value, (frozenset, set)):
        value = sorted(value)
    text = value if isinstance(value, str) else jsontext.dumps(value).decode("utf-8", "replace")
    return text if len(text) <= TEXT_LIMIT else f"{text[: TEXT_LIMIT - 1]}…"


def count(number: int, noun: str) -> str:
    """Return `1 block` or `2 blocks`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
