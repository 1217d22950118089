"""The keyring: whose key is it, and when is the file read again?"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from a2py.caller import ANYBODY, MASTER
from a2py.config import Config, ConfigError
from a2py.errors import ApiError
from a2py.proxy import keys as module
from a2py.proxy.access import admit, may_ask, require_admin, require_model
from a2py.proxy.keys import LOOK_SECONDS, Keyring
from tests.clock import Clock
from tests.proxied import config, deployment, run_proxy, settle


def write(path: Path, **keys: Mapping[str, Any]) -> None:
    """Write keys.yaml as `a2py keys` does: a new file each time. The key of NAME is `sk-NAME`."""
    lines = ["keys:"]
    for name, fields in keys.items():
        lines += [f"  {name}:", f"    sha256: {sha256(f'sk-{name}'.encode()).hexdigest()}"]
        lines += [f"    {field}: {value}" for field, value in fields.items()]
    new = path.with_suffix(".new")
    new.write_text("\n".join(lines) + "\n", "utf-8")
    os.replace(new, path)


class Ring(Keyring):
    def __init__(self, path: Path, **keys: Mapping[str, Any]) -> None:
        self.time, self.events = Clock(100.0), list[tuple[str, dict[str, object]]]()
        super().__init__(self.time, lambda event, values: self.events.append((event, values)))
        if keys:
            write(path, **keys)
        self.open(str(path))

    def later(self, has_master: bool = False) -> None:
        self.time.now += LOOK_SECONDS
        self.refresh(has_master)

    @property
    def names(self) -> list[str]:
        return [key.caller.name for key in self.rows]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


def refusal(ring: Keyring, headers: Mapping[str, str], master: str = "") -> ApiError:
    with pytest.raises(ApiError) as excinfo:
        admit(Config(master_key=master), ring, headers)
    return excinfo.value


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": "sk-alice"},
        {"authorization": "Bearer sk-alice"},
        {"authorization": "bearer  sk-alice "},
        {"x-litellm-api-key": "sk-alice"},
        {"x-litellm-api-key": "Bearer sk-alice"},
        {"x-api-key": "sk-other", "authorization": "Bearer sk-alice"},
        {"x-api-key": "sk-gone", "authorization": "Bearer sk-alice"},
    ],
)
def test_a_key_is_found_in_any_header(path: Path, headers: dict[str, str]) -> None:
    ring = Ring(path, alice={}, bob={"admin": "true"}, gone={"revoked": "true"})
    for master in ("", "sk-master"):
        caller = admit(Config(master_key=master), ring, headers)
        assert caller.name == "alice" and not caller.is_admin
    assert admit(Config(), ring, {"x-api-key": "sk-bob"}).is_admin


def test_the_master_key_is_one_of_them(path: Path) -> None:
    ring = Ring(path, alice={})
    assert admit(Config(master_key="sk-master"), ring, {"x-api-key": "sk-master"}) is MASTER
    assert admit(Config(master_key="sk-new"), ring, {"x-api-key": "sk-new"}) is MASTER
    assert refusal(ring, {"x-api-key": "sk-master"}, "sk-new").status == 401
    assert admit(Config(master_key="sk-\udcff"), ring, {"x-api-key": "sk-\udcff"}) is MASTER


@pytest.mark.parametrize("master", ["", "sk-master"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"authorization": "Bearer "},
        {"authorization": "Basic sk-alice"},
        {"x-api-key": "sk-alic"},
        {"x-api-key": sha256(b"sk-alice").hexdigest()},
        {"host": "localhost"},
        {"x-api-key": "\udcff\0"},
    ],
)
def test_with_keys_there_is_no_anonymous_access(path: Path, headers: dict[str, str], master: str) -> None:
    error = refusal(Ring(path, alice={}), headers, master)
    assert error.status == 401 and "a2py keys new NAME" in error.message and error.should_retry is False


def test_revoked_and_expired_keys_get_to_read_why(path: Path) -> None:
    ring = Ring(path, gone={"revoked": "2026-11-30"}, old={"expires": "2020-01-31"}, new={"expires": "9000-01-31"})
    assert refusal(ring, {"x-api-key": "sk-gone"}).message.startswith("The key gone was revoked: ask the owner")
    assert refusal(ring, {"x-api-key": "sk-old"}).message.startswith("The key old expired at 2020-02-01 00:00 UTC: ask")
    assert admit(Config(), ring, {"x-api-key": "sk-new"}).name == "new"


def test_without_keys_all_is_as_before(path: Path) -> None:
    ring = Ring(path)
    assert admit(Config(), ring, {"host": "localhost"}) is ANYBODY
    assert admit(Config(master_key="sk-master"), ring, {"x-api-key": "sk-master"}) is MASTER
    assert "master_key" in refusal(ring, {}, "sk-master").message
    assert refusal(ring, {"host": "evil.example"}).status == 403


@pytest.mark.parametrize("token", ["sk-k0", "sk-k9", "sk-master", "sk-nobody"])
def test_each_key_is_compared_in_constant_time(path: Path, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the first, the last or none matches: as many comparisons, and each of whole digests."""
    lengths: list[tuple[int, int]] = []

    def compare(a: bytes, b: bytes) -> bool:
        lengths.append((len(a), len(b)))
        return hmac.compare_digest(a, b)

    monkeypatch.setattr(module, "compare_digest", compare)
    ring = Ring(path, **{f"k{n}": {} for n in range(10)})
    ring.find([token], "sk-master")
    assert lengths == [(32, 32)] * 11


