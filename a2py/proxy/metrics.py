"""Counters, and GET /metrics in Prometheus' text format.

Knows: the format (version 0.0.4). Must not know: where the numbers come from.
Invariants: at most MAX_SERIES label sets per metric, everything above that is counted as `other`. Labels come from the
configuration, except for the names of what a request lost, which have a lower limit of their own.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Distinct label sets of one metric.
MAX_SERIES = 500
#: Names of what a request may lose. Some are the client's own words, for example the type of a block that a2py does not
#: know. A word that does not look like a name, or that comes after the first MAX_DEGRADED, is counted as `other`.
_DEGRADED_NAME = re.compile(r"[a-z][a-z0-9_.]{0,39}")
MAX_DEGRADED = 60

#: Name → (type, help).
METRICS = {
    "a2py_requests_total": (
        "counter",
        "Requests that went to a model, by deployment, wire and status (499: the client left).",
    ),
    "a2py_attempts_total": ("counter", "Questions to upstreams, by deployment and result (ok, or the kind of error)."),
    "a2py_routes_total": ("counter", "Requests by the rule of `a2py: routes:` that decided, and by its model."),
    "a2py_resent_total": ("counter", "Requests that went out a second time because a kept connection had been closed."),
    "a2py_searches_total": (
        "counter",
        "Web searches for models that can't search, by search tool (none: none is configured) and result (ok, or an "
        "error).",
    ),
    "a2py_tokens_total": (
        "counter",
        "Tokens of all attempts as the upstreams counted them, by deployment and direction (input, cached, "
        "cache_write, output).",
    ),
    "a2py_tokens_estimated_total": (
        "counter",
        "The same of answers whose upstreams did not count all of them: a2py estimates the rest.",
    ),
    "a2py_first_byte_seconds_sum": (
        "counter",
        "Seconds from the request to its first content, summed up, by deployment.",
    ),
    "a2py_first_byte_seconds_count": ("counter", "Answers that had a first content, by deployment."),
    "a2py_request_seconds_sum": ("counter", "Seconds of whole requests, summed up, by deployment."),
    "a2py_cost_dollars_total": ("counter", "US dollars of answers whose price is known, by deployment and key."),
    "a2py_ledger_lost_total": ("counter", "Answers of which the ledger could keep no row."),
    "a2py_key_requests_total": ("counter", "Answers by the name of the client's key and status."),
    "a2py_key_tokens_total": ("counter", "Tokens of answers, by the name of the client's key and direction."),
    "a2py_degraded_total": ("counter", "Requests of which something could not be carried, by what."),
    "a2py_queue_seconds_sum": ("counter", "Seconds that requests have waited for a place at an upstream, summed up."),
    "a2py_queue_seconds_count": ("counter", "Requests that have waited, by how it ended (served, full, late, left)."),
    "a2py_cache_lost_total": ("counter", "Turns whose prompt the upstream's cache held no longer, by reason."),
    "a2py_running": ("gauge", "Answers being given right now, those that wait included."),
    "a2py_waiting": ("gauge", "Requests that wait for a place at an upstream."),
    "a2py_connections": ("gauge", "Client connections."),
    "a2py_upstream_connections": ("gauge", "Connections to upstreams, idle ones included."),
    "a2py_upstream_idle": ("gauge", "Connections to upstreams that no request uses."),
    "a2py_uptime_seconds": ("gauge", "Seconds since the start."),
    "a2py_workers": ("gauge", "Workers whose numbers are in this page."),
    "a2py_workers_missing": ("gauge", "Workers that did not answer: their counters are the last ones known."),
}

Labels = tuple[tuple[str, str], ...]
#: The counters of one process for another one, as JSON has them: metric → pairs of labels and value.
Export = dict[str, list[Any]]


class Metrics:
    """All counters of this process. `peer_exports`: the counters of the other workers, as a page has shown them last;
    `inheritance`: set once the counters of the worker before this one are counted here, None if nobody was asked for
    them."""

    def __init__(self) -> None:
        self.peer_exports: dict[int, Export] = {}
        self.inheritance: asyncio.Event | None = None
        self._values: dict[str, dict[Labels, float]] = {}

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add `amount` to the counter `name` with these labels."""
        series = self._values.setdefault(name, {})
        key = tuple(labels.items())
        if key not in series and len(series) >= MAX_SERIES:
            key = tuple((label, "other") for label in labels)
        series[key] = series.get(key, 0) + amount

    def add_degraded(self, name: str) -> None:
        """Count something that a request could not carry upstream."""
        series = self._values.setdefault("a2py_degraded_total", {})
        has_room = len(series) < MAX_DEGRADED or (("what", name),) in series
        is_name = _DEGRADED_NAME.fullmatch(name) is not None
        self.add("a2py_degraded_total", what=name if has_room and is_name else "other")

    def export(self) -> Export:
        """Return all counters."""
        return {
            name: [[list(labels), value] for labels, value in every.items()] for name, every in self._values.items()
        }

    def absorb(self, export: Export) -> None:
        """Add the counters of another process to these."""
        for name, every in export.items():
            for labels, value in every:
                self.add(name, value, **dict(labels))

    def text(self, gauges: Mapping[str, float]) -> str:
        """Return the whole page. `gauges`: metric → its value now."""
        lines = []
        for name, (type_, help_) in METRICS.items():
            series: Mapping[Labels, float] = {(): gauges[name]} if name in gauges else self._values.get(name, {})
            lines += [f"# HELP {name} {help_}", f"# TYPE {name} {type_}"]
            lines += [f"{name}{_format_labels(labels)} {_format_number(value)}" for labels, value in series.items()]
        return "\n".join(lines) + "\n"


def _format_labels(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels) + "}" if labels else ""


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _format_number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.6f}"
