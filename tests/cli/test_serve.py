"""`a2py serve` as a process: what it picks, what it says, what works, what it refuses."""

from __future__ import annotations

import io
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import anthropic
import pytest

from a2py.cli import exits, serve, summary
from a2py.cli.clientenv import Target
from a2py.cli.source import Source
from a2py.cli.terminal import Terminal
from a2py.config import Config, load
from tests.commands import a2py, serving

DEMO = ["--port", "0"]
Sdk = Callable[..., Any]


@pytest.fixture
def sdk() -> Iterator[Sdk]:
    """Makes clients, which are closed at the end of the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(anthropic.Anthropic(**options))


def test_with_nothing_at_all_it_serves_the_demo(sdk: Sdk, tmp_path: Path) -> None:
    with serving(*DEMO, cwd=tmp_path) as running:
        client = sdk(base_url=running.url, api_key="any", max_retries=0)
        reply = client.messages.create(
            model="claude-opus-5-5", max_tokens=100, messages=[{"role": "user", "content": "Say hello"}]
        )
        assert reply.content[0].text == "Hello!"
        with client.messages.stream(
            model="demo", max_tokens=900, messages=[{"role": "user", "content": "count to 20"}]
        ) as stream:
            pieces = list(stream.text_stream)
        assert len(pieces) > 5 and "".join(pieces).endswith("19, 20.")
        thinking = client.messages.create(
            model="demo",
            max_tokens=2000,
            thinking={"type": "enabled", "budget_tokens": 1024},
            messages=[{"role": "user", "content": "hi"}],
        )
        assert [block.type for block in thinking.content] == ["thinking", "text"]
        output = running.stderr
        for part in ("demo model", "OPENAI_API_KEY", "start Ollama", "a2py config init", "export ANTHROPIC_MODEL=demo"):
            assert part in output
        curl = re.search(r"^  (curl -N .*)$", output, re.MULTILINE)
        assert curl
        if shutil.which("curl"):
            result = subprocess.run(["sh", "-c", f"{curl[1]} -sS"], capture_output=True, text=True, timeout=30)
            assert "event: message_stop" in result.stdout and "Hello" in result.stdout
        assert running.end() == exits.OK


def test_a_file_and_its_reload(tmp_path: Path) -> None:
    def write(name: str) -> None:
        entry = {
            "model_name": name,
            "litellm_params": {"model": "openai/x", "api_base": "http://127.0.0.1:9/v1", "api_key": "sk-not-shown"},
        }
        text = json.dumps({"model_list": [entry], "general_settings": {"master_key": "sk-m"}, "wrong_key": 1})
        (tmp_path / "litellm_config.yaml").write_text(text)

    def models() -> list[str]:
        request = urllib.request.Request(running.url + "/v1/models", headers={"x-api-key": "sk-m"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return [row["display_name"] for row in json.load(answer)["data"]]

    write("first")
    with serving(*DEMO, cwd=tmp_path) as running:
        assert "first" in models()
        assert (
            "wrong_key` is unknown and ignored" in running.stderr
            and "sk-not-shown" not in running.stderr
            and "sk-m" not in running.stderr
        )
        assert "serving litellm_config.yaml" in running.stderr
        write("second")
        running.process.send_signal(signal.SIGHUP)
        running.until("reloaded")
        assert "second" in models() and "first" not in models()
        assert running.end(signal.SIGINT) == exits.OK


def test_json_log(tmp_path: Path) -> None:
    with serving(*DEMO, "--log-format", "json", cwd=tmp_path) as running:
        running.until('"event":"started"')
        event = json.loads(running.lines[0])
        assert event["model"] == "demo" and event["url"].startswith("http://127.0.0.1:")


@pytest.mark.parametrize("env", [{}, {"LITELLM_MASTER_KEY": ""}])
def test_a_public_address_needs_a_key(tmp_path: Path, env: dict[str, str]) -> None:
    result = a2py("--host", "0.0.0.0", *DEMO, cwd=tmp_path, env=env)
    assert (
        result.returncode == exits.REFUSED and "LITELLM_MASTER_KEY" in result.stderr and "--insecure" in result.stderr
    )


@pytest.mark.parametrize(
    "host, cure",
    [
        ("300.1.2.3", "300.1.2.3 is neither an IP address nor the name of a host: correct --host"),
        ("1.2.3", "neither an IP address"),
        ("http://127.0.0.1", "neither an IP address"),
        ("a b", "neither an IP address"),
        ("127.0.0.1:4000", "write --host 127.0.0.1 --port 4000"),
        ("[::1]", "write --host ::1"),
        ("[::1]:4000", "write --host ::1 --port 4000"),
        ("localhost:4000", "write --host localhost --port 4000"),
    ],
)
def test_a_host_that_can_be_no_address(host: str, cure: str) -> None:
    with pytest.raises(exits.Stop, match=re.escape(cure)) as excinfo:
        serve.check_host(host)
    assert excinfo.value.code == exits.USAGE


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "0.0.0.0", "::1", "::", "fe80::1%eth0", "localhost", "Box.local.", "bücher.de"]
)
def test_a_host_that_may_be_one(host: str) -> None:
    serve.check_host(host)


@pytest.mark.parametrize(
    "setting, variable, is_served",
    [
        (None, "1", True),
        (None, "true", True),
        (None, "0", False),
        (None, "", False),
        ("true", "0", True),
        ("false", "1", False),  # the file wins, as for every setting
    ],
)
@pytest.mark.parametrize("has_file", [True, False])
def test_who_allows_a_public_address(
    setting: str | None, variable: str, is_served: bool, has_file: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("A2PY_INSECURE", variable)
    monkeypatch.delenv("LITELLM_MASTER_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    config = None
    if has_file:
        section = f"general_settings: {{dangerously_permit_weak_or_unset_master_key: {setting}}}\n" if setting else ""
        (tmp_path / "f.yaml").write_text(f"model_list: []\n{section}")
        config = load(str(tmp_path / "f.yaml"), {"A2PY_INSECURE": variable}, str(tmp_path))
    elif setting is not None:
        return  # there is no file that could set it
    with nullcontext() if is_served else pytest.raises(exits.Stop, match="is a public address"):
        serve.check_public("0.0.0.0", Source(config, ""), False)
    serve.check_public("0.0.0.0", Source(config, ""), True)
    serve.check_public("127.0.0.1", Source(config, ""), False)


@pytest.mark.parametrize(
    "flags, env, message",
    [
        (["--insecure"], {}, "export ANTHROPIC_AUTH_TOKEN=a2py\n"),
        ([], {"A2PY_INSECURE": "1"}, "export ANTHROPIC_AUTH_TOKEN=a2py\n"),
        ([], {"LITELLM_MASTER_KEY": "sk-m"}, 'export ANTHROPIC_AUTH_TOKEN="$LITELLM_MASTER_KEY"\n'),
    ],
)
def test_a_public_address_that_is_meant(tmp_path: Path, flags: list[str], env: dict[str, str], message: str) -> None:
    with serving("--host", "0.0.0.0", *DEMO, *flags, cwd=tmp_path, env=env) as running:
        assert running.url.startswith("http://127.0.0.1:")
        running.until("Try it:")
        assert message in running.stderr and "listening on 0.0.0.0:" in running.stderr and "sk-m" not in running.stderr


def test_the_demo_asks_for_the_master_key_of_the_environment(sdk: Sdk, tmp_path: Path) -> None:
    with serving(*DEMO, cwd=tmp_path, env={"LITELLM_MASTER_KEY": "sk-m"}) as running:
        client = sdk(base_url=running.url, api_key="other", max_retries=0)
        with pytest.raises(anthropic.AuthenticationError):
            client.messages.create(model="demo", max_tokens=10, messages=[{"role": "user", "content": "hi"}])


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        result = a2py("--port", str(port), cwd=tmp_path)
        message = f"port {port} on 127.0.0.1 is taken: another program listens there (choose another with --port N)"
        assert result.returncode == exits.UNAVAILABLE and message in result.stderr
    with serving(*DEMO, cwd=tmp_path) as running:
        port = int(running.url.rpartition(":")[2])
        result = a2py("--port", str(port), cwd=tmp_path)
        assert (
            result.returncode == exits.UNAVAILABLE
            and "an a2py answers there already (use it, or choose another with --port N)" in result.stderr
        )
        assert a2py("--test", cwd=tmp_path, env={"PORT": str(port)}).stdout == "demo: Hello!\n"


def test_a_port_that_a_connection_has(tmp_path: Path) -> None:
    """Nobody listens there: it is the local port of a connection to elsewhere."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.connect(server.getsockname())
        port = holder.getsockname()[1]
        result = a2py("--port", str(port), cwd=tmp_path)
    assert result.returncode == exits.UNAVAILABLE
    assert f"port {port} on 127.0.0.1 is taken, but nobody listens at 127.0.0.1:{port}: another" in result.stderr


