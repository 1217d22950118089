"""The docs say what the program does: transcripts run again, tables and names compared."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from a2py.cli.check.probes import PROBES
from a2py.cli.clientenv import FAMILIES, REMOVED_VARIABLES, SHELLS, TUNING
from a2py.cli.exits import EXITS
from a2py.cli.main import COMMANDS
from a2py.cli.options import LISTEN, SERVER, SOURCE
from tests.claude.cli import find
from tests.transcripts import PAGES, ROOT, Block, blocks, run

ALL = [block for page in PAGES for block in blocks(page)]


def parameter(block: Block) -> Any:
    return pytest.param(block, id=block.name, marks=[pytest.mark.claude] if block.claude else [])


@pytest.mark.parametrize("block", [*map(parameter, ALL)])
def test_transcript(block: Block) -> None:
    if block.claude and not find():
        pytest.skip("Claude Code is not here: make test-claude")
    assert run(block) == block.text, f"{block.page.name} is out of date: python -m tests.transcripts"


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_every_page_has_transcripts_of_the_commands_it_teaches() -> None:
    commands = " ".join(command for block in ALL for command in block.commands)
    for name in COMMANDS:
        if name not in ("serve", "demo", "run", "completion"):
            assert f"a2py {name}" in commands, name


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")))])
def test_links_lead_somewhere(page: str) -> None:
    images = re.findall(r'(?:src|srcset)="([^"]+)"', text(page))
    for target in [*re.findall(r"\]\((?!https?:)([^)#\s]+)", text(page)), *images]:
        assert ((ROOT / page).parent / target).exists(), target


def test_commands_flags_and_exit_codes_stand_in_the_docs() -> None:
    commands = text("docs/commands.md")
    for name, command in COMMANDS.items():
        assert f"`a2py {name}" in commands, name
        assert command.example
    for flag in (*SOURCE, *LISTEN, *SERVER):
        assert f"`{flag.names[0]}" in commands, flag.names[0]
    for code, meaning in EXITS.items():
        assert f"| {code} | {meaning} |" in commands
    for name, probe in PROBES.items():
        assert f"| `{name}` | {probe.title} |" in commands


def test_the_variables_of_claude_code_stand_in_the_docs_with_their_reasons() -> None:
    page = text("docs/claude-code.md")
    for name, (value, reason) in TUNING.items():
        assert f"| `{name}` | `{value}` | {reason} |" in page
    for name in (
        *FAMILIES.values(),
        *REMOVED_VARIABLES,
        "ANTHROPIC_SMALL_FAST_MODEL",
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS",
    ):
        assert f"`{name}`" in page, name
    for shell in SHELLS:
        assert f"--shell {shell}" in page


def test_readme_is_short_and_its_settings_are_what_setup_writes() -> None:
    readme = text("README.md")
    assert len(readme.splitlines()) < 160
    assert Path(ROOT / "docs").is_dir()
