"""`make release VERSION=1.2.3`: check the tree, set the version, build what is published, and say what to push. Nothing
is pushed.

Knows: git, the files that name the version, the order of the steps. Must not know: where anything is published.
Invariants: a refusal changes no file; if a later step fails, the files that name the version are put back.

The version is set before the tests run, because the transcripts in README.md and docs/ show it and are tests.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INIT = Path("a2py/__init__.py")
VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:(a|b|rc)(\d+))?")
#: The version in the transcripts of README.md and docs/: the first words of a start and of `--help`.
BANNER = "a2py {}"
PYTHON = sys.executable
#: What runs before something is built, and what builds: wheel and sdist, then the single file.
CHECKS: tuple[Sequence[str], ...] = (("make", "check"), ("make", "test"))
BUILDS: tuple[Sequence[str], ...] = (
    (PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", "build"),
    (PYTHON, "-m", "build"),
    (PYTHON, "-m", "tools.pyz"),
)

Run = Callable[[Sequence[str], Path], int]


class ReleaseError(Exception):
    """The release can't be made. The message says why, and what to do."""


def run(command: Sequence[str], root: Path) -> int:
    print("$", *command, flush=True)
    return subprocess.run(command, cwd=root, check=False).returncode


def git(root: Path, *arguments: str) -> str:
    process = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if process.returncode:
        raise ReleaseError(f"git {arguments[0]} failed: {process.stderr.strip()}")
    return process.stdout.rstrip()


def order(version: str) -> tuple[int, int, int, str, int]:
    """Return what versions are sorted by. 1.0.0rc1 is before 1.0.0. Raises `ReleaseError` for a text that is not a
    version."""
    match = VERSION.fullmatch(version)
    if match is None:
        raise ReleaseError(f"{version!r} is not a version. Write three numbers, like 0.2.0 or 0.2.0rc1")
    major, minor, patch, stage, number = match.groups()
    return int(major), int(minor), int(patch), stage or "z", int(number or 0)


def current(root: Path) -> str:
    match = re.search(r'__version__ = "([^"]+)"', (root / INIT).read_text("utf-8"))
    if match is None:
        raise ReleaseError(f"{INIT} has no __version__")
    return match[1]


def check(root: Path, version: str) -> None:
    """Raise `ReleaseError` if `version` can't be released from this tree."""
    old = current(root)
    if order(version) < order(old):
        raise ReleaseError(f"{version} is older than {old}, the version of {INIT}")
    if git(root, "tag", "--list", f"v{version}"):
        raise ReleaseError(f"the tag v{version} exists already. Choose a newer version")
    changes = git(root, "status", "--porcelain")
    if changes:
        raise ReleaseError(f"the tree has changes that are not committed:\n{changes}\nCommit or stash them")
    if not re.search(
        rf"^## {re.escape(version)}, \d{{4}}-\d\d-\d\d$", (root / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    ):
        raise ReleaseError(
            f"CHANGELOG.md has no heading `## {version}, YYYY-MM-DD`. Write what has changed, and commit it"
        )


def set_version(root: Path, version: str) -> list[Path]:
    """Write `version` into each file that names it. Return the files that changed."""
    old = current(root)
    paths = []
    for path in (root / INIT, root / "README.md", *sorted((root / "docs").glob("*.md"))):
        before = path.read_text("utf-8")
        if path == root / INIT:
            after = before.replace(f'__version__ = "{old}"', f'__version__ = "{version}"')
        else:
            after = re.sub(rf"\b{re.escape(BANNER.format(old))}(?=[ :])", BANNER.format(version), before)
        if after != before:
            path.write_text(after, "utf-8")
            paths.append(path)
    return paths


def release(root: Path, version: str, run: Run = run) -> str:
    """Check, set the version, build. Return what the user must do to publish."""
    check(root, version)
    paths = set_version(root, version)
    try:
        shutil.rmtree(root / "dist", ignore_errors=True)
        for command in (*CHECKS, *BUILDS):
            if run(command, root):
                raise ReleaseError(f"`{' '.join(command)}` failed. The files that name the version are as they were")
    except BaseException:
        if paths:
            git(root, "checkout", "--", *(str(path.relative_to(root)) for path in paths))
        raise
    return to_push(root, version, paths)


def to_push(root: Path, version: str, paths: Sequence[Path]) -> str:
    files = sorted(path.relative_to(root).as_posix() for path in (root / "dist").glob("*"))
    lines = [f"a2py {version} is built, and nothing is published yet:", *(f"  {name}" for name in files), "", "Now:"]
    if paths:
        lines.append(f'  git commit -am "Release {version}"')
    lines.append(f'  git tag -a v{version} -m "a2py {version}"')
    lines.append(f"  git push origin {git(root, 'rev-parse', '--abbrev-ref', 'HEAD')} v{version}")
    lines.append("  upload the wheel and the sdist to the package index, and attach a2py.pyz to the release of the tag")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make release VERSION=…", description="Check, set the version, build; push nothing."
    )
    parser.add_argument("version", nargs="?", default="")
    version = parser.parse_args(arguments).version
    try:
        print(release(ROOT, version))
    except ReleaseError as problem:
        print(f"release: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
