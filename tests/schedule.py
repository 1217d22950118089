"""How `make test` spreads the tests over its processes: whole files, the longest first.

Knows: pytest-xdist's scheduler, and which files take longest. Must not know: what a test checks.
Invariants: all files that use llama.cpp's servers run in one process, which builds and starts them once. A file of
SPREAD is cut into its tests. A table that is out of date costs time and nothing else; test_project.py looks for its
files.
"""

from __future__ import annotations

import importlib
import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

FOLDER = Path(__file__).parent
#: Name of the group of files that use the fixture `llamacpp`.
LLAMA = "llama.cpp"
#: Files whose tests wait for time limits, minutes in all, and share nothing that takes long to make.
SPREAD = ("whole/test_relay_anomaly.py",)
#: Files and groups that take longest, in this order. They start first, so that the end of a run does not wait for one
#: of them.
LONGEST = (
    LLAMA,
    "whole/test_relay_anomaly.py",
    "whole/test_linear.py",
    "whole/test_large_requests.py",
    "cli/test_trust.py",
    "cli/test_daemon.py",
    "cli/test_restart.py",
    "cli/test_workers.py",
    "cli/test_launch.py",
    "cli/test_docs.py",
    "cli/test_daemon_faults.py",
    "whole/test_relay_refusals.py",
    "whole/test_limits.py",
    "http1/test_differential.py",
    "wires/chat/test_fastpath.py",
    "goldens/test_goldens.py",
    "cli/test_serve.py",
    "cli/test_reload.py",
    "whole/test_faults_real.py",
    "whole/test_secrets.py",
    "wires/test_contract.py",
    "wires/responses/test_paired.py",
    "packaging/test_pyz.py",
    "messages/test_items.py",
    "cli/test_keys.py",
    "test_citations.py",
)


def llama_files() -> frozenset[str]:
    """Return the files whose tests take the fixture `llamacpp`, relative to this folder."""
    return frozenset(
        path.relative_to(FOLDER).as_posix()
        for path in FOLDER.rglob("test_*.py")
        if "llamacpp: " in path.read_text("utf-8")
    )


def processes() -> int:
    """Return how many processes `-n auto` starts: two more than there are cores, because many tests wait."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 2


def longest_first(items: list[pytest.Item]) -> None:
    """Sort the tests of a process of pytest-xdist by LONGEST. All processes must have the same order."""
    users = llama_files()
    ranks = {name: rank for rank, name in enumerate(LONGEST)}

    def rank(item: pytest.Item) -> int:
        file = item.path.relative_to(FOLDER).as_posix() if item.path.is_relative_to(FOLDER) else ""
        return ranks.get(LLAMA if file in users else file, len(ranks))

    items.sort(key=rank)


def import_in_turns(number: int, processes: int) -> None:
    """Import all test files, each process of pytest-xdist from another one on.

    pytest compiles a test file with its own assertions, and keeps the result. In a fresh clone all processes would compile
    all files at the same time, 7 s CPU each. This way each file is compiled by whoever comes first. A file that cannot be
    imported, or warns, is imported again when tests are collected, and fails there."""
    files = sorted(path.relative_to(FOLDER.parent).with_suffix("") for path in FOLDER.rglob("test_*.py"))
    start = len(files) * number // processes
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for file in files[start:] + files[:start]:
            with suppress(Exception, pytest.skip.Exception):
                importlib.import_module(".".join(file.parts))


class Schedule(LoadFileScheduling):  # type: ignore[misc]
    """`--dist loadfile` with the exceptions that this module is about."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        self._groups = dict.fromkeys((f"{FOLDER.name}/{file}" for file in llama_files()), LLAMA)
        self._spread = {f"{FOLDER.name}/{file}" for file in SPREAD}
        self._indices: dict[str, int] = {}

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file in self._spread else self._groups.get(file, file)

    def _assign_work_unit(self, node: Any) -> None:
        """Do what LoadFileScheduling does. It looks for each test in the list of all: half of the square of 17,000."""
        if not self._indices:
            self._indices = {nodeid: index for index, nodeid in enumerate(self.collection)}
        scope, work_unit = self.workqueue.popitem(last=False)
        self.assigned_work.setdefault(node, {})[scope] = work_unit
        node.send_runtest_some([self._indices[nodeid] for nodeid, is_done in work_unit.items() if not is_done])
