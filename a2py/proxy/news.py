"""What processes that serve the same models tell each other: cooldowns, lessons, how many tokens prompts have.

A *word* is one such thing as bytes (JSON, at most WORD_BYTES). `News` makes words of what happens here, and applies
those of others. How they travel is another matter: over the bus between workers (worker_news.py), or over Redis.

    ["cooldown", deployment, model, kind of error, seconds]
    ["recovery", deployment, model]
    ["failure", deployment, count]
    ["lesson", deployment, model, {quirk: value}, seconds, source, reason, date]
    ["size", "counts" or "estimates", model, real, count, version, origin]

Knows: words, what they change. Must not know: how they travel.
Invariants:
- `take` takes any bytes without an exception. A word is checked like input from outside: known deployments, values that
  a lesson may have, bounds for every number. What is strange is ignored.
- What was taken is not told again.
- What happens often is told at most once in FLUSH_SECONDS, and at most MAX_WORDS words at a time. The first word goes
  out at once.
- All processes end with the same calibration of a model, whatever the order in which words arrive: the higher version
  counts, of equal versions the one with the higher origin.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import orjson

from a2py.errors import KINDS
from a2py.evidence.fact import Source, plain
from a2py.messages.count import Calibration
from a2py.proxy.lessons import LESSON_SECONDS, WIRE
from a2py.quirks import EFFORTS, Quirks, override, words
from a2py.wires.lessons import AFTER_TOOL, EMPTY

if TYPE_CHECKING:
    from a2py.config import Config
    from a2py.proxy.cooldowns import Cooldowns
    from a2py.proxy.lessons import Lessons
    from a2py.proxy.sizes import Sizes

#: Seconds between two times at which words go out.
FLUSH_SECONDS = 0.1
#: Words that wait for that time. More are dropped.
MAX_WORDS = 1000
WORD_BYTES = 4096
#: Longest cooldown that is believed, in seconds.
MAX_COOLDOWN = 3600.0
#: Most failures in one word: more than any `allowed_fails` needs.
MAX_FAILURES = 1000
#: Characters of an id and of a model, of a reason, and of an item of a quirk.
MAX_NAME, MAX_REASON, MAX_ITEM = 512, 200, 64
MAX_NUMBER = 10**12
_SOURCES: tuple[Source, ...] = ("refusal", "reply")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\dZ)?")
#: What a lesson may put into a prompt.
_TEXTS = frozenset({"", EMPTY, AFTER_TOOL})
_EFFORTS = frozenset(("effort_off", word) for word in EFFORTS)
#: The wires that a lesson may lead to.
_WIRES = frozenset({"chat", "responses"})


class News:
    """`origin`: the name of this process, unlike all others; `config`: returns the configuration in force; `tell`: each
    is called with the words that go out; `handlers`: kind of a word → what applies its other parts, of an age in
    seconds."""

    def __init__(
        self, origin: str, config: Callable[[], Config], cooldowns: Cooldowns, lessons: Lessons, sizes: Sizes
    ) -> None:
        self.origin = origin
        self.tell: list[Callable[[list[bytes]], object]] = []
        self.handlers: dict[str, Callable[[list[Any], float], None]] = {
            "cooldown": self._take_cooldown,
            "recovery": self._take_recovery,
            "failure": self._take_failure,
            "lesson": self._take_lesson,
            "size": self._take_size,
        }
        self._config = config
        self._cooldowns, self._lessons = cooldowns, lessons
        self._sizes = {"counts": sizes.counts, "estimates": sizes.estimates}
        self._versions: dict[tuple[str, str], tuple[int, str]] = {}  # (way of counting, model) → version, origin
        self._known_ids: tuple[Config | None, frozenset[str]] = (None, frozenset())
        self._waiting: dict[Hashable, Callable[[], bytes]] = {}
        self._failures: dict[str, int] = {}
        self._timer: asyncio.Handle | None = None
        cooldowns.reporter, lessons.report_lesson, sizes.report = self, self.report_lesson, self.report_size

    def close(self) -> None:
        """Tell nothing any more."""
        self.tell.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- what happens here ---------------------------------------------------------------------------------------------

    def report_cooldown(self, id: str, model: str, kind: str, seconds: float) -> None:
        word = orjson.dumps(["cooldown", id, model, kind, seconds])
        self.add(("health", id, model), lambda: word)

    def report_recovery(self, id: str, model: str) -> None:
        word = orjson.dumps(["recovery", id, model])
        self.add(("health", id, model), lambda: word)

    def report_failure(self, id: str) -> None:
        self._failures[id] = min(self._failures.get(id, 0) + 1, MAX_FAILURES)
        self.add(("failure", id), lambda: orjson.dumps(["failure", id, self._failures.pop(id)]))

    def report_lesson(self, id: str, model: str, changes: dict[str, Any], source: Source, reason: str) -> None:
        word = _encode_lesson(id, model, changes, LESSON_SECONDS, source, reason, "")
        self.add(("lesson", id, model, *changes), lambda: word)

    def report_size(self, way: str, model: str) -> None:
        """Tell the calibration of `model`. `way`: `counts` or `estimates`."""
        self.add((way, model), lambda: self._encode_size(way, model))

    def add(self, subject: Hashable, make: Callable[[], bytes]) -> None:
        """Let `make` return a word when words go out. A later word about the same subject replaces it."""
        if not self.tell or (subject not in self._waiting and len(self._waiting) >= MAX_WORDS):
            return
        self._waiting[subject] = make
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}
        words = [word for make in waiting.values() if len(word := make()) <= WORD_BYTES]
        for tell in self.tell:
            tell(words)
        self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush)

    def _encode_size(self, way: str, model: str) -> bytes:
        version = self._versions.get((way, model), (0, ""))[0] + 1
        self._set_version(way, model, version, self.origin)
        return orjson.dumps(["size", way, model, *self._sizes[way].sums(model), version, self.origin])

    def _set_version(self, way: str, model: str, version: int, origin: str) -> None:
        self._versions.pop((way, model), None)
        self._versions[way, model] = version, origin
        if len(self._versions) > 2 * Calibration.MODELS:
            del self._versions[next(iter(self._versions))]

    def snapshot(self) -> list[bytes]:
        """Return words for all that is known, for a process that begins."""
        words = [orjson.dumps(["cooldown", *row]) for row in self._cooldowns.list_active()]
        words += [_encode_lesson(*row) for row in self._lessons.list_lessons()]
        for (way, model), version in self._versions.items():
            words.append(orjson.dumps(["size", way, model, *self._sizes[way].sums(model), *version]))
        return [word for word in words if len(word) <= WORD_BYTES]

    # -- what happens elsewhere ----------------------------------------------------------------------------------------

    def take(self, words: list[bytes], age: float = 0.0) -> None:
        """Apply the words of another process. `age`: seconds since they were told."""
        for word in words:
            try:
                if len(word) <= WORD_BYTES:
                    kind, *parts = orjson.loads(word)
                    self.handlers[kind](parts, max(age, 0.0))
            except (ValueError, TypeError, KeyError, OverflowError):
                continue  # of another version, or no word at all

    def _take_cooldown(self, parts: list[Any], age: float) -> None:
        id, model, kind, seconds = parts
        remaining_seconds = _number(seconds, 0.0, MAX_COOLDOWN) - age
        if KINDS[kind] and remaining_seconds > 0 and not self._config().settings.disable_cooldowns:
            self._cooldowns.begin(self.check_id(id), _name(model), kind, remaining_seconds)

    def _take_recovery(self, parts: list[Any], age: float) -> None:
        id, model = parts
        self._cooldowns.end(self.check_id(id), _name(model))

    def _take_failure(self, parts: list[Any], age: float) -> None:
        id, count = parts
        for _ in range(_integer(count, MAX_FAILURES)):
            self._cooldowns.count_failure(self.check_id(id), age=age)

    def _take_lesson(self, parts: list[Any], age: float) -> None:
        id, model, changes, seconds, source, reason, date = parts
        remaining_seconds = _number(seconds, 0.0, LESSON_SECONDS) - age
        if source not in _SOURCES or (date and not _DATE.fullmatch(date)):
            raise ValueError("lesson")
        if remaining_seconds > 0:
            valid_changes = check_changes(changes)
            self._lessons.keep(
                self.check_id(id),
                _name(model),
                valid_changes,
                remaining_seconds,
                (source, _name(reason, MAX_REASON), date),
            )

    def _take_size(self, parts: list[Any], age: float) -> None:
        way, model, real, count, version, origin = parts
        latest = _integer(version, MAX_NUMBER), _name(origin, MAX_ITEM)
        sums = _number(real, 0.0, MAX_NUMBER), _number(count, 0.0, MAX_NUMBER)
        is_newer = latest > self._versions.get((way, _name(model)), (0, ""))
        if is_newer and self._sizes[way].adopt(model, *sums):
            self._set_version(way, model, *latest)

    def check_id(self, id: Any) -> str:
        """Return `id` if it is the id of a deployment. Raise ValueError."""
        config = self._config()
        if self._known_ids[0] is not config:
            self._known_ids = config, frozenset(one.id for one in config.deployments)
        if type(id) is not str or id not in self._known_ids[1]:
            raise ValueError("deployment")
        return id


def _encode_lesson(
    id: str, model: str, changes: dict[str, Any], seconds: float, source: str, reason: str, date: str
) -> bytes:
    values = {name: plain(value) for name, value in changes.items()}
    return orjson.dumps(["lesson", id, model, values, seconds, source, reason[:MAX_REASON], date])


def check_changes(changes: Any) -> dict[str, Any]:
    """Return the changes of a lesson with values as `Quirks` has them. Raise ValueError, TypeError or KeyError for any
    that no lesson has."""
    if type(changes) is not dict or not changes or len(changes) > len(Quirks.__dataclass_fields__):
        raise ValueError("changes")
    quirks = override(Quirks(), {name: value for name, value in changes.items() if name != WIRE})
    return {name: _check_change(name, value, quirks) for name, value in changes.items()}


def _check_change(name: str, value: Any, quirks: Quirks) -> Any:
    """Return the new value of a quirk or of the wire. `quirks`: has the right types. Raise ValueError or TypeError if
    it may not come from a lesson."""
    if name == WIRE:
        if value not in _WIRES:
            raise ValueError(name)
        return value
    value = getattr(quirks, name)
    if isinstance(value, str) and name not in words() and value not in _TEXTS and (name, value) not in _EFFORTS:
        raise ValueError(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        _number(value, 0.0, MAX_NUMBER)
    elif isinstance(value, (tuple, frozenset)):
        for item in value:
            _name(item, MAX_ITEM)
    return value


def _name(value: Any, limit: int = MAX_NAME) -> str:
    if type(value) is not str or len(value) > limit or not value.isprintable():
        raise ValueError("name")
    return value


def _number(value: Any, least: float, most: float) -> float:
    if isinstance(value, bool) or not math.isfinite(value) or not least <= value <= most:
        raise ValueError("number")
    return float(value)


def _integer(value: Any, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError("number")
    return value
