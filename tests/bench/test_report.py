"""The bench's tables, goals, plots and system rows, on made-up results."""

from __future__ import annotations

import os
import re
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from bench import procs, report, svg, systems, workloads
from bench.procs import Process
from bench.report import GOALS, TABLES, Results, goals, markdown, plots
from bench.svg import Bar, Curve
from bench.systems import BY_NAME, SYSTEMS, Start

ROUNDS = 3


def made_up(**changes: Any) -> dict[str, Any]:
    """Three rounds; nginx measures 10, 20, 30 everywhere, a2py 1.1 times that, direct half of it."""
    factors = {"direct": 0.5, "nginx": 1.0, "a2py": 1.1, "a2py-uvloop": 1.05, "a2py-openai": 1.02}
    rounds = []
    for n in range(ROUNDS):
        results: dict[str, Any] = {}
        for name, factor in factors.items():
            value = 10.0 * (n + 1) * factor
            keys = {
                column.key
                for table in TABLES
                for column in table.columns
                if column.workload not in ("start", "installed")
            }
            entry = {"values": dict.fromkeys(keys, value), "asked": 5, "errors": 0, "reason": ""}
            results[name] = {workload.name: dict(entry) for workload in workloads.WORKLOADS}
            results[name]["w1_50"]["quantiles"] = [value + share for share in workloads.QUANTILES]
            if name != "direct":
                results[name]["start"] = {"seconds": 0.2, "rss_mib": 30.0}
        rounds.append(results)
    data = {
        "date": "2026-11-23 09:00 UTC",
        "took_s": 61,
        "machine": {"cpu": "a", "memory": "b", "system": "c", "python": "3.11"},
        "commit": "abc",
        "quick": False,
        "nice": 0,
        "load": ["0.1", "1.5"],
        "versions": dict.fromkeys(factors, "1.0"),
        "installed": {"a2py": 15 * 2**20},
        "quantiles": workloads.QUANTILES,
        "rounds": rounds,
    }
    return {**data, **changes}


def test_medians_and_ratios() -> None:
    results = Results(made_up())
    assert results.median("nginx", "w2", "cpu_us") == 20
    assert results.ratio("a2py", "w2", "cpu_us") == pytest.approx(1.1)
    assert results.extra("a2py", "large_ms") == pytest.approx(20 * 0.6)
    assert results.median("direct", "w2", "cpu_us") is None
    assert results.median("a2py", "installed", "") == 15
    assert results.median("a2py", "w2", "no such key") is None
    assert results.ratio("a2py", "w2", "no such key") is None


def test_ratios_are_of_one_round() -> None:
    data = made_up()
    for n, factor in enumerate((1.0, 2.0, 6.0)):
        data["rounds"][n]["a2py"]["w2"]["values"]["cpu_us"] = 10.0 * (n + 1) * factor
    assert Results(data).ratio("a2py", "w2", "cpu_us") == 2.0


def test_goals() -> None:
    text = goals(Results(made_up()))
    assert len(text.splitlines()) == 2 + len(GOALS)
    assert "| flood, text piece (CPU) | 1.5 × nginx | 1.10 × nginx | met |" in text
    assert "**not met**" in text  # 12 ms more than direct
    assert len(goals(Results(made_up(rounds=[]))).splitlines()) == 2  # nothing was measured


def test_every_column_and_goal_names_what_workloads_measure() -> None:
    names = {workload.name for workload in workloads.WORKLOADS} | {"start", "installed"}
    assert {column.workload for table in TABLES for column in table.columns} <= names
    assert set(report.COLOURS) == set(BY_NAME)


def test_the_page() -> None:
    data = made_up()
    data["rounds"][1]["a2py"]["w3"] |= {"errors": 2, "reason": "status 500"}
    data["rounds"][1]["a2py-uvloop"] = {"failed": "no module"}
    page = markdown(Results(data))
    assert "a2py, w3: 2 of 15 replies wrong or lost; the first: `status 500`" in page
    assert "a2py with uvloop did not start: no module" in page
    assert "quick run" not in page and "quick run" in markdown(Results(made_up(quick=True)))
    assert "None, of any system." in markdown(Results(made_up()))
    assert page == markdown(Results(data))
    for table in TABLES:
        assert f"### {table.title}" in page


