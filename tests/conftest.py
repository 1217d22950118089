"""Fixtures that several test files share. Must not know: what any single test checks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import anomaly
from tests import llamacpp as llama


def pytest_configure(config: pytest.Config) -> None:
    """Skipped tests are told, one line each reason."""
    if "s" not in config.option.reportchars:
        config.option.reportchars += "s"


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