def test_no_key_is_in_memory_in_clear(path: Path) -> None:
    ring = Ring(path, alice={})
    assert admit(Config(), ring, {"x-api-key": "sk-alice"}).name == "alice"
    assert "sk-alice" not in repr(ring.rows) + repr(vars(ring))


def test_a_changed_file_is_read_again(path: Path) -> None:
    ring = Ring(path, alice={})
    calls: list[int] = []
    ring.on_change = lambda: calls.append(len(ring.rows))
    write(path, alice={}, bob={})
    ring.refresh(False)
    assert ring.names == ["alice"], "it is looked at once a second"
    ring.later()
    assert ring.names == ["alice", "bob"] and calls == [2]
    assert ring.events == [("keys reloaded", {"keys": 2})]
    ring.later()
    write(path, bob={})
    ring.refresh(False, at_once=True)
    assert ring.names == ["bob"], "SIGHUP does not wait"


def test_a_file_that_comes_later_is_found(path: Path) -> None:
    ring = Ring(path)
    assert admit(Config(), ring, {"host": "localhost"}) is ANYBODY
    write(path, alice={})
    ring.later()
    assert refusal(ring, {"host": "localhost"}).status == 401


def test_a_mistake_changes_nothing_and_is_named_once(path: Path) -> None:
    ring = Ring(path, alice={})
    path.write_text("keys:\n  alice:\n    sha256: oops\n", "utf-8")
    for _ in range(3):
        ring.later()
    assert ring.names == ["alice"]
    ((event, values),) = ring.events
    assert event == "keys refused" and f"{path}:3: `keys.alice.sha256` must be" in str(values["error"])
    write(path, bob={})
    ring.later()
    assert ring.names == ["bob"]


