"""The project's own files: CI, the people's pages, `make release`."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from configparser import ConfigParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import a2py
from tests import schedule
from tools import release

ROOT = Path(a2py.__file__).parents[1]
CI = ROOT / ".github" / "workflows" / "ci.yml"
#: Folders of the shell. The others are the core.
SHELL = ("cli", "config", "demo", "http1", "ledger", "proxy", "upstream")
#: Words of hosts from which packages come: the workflow takes what its runner is set up with.
REGISTRIES = ("pypi", "npmjs", "index-url", "docker.io", "ghcr.io", "quay.io", "conda")


def jobs() -> dict[str, Any]:
    jobs_of_file: dict[str, Any] = yaml.safe_load(CI.read_text("utf-8"))["jobs"]
    return jobs_of_file


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def setup() -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", "utf-8")
    return parser


# -- CI ----------------------------------------------------------------------------------------------------------------


def test_ci_runs_the_pythons_that_setup_cfg_promises() -> None:
    metadata = setup()["metadata"]["classifiers"]
    versions = re.findall(r"Python :: (3\.\d+)$", metadata, re.MULTILINE)
    assert jobs()["linux"]["strategy"]["matrix"]["python"] == versions
    assert setup()["options"]["python_requires"] == f">={versions[0]}"
    assert set(jobs()["others"]["strategy"]["matrix"]["python"]) <= set(versions)


def test_ci_runs_on_three_systems() -> None:
    systems = [jobs()["linux"]["runs-on"], *jobs()["others"]["strategy"]["matrix"]["os"]]
    assert [system.partition("-")[0] for system in systems] == ["ubuntu", "macos", "windows"]
    assert all(job["timeout-minutes"] <= 60 for job in jobs().values())


def test_ci_names_no_registry_and_may_only_read() -> None:
    text = CI.read_text("utf-8").lower()
    assert not [word for word in REGISTRIES if word in text]
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    assert "secrets." not in text


@pytest.mark.parametrize(
    "name",
    ["CONTRIBUTING.md", "README.md", ".github/workflows/ci.yml", "tests/README.md", ".github/PULL_REQUEST_TEMPLATE.md"],
)
def test_each_make_target_that_is_named_exists(name: str) -> None:
    mentions = set(re.findall(r"(?:`|run: |&& |^)make ([a-z][a-z-]+)", (ROOT / name).read_text("utf-8"), re.MULTILINE))
    assert mentions and mentions <= targets()


def test_contributing_has_ten_commands() -> None:
    rows = re.findall(r"^\| `make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)
    assert len(rows) == 10 and "release" in rows


def test_the_page_of_the_design_is_two_screens_and_answers_ten_questions() -> None:
    page = (ROOT / "docs" / "design.md").read_text("utf-8")
    _, glossary, places = re.split(r"^## (?:Glossary|Where do I add …)$", page, flags=re.MULTILINE)
    rows = [[line for line in part.split("\n") if line.startswith("|")][2:] for part in (glossary, places)]
    assert len(page.split("\n")) <= 120
    assert len(rows[0]) >= 25 and len(rows[1]) == 10
    for word in (
        "wire",
        "sink",
        "verb",
        "splice",
        "deployment",
        "quirk",
        "lesson",
        "degraded",
        "origin",
        "vendor state",
        "attempt",
        "exchange",
        "commit",
    ):
        assert any(row.startswith(f"| {word} |") for row in rows[0]), word


# -- releases ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A small repository that can be released as 0.2.0."""
    for name, text in {
        "a2py/__init__.py": '__version__ = "0.1.0"\n',
        "README.md": "a2py 0.1.0 at http://127.0.0.1:4000\nhaproxy 0.1.0\n",
        "docs/commands.md": "a2py 0.1.0: any client\n",
        "CHANGELOG.md": "# Changes\n\n## 0.2.0, 2026-12-01\n\n- More.\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "All")
    return tmp_path


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


class Steps:
    """Stands for the commands of a release. `failing`: the last word of the one that fails."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.commands: list[str] = []

    def __call__(self, command: Sequence[str], root: Path) -> int:
        self.commands.append(command[-1])
        if command[-1] == "build":
            (root / "dist").mkdir(exist_ok=True)
            (root / "dist" / "a2py-0.2.0-py3-none-any.whl").write_bytes(b"")
        return int(command[-1] == self.failing)


def test_a_release_sets_the_version_tests_builds_and_pushes_nothing(clone: Path) -> None:
    steps = Steps()
    output = release.release(clone, "0.2.0", steps)
    assert steps.commands == ["check", "test", "build", "build", "tools.pyz"]
    assert release.current(clone) == "0.2.0"
    assert (clone / "README.md").read_text("utf-8") == "a2py 0.2.0 at http://127.0.0.1:4000\nhaproxy 0.1.0\n"
    assert (clone / "docs/commands.md").read_text("utf-8") == "a2py 0.2.0: any client\n"
    assert (
        'git commit -am "Release 0.2.0"' in output
        and "git push origin main v0.2.0" in output
        and "dist/a2py-0.2.0-py3-none-any.whl" in output
    )
    assert not release.git(clone, "tag")


@pytest.mark.parametrize("failing", ["check", "test", "tools.pyz"])
def test_a_failed_step_puts_the_version_back(clone: Path, failing: str) -> None:
    steps = Steps(failing)
    with pytest.raises(release.ReleaseError, match=f"{re.escape(failing)}` failed"):
        release.release(clone, "0.2.0", steps)
    assert steps.commands[-1] == failing
    assert release.current(clone) == "0.1.0" and not release.git(
        clone, "status", "--porcelain", "--", "a2py", "docs", "README.md"
    )


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("", "is not a version"),
        ("0.2", "is not a version"),
        ("v0.2.0", "is not a version"),
        ("0.0.9", "is older than 0.1.0"),
        ("0.1.0rc1", "is older than 0.1.0"),
        ("0.3.0", "no heading `## 0.3.0, YYYY-MM-DD`"),
    ],
)
def test_a_version_that_cannot_be_released(clone: Path, version: str, reason: str) -> None:
    steps = Steps()
    with pytest.raises(release.ReleaseError, match=re.escape(reason)):
        release.release(clone, version, steps)
    assert not steps.commands and release.current(clone) == "0.1.0"


def test_a_tree_with_changes_or_a_tag_is_refused(clone: Path) -> None:
    git(clone, "tag", "v0.2.0")
    with pytest.raises(release.ReleaseError, match=r"the tag v0\.2\.0 exists"):
        release.check(clone, "0.2.0")
    git(clone, "tag", "-d", "v0.2.0")
    (clone / "new.txt").write_text("", "utf-8")
    with pytest.raises(release.ReleaseError, match="not committed"):
        release.check(clone, "0.2.0")


def test_the_real_tree_names_its_version_where_the_release_looks() -> None:
    line = release.BANNER.format(a2py.__version__)
    assert release.current(ROOT) == a2py.__version__
    assert any(line in path.read_text("utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    assert sorted(["0.2.0", "0.2.0rc1", "0.10.0"], key=release.order) == ["0.2.0rc1", "0.2.0", "0.10.0"]


# -- tests -------------------------------------------------------------------------------------------------------------


def test_each_module_of_the_shell_has_tests_that_can_be_found() -> None:
    """By the module's name, or else by the table in tests/README.md."""
    text = (ROOT / "tests" / "README.md").read_text("utf-8")
    table: set[str] = set()
    for row in text.partition("## Shell modules")[2].partition("## Files")[0].splitlines():
        if row.startswith("| `"):
            files, paths = (re.findall(r"`([\w/.]+)`", cell) for cell in row.strip("| ").split(" | "))
            assert [file for file in files if not (ROOT / "tests" / file).is_file()] == []
            table.update(paths)
    test_names = {
        str(path.relative_to(ROOT / "tests").with_name(path.stem.removeprefix("test_")))
        for path in (ROOT / "tests").rglob("test_*.py")
    }
    shell = [path for folder in SHELL for path in (ROOT / "a2py" / folder).rglob("*.py") if path.name != "__init__.py"]
    modules = {str(path.relative_to(ROOT / "a2py").with_suffix("")) for path in shell} | {"__main__"}
    assert table == {
        module for module in modules if not any(name == module or name.startswith(f"{module}_") for name in test_names)
    }


def test_the_files_that_the_schedule_names_exist() -> None:
    names = {*schedule.SPREAD, *schedule.LONGEST} - {schedule.LLAMA}
    assert [name for name in sorted(names) if not (ROOT / "tests" / name).is_file()] == []
    assert "whole/test_llamacpp.py" in schedule.llama_files() and "test_sse.py" not in schedule.llama_files()
    assert schedule.processes() > 2


def test_the_longest_start_first() -> None:
    names = ["test_sse.py", "whole/test_linear.py", "whole/test_llamacpp.py", "test_quirks.py"]
    items: list[Any] = [SimpleNamespace(path=ROOT / "tests" / name) for name in names]
    schedule.longest_first(items)
    assert [item.path.name for item in items] == ["test_llamacpp.py", "test_linear.py", "test_sse.py", "test_quirks.py"]


# -- size --------------------------------------------------------------------------------------------------------------


def test_files_and_lines_of_the_package_stay_small() -> None:
    """ruff's formatter leaves long comments and strings as they are. The page's script is one file: a request fewer."""
    long = []
    modules = sorted((ROOT / "a2py").rglob("*.py"))
    page = [ROOT / "a2py" / "ui" / name for name in ("app.css", "app.js", "index.html")]
    for path in (*modules, *page):
        lines = path.read_text("utf-8").splitlines()
        most = 2700 if path.suffix == ".js" else 450
        long += [f"{path.relative_to(ROOT)}: {len(lines)} lines"] * (len(lines) > most)
        long += [f"{path.relative_to(ROOT)}:{n}: {len(line)}" for n, line in enumerate(lines, 1) if len(line) > 120]
    assert not long