def test_plots_are_whole_and_the_same_each_time() -> None:
    files = plots(Results(made_up()))
    assert files == plots(Results(made_up()))
    assert set(files) == set(re.findall(r"\((\S+\.svg)\)", markdown(Results(made_up()))))
    for text in files.values():
        root = ET.fromstring(text)
        assert root.tag.endswith("svg")
        for mark in root.iter():
            for name in ("x", "y", "x1", "x2", "y1", "y2"):
                if name in mark.attrib:
                    assert 0 <= float(mark.attrib[name]) <= 760


def test_bars_and_curves_with_nothing_to_show() -> None:
    for text in (
        svg.bars("t", "s", []),
        svg.bars("t", "s", [Bar("a", 0, "0", "red")]),
        svg.curves("t", "s", [Curve("a", [], "red")], []),
    ):
        ET.fromstring(text)
    assert "&lt;b&gt;" in svg.bars("<b>", "s", [])
    longer = [
        len(re.findall(r"rect", svg.bars("t", "s", [Bar("a", v, "", "red") for v in values])))
        for values in ([1.0], [1.0, 100.0])
    ]
    assert longer == [2, 3]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.00"), (0.0123, "0.012"), (0.5, "0.50"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346")],
)
def test_numbers(value: float, text: str) -> None:
    assert svg.number(value) == text


@pytest.mark.parametrize(
    "system", [system for system in SYSTEMS if system.kind != "direct"], ids=lambda system: system.name
)
def test_a_system_can_be_prepared(system: systems.System, tmp_path: Path) -> None:
    argv, env = systems.prepare(system, Start(tmp_path, 1234, 5678))
    texts = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(texts) == len(system.files)
    assert not any(re.search(r"\{(dir|port|upstream|key)\}", text) for text in [*argv, *texts])
    assert "5678" in " ".join([*argv, *texts]) and "1234" in " ".join([*argv, *texts])
    assert env["HOME"] == str(tmp_path)
    assert system.path in ("/v1/messages", "/v1/chat/completions")
    assert all(line.isascii() for line in systems.headers(system).values())


def test_what_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(systems, "HOME", tmp_path)
    versions, missing = systems.there(["direct", "litellm", "ccr"])
    assert versions == {"direct": ""}
    assert missing == [
        f"skipped: {name} is not installed (make bench-peers)" for name in ("claude-code-router", "LiteLLM")
    ]


def test_installed_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(systems, "HOME", tmp_path)
    site = tmp_path / "a2py" / "lib" / "python3.11" / "site-packages"
    for name, size in {
        "a2py/x.py": 100,
        "pip/y.py": 1000,
        "setuptools/z.py": 1000,
        "pip-1.dist-info/R": 1000,
        "one.py": 10,
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(b"x" * size)
    assert systems.measure_size(BY_NAME["a2py"]) == 110
    assert systems.measure_size(BY_NAME["nginx"]) is None


def test_quantiles() -> None:
    assert workloads.quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
    assert workloads.quantile([1.0], 0.999) == 1.0


def burn(seconds: float) -> str:
    return f"import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_cpu_of_a_tree_counts_children_living_and_dead(tmp_path: Path) -> None:
    code = f"""
import subprocess, sys
subprocess.run([sys.executable, '-c', {burn(0.2)!r}])
living = subprocess.Popen([sys.executable, '-c', {burn(0.2) + chr(10) + "time.sleep(60)"!r}])
{burn(0.2)}
print('ready', flush=True)
living.wait()
"""
    process = Process([sys.executable, "-c", code], dict(os.environ), tmp_path, min(os.sched_getaffinity(0)))
    try:
        for _ in range(2000):
            if process.cpu() >= 0.6 and b"ready" in process.log.read_bytes():
                break
            assert process.alive, process.tail()
            time.sleep(0.01)
        assert 0.6 <= process.cpu() < 5
        assert len(procs.tree(process.pid)) == 2
        assert process.rss() > 2**20
    finally:
        process.stop()
    assert not process.alive
    assert procs.tree(process.pid) == [process.pid]
    assert process.cpu() == 0.0