def test_a_start_refuses_a_mistake(path: Path) -> None:
    path.write_text("keys: 1\n", "utf-8")
    with pytest.raises(ConfigError, match=r"keys.yaml:1: `keys` must be a mapping"):
        Ring(path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_nobody_may_read_is_named(path: Path) -> None:  # pragma: no cover
    write(path, alice={})
    path.chmod(0)
    with pytest.raises(ConfigError, match="can't be read: Permission denied"):
        Ring(path)


def test_a_folder_in_its_place_is_named(path: Path) -> None:
    path.mkdir()
    with pytest.raises(ConfigError, match=r"can't be read: (Is a directory|Permission denied)"):
        Ring(path)


@pytest.mark.parametrize("text", [None, "", "keys:\n"])
def test_a_file_that_vanishes_does_not_open_the_proxy(path: Path, text: str | None) -> None:
    ring = Ring(path, alice={})
    path.unlink()
    if text is not None:
        path.write_text(text, "utf-8")
    ring.later()
    assert ring.names == ["alice"]
    assert "has no key any more, so anybody could use this proxy" in str(ring.events[0][1]["error"])


def test_with_a_master_key_the_last_key_may_go(path: Path) -> None:
    ring = Ring(path, alice={})
    path.unlink()
    ring.later(has_master=True)
    assert not ring.rows and ring.events == [("keys reloaded", {"keys": 0})]


def test_keys_that_can_t_be_used_here_change_nothing(path: Path) -> None:
    ring = Ring(path, alice={})

    def check(rows: object) -> None:
        raise ValueError("no budgets here")

    ring.check = check
    write(path, alice={"budget": "1/day"})
    ring.later()
    assert ring.rows[0].caller.budget is None and ring.events == [("keys refused", {"error": "no budgets here"})]
    with pytest.raises(ValueError, match="no budgets"):
        ring.open(str(path))


def test_a_file_that_may_be_read_now_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring, read = Ring(path, alice={}), module.read_keys
    write(path, bob={})

    def refuse(path: str) -> Any:
        raise ConfigError("permission denied")

    monkeypatch.setattr(module, "read_keys", refuse)
    ring.later()
    monkeypatch.setattr(module, "read_keys", read)
    assert ring.names == ["alice"]
    wait_for_tick(path)
    path.chmod(0o644)  # changes neither its time nor its content
    ring.later()
    assert ring.names == ["bob"]


def wait_for_tick(path: Path) -> None:
    """Return once a change of the file would get another time than its latest. Kernels count in ticks."""
    before = path.stat().st_ctime_ns
    probe = path.with_suffix(".probe")
    while True:
        probe.write_text("")
        if probe.stat().st_ctime_ns > before:
            return


async def test_a_key_that_is_revoked_while_nobody_asks_stays_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next edit breaks the file, and only then does a request come."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    ring = Ring(path, alice={}, bob={})
    ring.watch(lambda: False)
    write(path, alice={}, bob={"revoked": "true"})
    await settle(lambda: ring.events == [("keys reloaded", {"keys": 2})])
    with path.open("a") as file:
        file.write("typo: [\n")
    await settle(lambda: len(ring.events) == 2)
    assert ring.events[1][0] == "keys refused" and ring.names == ["alice", "bob"]
    ring.time.now += 1.0
    assert refusal(ring, {"x-api-key": "sk-bob"}).message.startswith("The key bob was revoked")
    write(path, alice={})
    await settle(lambda: ring.names == ["alice"])
    ring.close()
    write(path, alice={}, bob={})
    await asyncio.sleep(0.05)
    assert ring.names == ["alice"], "nothing looks after `close`"


async def test_without_keys_there_is_no_timer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    ring = Ring(path)
    ring.watch(lambda: True)
    assert ring._timer is None
    write(path, alice={})
    ring.later()
    assert ring._timer is not None, "with the first key"
    write(path)
    await settle(lambda: ring.names == [])
    assert ring._timer is None, "the last key is gone"


async def test_a_server_watches_its_keys_until_it_closes(path: Path) -> None:
    write(path, alice={})
    async with run_proxy(replace(config(), keys_path=str(path))) as proxy:
        timer = proxy.services.keys._timer
        assert timer is not None and not timer.cancelled()
    assert timer.cancelled()


def test_a_reload_looks_again_at_keys_that_were_refused(path: Path) -> None:
    ring, has_ledger = Ring(path, alice={}), False

    def check(rows: tuple[Any, ...]) -> None:
        module.check_budgets(rows, has_ledger)

    ring.check = check
    write(path, alice={"budget": "1/day"})
    ring.later()
    ring.later()
    assert [event for event, _ in ring.events] == ["keys refused"], "it is named once"
    has_ledger = True
    ring.refresh(False, at_once=True)
    ring.refresh(False, at_once=True)
    assert [event for event, _ in ring.events] == ["keys refused", "keys reloaded"]
    assert ring.rows[0].caller.budget is not None


def test_only_admins_pass() -> None:
    require_admin(ANYBODY)
    require_admin(MASTER)


# -- models ------------------------------------------------------------------------------------------------------------

CONFIG = Config(
    deployments=(deployment("http://x", "gpt-5"), deployment("http://x", "mini"), deployment("http://x", "open/*")),
    aliases={"fast": "mini", "best": "gpt-5"},
    default_name="mini",
)


def ask(path: Path, models: str) -> Any:
    return admit(CONFIG, Ring(path, alice={"models": models}), {"x-api-key": "sk-alice"})


@pytest.mark.parametrize(
    ("models", "reachable", "unreachable"),
    [
        (
            "[gpt-5]",
            ["gpt-5", "GPT-5", "best", "anthropic/gpt-5", "claude-gpt-5", "gpt-5[1m]"],
            ["mini", "fast", "nobody"],
        ),
        ("[fast]", ["fast", "FAST", "anthropic/fast", "claude-fast[1m]"], ["mini", "gpt-5", "anthropic/mini"]),
        ("[mini]", ["mini", "fast", "claude-haiku-9"], ["gpt-5", "best", "open/x"]),
        ('["claude-*"]', ["claude-haiku-9"], ["mini", "gpt-5", "xclaude-y", "claude-gpt-5", "claude-best[1m]"]),
        ('["anthropic/*", "G*"]', [], ["gpt-5", "GPT-5", "anthropic/gpt-5", "anthropic/claude-best"]),
        ("[claude-gpt-5]", ["claude-gpt-5"], ["gpt-5", "anthropic/gpt-5"]),
        ('["gpt-5-*", "*[1m]"]', ["gpt-5-20260101", "mini[1m]"], ["gpt-5", "mini"]),
        ('["open/*"]', ["open/x", "open/y/z", "anthropic/open/x"], ["gpt-5", "x"]),
        ("[open/x]", ["open/x"], ["open/y", "open/x/y", "open/*"]),
        ('["*"]', ["gpt-5", "mini", "open/x"], []),
    ],
)
def test_a_key_reaches_its_models_only(path: Path, models: str, reachable: list[str], unreachable: list[str]) -> None:
    caller = ask(path, models)
    assert [name for name in reachable if not may_ask(CONFIG, caller, name)] == []
    assert [name for name in unreachable if may_ask(CONFIG, caller, name)] == []
    for name in unreachable:
        with pytest.raises(ApiError) as excinfo:
            require_model(CONFIG, caller, name)
        assert excinfo.value.status == 403 and "The key alice may not ask for the model" in excinfo.value.message
        text = excinfo.value.message.replace(name, "")
        others = [other for other in ("gpt-5", "mini", "open/x") if other in text and other not in models]
        assert others == [], "it tells no other models"


def test_a_name_of_the_list_that_nobody_has_is_a_404_without_other_names(path: Path) -> None:
    with pytest.raises(ApiError) as excinfo:
        require_model(CONFIG, ask(path, "[nothing]"), "nothing")
    assert excinfo.value.status == 404 and "mini" not in excinfo.value.message
