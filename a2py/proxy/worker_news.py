"""The news of workers: words travel over the bus, and a worker that begins gets what the others know.

What a worker has used of rpm and tpm is told, too. It is nothing to the others, but they keep it for the worker that
replaces it, so that a worker that dies does not use its part of a minute twice:

    ["use", worker, deployment, [[age, requests], …], [[age, tokens], …]]

Knows: the bus, words. Must not know: what a word of another kind means (news.py).
Invariants: a use is kept for the configured deployments and the workers there are; a worker takes its own use back
once, before it has used anything itself.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import orjson

from a2py.proxy.bus import Bus
from a2py.proxy.limits import WINDOW, Limits
from a2py.proxy.news import MAX_NUMBER, News

TOPIC, STATE = "news", "news.state"
#: Seconds that the others have to say what they know.
STATE_SECONDS = 2.0
#: Parts of the minute in which a use is told.
SLICES = 12
Slices = list[list[float]]


class WorkerNews:
    """`run`: runs a coroutine in the background."""

    def __init__(
        self, news: News, bus: Bus, limits: Limits, run: Callable[[Coroutine[Any, Any, None]], object]
    ) -> None:
        self._news, self._bus, self._limits, self._run = news, bus, limits, run
        self._clock = limits.clock
        self._uses: dict[tuple[int, str], tuple[float, Slices, Slices]] = {}  # worker, deployment → when it was told
        self._is_asked = False
        self._restored: set[str] = set()  # deployments whose use by the worker before this one is counted
        news.tell.append(lambda words: bus.publish(TOPIC, b"\n".join(words)))
        news.handlers["use"] = self._take_use
        bus.subscribe(TOPIC, lambda payload, worker: news.take(payload.split(b"\n")))
        bus.answer(STATE, self._answer_state)
        bus.on_peers.append(self._begin)
        limits.report_use = self._report_use

    def _begin(self) -> None:
        """Ask the others once, as soon as there are any."""
        if not self._is_asked and self._bus.peers:
            self._is_asked = True
            self._run(self._ask_state())

    async def _ask_state(self) -> None:
        gathered = await self._bus.gather(STATE, b"", STATE_SECONDS)
        for worker, answer in gathered.answers.items():
            if worker != self._bus.number:
                self._news.take(answer.split(b"\n"))

    def _answer_state(self, payload: bytes, worker: int) -> bytes:
        now = self._clock()
        words = self._news.snapshot()
        for (user, id), (told, starts, tokens) in self._uses.items():
            if user == worker:
                age = now - told
                words.append(orjson.dumps(["use", user, id, _older(starts, age), _older(tokens, age)]))
        return b"\n".join(words)

    def _report_use(self, id: str) -> None:
        self._news.add(
            ("use", id), lambda: orjson.dumps(["use", self._bus.number, id, *self._limits.list_use(id, SLICES)])
        )

    def _take_use(self, parts: list[Any], age: float) -> None:
        worker, id, starts, tokens = parts
        if type(worker) is not int or not 0 <= worker < self._bus.count:
            raise ValueError("worker")
        use = self._clock(), _check(starts), _check(tokens)
        if worker != self._bus.number:
            self._uses[worker, self._news.known(id)] = use
        elif self._news.known(id) not in self._restored:
            self._restored.add(id)
            self._limits.restore_use(id, use[1], use[2])


def _older(slices: Slices, age: float) -> Slices:
    return [[before + age, amount] for before, amount in slices if before + age < WINDOW]


def _check(slices: Any) -> Slices:
    """Return slices as `list_use` makes them. Raise ValueError or TypeError."""
    if type(slices) is not list or len(slices) > SLICES:
        raise ValueError("slices")
    for age, amount in slices:
        if not 0 <= age <= WINDOW or not -MAX_NUMBER <= amount <= MAX_NUMBER:
            raise ValueError("slice")
    return slices
