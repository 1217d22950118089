"""Completion in real shells: commands, subcommands, flags, their values; files where a file is wanted and behind a lone
--."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from a2py.cli import completion, exits, main
from a2py.cli.main import COMMANDS
from tests.commands import LIMIT

#: Beginning of a line → completions of its last word.
CASES = [
    (["a2py", "che"], ["check"]),
    (["a2py", "check", "--off"], ["--offline"]),
    (["a2py", "config", "in"], ["init"]),
    (["a2py", "config", "init", "--prov"], ["--provider"]),
    (["a2py", "--api-b"], ["--api-base"]),
    (["a2py", "--port", "1", "--api-b"], ["--api-base"]),
    (["a2py", "env", "--shell", "po"], ["powershell"]),
    (["a2py", "--log-format", "js"], ["json"]),
    (["a2py", "service", "ins"], ["install"]),
    (["a2py", "setup", "claude", "--und"], ["--undo"]),
]
#: The same where a flag and its value are one word to a person (and three to bash).
ONE_WORD = (["a2py", "--log-format=js"], ["--log-format=json"])
#: Lines that end in a file's name.
FILES = [["a2py", "--config", "a-f"], ["a2py", "start", "-c", "a-f"], ["a2py", "run", "--", "a-f"]]


def shell(name: str) -> str:
    path = shutil.which(name)
    if not path:
        pytest.skip(f"{name} is not here")
    return path


def test_the_table_knows_what_the_parsers_know() -> None:
    rows = completion.collect_words()
    words = {key: {word.text for word in row} for key, row in rows.items()}
    assert (
        set(COMMANDS) <= set(rows)
        and set(COMMANDS) <= words[""]
        and {"--config", "--api-base", "--health"} <= words["serve"] & words[""]
    )
    assert (
        words["config"] == {"init", "import", "show", "validate", "--help"}
        and {"--provider", "--yes"} <= words["config init"]
    )
    assert {"print", "install", "remove", "--socket"} <= words["service"] and {"bash", "zsh", "fish"} <= words[
        "completion"
    ]
    format = next(word for word in rows["serve"] if word.text == "--log-format")
    config = next(word for word in rows["serve"] if word.text == "--config")
    assert format.values == ("json", "text") and config.values == () and config.also == ("-c",)
    assert next(word for word in rows["serve"] if word.text == "--insecure").values is None
    assert all(word.help for word in rows["serve"])


@pytest.mark.parametrize("name", completion.SHELLS)
def test_each_shell_can_read_it(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["completion", name]) == exits.OK
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    assert all(command in script.read_text() for command in COMMANDS)
    result = subprocess.run([shell(name), "-n", str(script)], capture_output=True, text=True, timeout=LIMIT)
    assert (result.returncode, result.stderr) == (0, "")


def test_another_shell_is_refused() -> None:
    assert main(["completion", "tcsh"]) == exits.USAGE


def bash(words: list[str], cwd: Path) -> list[str]:
    script = f"{completion.SHELLS['bash']()}\nCOMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _a2py; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    result = subprocess.run(
        [shell("bash"), "-uc", script], capture_output=True, text=True, timeout=LIMIT, check=True, cwd=cwd
    )
    assert result.stderr == ""
    return result.stdout.split()


@pytest.mark.parametrize("words, completions", CASES)
def test_bash(words: list[str], completions: list[str], tmp_path: Path) -> None:
    assert bash(words, tmp_path) == completions


def test_bash_cuts_words_at_the_equals_sign(tmp_path: Path) -> None:
    flag = ["a2py", "start", "--log-format"]
    assert bash([*flag, "=", "js"], tmp_path) == ["json"] and bash([*flag, "="], tmp_path) == ["json", "text"]


@pytest.mark.parametrize("words", FILES)
def test_bash_leaves_files_to_itself(words: list[str], tmp_path: Path) -> None:
    assert bash(words, tmp_path) == [] and "-o default" in completion.SHELLS["bash"]()


def fish(words: list[str], cwd: Path) -> list[str]:
    (cwd / "script").write_text(completion.SHELLS["fish"]())
    command = f"source script; complete -C '{' '.join(words)}'"
    env = {**os.environ, "HOME": str(cwd), "XDG_CONFIG_HOME": str(cwd / "c"), "XDG_DATA_HOME": str(cwd / "d")}
    result = subprocess.run(
        [shell("fish"), "--no-config", "-c", command],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
        cwd=cwd,
        env=env,
    )
    assert result.stderr == ""
    return [line.split("\t")[0] for line in result.stdout.splitlines()]


@pytest.mark.real
@pytest.mark.parametrize("words, completions", [*CASES, ONE_WORD])
def test_fish(words: list[str], completions: list[str], tmp_path: Path) -> None:
    assert fish(words, tmp_path) == completions


@pytest.mark.real
@pytest.mark.parametrize("words", FILES)
def test_fish_offers_files(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("")
    assert fish(words, tmp_path) == ["a-file"]


class Zsh:
    """An interactive zsh on a terminal of its own: its completion system runs nowhere else."""

    def __init__(self, cwd: Path, begin: str) -> None:
        (cwd / "_a2py").write_text(completion.SHELLS["zsh"]())
        self.main, other = pty.openpty()
        env = {"PATH": os.environ["PATH"], "HOME": str(cwd), "TERM": "dumb", "PS1": "> ", "LISTMAX": "1000"}
        self.process = subprocess.Popen(
            [shell("zsh"), "-f", "-i"],
            stdin=other,
            stdout=other,
            stderr=other,
            cwd=cwd,
            env=env,
            start_new_session=True,
            close_fds=True,
        )
        os.close(other)
        self.output = ""
        self.type(f"unsetopt zle_bracketed_paste; autoload -U compinit; {begin}; print rea''dy\n")
        self.until("ready")

    def type(self, text: str) -> None:
        os.write(self.main, text.encode())

    def until(self, text: str) -> None:
        end = time.monotonic() + LIMIT
        while text not in self.output:
            assert time.monotonic() < end and self.process.poll() is None, self.output
            if select.select([self.main], [], [], 1)[0]:
                self.output += os.read(self.main, 65536).decode(errors="replace")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.main)


@pytest.mark.real
@pytest.mark.parametrize(
    "begin", ['compinit -u -D; eval "$(<_a2py)"', "fpath=($PWD $fpath); compinit -u -D"], ids=["sourced", "in fpath"]
)
def test_zsh(tmp_path: Path, begin: str) -> None:
    """Each line, completed and put into quotes by the shell itself, is printed whole."""
    (tmp_path / "a-file").write_text("")
    zsh = Zsh(tmp_path, begin)
    try:
        zsh.type('say() { print -r -- "<$*>" }; a2py() { say a2py $* }\n')
        for words, completions in [*CASES, ONE_WORD, *((words, ["a-file"]) for words in FILES)]:
            zsh.type(" ".join(words) + "\t\n")
            zsh.until(f"<{' '.join([*words[:-1], *completions])}>")
    finally:
        zsh.close()
