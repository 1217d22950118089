"""Say how the limits of a configuration are divided between workers.

Knows: the limits of a configuration. Must not know: how a limit is kept (proxy/limits.py).
Invariants: one warning, whatever there is to say; none if nothing is limited.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from a2py.config import Config
from a2py.proxy.share import Share

#: How many limits a warning names.
MAX_NAMED = 3


class Limit(NamedTuple):
    """`subject`: what is limited."""

    setting: str
    value: int
    subject: str

    def __str__(self) -> str:
        return f"{self.setting} {self.value} of {self.subject}"


def list_limits(config: Config) -> list[Limit]:
    """Return all limits of `config` that count for the whole proxy."""
    return list(dict.fromkeys(_limits(config)))


def _limits(config: Config) -> Iterator[Limit]:
    total = config.settings.global_max_parallel_requests
    if total:
        yield Limit("global_max_parallel_requests", total, "the proxy")
    for one in config.deployments:
        own = (("rpm", one.rpm), ("tpm", one.tpm), ("max_parallel_requests", one.max_parallel))
        yield from (Limit(setting, value, one.id) for setting, value in own if value)
        if one.name_parallel:
            yield Limit("a2py: max_parallel_requests", one.name_parallel, one.group or one.name)


def describe_division(config: Config, count: int) -> str:
    """Return the warning that `count` workers divide the limits of `config`, "" if it has none."""
    limits = list_limits(config)
    if not limits or config.redis is not None:
        return ""
    text = f"each of {count} workers uses its part of every limit, because they have no common count"
    divisible = [limit for limit in limits if limit.value >= count]
    if divisible:
        first = divisible[0]
        parts = ", ".join(str(Share(number, count).part(first.value)) for number in range(count)[:8])
        text += f" ({first}: {parts}{', …' if count > 8 else ''})"
    small = [str(limit) for limit in limits if limit.value < count]
    if small:
        more = f" and {len(small) - MAX_NAMED} more" if len(small) > MAX_NAMED else ""
        text += f"; too small for that, so that each worker uses 1 and all together {count}: "
        text += ", ".join(small[:MAX_NAMED]) + more
    return f"{text}. See docs/scale.md"
