# ruff: noqa: F401, F811  (a fixture that is imported and then named as an argument)
"""What a reload refuses, and where it says so: the log, `a2py status`, `systemctl status`."""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from a2py.cli import exits, record, state
from a2py.cli.exits import Stop
from a2py.cli.notify import STATUS_LENGTH, Notifier
from a2py.cli.reload import Reloader, check_reload
from a2py.config import Config, ConfigError, load
from a2py.deployment import Deployment
from tests.cli.test_daemon import place
from tests.cli.test_restart import read_status
from tests.commands import LIMIT, a2py, nothing, serving
from tests.process import free_port
from tests.user_manager import ask, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
#: Models, then the master key: what an editor has written first of it is valid YAML, too.
WHOLE = """\
model_list:
  - model_name: one
    litellm_params: {model: openai/x, api_base: "http://127.0.0.1:9/v1", api_key: k}
general_settings:
  master_key: sk-m
"""
HALF = WHOLE.partition("general_settings")[0]


# -- what is refused ---------------------------------------------------------------------------------------------------


def read(place: Path, text: str, **env: str) -> Config:
    (place / "a2py.yaml").write_text(text)
    return load(None, env, str(place))


@pytest.mark.parametrize(
    "text, env, reason",
    [
        (WHOLE, {}, ""),
        (WHOLE.replace("sk-m", "sk-other").replace("one", "two"), {}, ""),
        (HALF, {"LITELLM_MASTER_KEY": "sk-env"}, ""),
        (HALF, {}, "a2py.yaml has no master_key any more"),
        (WHOLE.replace("sk-m", "''"), {}, "a2py.yaml has no master_key any more"),
        (WHOLE.replace("sk-m", "os.environ/NOT_SET"), {}, "a2py.yaml has no master_key any more"),
        ("", {}, "a2py.yaml has no master_key any more"),
        ("", {"LITELLM_MASTER_KEY": "sk-env"}, "a2py.yaml has no model_list any more"),
        ("model_list: []", {"LITELLM_MASTER_KEY": "sk-env"}, "a2py.yaml has no model_list any more"),
        (
            "model_list:",
            {"LITELLM_MASTER_KEY": "sk-env", "OPENAI_API_KEY": "sk-o"},
            "a2py.yaml has no model_list any more",
        ),
        (WHOLE.replace("openai/x", "openia/x"), {}, ""),  # any provider at a base of its own
        (WHOLE.replace("openai/x", "bedrock/x"), {}, "no model of a2py.yaml can be used: "),
    ],
)
def test_a_file_that_would_end_or_open_the_proxy(tmp_path: Path, text: str, env: dict[str, str], reason: str) -> None:
    old = read(tmp_path, WHOLE, **env)
    problem = check_reload(old, read(tmp_path, text, **env))
    assert problem is None if not reason else problem is not None and problem.startswith(reason)


def test_keys_of_clients_replace_a_master_key(tmp_path: Path) -> None:
    old, new = read(tmp_path, WHOLE), read(tmp_path, HALF)
    assert check_reload(old, new, has_keys=True) is None
    problem = check_reload(old, read(tmp_path, "model_list: []"), has_keys=True)
    assert problem is not None and problem.startswith("a2py.yaml has no model_list any more")


def test_what_was_never_there_is_not_missed(tmp_path: Path) -> None:
    """No key, models of the environment, nothing that can be asked: each may stay so."""
    env = {"OPENAI_API_KEY": "sk-o"}
    keyless = read(tmp_path, "a2py: {drain_seconds: 5}", **env)
    assert keyless.deployments and not keyless.has_models
    assert check_reload(keyless, read(tmp_path, "a2py: {drain_seconds: 6}", **env)) is None
    assert check_reload(keyless, read(tmp_path, WHOLE, **env)) is None, "a key and models may come"
    problem = check_reload(keyless, read(tmp_path, "a2py: {drain_seconds: 6}"))
    assert problem is not None and problem.startswith("a2py.yaml has no model: add one")
    empty = read(tmp_path, "model_list: []")
    assert check_reload(empty, empty) is None
    broken = Config(deployments=(Deployment("m", "m", "", "x", "", problem="no key"),))
    assert check_reload(broken, broken) is None and check_reload(empty, broken) is None
    assert (
        check_reload(replace(broken, deployments=(Deployment("m", "m", "", "x", ""),)), broken)
        == "no model of the configuration can be used: no key"
    )


def test_a_reload_keeps_what_it_loaded_last(nothing: Path) -> None:
    good = WHOLE.replace("one", "two") + "  unknown_key: 1\n"
    texts = iter([HALF, good, HALF, "a: ["])
    checks: list[Config] = []
    warnings: list[Any] = []

    def check(config: Config) -> bool:
        checks.append(config)
        return False

    reloader = Reloader(
        read(nothing, WHOLE), lambda: read(nothing, next(texts)), check, Notifier({}, 1), warnings.append
    )
    with pytest.raises(Stop, match="no master_key"):
        reloader.load()
    assert reloader.load() is reloader.config and reloader.config.deployments[0].name == "two" and len(checks) == 2
    with pytest.raises(Stop):
        reloader.load()
    with pytest.raises(ConfigError, match=r"\.yaml:2: "):
        reloader.load()
    assert reloader.config.deployments[0].name == "two"
    assert len(warnings) == 1 and "unknown_key" in warnings[0], "of the warnings those that are new"


