"""`a2py keys`: what is printed where, what is written, and what a running proxy makes of it."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from a2py.budget import Budget
from a2py.cli import exits
from a2py.cli.main import main
from a2py.config.keys import Key, parse_keys
from a2py.ledger.spending import Hold, reserve, settle
from a2py.ledger.store import Store
from tests.commands import a2py, nothing, serving

TOKEN = re.compile(r"sk-[A-Za-z0-9_-]{43}\n")
DEMO = ("--demo", "--port", "0")
__all__ = ["nothing"]


def read(path: Path) -> dict[str, Key]:
    return {key.caller.name: key for key in parse_keys(path.read_bytes(), str(path))}


@pytest.fixture
def here(nothing: Path) -> Path:
    """A folder with a configuration of two models, of which one has a price."""
    models = [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_base": "http://127.0.0.1:9", **more}}
        for name, more in (("priced", {"input_cost_per_token": 1, "output_cost_per_token": 1}), ("unpriced", {}))
    ]
    (nothing / "a2py.yaml").write_text(json.dumps({"model_list": models}), "utf-8")
    return nothing


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = main(["keys", *args])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_key_is_printed_alone_and_written_as_a_digest(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = "--models priced --rpm 60 --tpm 100000 --max-parallel 4 --budget $20/day --expires 2099-01-31 --admin"
    code, out, err = run(capsys, "new", "alice", *flags.split())
    assert code == exits.OK and TOKEN.fullmatch(out)
    assert err == (
        f"alice: written to {here / 'keys.yaml'}. The key above is shown only this once.\n"
        "It is the first key: from now on every client needs one.\n"
    )
    path = here / "keys.yaml"
    (key,) = read(path).values()
    assert key.digest == sha256(out.strip().encode()).digest() and not key.is_revoked
    caller = key.caller
    assert (caller.models, caller.rpm, caller.tpm, caller.max_parallel) == (("priced",), 60, 100_000, 4)
    assert caller.budget == Budget(20.0, "day") and caller.is_admin and caller.expires == 4_073_500_800 + 86_400
    assert out.strip() not in path.read_text("utf-8")
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (here / "a2py.yaml").read_text("utf-8").startswith('{"model_list"')


def test_each_key_is_another(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = {run(capsys, "new", f"k{n}")[1] for n in range(20)}
    assert len(tokens) == 20 and list(read(here / "keys.yaml")) == [f"k{n}" for n in range(20)]


def test_the_second_key_is_no_news(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "new", "alice")
    assert "first key" not in run(capsys, "new", "bob")[2]
    (here / "keys.yaml").unlink()
    text = (here / "a2py.yaml").read_text("utf-8")
    (here / "a2py.yaml").write_text(text[:-1] + ', "general_settings": {"master_key": "sk-m"}}', "utf-8")
    assert "first key" not in run(capsys, "new", "alice")[2]


def test_where_the_file_is(nothing: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the configuration that --config names, or that is found here; else in the user's own directory."""
    run(capsys, "new", "own")
    own = nothing / ".config" / "a2py" / "keys.yaml"
    assert list(read(own)) == ["own"]
    if os.name == "posix":
        assert stat.S_IMODE(own.parent.stat().st_mode) == 0o700
    (nothing / "litellm_config.yaml").write_text("model_list: []\n", "utf-8")
    run(capsys, "new", "found")
    assert list(read(nothing / "keys.yaml")) == ["found"]
    (nothing / "other").mkdir()
    (nothing / "other" / "c.yaml").write_text("model_list: []\n", "utf-8")
    run(capsys, "new", "named", "--config", "other/c.yaml")
    assert list(read(nothing / "other" / "keys.yaml")) == ["named"]
    monkeypatch.setenv("A2PY_CONFIG", str(nothing / "other" / "c.yaml"))
    assert "named" in run(capsys, "list")[1]
    code, out, err = run(capsys, "new", "x", "--config", "nowhere.yaml")
    assert code == exits.CONFIG and not out and "there is no configuration" in err
    assert not (nothing / "nowhere.yaml").exists()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("master", "'master' is the name of the master key: choose another"),
        ("", "'' is no name (letters, digits and . _ @ + -, at most 64"),
        ("a b", "is no name"),
        ("../x", "is no name"),
        ("a:\n  rpm: 1", "is no name"),
        ("<<", "is no name"),
        ("\x1b[31mred", "is no name"),
        ("é", "is no name"),
        ("a" * 65, "is no name"),
        ("{x}", "is no name"),
        ("#x", "is no name"),
    ],
)
def test_hostile_names(here: Path, capsys: pytest.CaptureFixture[str], name: str, problem: str) -> None:
    code, out, err = run(capsys, "new", name)
    assert code == exits.USAGE and not out and problem in err and "\x1b[31m" not in err
    assert not (here / "keys.yaml").exists()