@pytest.mark.parametrize(
    "args, code, message",
    [
        (
            ["--config", "missing.yaml"],
            exits.CONFIG,
            "missing.yaml cannot be read: No such file or directory. Correct --config",
        ),
        (
            ["--demo", "--capture", "/dev/null/x"],
            exits.CONFIG,
            "captures can't be written into /dev/null/x: name another",
        ),
        (["--host", "203.0.113.7", "--insecure"], exits.UNAVAILABLE, "not an address of this machine"),
        (["--ssl_keyfile_path", "k"], exits.USAGE, "--ssl-keyfile-path needs --ssl-certfile-path"),
        (["--ssl_certfile_path", "missing.pem"], exits.CONFIG, "missing.pem"),
        (["--alias", "x"], exits.USAGE, "--alias needs --model"),
        (["--config", "x", "--model", "y"], exits.USAGE, "either --config or --model"),
        (["--test"], exits.UNAVAILABLE, "no a2py answers at http://127.0.0.1:"),
    ],
)
def test_what_can_not_be_served(tmp_path: Path, args: list[str], code: int, message: str) -> None:
    result = a2py(*args, cwd=tmp_path)
    assert (result.returncode, message in result.stderr, "Traceback" in result.stderr) == (code, True, False), (
        result.stderr
    )


