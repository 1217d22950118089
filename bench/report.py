"""Write RESULTS.md and its plots from results.json.

Knows: what each value means, the goals. Must not know: how anything was measured.
Invariants: every figure in the tables is a median over the rounds, every ratio a median of the rounds' own ratios to
nginx; a goal is met or not by those ratios; the same results give the same files.

    python -m bench.report [results.json]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bench.svg import Bar, Curve, bars, curves, number
from bench.systems import BY_NAME, SYSTEMS

HERE = Path(__file__).resolve().parent
BASE = "nginx"
COLOURS = {
    "direct": "#8c959f",
    "nginx": "#2da44e",
    "haproxy": "#1b7c83",
    "a2py": "#0969da",
    "a2py-uvloop": "#54aeff",
    "a2py-native": "#8250df",
    "a2py-openai": "#0a3069",
    "ccr": "#bf8700",
    "ant2oai": "#e16f24",
    "litellm": "#cf222e",
}


class Column(NamedTuple):
    """One column of a table. `value`: from one round's measurements of one system; None if it was not measured or was
    wrong."""

    head: str
    workload: str
    key: str
    ratio: bool = True


class Table(NamedTuple):
    title: str
    remark: str
    columns: tuple[Column, ...]


TABLES: tuple[Table, ...] = (
    Table(
        "CPU",
        "Microseconds of the proxy's CPU. Paced, flood, burst, arguments and reasoning: per piece; request and unary: "
        "per request; 100 KB: what "
        "such a request costs more than a short one.",
        (
            Column("paced", "w1_50", "cpu_us"),
            Column("flood", "w2", "cpu_us"),
            Column("burst", "w2_burst", "cpu_us"),
            Column("arguments", "w7", "cpu_us"),
            Column("reasoning", "w8", "cpu_us"),
            Column("request", "w3", "cpu_us"),
            Column("unary", "w6", "cpu_us"),
            Column("100 KB", "w4", "extra_cpu_us"),
        ),
    ),
    Table(
        "Delay",
        "Milliseconds. From the upstream's write of a piece to the client's read of it; first token: from the request "
        "to the first piece.",
        (
            Column("p50, 1 stream", "w1_1", "p50_ms"),
            Column("p99, 1 stream", "w1_1", "p99_ms"),
            Column("p50, 50 streams", "w1_50", "p50_ms"),
            Column("p99, 50 streams", "w1_50", "p99_ms"),
            Column("first token", "w4", "small_ms"),
            Column("first token, 100 KB", "w4", "large_ms"),
        ),
    ),
    Table(
        "Throughput",
        "Per second, the proxy alone on one core, upstream and client together on the other (where the direct row is "
        "not far above, that "
        "other core is the limit: read the CPU table).",
        (
            Column("flood, pieces", "w2", "chunks_per_s", False),
            Column("burst, pieces", "w2_burst", "chunks_per_s", False),
            Column("short requests", "w3", "per_s", False),
            Column("unary requests", "w6", "per_s", False),
        ),
    ),
    Table(
        "Size",
        "Slow: 1,000 streams at once, a piece a second, right after the start; KiB of memory per stream at the "
        "highest, and streams that were lost. "
        "Memory is PSS of the process tree.",
        (
            Column("KiB per slow stream", "w5", "kib", False),
            Column("lost of 1,000", "w5", "lost", False),
            Column("cold start, s", "start", "seconds", False),
            Column("idle, MiB", "start", "rss_mib", False),
            Column("installed, MiB", "installed", "", False),
        ),
    ),
)


class Results:
    """The content of results.json, with medians and ratios."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.names = [system.name for system in SYSTEMS if system.name in data["versions"]]

    def of(self, round_: dict[str, Any], name: str, workload: str, key: str) -> float | None:
        if workload == "installed":  # of the machine, not of a round
            size = self.data["installed"].get(name)
            return size / 2**20 if size else None
        entry = round_.get(name, {}).get(workload, {})
        values = entry if workload == "start" else entry.get("values", {})
        value = values.get(key)
        return (
            None
            if value is None or (BY_NAME[name].kind == "direct" and key in ("cpu_us", "extra_cpu_us", "kib"))
            else value
        )

    def values(self, name: str, workload: str, key: str) -> list[float]:
        numbers = (self.of(round_, name, workload, key) for round_ in self.data["rounds"])
        return [value for value in numbers if value is not None]

    def median(self, name: str, workload: str, key: str) -> float | None:
        values = self.values(name, workload, key)
        return median(values) if values else None

    def ratio(self, name: str, workload: str, key: str) -> float | None:
        """Return the median of the rounds' ratios to nginx."""
        ratios = []
        for round_ in self.data["rounds"]:
            value, base = self.of(round_, name, workload, key), self.of(round_, BASE, workload, key)
            if value is not None and base:
                ratios.append(value / base)
        return median(ratios) if ratios else None

    def extra(self, name: str, key: str) -> float | None:
        """Return by how many milliseconds W4 is slower than without a proxy in the same round."""
        differences = []
        for round_ in self.data["rounds"]:
            value, base = self.of(round_, name, "w4", key), self.of(round_, "direct", "w4", key)
            if value is not None and base is not None:
                differences.append(value - base)
        return median(differences) if differences else None

    def errors(self, name: str) -> list[str]:
        """Return one line for each workload with wrong replies."""
        lines = []
        for workload in dict.fromkeys(key for round_ in self.data["rounds"] for key in round_.get(name, {})):
            entries = [round_[name][workload] for round_ in self.data["rounds"] if workload in round_.get(name, {})]
            if workload == "failed":
                lines.append(f"{BY_NAME[name].label} did not start: {entries[0][:200]}")
                continue
            wrong = sum(entry.get("errors", 0) for entry in entries)
            if wrong:
                requests = sum(entry["asked"] for entry in entries)
                reason = next(entry["reason"] for entry in entries if entry["errors"])
                lines.append(
                    f"{BY_NAME[name].label}, {workload}: {wrong} of {requests} replies wrong or lost; the first: "
                    f"`{reason[:160]}`"
                )
        return lines

    def quantiles(self, name: str, workload: str) -> list[tuple[float, float]]:
        rounds = [
            round_[name][workload]["quantiles"]
            for round_ in self.data["rounds"]
            if "quantiles" in round_.get(name, {}).get(workload, {})
        ]
        return (
            [(share, median(row)) for share, row in zip(self.data["quantiles"], zip(*rounds, strict=True), strict=True)]
            if rounds
            else []
        )


