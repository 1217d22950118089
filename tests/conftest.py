"""Fixtures that several test files share. Must not know: what any single test checks."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import anomaly, coverage_map
from tests import llamacpp as llama

SIGQUIT = getattr(signal, "SIGQUIT", None)  # not on Windows
#: No time decides: a loaded machine takes seconds for what takes a millisecond.
settings.register_profile(
    "the same every time", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("the same every time")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests import schedule  # needs xdist

    return schedule.Schedule(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    from tests import schedule

    return schedule.processes()


def pytest_sessionstart(session: pytest.Session) -> None:
    worker = getattr(session.config, "workerinput", None)  # of a process of xdist
    if worker and session.config.args == ["tests"] and not sys.dont_write_bytecode:
        from tests import schedule

        schedule.import_in_turns(int(worker["workerid"].removeprefix("gw")), worker["workercount"])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # a process of xdist
        from tests import schedule

        schedule.longest_first(items)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--coverage-map",
        action="store_true",
        help="check that each core module is covered by its own tests and the goldens",
    )


def pytest_configure(config: pytest.Config) -> None:
    """List the reasons of skipped tests, one line each. Take SIGINT and SIGQUIT again: a script that ends a command with `&`
    starts it with both ignored, and every process below it inherits that."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (SIGQUIT, signal.SIG_DFL)):
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)
    coverage_map.register(config)
    if "s" not in config.option.reportchars:
        config.option.reportchars += "s"


@pytest.fixture(scope="module", autouse=True)
def what_stays() -> None:
    """Hide modules, recordings and models of pydantic from the garbage collector. The collection that `run_proxy` makes
    after each test then looks only at what that test made, and takes 5 ms instead of 250."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many points the anomaly loop has met: each an operation at which one fault happened once."""
    if anomaly.POINTS:
        terminalreporter.write_sep("-", f"anomaly loop: {anomaly.POINTS.total()} points")
        for what, number in sorted(anomaly.POINTS.items()):
            terminalreporter.write_line(f"{number:7} {what}")


@pytest.fixture(scope="session")
def llamacpp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[llama.Servers]:
    """`llamacpp(tool_first=0.9, think=False, ctx=8192)` → a running `Server`; see llamacpp.py."""
    why = llama.missing()
    if why:
        pytest.skip(why)
    servers = llama.Servers(tmp_path_factory.mktemp("llamacpp"))
    yield servers
    servers.stop()
