# ruff: noqa: F401, F811  (a fixture that is imported and then named as an argument)
"""systemd: units that systemd itself finds right and safe, a socket that it keeps, a manager that starts, watches and
restarts."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest

from a2py.cli import exits, main, service, source
from a2py.cli.exits import Stop
from tests.commands import LIMIT, clean_env, nothing
from tests.process import free_port

ROOT = Path(__file__).resolve().parents[2]


def needs(program: str) -> str:
    path = shutil.which(program)
    if not path:
        pytest.skip(f"{program} is not here")
    return path


@pytest.fixture
def units(nothing: Path) -> dict[str, Path]:
    """All four units, installed below a root of their own; `system`, `user`: their directories."""
    where = {}
    for scope in ("system", "user"):
        root = nothing / scope
        assert main(["service", "install", f"--{scope}", "--socket", "--root", str(root)]) == exits.OK
        where[scope] = Path(service.units_folder(scope == "system", str(root)))
        assert sorted(os.listdir(where[scope])) == ["a2py.service", "a2py.socket"]
    return where


@pytest.mark.parametrize("scope", ["system", "user"])
def test_systemd_finds_the_units_right(units: dict[str, Path], scope: str) -> None:
    command = [
        needs("systemd-analyze"),
        "verify",
        "--recursive-errors=yes",
        "--man=no",
        *(["--user"] if scope == "user" else []),
    ]
    with tempfile.TemporaryDirectory() as short:  # other units of the user make socket addresses of it
        env = {**os.environ, "XDG_RUNTIME_DIR": short}
        result = subprocess.run(
            [*command, *map(str, units[scope].iterdir())], capture_output=True, text=True, timeout=LIMIT, env=env
        )
    assert result.returncode == 0, result.stderr


def test_the_system_unit_is_safe(units: dict[str, Path]) -> None:
    command = [
        needs("systemd-analyze"),
        "security",
        "--offline=true",
        "--threshold=15",
        str(units["system"] / "a2py.service"),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    exposure = re.search(r"exposure level for a2py.service: ([\d.]+)", result.stdout)
    assert result.returncode == 0 and exposure and float(exposure[1]) <= 1.5, result.stdout


def test_keys_come_from_a_credential(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "LoadCredential=env:/etc/a2py/env" in service.render_units([], True, False, "127.0.0.1", 1).service
    (nothing / "env").write_text("# keys\nDEEPSEEK_API_KEY=from-credential\nHOME=/elsewhere\n")
    assert source.read_environment() == dict(os.environ)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(nothing))
    env = source.read_environment()
    assert env["DEEPSEEK_API_KEY"] == "from-credential" and env["HOME"] == str(nothing)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/nowhere")
    assert source.read_environment() == dict(os.environ)


def test_install_and_remove_touch_only_what_is_ours(
    units: dict[str, Path], nothing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = nothing / "system/etc/a2py/env"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    keys.write_text("MINE=1\n")
    again = ["service", "install", "--system", "--root", str(nothing / "system")]
    assert main(again) == exits.OK and keys.read_text() == "MINE=1\n"
    assert os.listdir(units["system"]) == ["a2py.service"], "the socket of the install before would keep its port"
    unit = units["system"] / "a2py.service"
    for text, message in (
        ("[Service]\n", "was not written by a2py"),
        (unit.read_text() + "Nice=5\n", "has been changed since a2py wrote it"),
    ):
        unit.write_text(text)
        for args in (again, ["service", "remove", "--system", "--root", str(nothing / "system")]):
            assert main(args) == exits.FAILED
            assert message in capsys.readouterr().err and unit.read_text() == text
    assert main(["service", "remove", "--root", str(nothing / "user")]) == exits.OK
    assert os.listdir(units["user"]) == []
    assert main(["service", "remove", "--root", str(nothing / "user")]) == exits.OK
    assert "there is no unit" in capsys.readouterr().out


def test_print_shows_what_install_writes(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nothing / "c d.yaml").write_text("")
    assert (
        main(
            [
                "service",
                "print",
                "--system",
                "--socket",
                "--host",
                "::1",
                "--port",
                "81",
                "-c",
                "c d.yaml",
                "--num-workers",
                "2",
            ]
        )
        == exits.OK
    )
    out = capsys.readouterr().out
    assert "ListenStream=[::1]:81\n" in out and "Requires=a2py.socket" in out and "--num-workers 2\n" in out
    assert f"{nothing}/c d.yaml" in out
    assert main(["service", "print"]) == exits.OK
    out = capsys.readouterr().out
    assert "--config" not in out and "EnvironmentFile=-%E/a2py/env" in out and "DynamicUser" not in out
    assert service._quote('a "b" $c %d') == '"a \\"b\\" $$c %%d"' and service._quote("") == '""'


def test_what_can_not_be_installed(
    nothing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.executable", "/root/venv/bin/python")
    assert main(["service", "install", "--system", "--root", str(nothing)]) == exits.OK
    err = capsys.readouterr().err
    assert "is in a home directory or /tmp" in err and "-m is in" not in err, "only paths can be hidden"
    monkeypatch.setenv("PATH", str(nothing))
    assert main(["service", "install"]) == exits.FAILED
    assert (
        "no systemctl here, and nothing was written" in capsys.readouterr().err and not (nothing / ".config").exists()
    )
    (nothing / ".config").write_text("a file")
    assert main(["service", "install", "--root", "//"]) == exits.FAILED
    assert ".config/systemd/user can't be written: Not a directory" in capsys.readouterr().err
    monkeypatch.setattr("sys.platform", "darwin")
    assert main(["service", "install", "--root", str(nothing)]) == exits.FAILED


def test_without_systemctl_units_can_be_removed(
    nothing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["service", "install", "--root", "//"]) == exits.OK
    monkeypatch.setenv("PATH", str(nothing))
    assert main(["service", "remove"]) == exits.OK
    assert "a2py.service removed" in capsys.readouterr().out and os.listdir(nothing / ".config/systemd/user") == []


def test_another_install_ends_what_runs_as_the_one_before_said(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would go on, or keep the port that the new one is to have."""
    calls: list[str] = []
    monkeypatch.setattr(service, "describe_manager_problem", lambda system: "")
    monkeypatch.setattr(service, "systemctl", lambda system, *words: calls.append(" ".join(words)) or 0)  # type: ignore[func-returns-value]
    disable = "disable --now a2py.service"
    for args, expected in (
        (["--port", "4001"], ["daemon-reload", "enable --now a2py.service"]),
        (["--port", "4001"], ["daemon-reload", "enable --now a2py.service"]),
        (["--port", "4002"], [disable, "daemon-reload", "enable --now a2py.service"]),
        (["--socket"], [disable, "daemon-reload", "enable --now a2py.socket"]),
        ([], [f"{disable} a2py.socket", "daemon-reload", "enable --now a2py.service"]),
    ):
        calls.clear()
        assert main(["service", "install", *args]) == exits.OK
        assert calls == expected
    calls.clear()
    assert main(["service", "remove"]) == exits.OK and calls == [disable, "daemon-reload"]