# -- goals -------------------------------------------------------------------------------------------------------------


class Goal(NamedTuple):
    """One goal. `measure`: a value from the results and the name of a system. `limit`: the largest allowed value, in
    the unit that `show` writes."""

    title: str
    limit: float
    measure: Callable[[Results, str], float | None]
    unit: str
    name: str = "a2py"


def _ratio(workload: str, key: str) -> Callable[[Results, str], float | None]:
    return lambda results, name: results.ratio(name, workload, key)


def _value(workload: str, key: str, factor: float = 1.0) -> Callable[[Results, str], float | None]:
    def measure(results: Results, name: str) -> float | None:
        value = results.median(name, workload, key)
        return None if value is None else value * factor

    return measure


def _count_lost(results: Results, name: str) -> float | None:
    values = results.values(name, "w5", "lost")
    return max(values) if values else None


def _large(results: Results, name: str) -> float | None:
    return results.extra(name, "large_ms")


GOALS: tuple[Goal, ...] = (
    Goal("flood, text piece (CPU)", 1.5, _ratio("w2", "cpu_us"), "× nginx"),
    Goal("flood, tool-argument piece (CPU)", 2.0, _ratio("w7", "cpu_us"), "× nginx"),
    Goal("flood, reasoning piece (CPU)", 2.0, _ratio("w8", "cpu_us"), "× nginx"),
    Goal("paced piece (CPU)", 1.5, _ratio("w1_50", "cpu_us"), "× nginx"),
    Goal("paced piece (CPU), uvloop", 1.3, _ratio("w1_50", "cpu_us"), "× nginx", "a2py-uvloop"),
    Goal("flood, piece of OpenAI passed through (CPU)", 1.5, _ratio("w2", "cpu_us"), "× nginx", "a2py-openai"),
    Goal("paced piece of OpenAI passed through (CPU)", 1.5, _ratio("w1_50", "cpu_us"), "× nginx", "a2py-openai"),
    Goal("short request of OpenAI passed through (CPU)", 7.0, _ratio("w3", "cpu_us"), "× nginx", "a2py-openai"),
    Goal("delay p50, 1 stream", 1.2, _ratio("w1_1", "p50_ms"), "× nginx"),
    Goal("delay p50, 50 streams", 1.2, _ratio("w1_50", "p50_ms"), "× nginx"),
    Goal("delay p99, 1 stream", 1.3, _ratio("w1_1", "p99_ms"), "× nginx"),
    Goal("delay p99, 50 streams", 1.3, _ratio("w1_50", "p99_ms"), "× nginx"),
    Goal("short request (CPU)", 11.0, _ratio("w3", "cpu_us"), "× nginx"),
    Goal("100 KB body (CPU extra)", 1.0, _value("w4", "extra_cpu_us", 1e-3), "ms"),
    Goal("100 KB body, first token more than direct", 1.2, _large, "ms"),
    Goal("1,000 slow streams: lost", 0.0, _count_lost, ""),
    Goal("1,000 slow streams: memory each", 30.0, _value("w5", "kib"), "KiB"),
    Goal("cold start to the first answer", 0.35, _value("start", "seconds"), "s"),
    Goal("idle", 42.0, _value("start", "rss_mib"), "MiB"),
    Goal("installed", 20.0, _value("installed", ""), "MiB"),
)


# -- text --------------------------------------------------------------------------------------------------------------


def _cell(results: Results, name: str, column: Column) -> str:
    value = results.median(name, column.workload, column.key)
    if value is None:
        return "–"
    text = number(value)
    ratio = results.ratio(name, column.workload, column.key) if column.ratio and name not in ("direct", BASE) else None
    return f"{text} ({ratio:.2f} ×)" if ratio is not None else text