# -- where it says so --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
def test_half_a_file_does_not_open_the_proxy(tmp_path: Path, count: int) -> None:
    file = tmp_path / "a2py.yaml"
    file.write_text(WHOLE)
    with serving("--port", "0", "--num-workers", str(count), cwd=tmp_path) as run:
        url = run.url
        file.write_text(HALF)
        run.process.send_signal(signal.SIGHUP)
        run.until(r"reload refused error=.*a2py\.yaml has no master_key any more")
        for _ in range(10):
            with pytest.raises(urllib.error.HTTPError) as excinfo:
                urllib.request.urlopen(url + "/v1/models", timeout=LIMIT)
            assert excinfo.value.code == 401
            excinfo.value.close()
        file.write_text(WHOLE)
        run.process.send_signal(signal.SIGHUP)
        run.until("(?s)" + ".*".join(["reloaded"] * count))
        assert run.end() == exits.OK


@pytest.mark.parametrize("count", [1, 2])
def test_without_its_master_key_a_proxy_with_keys_goes_on_asking_for_one(tmp_path: Path, count: int) -> None:
    """And then its keys can't be taken away either."""
    file = tmp_path / "a2py.yaml"
    file.write_text(WHOLE)
    result = a2py("keys", "new", "alice", cwd=tmp_path)
    assert result.returncode == exits.OK, result.stderr
    with serving("--port", "0", "--num-workers", str(count), cwd=tmp_path) as run:
        url = run.url
        file.write_text(HALF)
        run.process.send_signal(signal.SIGHUP)
        run.until("(?s)" + ".*".join(["reloaded"] * count))
        for header in ({}, {"x-api-key": "sk-m"}):
            with pytest.raises(urllib.error.HTTPError) as excinfo:
                urllib.request.urlopen(urllib.request.Request(url + "/v1/models", headers=header), timeout=LIMIT)
            assert excinfo.value.code == 401
            excinfo.value.close()
        (tmp_path / "keys.yaml").write_text("keys: {}\n")
        run.process.send_signal(signal.SIGHUP)
        run.until("keys refused .*has no key any more")
        with pytest.raises(urllib.error.HTTPError) as excinfo:
            urllib.request.urlopen(url + "/v1/models", timeout=LIMIT)
        assert excinfo.value.code == 401 and run.end() == exits.OK
        excinfo.value.close()


@pytest.mark.parametrize("count", [1, 2])
def test_what_a_start_refuses_a_reload_refuses_too(tmp_path: Path, count: int) -> None:
    """A public address without a key, that was permitted by the file; captures that can't be written."""
    file = tmp_path / "a2py.yaml"
    open_to_all = HALF + "general_settings: {dangerously_permit_weak_or_unset_master_key: true}\n"
    file.write_text(open_to_all)
    with serving("--host", "0.0.0.0", "--port", "0", "--num-workers", str(count), cwd=tmp_path) as run:
        run.until("Try it:")
        for text, reason in (
            (HALF, "public address"),
            (open_to_all + "a2py: {capture_dir: /dev/null/x}\n", "captures can't be written"),
        ):
            file.write_text(text)
            run.process.send_signal(signal.SIGHUP)
            run.until(f"reload refused error=.*{reason}")
        assert "reloaded" not in run.stderr and ask(run.url) and run.end() == exits.OK


@pytest.mark.parametrize("count", [1, 2])
def test_status_tells_of_a_refused_reload_until_one_succeeds(place: Path, count: int) -> None:
    file = place / "a2py.yaml"
    file.write_text(WHOLE)
    result = a2py("start", "--port", str(free_port()), "--num-workers", str(count), cwd=place)
    assert result.returncode == exits.OK, result.stderr
    before = read_status(place)
    assert before["trouble"] == ""
    for text, trouble in (
        (HALF, "the latest reload was refused: a2py.yaml has no master_key any more"),
        ("a: [", "the latest reload was refused: a2py.yaml:2: "),
    ):
        file.write_text(text)
        os.kill(int(str(before["pid"])), signal.SIGHUP)
        assert until(lambda trouble=trouble: trouble in str(read_status(place)["trouble"])), read_status(place)  # type: ignore[misc]
        status = a2py("status", cwd=place)
        assert status.returncode == exits.OK and trouble in status.stdout.splitlines()[2]
    file.write_text(WHOLE)
    os.kill(int(str(before["pid"])), signal.SIGHUP)
    assert until(lambda: read_status(place) == before)
    assert len(a2py("status", cwd=place).stdout.splitlines()) == 2
    assert "stopped" in a2py("stop", cwd=place).stdout


def test_trouble_is_one_line_and_never_fatal(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(nothing / "none")}, 1)
    notifier._has_record = True
    state.make_private(state.state_dir(os.environ))
    record.take_over("http://x", [])
    notifier.trouble("a\n  b " + "x" * 10_000)
    proxy = record.read_running()
    assert proxy is not None and proxy.trouble.startswith("a b xxx") and len(proxy.trouble) == STATUS_LENGTH

    def full(*args: Any) -> None:
        raise Stop("the disk is full")

    monkeypatch.setattr(state, "write", full)
    notifier.trouble("")
    assert json.loads(Path(record.paths()[0]).read_text())["trouble"]
    os.unlink(record.paths()[0])
    record.note(trouble="of a record that has gone")
