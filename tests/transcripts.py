"""Transcripts in the docs: each is run as it is written, and its output must be what the page shows.

Knows: the form of a block, what differs from run to run. Must not know: what any command does.

A block is fenced as `console`; a comment before it says what it runs in:

    <!-- transcript: file=examples/deepseek.yaml:litellm_config.yaml env=DEEPSEEK_API_KEY=sk-example serve -->

`file=SOURCE:NAME` copies a file into the empty directory in which the commands run; `env=NAME=VALUE` sets a variable;
`serve`: a2py runs meanwhile, on the port that the page calls 4000; `claude`: only where Claude Code is (make
test-claude); `head=N`: only the first N lines of each answer, then an ellipsis. `python -m tests.transcripts` writes
the pages anew."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.claude.cli import find
from tests.commands import LIMIT, clean_env, serving
from tests.process import free_port

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(r"<!-- transcript: ?(?P<how>.*?) ?-->\n```console\n(?P<text>.*?)```\n", re.DOTALL)
#: What differs from run to run → what the page shows.
_CHANGING = (
    (re.compile(r"\bmsg_[\w-]{10,}"), "msg_0123456789"),
    (re.compile(r"\breq_[\w-]{10,}"), "req_0123456789"),
    (re.compile(r"\d+\.\d+ s\b"), "0.1 s"),
    (re.compile(r"\bpid \d+"), "pid 12345"),
    (re.compile(r"\b\d+ min \d+ s\b"), "0 min 1 s"),
    (re.compile(r"\b\d+ pieces"), "60 pieces"),
    # A probe may ask again. Without tokens there was no answer, and the number is certain.
    (re.compile(r"\b\d+ requests, [1-9][\d,]* tokens"), "14 requests, 1,136 tokens"),
    (re.compile(r"127\.0\.0\.1:(?!4000\b|8000\b|9\b)\d{4,5}"), "127.0.0.1:50000"),
    (re.compile(r"\bsk-[\w-]{30,}"), "sk-made-up"),
    (re.compile(r"/ui#[\w-]+"), "/ui#token"),
    (re.compile(r"\bconnections \d+"), "connections 1"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "2026-11-23T08:00:00.000Z"),
    (re.compile(r"(?m)^off: .*\n"), ""),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
)


@dataclass
class Block:
    """One transcript: `text` as the page has it."""

    page: Path
    text: str
    files: list[tuple[str, str]] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    serve: bool = False
    claude: bool = False
    head: int = 0

    @property
    def commands(self) -> list[str]:
        return [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]

    @property
    def name(self) -> str:
        return f"{self.page.name}: {self.commands[0] if self.commands else 'nothing'}"


def blocks(page: Path) -> Iterator[Block]:
    for match in _BLOCK.finditer(page.read_text("utf-8")):
        block = Block(page, match["text"])
        for word in shlex.split(match["how"]):
            name, _, value = word.partition("=")
            if name == "file":
                source, _, target = value.partition(":")
                block.files.append((source, target or Path(source).name))
            elif name == "env":
                key, _, text = value.partition("=")
                block.env[key] = text
            elif name == "head":
                block.head = int(value)
            else:
                assert name in ("serve", "claude"), f"{page}: unknown word {word!r}"
                setattr(block, name, True)
        yield block


def normal(text: str, folder: Path) -> str:
    text = text.replace(str(folder) + "/", "~/").replace(str(folder), "~")
    for pattern, replacement in _CHANGING:
        text = pattern.sub(replacement, text)
    return text


def run(block: Block) -> str:
    """The block's text as it would be now."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        folder = Path(directory).resolve()
        for source, target in block.files:
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / source, folder / target)
            (folder / target).chmod(0o600)
        port = str(free_port())
        env = {**clean_env(folder, **block.env), "PORT": port, "PATH": _path(folder)}
        if block.serve:
            stack.enter_context(serving(cwd=folder, env={**block.env, "PORT": port})).until("Try it:")
        out = []
        for command in block.commands:
            output = (
                _serve(folder, env, command)
                if _serves(command)
                else _command(folder, env, re.sub(r"(?:(?<=127\.0\.0\.1:)|(?<=--port ))4000", port, command))
            )
            output = output.replace(f"127.0.0.1:{port}", "127.0.0.1:4000").replace(f"--port {port}", "--port 4000")
            output = normal(output.replace(sys.executable, "/opt/a2py/bin/python"), folder)
            lines = output.splitlines()
            if block.head and len(lines) > block.head:
                output = "\n".join([*lines[: block.head], "…"])
            out.append(f"$ {command}\n{output.strip(chr(10))}\n" if output.strip() else f"$ {command}\n")
    return "".join(out)


def _serves(command: str) -> bool:
    words = shlex.split(command)
    while words and "=" in words[0]:
        words = words[1:]
    return (
        words[:1] == ["a2py"]
        and (len(words) == 1 or words[1].startswith("--"))
        and not {"--version", "--help", "--health", "--test"} & set(words)
    )


def _path(folder: Path) -> str:
    """A PATH with `a2py` (and Claude Code, where it is named) in front."""
    bin = folder / ".bin"
    bin.mkdir()
    script = bin / "a2py"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m a2py "$@"\n')
    script.chmod(0o755)
    claude = find()
    if claude:
        (bin / "claude").symlink_to(claude)
    return f"{bin}:{os.environ['PATH']}"


def _command(folder: Path, env: dict[str, str], command: str) -> str:
    result = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
    )
    return result.stdout + (f"[exit {result.returncode}]\n" if result.returncode else "")


def _serve(folder: Path, env: dict[str, str], command: str) -> str:
    """A server's summary; it is ended then."""
    words = shlex.split(command)
    here = {k: env[k] for k in env if k not in os.environ or env[k] != os.environ[k]}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        here[name] = value
    args = [env["PORT"] if word == "4000" else word for word in words[1:]]
    with serving(*args, cwd=folder, env=here) as running:
        running.until(r"Try it:\n  curl.*\n|^a2py: ")
        running.end()
        output = running.stderr
    return output[: output.index("\n\n", output.index("Try it:")) + 1] if "Try it:" in output else output


def rewritten(page: Path) -> str:
    """The page with every transcript made anew (those that can't be run here stay)."""
    fresh = {block.text: run(block) for block in blocks(page) if not block.claude or find()}

    def put(match: re.Match[str]) -> str:
        return match[0].replace(
            f"```console\n{match['text']}```", f"```console\n{fresh.get(match['text'], match['text'])}```"
        )

    return _BLOCK.sub(put, page.read_text("utf-8"))


if __name__ == "__main__":
    for page in PAGES:
        if any(True for _ in blocks(page)):
            page.write_text(rewritten(page), "utf-8")
            print(page)