@pytest.mark.parametrize("name", ["true", "null", "007", "1e3", "2026-11-30", "0x10", "yes", "a@b.example", "x" * 64])
def test_names_that_yaml_would_read_as_something_else(
    here: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert TOKEN.fullmatch(run(capsys, "new", name)[1])
    assert TOKEN.fullmatch(run(capsys, "rotate", name)[1])
    assert run(capsys, "revoke", name)[0] == exits.OK
    assert read(here / "keys.yaml")[name].is_revoked


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--budget", "20/year"], "'20/year' is no budget: write US dollars and a period"),
        (["--budget", "0"], "is no budget"),
        (["--budget", "-1/day"], "'-1/day' is no budget: write US dollars and a period"),
        (["--budget", "-.5"], "'-.5' is no budget: write US dollars and a period"),
        (["--expires", "-1d"], "'-1d' is no date"),
        (["--rpm", "-5"], "'-5' is not a whole number of at least 1"),
        (["--expires", "soon"], "'soon' is no date: write a date like 2027-01-31"),
        (["--expires", "2020-01-31"], "'2020-01-31' is over"),
        (["--rpm", "0"], "is not a whole number of at least 1"),
        (["--models", ","], "--models ',': write names with commas"),
        (["--models", "a\x07b"], "write names with commas"),
        (["--bogus"], "unrecognized arguments: --bogus"),
    ],
)
def test_wrong_flags(here: Path, capsys: pytest.CaptureFixture[str], flags: list[str], problem: str) -> None:
    code, out, err = run(capsys, "new", "alice", *flags)
    assert code == exits.USAGE and not out and problem in err
    assert not (here / "keys.yaml").exists()


@pytest.mark.parametrize("model", ['a"b', "a, b]", "- x", "{x}", "# no comment", "${HOME}", "a\\nb", "null", "~", "🦊"])
def test_hostile_models_stay_one_name(here: Path, capsys: pytest.CaptureFixture[str], model: str) -> None:
    names = [name.strip() for name in model.split(",")]
    assert run(capsys, "new", "alice", "--models", model)[0] == exits.OK
    assert read(here / "keys.yaml")["alice"].caller.models == tuple(names)


def test_a_key_is_rotated_and_keeps_its_limits(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(capsys, "new", "alice", "--rpm", "5", "--budget", "1/day")[1]
    before = read(here / "keys.yaml")["alice"]
    code, second, err = run(capsys, "rotate", "alice")
    after = read(here / "keys.yaml")["alice"]
    assert code == exits.OK and TOKEN.fullmatch(second) and second != first and "The old key is refused" in err
    assert after.caller == before.caller and after.digest == sha256(second.strip().encode()).digest()


def test_a_key_is_revoked_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "new", "alice")
    assert run(capsys, "revoke", "alice")[:2] == (exits.OK, "")
    text = (here / "keys.yaml").read_text("utf-8")
    assert run(capsys, "revoke", "alice")[0] == exits.OK
    assert (here / "keys.yaml").read_text("utf-8") == text
    code, out, err = run(capsys, "rotate", "alice")
    assert code == exits.FAILED and not out and "alice is revoked: make another key" in err
    assert "there is a key alice already (revoked): choose another name" in run(capsys, "new", "alice")[2]


