"""The news of workers: words travel over the bus, and a worker that begins gets what the others know.

What a worker has used of rpm and tpm is told, too. It is nothing to the others, but they keep it for the worker that
replaces it, so that a worker that dies does not use its part of a minute twice:

    ["use", worker, origin, deployment, [[age, requests], …], [[age, tokens], …]]

`origin` tells a worker from the one that it replaces: it must not count its own use twice.

Knows: the bus, words. Must not know: what a word of another kind means (news.py).
Invariants: a use is kept for two lives of the workers there are, of MAX_USES pairs with deployments; it is handed over
once.
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
#: Pairs of worker and deployment whose use is kept. Reloads bring new ones.
MAX_USES = 4096
Slices = list[list[float]]


class WorkerNews:
    """`run`: runs a coroutine in the background."""

    def __init__(
        self, news: News, bus: Bus, limits: Limits, run: Callable[[Coroutine[Any, Any, None]], object]
    ) -> None:
        self._news, self._bus, self._limits, self._run = news, bus, limits, run
        self._clock = limits.clock
        # (worker, deployment) → origin → when it was told, requests, tokens
        self._uses: dict[tuple[int, str], dict[str, tuple[float, Slices, Slices]]] = {}
        self._is_asked = False
        # (origin, deployment): what siblings have handed over already
        self._restored_lives: set[tuple[str, str]] = set()
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
        answers = await self._bus.gather(STATE, self._news.origin.encode(), STATE_SECONDS)
        for worker, answer in answers.by_worker.items():
            if worker != self._bus.number:
                self._news.take(answer.split(b"\n"))

    def _answer_state(self, payload: bytes, worker: int) -> bytes:
        """Return what this worker knows, and what the one that asks has used in its life before."""
        now, origin = self._clock(), payload.decode()
        words = self._news.snapshot()
        for (user, id), lives in self._uses.items():
            for former in [life for life in lives if user == worker and life != origin]:
                timestamp, starts, tokens = lives.pop(former)
                age = now - timestamp
                words.append(orjson.dumps(["use", user, former, id, _older(starts, age), _older(tokens, age)]))
        return b"\n".join(words)

    def _report_use(self, id: str) -> None:
        me = self._bus.number, self._news.origin
        self._news.add(("use", id), lambda: orjson.dumps(["use", *me, id, *self._limits.list_use(id, SLICES)]))

    def _take_use(self, parts: list[Any], age: float) -> None:
        worker, origin, id, starts, tokens = parts
        if type(worker) is not int or not 0 <= worker < self._bus.count or type(origin) is not str:
            raise ValueError("worker")
        use = self._clock(), _check(starts), _check(tokens)
        if worker != self._bus.number:
            lives = self._uses.setdefault((worker, self._news.check_id(id)), {})
            if len(self._uses) > MAX_USES:
                del self._uses[next(iter(self._uses))]
            lives.pop(origin, None)
            lives[origin] = use
            if len(lives) > 2:
                del lives[next(iter(lives))]
        elif (origin, self._news.check_id(id)) not in self._restored_lives:
            self._restored_lives.add((origin, id))
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