def table(results: Results, spec: Table) -> str:
    lines = ["| | " + " | ".join(column.head for column in spec.columns) + " |", "|---" * (len(spec.columns) + 1) + "|"]
    lines += [
        f"| {BY_NAME[name].label} | " + " | ".join(_cell(results, name, column) for column in spec.columns) + " |"
        for name in results.names
    ]
    return "\n".join([f"### {spec.title}", "", spec.remark, "", *lines])


def goals(results: Results) -> str:
    lines = ["| goal | at most | measured | |", "|---|---|---|---|"]
    for goal in GOALS:
        value = goal.measure(results, goal.name)
        if value is not None:
            verdict = "met" if value <= goal.limit else "**not met**"
            lines.append(f"| {goal.title} | {goal.limit:g} {goal.unit} | {number(value)} {goal.unit} | {verdict} |")
    return "\n".join(lines)


METHOD = """A mock upstream that writes real OpenAI chunks (about 300 bytes each, every one an HTTP chunk and a write of its own; the burst writes
64 at once) and a client on raw sockets share one core; the system under test is alone on the other. Each piece carries the upstream's monotonic clock; the client
notes only reads and their times while the clock runs, and afterwards compares every byte of the content (of the whole body where OpenAI is passed
through), so delays and correctness come from the same run. CPU is user and system time of the system's whole process tree. In a round all systems run side by
side and take turns at each workload; each figure is the median of the rounds, each ratio the median of the rounds' own ratios to nginx. Pass-through systems
speak OpenAI on both sides; the others translate Anthropic to OpenAI. nginx and HAProxy are the floor for any hop: they copy bytes. Everything is on loopback: no TLS, no network.
`make bench-peers && make bench` repeats it (`bench/README.md`)."""


def markdown(results: Results) -> str:
    data = results.data
    machine = data["machine"]
    versions = "; ".join(
        f"{BY_NAME[name].label} {data['versions'][name]}" for name in results.names if data["versions"][name]
    )
    remarks = "; ".join(f"{BY_NAME[n].label}: {BY_NAME[n].remark}" for n in results.names if BY_NAME[n].remark)
    wrong = [line for name in results.names for line in results.errors(name)]
    parts = [
        "# Results",
        "",
        f"{data['date']}, commit {data['commit']}, {len(data['rounds'])} rounds in {data['took_s'] // 60} min "
        f"{data['took_s'] % 60} s" + (", **quick run: numbers too small to be quoted**" if data["quick"] else "") + ".",
        "",
        f"Machine: {machine['cpu']}, {machine['memory']}, {machine['system']}, Python {machine['python']}.",
        f"Load average of the machine before and after: {data['load'][0]}, {data['load'][1]} (the run itself makes "
        f"some 1.5 of it)" + (f"; everything measured ran with priority {data['nice']}" if data["nice"] else "") + ".",
        f"Versions: {versions}.",
        f"Remarks: {remarks}.",
        "",
        "![CPU per piece](cpu.svg)",
        "![Delay](delay.svg)",
        "![First token](first-token.svg)",
        "",
        "## Goals of a2py",
        "",
        goals(results),
        "",
        "## Medians",
        "",
        "In brackets: times nginx, in the same round.",
        "",
        "\n\n".join(table(results, spec) for spec in TABLES),
        "",
        "## Wrong replies",
        "",
        "\n".join(f"- {line}" for line in wrong) or "None, of any system.",
        "",
        "## Method",
        "",
        METHOD,
        "",
    ]
    return "\n".join(parts)


def plots(results: Results) -> dict[str, str]:
    names = [name for name in results.names if name != "a2py-native"]
    hops = [name for name in names if name != "direct"]

    def rows(names: list[str], workload: str, key: str, unit: str) -> list[Bar]:
        return [
            Bar(BY_NAME[name].label, value, f"{number(value)} {unit}", COLOURS[name])
            for name in names
            if (value := results.median(name, workload, key)) is not None
        ]

    cpu = rows(hops, "w1_50", "cpu_us", "µs")
    first = rows(names, "w4", "large_ms", "ms")
    lines = [Curve(BY_NAME[n].label, points, COLOURS[n]) for n in names if (points := results.quantiles(n, "w1_50"))]
    marks = [(0.0, "0"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %")]
    return {
        "cpu.svg": bars(
            "CPU of the proxy per streamed piece",
            "50 streams, a piece every 20 ms each; microseconds, logarithmic",
            cpu,
        ),
        "first-token.svg": bars(
            "Time to the first token", "Request of 100 KB, as Claude Code sends it; milliseconds, logarithmic", first
        ),
        "delay.svg": curves(
            "Delay of a piece, by share of the pieces",
            "50 streams, upstream's write to client's read; milliseconds, logarithmic",
            lines,
            marks,
        ),
    }


def main() -> int:
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "results.json"
    results = Results(json.loads(source.read_text()))
    (HERE / "RESULTS.md").write_text(markdown(results))
    for name, text in plots(results).items():
        (HERE / name).write_text(text)
    print(goals(results))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
