"""`a2py ui`: the link of a proxy without keys, with the master key, with an admin's; what it says if there is none."""

from __future__ import annotations

import json
import os
import stat
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from a2py.cli import pagelink, state, ui
from tests.commands import a2py, nothing, serving
from tests.process import free_port

__all__ = ["nothing"]
CONFIG = """
model_list:
  - model_name: m
    litellm_params: {model: openai/m, api_base: "http://127.0.0.1:9/v1", api_key: sk-x}
general_settings: {master_key: sk-the-master-key}
"""


def post(url: str, body: Any, **headers: str) -> tuple[int, Any]:
    """POST JSON, and return status and body."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def redeem(link: str) -> int:
    """Exchange the token of a link, and return the status."""
    address, _, token = link.strip().partition("#")
    assert address.endswith("/ui") and token
    return post(f"{address}/api/session", {"token": token})[0]


def test_without_keys_the_state_folder_opens_it(tmp_path: Path) -> None:
    with serving("--demo", "--port", str(free_port()), cwd=tmp_path) as server:
        result = a2py("ui", "--print", "--url", server.url, cwd=tmp_path)
        assert result.returncode == 0 and redeem(result.stdout) == 200, result
        assert redeem(result.stdout) == 401
        secret = Path(state.page_secret_path({"HOME": str(tmp_path)}).replace(os.path.expanduser("~"), str(tmp_path)))
        assert secret.is_file() and (sys.platform == "win32" or stat.S_IMODE(secret.stat().st_mode) == 0o600)
        before = secret.read_text()
        assert a2py("ui", "--url", server.url, cwd=tmp_path, env={"DISPLAY": ""}).stdout.count("/ui#") == 1
        assert secret.read_text() == before
        other = tmp_path / "other"
        other.mkdir()
        result = a2py("ui", "--print", "--url", server.url, cwd=other)
        assert result.returncode == 1 and not result.stdout and "another user" in result.stderr


def test_with_a_master_key_that_opens_it(tmp_path: Path) -> None:
    (tmp_path / "litellm_config.yaml").write_text(CONFIG)
    (tmp_path / "litellm_config.yaml").chmod(0o600)
    with serving("--port", str(free_port()), cwd=tmp_path) as server:
        result = a2py("ui", "--print", "--url", server.url, cwd=tmp_path)
        assert redeem(result.stdout) == 200, result
        other = tmp_path / "other"
        other.mkdir()
        key = {"LITELLM_MASTER_KEY": "sk-the-master-key"}
        assert redeem(a2py("ui", "--print", "--url", server.url, cwd=other, env=key).stdout) == 200
        key["LITELLM_MASTER_KEY"] = "sk-wrong"
        result = a2py("ui", "--print", "--url", server.url, cwd=other, env=key)
        assert result.returncode == 1 and "master_key" in result.stderr and "sk-wrong" not in result.stderr
        assert "sk-the-master-key" not in server.stderr


def test_a_key_that_the_proxy_does_not_want_is_no_obstacle(tmp_path: Path) -> None:
    key = {"A2PY_KEY": "sk-of-another-proxy"}
    with serving("--demo", "--port", str(free_port()), cwd=tmp_path) as server:
        result = a2py("ui", "--print", "--url", server.url, cwd=tmp_path, env=key)
        assert result.returncode == 0 and redeem(result.stdout) == 200, result
        assert a2py("top", "--url", server.url, cwd=tmp_path, env=key).returncode == 0
        other = tmp_path / "other"
        other.mkdir()
        result = a2py("ui", "--print", "--url", server.url, cwd=other, env=key)
        assert result.returncode == 1 and "no keys" in result.stderr and "as the user" in result.stderr, result


@pytest.mark.integration
def test_with_an_admins_key_that_opens_it(tmp_path: Path) -> None:
    """In `A2PY_KEY`, as all commands take it."""
    admin, other = (a2py("keys", "new", *args, cwd=tmp_path).stdout.strip() for args in (["a", "--admin"], ["b"]))
    with serving("--demo", "--port", str(free_port()), cwd=tmp_path) as server:
        result = a2py("ui", "--print", "--url", server.url, cwd=tmp_path)
        assert result.returncode == 1 and "A2PY_KEY" in result.stderr
        result = a2py("ui", "--print", "--url", server.url, cwd=tmp_path, env={"A2PY_KEY": other})
        assert result.returncode == 1 and "admin" in result.stderr and other not in result.stderr
        result = a2py("ui", "--print", "--url", server.url, cwd=tmp_path, env={"A2PY_KEY": admin})
        assert redeem(result.stdout) == 200, result
        assert a2py("top", "--url", server.url, cwd=tmp_path, env={"A2PY_KEY": admin}).returncode == 0


def test_no_proxy_no_link(tmp_path: Path) -> None:
    result = a2py("ui", "--print", "--url", f"http://127.0.0.1:{free_port()}", cwd=tmp_path)
    assert result.returncode == 69 and "start one" in result.stderr and not result.stdout


def test_a_page_that_is_switched_off(tmp_path: Path) -> None:
    (tmp_path / "litellm_config.yaml").write_text(CONFIG + "a2py: {ui: false}\n")
    (tmp_path / "litellm_config.yaml").chmod(0o600)
    with serving("--port", str(free_port()), cwd=tmp_path) as server:
        for command in ("ui", "top"):
            result = a2py(command, "--url", server.url, cwd=tmp_path)
            assert result.returncode == 1 and "`a2py: ui: false`" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a signal ends a process at once there")
def test_it_opens_the_browser_of_the_user(tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f"#!/bin/sh\necho \"$1\" > '{tmp_path}/opened'\n")
    browser.chmod(0o700)
    with serving("--demo", "--port", str(free_port()), cwd=tmp_path) as server:
        result = a2py("ui", "--url", server.url, cwd=tmp_path, env={"BROWSER": f"{browser} %s"})
        assert result.returncode == 0 and "opened" in result.stderr and "#" not in result.stderr + result.stdout
    assert redeemable((tmp_path / "opened").read_text(), server.url)


def redeemable(address: str, url: str) -> bool:
    return address.startswith(f"{url}/ui#") and len(address.strip()) > len(url) + 40


@pytest.mark.parametrize("env", [{}, {"DISPLAY": ""}])
def test_no_text_browser_takes_over_the_terminal(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert ui.open_browser("http://127.0.0.1:1/ui#x", env) is False


def test_a_secret_is_made_once(nothing: Path) -> None:
    first = pagelink.read_secret(os.environ)
    assert len(first) == 43 and pagelink.read_secret(os.environ) == first
    path = Path(state.page_secret_path(os.environ))
    path.write_text("")
    assert len(pagelink.read_secret(os.environ)) == 43
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(Exception, match="delete it"):
        pagelink.read_secret(os.environ)