def test_a_mistake_in_the_file_names_its_place(tmp_path: Path) -> None:
    (tmp_path / "a2py.yaml").write_text("model_list:\n  - model_name: [\n")
    result = a2py(cwd=tmp_path)
    assert result.returncode == exits.CONFIG and "a2py.yaml:3: " in result.stderr


def certificate(folder: Path) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    if not shutil.which("openssl"):
        pytest.skip("openssl is not here")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True, timeout=60)
    return cert, key


def test_tls(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    with serving(*DEMO, "--ssl_certfile_path", str(cert), "--ssl_keyfile_path", str(key), cwd=tmp_path) as running:
        assert running.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(cert))
        with urllib.request.urlopen(running.url + "/health/liveliness", context=context, timeout=10) as answer:
            assert json.load(answer)["name"] == "a2py"


def test_one_model_without_a_file(sdk: Sdk, tmp_path: Path) -> None:
    with serving("demo", "--port", "0", cwd=tmp_path) as upstream:
        base = upstream.until(r"at (http://\S+/v1),")[1]
        with serving(
            *DEMO, "--model", "openai/demo", "--api_base", base, "--alias", "mine", "--api_key", "sk-x", cwd=tmp_path
        ) as running:
            client = sdk(base_url=running.url, api_key="any", max_retries=0)
            for name in ("mine", "claude-haiku-5-5", "whatever"):
                reply = client.messages.create(
                    model=name, max_tokens=50, messages=[{"role": "user", "content": "Say hello"}]
                )
                assert reply.content[0].text == "Hello!"
            assert "serving --model openai/demo" in running.stderr and "sk-x" not in running.stderr


def test_capture_writes_what_went_where(sdk: Sdk, tmp_path: Path) -> None:
    with serving(*DEMO, "--capture", "seen", cwd=tmp_path, env={"LITELLM_MASTER_KEY": "sk-m-secret"}) as running:
        client = sdk(base_url=running.url, api_key="sk-m-secret", max_retries=0)
        with client.messages.stream(
            model="x", max_tokens=50, messages=[{"role": "user", "content": "Say hello"}]
        ) as stream:
            assert stream.get_final_text() == "Hello!"
        assert running.end() == exits.OK
    (capture,) = (tmp_path / "seen").iterdir()
    files = [capture] if capture.is_file() else [path for path in capture.rglob("*") if path.is_file()]
    whole = "".join(path.read_text() for path in files)
    assert "Say hello" in whole and "Hello" in whole.replace("Say hello", "") and "sk-m-secret" not in whole
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)


