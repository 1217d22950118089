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
SHOWN = "a2py {}"
PYTHON = sys.executable
#: What runs before something is built, and what builds: wheel and sdist, then the single file.
CHECKS: tuple[Sequence[str], ...] = (("make", "check"), ("make", "test"))
BUILDS: tuple[Sequence[str], ...] = (
    (PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", "build"),
    (PYTHON, "-m", "build"),
    (PYTHON, "-m", "tools.pyz"),
)

Run = Callable[[Sequence[str], Path], int]


class Refused(Exception):
    """The release can't be made. The message says why, and what to do."""


def run(command: Sequence[str], root: Path) -> int:
    print("$", *command, flush=True)
    return subprocess.run(command, cwd=root, check=False).returncode


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.rstrip()


def order(version: str) -> tuple[int, int, int, str, int]:
    """Return what versions are sorted by. 1.0.0rc1 is before 1.0.0. Raises `Refused` for a text that is not a
    version."""
    match = VERSION.fullmatch(version)
    if match is None:
        raise Refused(f"{version!r} is not a version. Write three numbers, like 0.2.0 or 0.2.0rc1")
    major, minor, patch, stage, number = match.groups()
    return int(major), int(minor), int(patch), stage or "z", int(number or 0)


def current(root: Path) -> str:
    match = re.search(r'__version__ = "([^"]+)"', (root / INIT).read_text("utf-8"))
    if match is None:
        raise Refused(f"{INIT} has no __version__")
    return match[1]


def check(root: Path, version: str) -> None:
    """Raise `Refused` if `version` can't be released from this tree."""
    old = current(root)
    if order(version) < order(old):
        raise Refused(f"{version} is older than {old}, the version of {INIT}")
    if git(root, "tag", "--list", f"v{version}"):
        raise Refused(f"the tag v{version} exists already. Choose a newer version")
    changes = git(root, "status", "--porcelain")
    if changes:
        raise Refused(f"the tree has changes that are not committed:\n{changes}\nCommit or stash them")
    if not re.search(
        rf"^## {re.escape(version)}, \d{{4}}-\d\d-\d\d$", (root / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    ):
        raise Refused(f"CHANGELOG.md has no heading `## {version}, YYYY-MM-DD`. Write what has changed, and commit it")


def set_version(root: Path, version: str) -> list[Path]:
    """Write `version` into each file that names it. Return the files that changed."""
    old = current(root)
    changed = []
    for path in (root / INIT, root / "README.md", *sorted((root / "docs").glob("*.md"))):
        before = path.read_text("utf-8")
        if path == root / INIT:
            after = before.replace(f'__version__ = "{old}"', f'__version__ = "{version}"')
        else:
            after = re.sub(rf"\b{re.escape(SHOWN.format(old))}(?=[ :])", SHOWN.format(version), before)
        if after != before:
            path.write_text(after, "utf-8")
            changed.append(path)
    return changed


def release(root: Path, version: str, run: Run = run) -> str:
    """Check, set the version, build. Return what the user must do to publish."""
    check(root, version)
    changed = set_version(root, version)
    try:
        shutil.rmtree(root / "dist", ignore_errors=True)
        for command in (*CHECKS, *BUILDS):
            if run(command, root):
                raise Refused(f"`{' '.join(command)}` failed. The files that name the version are as they were")
    except BaseException:
        if changed:
            git(root, "checkout", "--", *(str(path.relative_to(root)) for path in changed))
        raise
    return to_push(root, version, changed)


def to_push(root: Path, version: str, changed: Sequence[Path]) -> str:
    built = sorted(path.relative_to(root).as_posix() for path in (root / "dist").glob("*"))
    lines = [f"a2py {version} is built, and nothing is published yet:", *(f"  {name}" for name in built), "", "Now:"]
    if changed:
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
    except Refused as problem:
        print(f"release: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