def test_a_key_that_has_expired_is_not_rotated(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The new one would be refused as the old one is."""
    run(capsys, "new", "alice", "--expires", "2099-01-31")
    path = here / "keys.yaml"
    text = path.read_text("utf-8").replace("2099-01-31", "2020-01-31")
    path.write_text(text, "utf-8")
    code, out, err = run(capsys, "rotate", "alice")
    assert code == exits.FAILED and not out and f"change its line `expires` in {path}" in err
    assert path.read_text("utf-8") == text
    err = run(capsys, "new", "alice")[2]
    assert "already (expired): choose another name, or change its line `expires`" in err and "rotate" not in err


def test_a_name_is_used_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "new", "alice")
    code, out, err = run(capsys, "new", "alice", "--rpm", "1")
    assert code == exits.FAILED and not out and "`a2py keys rotate alice` replaces it" in err
    for command in ("revoke", "rotate"):
        code, out, err = run(capsys, command, "bob")
        assert code == exits.FAILED and not out and "there is no key 'bob'" in err and "alice" in err


def test_a_file_with_a_mistake_is_not_changed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = here / "keys.yaml"
    path.write_text("keys:\n  alice:\n    sha256: oops\n", "utf-8")
    for command in (["new", "bob"], ["revoke", "alice"], ["rotate", "alice"], ["list"]):
        code, out, err = run(capsys, *command)
        assert code == exits.CONFIG and not out and "keys.yaml:3: `keys.alice.sha256` must be" in err
    path.write_bytes(b"keys:\n  a\xff: 1\n")
    assert "not UTF-8" in run(capsys, "new", "bob")[2]


def test_a_form_that_can_t_be_changed_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = "a" * 64
    text = f"x: &s {digest}\nkeys:\n  alice:\n    sha256: *s\n"
    (here / "keys.yaml").write_text(text, "utf-8")
    code, out, err = run(capsys, "rotate", "alice")
    assert code == exits.FAILED and not out and "has a form that a2py can't change" in err
    assert (here / "keys.yaml").read_text("utf-8") == text


def test_comments_and_the_user_s_own_fields_stay(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "new", "alice", "--rpm", "5")
    path = here / "keys.yaml"
    path.write_text(path.read_text("utf-8").replace("    rpm: 5\n", "    rpm: 50  # more\n    team: x\n"), "utf-8")
    path.chmod(0o640)
    run(capsys, "new", "bob")
    run(capsys, "rotate", "alice")
    run(capsys, "revoke", "alice")
    text = path.read_text("utf-8")
    assert "    rpm: 50  # more\n    team: x\n" in text and read(path)["alice"].caller.rpm == 50
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o640, "who lets a group read it wants that"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
def test_root_keeps_the_owner(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "new", "alice")
    path = here / "keys.yaml"
    os.chown(path, 12345, 12346)
    run(capsys, "rotate", "alice")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)


def test_what_can_t_work_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    err = run(capsys, "new", "alice", "--models", "priced,wrong,no-*", "--budget", "1/day")[2]
    assert "no model of the configuration is named wrong" in err and "named no-*" in err and "priced," not in err
    err = run(capsys, "new", "bob", "--budget", "1/day")[2]
    assert "no price is known for unpriced, so that a key with a budget can't ask for it" in err
    assert "warning" not in run(capsys, "new", "carol", "--models", "priced,pri*")[2]


def test_a_pattern_is_for_names_that_the_file_does_not_have(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown `claude-…` goes to the first model; a pattern of the file takes names, too."""
    assert "warning" not in run(capsys, "new", "alice", "--models", "claude-*,claude-opus-*,c*")[2]
    assert "no model of the configuration" in run(capsys, "new", "bob", "--models", "gpt-*")[2]
    models = [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_base": "http://127.0.0.1:9"}}
        for name in ("far/*", "near")
    ]
    aliases = {"team-*": "near"}
    text = json.dumps({"model_list": models, "router_settings": {"model_group_alias": aliases}})
    (here / "a2py.yaml").write_text(text, "utf-8")
    assert "warning" not in run(capsys, "new", "carol", "--models", "far/gpt-*,*/gpt,team-a*,near*")[2]
    assert "named fare/*" in run(capsys, "new", "dora", "--models", "fare/*")[2]


def test_a_price_is_missing_behind_a_pattern(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`claude-*` goes to the first model, here the one without a price."""
    config = json.loads((here / "a2py.yaml").read_text("utf-8"))
    config["model_list"].reverse()
    (here / "a2py.yaml").write_text(json.dumps(config), "utf-8")
    err = run(capsys, "new", "alice", "--models", "claude-*", "--budget", "1/day")[2]
    assert "no price is known for unpriced, so" in err


@pytest.mark.parametrize(("mode", "is_complete"), [("embedding", True), ("rerank", True), ("chat", False)])
def test_an_output_price_is_needed_where_there_is_output(
    here: Path, capsys: pytest.CaptureFixture[str], mode: str, is_complete: bool
) -> None:
    config = json.loads((here / "a2py.yaml").read_text("utf-8"))
    params = {"model": "openai/m", "api_key": "x", "api_base": "http://127.0.0.1:9", "input_cost_per_token": 1e-6}
    config["model_list"] = [{"model_name": "m", "litellm_params": params, "model_info": {"mode": mode}}]
    (here / "a2py.yaml").write_text(json.dumps(config), "utf-8")
    assert ("no price is known for m" not in run(capsys, "new", "bob", "--budget", "1/day")[2]) is is_complete


def test_each_model_without_a_price_is_named_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """However many deployments it has."""
    config = json.loads((here / "a2py.yaml").read_text("utf-8"))
    entry = next(row for row in config["model_list"] if row["model_name"] == "unpriced")
    config["model_list"] += [entry] * 9 + [{**entry, "model_name": "last"}]
    (here / "a2py.yaml").write_text(json.dumps(config), "utf-8")
    assert "no price is known for unpriced, last, so" in run(capsys, "new", "bob", "--budget", "1/day")[2]


def test_a_budget_without_a_ledger_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (here / "a2py.yaml").read_text("utf-8")
    (here / "a2py.yaml").write_text(text[:-1] + ', "a2py": {"ledger": false}}', "utf-8")
    code, out, err = run(capsys, "new", "alice", "--budget", "1/day")
    assert code == exits.CONFIG and not out and "a budget needs the ledger" in err
    assert not (here / "keys.yaml").exists()


def test_a_broken_configuration_does_not_matter(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nothing / "a2py.yaml").write_text("model_list: 1\n", "utf-8")
    assert TOKEN.fullmatch(run(capsys, "new", "alice", "--models", "x", "--budget", "1/day")[1])


def test_the_list(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no keys in" in run(capsys, "list")[2]
    run(
        capsys,
        "new",
        "alice",
        "--models",
        "priced",
        "--rpm",
        "1000",
        "--max-parallel",
        "2",
        "--budget",
        "1/day",
        "--admin",
    )
    run(capsys, "new", "bob", "--expires", "2099-01-31")
    run(capsys, "new", "carol", "--budget", "5")
    run(capsys, "revoke", "bob")
    spend("alice", Budget(1.0, "day"), 0.25)
    code, out, _ = run(capsys, "list")
    assert code == exits.OK
    lines = [re.split(r"  +", line.strip()) for line in out.splitlines()]
    assert lines == [
        ["key", "models", "limits", "budget", "spent", "state"],
        ["alice (admin)", "priced", "rpm 1,000, max_parallel 2", "1/day", "0.2500", "valid"],
        ["bob", "all", "-", "-", "-", "revoked"],
        ["carol", "all", "-", "5/total", "0.0000", "valid"],
    ]
    alice, bob, carol = json.loads(run(capsys, "list", "--json")[1])
    assert 0 < alice.pop("renews") - time.time() <= 86400
    assert alice == {
        "name": "alice",
        "admin": True,
        "models": ["priced"],
        "rpm": 1000,
        "tpm": 0,
        "max_parallel": 2,
        "budget": 1.0,
        "period": "day",
        "spent": 0.25,
        "expires": None,
        "revoked": False,
    }
    assert bob["revoked"] and bob["expires"] == 4_073_500_800 + 86_400 and bob["spent"] is None
    assert carol["renews"] is None and carol["spent"] == 0.0


def test_with_redis_the_list_says_whose_sums_it_has(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "new", "alice")
    config = json.loads((here / "a2py.yaml").read_text("utf-8"))
    config["router_settings"] = {"redis_url": "redis://user:secret@shared:6379"}
    (here / "a2py.yaml").write_text(json.dumps(config), "utf-8")
    assert run(capsys, "list")[2] == ""  # no key has a budget
    run(capsys, "new", "bob", "--budget", "1/day")
    assert run(capsys, "list")[2] == (
        "spent: what this machine's ledger has. Budgets count what all replicas at redis://shared:6379 have spent.\n"
    )
    assert run(capsys, "list", "--json")[2] == ""


def test_without_a_ledger_nothing_is_read_of_another_one(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "new", "alice", "--budget", "1/day")
    spend("alice", Budget(1.0, "day"), 0.25)
    assert "0.2500" in run(capsys, "list")[1]
    text = (here / "a2py.yaml").read_text("utf-8")
    (here / "a2py.yaml").write_text(text[:-1] + ', "a2py": {"ledger": false}}', "utf-8")
    assert "0.2500" not in run(capsys, "list")[1]


def spend(name: str, budget: Budget, cost: float) -> None:
    """Let a proxy of this user have spent something."""
    path = Path(os.path.expanduser("~/.local/state/a2py/usage.db"))
    store = Store(str(path))
    hold = Hold("x-1", name, budget, 0.1)
    reserve(store.connect(), hold, time.time())
    settle(store.connect(), hold, cost, time.time())
    store.close()


def test_a_ledger_that_can_t_be_read_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "new", "alice", "--budget", "1/day")
    path = here / ".local" / "state" / "a2py" / "usage.db"
    path.write_bytes(b"not a database " * 100)
    code, out, err = run(capsys, "list")
    assert code == exits.OK and "0.0000" in out and "usage.db can't be read" in err
    assert err.startswith("a2py: the ledger ") and "Restore it, or move it away" in err
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE answers (x)")
    assert run(capsys, "list")[2] == ""


def test_processes_at_the_same_time_lose_no_key(here: Path) -> None:
    results: list[subprocess.CompletedProcess[str]] = []

    def make(number: int) -> None:
        results.append(a2py("keys", "new", f"k{number}", cwd=here))

    threads = [threading.Thread(target=make, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [result.returncode for result in results] == [exits.OK] * 6, [result.stderr for result in results]
    assert sorted(read(here / "keys.yaml")) == [f"k{n}" for n in range(6)]
    assert all(TOKEN.fullmatch(result.stdout) for result in results)


# -- with a running proxy ----------------------------------------------------------------------------------------------


def status(url: str, key: str = "", path: str = "/v1/models") -> int:
    request = urllib.request.Request(url + path, headers={"authorization": f"Bearer {key}"} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def until(code: int, *args: Any) -> None:
    """Wait until the proxy has looked at the file: every worker, which so many connections reach."""
    end, run = time.monotonic() + 60, 0
    while run < 24:
        run = run + 1 if status(*args) == code else 0
        assert time.monotonic() < end
        if not run:
            time.sleep(0.1)


@pytest.mark.integration
@pytest.mark.parametrize("workers", [1, 2])
def test_a_running_proxy_follows_the_file(tmp_path: Path, workers: int) -> None:
    """Without a signal, in every worker: a first key, a second one, a rotation, a revocation."""
    if workers > 1 and sys.platform == "win32":
        pytest.skip("workers need Unix")

    def keys(*args: str) -> str:
        result = a2py("keys", *args, cwd=tmp_path)
        assert result.returncode == exits.OK, result.stderr
        return result.stdout.strip()

    with serving(*DEMO, "--num-workers", str(workers), cwd=tmp_path) as running:
        assert status(running.url) == 200
        alice = keys("new", "alice")
        until(401, running.url)
        until(200, running.url, alice)
        until(401, running.url, "sk-nobody")
        new = keys("rotate", "alice")
        until(401, running.url, alice)
        until(200, running.url, new)
        bob = keys("new", "bob", "--admin")
        until(200, running.url, bob)
        assert status(running.url, bob, "/metrics") == 200 and status(running.url, new, "/metrics") == 403
        keys("revoke", "alice")
        until(401, running.url, new)
        assert status(running.url, bob) == 200
        result = a2py("usage", "--url", running.url, cwd=tmp_path, env={"A2PY_KEY": bob})
        assert result.returncode == exits.OK and "asks for another key" not in result.stderr
        result = a2py("usage", "--url", running.url, cwd=tmp_path)
        assert "asks for another key (set A2PY_KEY)" in result.stderr
        assert running.end() == exits.OK


@pytest.mark.integration
def test_a_start_with_keys(tmp_path: Path) -> None:
    """They allow a public address, they are asked for from the first request, and the summary says so."""
    alice = a2py("keys", "new", "alice", cwd=tmp_path).stdout.strip()
    with serving(*DEMO, "--host", "0.0.0.0", cwd=tmp_path) as running:
        running.until("Try it:")
        assert "export ANTHROPIC_AUTH_TOKEN=…  # a key that `a2py keys new NAME` has printed" in running.stderr
        assert alice not in running.stderr
        assert status(running.url) == 401 and status(running.url, alice) == 200
        path = tmp_path / ".config" / "a2py" / "keys.yaml"
        path.write_text(path.read_text("utf-8") + "    rpm: many\n", "utf-8")
        end = time.monotonic() + 60
        while "keys refused" not in running.stderr:
            assert status(running.url, alice) == 200, "a mistake changes nothing"
            assert time.monotonic() < end
            time.sleep(0.1)
        assert "`keys.alice.rpm` must be a whole number" in running.stderr


@pytest.mark.integration
@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP")
def test_a_mistake_at_the_start_names_its_place(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "a2py"
    folder.mkdir(parents=True)
    (folder / "keys.yaml").write_text("keys:\n  alice:\n    sha256: x\n", "utf-8")
    for more in ((), ("--num-workers", "2")):
        result = a2py(*DEMO, *more, cwd=tmp_path)
        assert result.returncode == exits.CONFIG
        assert "keys.yaml:3: `keys.alice.sha256` must be 64 hexadecimal digits. Make a key with" in result.stderr


@pytest.mark.integration
def test_a_budget_without_a_ledger_is_refused_at_the_start(tmp_path: Path) -> None:
    assert a2py("keys", "new", "alice", "--budget", "1/day", cwd=tmp_path).returncode == exits.OK
    config = tmp_path / ".config" / "a2py" / "config.yaml"
    model = {"model_name": "m", "litellm_params": {"model": "openai/m", "api_base": "http://127.0.0.1:9"}}
    config.write_text(json.dumps({"model_list": [model], "a2py": {"ledger": False}}), "utf-8")
    result = a2py("--port", "0", cwd=tmp_path)
    assert result.returncode == exits.CONFIG
    assert (
        "the key alice has a budget, and no ledger is kept" in result.stderr
        and "`a2py: ledger: false`" in result.stderr
    )