@pytest.mark.parametrize("base, expected", [("/x", "/x/systemd/user"), ("relative", "/home/me/.config/systemd/user")])
def test_where_units_of_a_user_lie(monkeypatch: pytest.MonkeyPatch, base: str, expected: str) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CONFIG_HOME", base)
    assert service.units_folder(False, "/") == expected


def test_a_configuration_that_only_root_may_read_is_a_credential(
    nothing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = nothing / "c d%.yaml"
    file.write_text("model_list: []")

    def print_unit(mode: int, scope: str = "--system") -> str:
        file.chmod(mode)
        assert main(["service", "print", scope, "-c", str(file)]) == exits.OK
        return capsys.readouterr().out

    is_hidden = str(nothing).startswith(service.HIDDEN_PLACES)  # below /tmp
    secret = print_unit(0o600)
    assert "serve --config %d/config.yaml " in secret and f"LoadCredential=config.yaml:{nothing}/c d%%.yaml\n" in secret
    assert "ExecReload" not in secret, "a reload would find the old one"
    assert ("LoadCredential=config.yaml" in print_unit(0o644)) is is_hidden
    assert "LoadCredential" not in print_unit(0o600, "--user") and "ExecReload" in print_unit(0o600, "--user")
    assert (
        service.is_readable("/etc/passwd")
        and service.is_readable("/no/such/file")
        and not service.is_readable("/root/x")
    )
    assert not service.is_readable("/etc/shadow")


def test_a_configuration_that_is_not_there_is_said_before_anything_is_started(
    nothing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(service, "systemctl", lambda *words: pytest.fail("nothing is to be started"))
    assert main(["service", "install", "--system", "-c", "/no/such/config.yaml"]) == exits.CONFIG
    assert "a2py config init -o /no/such/config.yaml" in capsys.readouterr().err


def test_a_socket_that_systemd_opened_serves_a_request(tmp_path: Path) -> None:
    port = free_port()
    command = [needs("systemd-socket-activate"), "-l", f"127.0.0.1:{port}"]
    env = clean_env(tmp_path)
    flags = [f"--setenv={name}={env[name]}" for name in ("HOME", "PATH", "PORT", "OLLAMA_HOST")]
    process = subprocess.Popen(
        [*command, *flags, sys.executable, "-m", "a2py", "--host", "0.0.0.0", "--port", "1"],
        cwd=ROOT,
        env=env,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr and "Listening on" in process.stderr.readline()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness", timeout=LIMIT) as answer:
            assert json.load(answer)["name"] == "a2py"
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 0
        assert f"at http://127.0.0.1:{port}" in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        assert process.stderr
        process.stderr.close()


@pytest.mark.integration
@pytest.mark.real
def test_a_real_manager_starts_watches_and_restarts(tmp_path: Path) -> None:
    """In a mount namespace of its own, where root and the kernel allow that."""
    unshare = needs("unshare")
    needs("systemd")
    attempt = subprocess.run(
        [unshare, "-m", "sh", "-c", "mount --make-rprivate / && mount -t tmpfs x /mnt"],
        capture_output=True,
        timeout=LIMIT,
    )
    if attempt.returncode:
        pytest.skip("no mount namespaces here")
    env = {**clean_env(tmp_path), "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [unshare, "-m", sys.executable, "-m", "tests.user_manager", str(tmp_path), "50"],
        capture_output=True,
        text=True,
        timeout=10 * LIMIT,
        cwd=ROOT,
        env=env,
    )
    if result.returncode:
        pytest.fail(result.stderr[-2000:] + (tmp_path / "manager.log").read_text()[-2000:])
    report = json.loads(result.stdout)
    if not report["manager"]:
        pytest.skip("systemd --user does not run in this sandbox")
    details = f"{report}\n{(tmp_path / 'manager.log').read_text()[-3000:]}"
    assert report["install"][0] == 0 and "enabled and started: a2py.socket" in report["install"][1], details
    assert report["before the first request"] == "inactive" and report["answers"] and report["active"] == "active", (
        details
    )
    assert report["status"].startswith("serving at http://127.0.0.1:") and report["watchdog"] == "1min", details
    assert report["restarted"] and report["answers again"] and report["new process"] and report["answers at last"], (
        details
    )
    assert report["whole through a restart"] == 50, details
    assert report["moved"] and report["moved back"], details
    assert report["watched"] and report["remove"][0] == 0 and report["gone"], details


def test_without_a_manager_nothing_is_written(
    nothing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """systemctl is installed but cannot reach a manager: in a container, or after `su`."""
    tool = nothing / "bin/systemctl"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 'Failed to connect to bus: No medium found' >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent))
    assert main(["service", "install"]) == exits.FAILED
    out, err = capsys.readouterr()
    assert (
        "systemctl reaches no systemd of this user (Failed to connect to bus: No medium found), and nothing was written"
        in err
    )
    assert "use `a2py start`" in err and not out and not (nothing / ".config").exists()
    assert main(["service", "install", "--root", "//"]) == exits.OK
    assert main(["service", "remove"]) == exits.OK
    out, err = capsys.readouterr()
    assert "a2py.service removed" in out and "a service that is running was not stopped" in err
    tool.write_text("not a program")
    assert "systemctl does not work here" in service.describe_manager_problem(False)
    tool.write_text("#!/bin/sh\nexit 0\n")
    assert service.describe_manager_problem(False) == ""


def test_a_unit_that_does_not_start_is_said_to_be_written(
    nothing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(service, "describe_manager_problem", lambda system: "")
    monkeypatch.setattr(service, "systemctl", lambda system, *words: int("enable" in words))
    assert main(["service", "install"]) == exits.FAILED
    assert "the units are written, but systemctl could not start a2py.service (exit code 1" in capsys.readouterr().err