def test_the_demo_command_says_when_it_can_not(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        result = a2py("demo", "--port", str(holder.getsockname()[1]), cwd=tmp_path)
    assert result.returncode == exits.UNAVAILABLE and "choose another" in result.stderr


@pytest.mark.parametrize(
    "example", sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_example_is_served_as_it_is(sdk: Sdk, tmp_path: Path, example: Path) -> None:
    keys = dict.fromkeys(set(re.findall(r"os\.environ/(\w+)", example.read_text())), "sk-example")
    with serving("--config", str(example), *DEMO, cwd=tmp_path, env=keys) as running:
        client = sdk(base_url=running.url, api_key=keys.get("LITELLM_MASTER_KEY", "any"), max_retries=0)
        names = {model.display_name for model in client.models.list(limit=1000)}
        running.until("Try it:")
        assert "✗" not in running.stderr and "warning:" not in running.stderr
        models = set(re.findall(r"model_name: ([\w.-]+)$", example.read_text(), re.MULTILINE))
        assert models and models <= names
        assert running.end() == exits.OK


# -- the summary -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host, url, near",
    [
        ("127.0.0.1", "http://127.0.0.1:4000", True),
        ("0.0.0.0", "http://127.0.0.1:4000", False),
        ("::", "http://127.0.0.1:4000", False),
        ("::1", "http://[::1]:4000", True),
        ("localhost", "http://localhost:4000", True),
        ("", "http://127.0.0.1:4000", False),
        ("10.0.0.5", "http://10.0.0.5:4000", False),
        ("gateway.local", "http://gateway.local:4000", False),
    ],
)
def test_addresses(host: str, url: str, near: bool) -> None:
    assert summary.own_url(host, 4000) == url and summary.is_loopback(host) is near


def test_curl_survives_an_apostrophe() -> None:
    assert "'it'\\''s'" in summary.format_curl(Target("http://x", model="it's")).replace('"', "'")


@pytest.mark.parametrize("problem", [True, False])
def test_a_summary_where_nothing_works_promises_nothing(problem: bool) -> None:
    from a2py.config import Config
    from a2py.deployment import Deployment

    deployments = (Deployment("m", "m", "", "x", "", problem="a.yaml:2, model_list[0] (m): no key"),) if problem else ()
    config, term = Config(deployments=deployments), Terminal(io.StringIO(), io.StringIO())
    aim = summary.describe_target(config, "http://h:2")
    text = summary.summarize(term, summary.StartReport(config, aim, "a.yaml", "h:2", False, False))
    assert "curl" not in text and "export" not in text and "no model can be used yet" in text
    assert "  m  x  chat  ✗" in text if problem else "✗" not in text


def test_summary_counts_what_it_does_not_list_and_names_what_is_off() -> None:
    from a2py.config import Config
    from a2py.deployment import Deployment

    deployments = tuple(
        Deployment(f"m{n}", f"d{n}", "openai", "x", "http://h:1/v1", problem="no key" if n == 1 else "")
        for n in range(30)
    )
    config = Config(
        deployments=deployments,
        aliases={"nick": "m0", "secret": "m0"},
        hidden_names=frozenset({"secret"}),
        default_name="m0",
        warnings=("careful",),
    )
    term = Terminal(io.StringIO(), io.StringIO())
    aim = summary.describe_target(config, "http://h:2")
    text = summary.summarize(term, summary.StartReport(config, aim, "x.yaml", "h:2", False, False, False))
    assert "✗ no key" in text and "… and 12 more: a2py models" in text and "warning: careful" in text
    assert "C parser" in text and "uvloop" not in text
    rows = summary.list_rows(config)
    assert (
        ("nick", "→ m0", "", "") in rows
        and ("claude-*", "→ m0", "", "") in rows
        and not any(row[0] == "secret" for row in rows)
    )


def test_strict_allows_no_warning_and_no_broken_model(tmp_path: Path) -> None:
    file = tmp_path / "a2py.yaml"
    good = "model_list: [{model_name: m, litellm_params: {model: openai/x, api_key: none}}]\n"
    for text, message in (
        (f"{good}what: 1\n", "a2py.yaml:2: `what` is unknown"),
        (good.replace("api_key: none", "temperature: 1"), "there is no key for openai"),
    ):
        file.write_text(text)
        result = a2py("--strict", "--port", "0", cwd=tmp_path)
        assert result.returncode == exits.CONFIG and "--strict allows no warning:\n  " in result.stderr
        assert message in result.stderr
    file.write_text(good)
    with serving("--strict", "--port", "0", cwd=tmp_path) as running:
        assert "warning" not in running.stderr


def test_a_redis_without_its_package_ends_the_start_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a2py.yaml"
    file.write_text(
        "model_list: [{model_name: m, litellm_params: {model: openai/m, api_key: k}}]\n"
        "router_settings: {redis_url: 'redis://user:hidden-word@127.0.0.1:1/0'}"
    )
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    with pytest.raises(exits.Stop) as excinfo:
        serve.run("serve", ["--config", str(file), "--port", "0"])
    assert excinfo.value.code == exits.CONFIG and "pip install 'a2py[redis]'" in str(excinfo.value)
    assert "redis://127.0.0.1:1" in str(excinfo.value) and "hidden-word" not in str(excinfo.value)
    serve.check_redis(Config())
