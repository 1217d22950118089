"""The keys of clients, as keys.yaml has them now: whose key is this?

Knows: SHA-256, when the file has changed. Must not know: the file's fields (config/keys.py), HTTP, what a key may do.
Invariants: only digests are kept; a key is compared with all of them, in constant time; a file that can't be used
changes nothing, and neither does one that would open the proxy to everybody; a valid file that stays for LOOK_SECONDS
is read, also if nobody asks meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING

from a2py.caller import MASTER, Caller
from a2py.errors import ApiError

if TYPE_CHECKING:
    from a2py.config.keys import Key

#: Seconds between two looks at the file.
LOOK_SECONDS = 1.0
#: Largest file, in bytes.
MAX_BYTES = 4 << 20
#: Times of the last change of a file's content and of its rights, inode and size; None if there is none.
State = tuple[int, int, int, int]


class Keyring:
    """`clock`: monotonic seconds; `now`: seconds since the epoch; `say`: gets (event, values) for the log; `check`:
    raises if keys can't be used here; `rows`: the keys of the file; `on_change`: called after they have changed."""

    def __init__(
        self,
        clock: Callable[[], float],
        say: Callable[[str, dict[str, object]], None] = lambda event, values: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._say = say
        self._now = now
        self._path = ""
        self._state: State | None = None
        self._is_refused = False  # what the file has now could not be used
        self._look_time = 0.0
        self._master = ""
        self._master_digest = b""
        self.rows: tuple[Key, ...] = ()
        self.check: Callable[[tuple[Key, ...]], None] = lambda rows: None
        self.on_change: Callable[[], None] = lambda: None
        self._has_master: Callable[[], bool] | None = None  # None while nothing is watched
        self._timer: asyncio.TimerHandle | None = None

    def open(self, path: str) -> None:
        """Read the file at `path`, "" for none. Raise ConfigError or ApiError if it can't be used."""
        if path != self._path:
            self._path, self._state = path, None
        self._look_time = self._clock() + LOOK_SECONDS
        state = _find_state(path)
        if state is not None:
            rows = read_keys(path)
            self.check(rows)
            self.rows = rows
        else:
            self.rows = ()
        self._state = state

    def refresh(self, has_master: bool, *, at_once: bool = False) -> None:
        """Read the file again if it has changed; look at it once in LOOK_SECONDS, or `at_once`. `has_master`: the
        configuration has a master key."""
        if not self._path or (self._clock() < self._look_time and not at_once):
            return
        self._look(has_master, at_once=at_once)

    def watch(self, has_master: Callable[[], bool]) -> None:
        """Look at the file on a timer, too, while there are keys, until `close`.

        A key may be revoked and the file broken by the next edit, all between two requests. Without the timer the
        revoked key would stay valid until the file is repaired. Without keys there is no timer: the next request
        looks. Needs a running loop."""
        self._has_master = has_master
        self._set_timer()

    def close(self) -> None:
        """Look no more on a timer."""
        self._has_master = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if self._has_master is not None and self._timer is None and self.rows:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look_on_time, self._has_master)

    def _look_on_time(self, has_master: Callable[[], bool]) -> None:
        self._timer = None
        self._look(has_master())
        self._set_timer()

    def _look(self, has_master: bool, *, at_once: bool = False) -> None:
        self._look_time = self._clock() + LOOK_SECONDS
        state = _find_state(self._path)
        if state == self._state and not (at_once and self._is_refused):  # a reload may have changed what `check` asks
            return
        self._state, self._is_refused = state, True  # also of a file with a mistake, which is named once
        try:
            rows = read_keys(self._path) if state is not None else ()
            if self.rows and not rows and not has_master:
                raise ValueError(
                    f"{self._path} has no key any more, so anybody could use this proxy: restore it, or restart the"
                    " proxy to serve without keys"
                )
            self.check(rows)
        except Exception as error:
            self._say("keys refused", {"error": str(error) or type(error).__name__})
            return
        self.rows, self._is_refused = rows, False
        self._say("keys reloaded", {"keys": len(rows)})
        self.on_change()
        self._set_timer()

    def find(self, tokens: list[str], master_key: str) -> Caller | None:
        """Return whose key one of `tokens` is, None if nobody's. Raise `ApiError` for a key that is no longer valid."""
        if master_key != self._master:
            self._master, self._master_digest = master_key, _digest(master_key) if master_key else b""
        refusal = None
        for token in tokens:
            key = self._find_key(_digest(token))
            if key is None:
                continue
            caller = key if isinstance(key, Caller) else key.caller
            problem = "" if isinstance(key, Caller) else self._explain(key)
            if not problem:
                return caller
            refusal = ApiError("authentication", problem, should_retry=False)
        if refusal is not None:
            raise refusal
        return None

    def _find_key(self, digest: bytes) -> Key | Caller | None:
        """Return the key with this digest; MASTER for the master key. All are compared, so that the time tells
        nothing."""
        match: Key | Caller | None = None
        for key in self.rows:
            if compare_digest(digest, key.digest):
                match = key
        if compare_digest(digest, self._master_digest):
            match = MASTER
        return match

    def _explain(self, key: Key) -> str:
        """Return why a key is refused, "" if it is valid."""
        name = key.caller.name
        cure = "ask the owner of this proxy for a new one (`a2py keys new`)"
        if key.is_revoked:
            return f"The key {name} was revoked: {cure}"
        if key.caller.is_expired(self._now()):
            date = time.strftime("%Y-%m-%d %H:%M", time.gmtime(key.caller.expires))
            return f"The key {name} expired at {date} UTC: {cure}"
        return ""


def check_budgets(rows: tuple[Key, ...], has_ledger: bool) -> None:
    """Raise ConfigError for a key with a budget where no ledger is kept: nobody would know what it has spent."""
    name = next((key.caller.name for key in rows if key.caller.budget is not None and not key.is_revoked), "")
    if name and not has_ledger:
        from a2py.config.error import ConfigError

        cure = "Remove `a2py: ledger: false` (and use a Python with sqlite3), or remove the budget from keys.yaml."
        raise ConfigError(
            f"the key {name} has a budget, and no ledger is kept that would count what it spends", cure=cure
        )


def _digest(token: str) -> bytes:
    """Return the SHA-256. The environment may hold bytes that are not UTF-8."""
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def _find_state(path: str) -> State | None:
    if not path:
        return None
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return (0, 0, 0, 0)  # it may be there: reading it says what is wrong
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size


def read_keys(path: str) -> tuple[Key, ...]:
    """Return the keys of a file. Raise ConfigError."""
    from a2py.config.error import ConfigError  # not loaded where there is no such file
    from a2py.config.keys import parse_keys

    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        cure = "Let the user of a2py read it (chmod 644: it holds digests, no keys)."
        raise ConfigError(f"{path} can't be read: {reason}", cure=cure) from None
    return parse_keys(data, path)
