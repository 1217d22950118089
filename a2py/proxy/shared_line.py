"""The line, if the places are shared with other processes.

A place that becomes free in another process makes no sound here. So for each gate the request whose turn it is asks for
a place every POLL seconds, and at once when a place of this process becomes free. It is woken at most POLL seconds, and
one call, after a place is free, if no other process is faster. The order of line.py holds within a process; between
processes chance decides.

Knows: the line, who asks for a shared place. Must not know: how places are shared.
Invariants: one question at a time for each gate; a place that was granted to a request that has left is given back.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from a2py.deployment import Deployment
from a2py.proxy.limits import Shortage
from a2py.proxy.line import Line, _Gate
from a2py.proxy.places import Places

#: Seconds between two questions for a place, the longest. They are spread, so that processes take turns.
POLL = 0.2


@runtime_checkable
class Turn(Protocol):
    async def take(self, deployments: Sequence[Deployment]) -> Deployment | None: ...

    def drop(self) -> None: ...


class SharedLine(Line):
    def __init__(self, places: Places) -> None:
        super().__init__(places)
        self._pumps: dict[tuple[str, ...], asyncio.Task[None]] = {}
        self._events: dict[tuple[str, ...], asyncio.Event] = {}
        self._is_closing = False

    def find_wait(self, deployment: Deployment) -> Shortage | None:
        """Return why a request may not have `deployment` now: others wait for it. None if nobody does."""
        if not self._gates or not any(deployment.id in gate.ids for gate in self._gates.values()):
            return None
        bound = self.places.find_narrowest(deployment)
        return None if bound is None else Shortage(bound.label, 0.0, subject=bound.subject)

    async def close(self) -> None:
        """Ask for no place any more.

        `asyncio.wait_for` may lose a cancellation (Python before 3.12), so the pumps also look at `_is_closing`."""
        self._is_closing = True
        pumps = list(self._pumps.values())
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)

    def _hand_over(self) -> None:
        for gate in self._gates.values():
            if gate.ids not in self._pumps:
                self._events[gate.ids] = asyncio.Event()
                self._pumps[gate.ids] = asyncio.get_running_loop().create_task(self._pump(gate))
        for event in self._events.values():
            event.set()

    async def _pump(self, gate: _Gate) -> None:
        """Serve those who wait at `gate` until nobody does."""
        event = self._events[gate.ids]
        try:
            while gate.keys and not self._is_closing:
                event.clear()
                if not await self._serve_first(gate):
                    try:
                        await asyncio.wait_for(event.wait(), POLL * (1 - random.random() / 2))
                    except asyncio.TimeoutError:
                        pass
        finally:
            del self._pumps[gate.ids], self._events[gate.ids]

    async def _serve_first(self, gate: _Gate) -> bool:
        """Hand a place to the request whose turn it is. Return False if there is none."""
        waiter = gate.first()
        if waiter.future.done():  # its client has left, and its task has had no turn since
            self._leave(waiter)
            return True
        free = {one.id for one in gate.deployments if not self.places.find_limit(one)}
        own = [one for one in waiter.deployments if one.id in free]
        turn = waiter.choose
        if not own or not isinstance(turn, Turn):
            return False
        deployment = await turn.take(own)
        if deployment is None:
            return False
        if waiter.future.done() or self.places.find_limit(deployment):
            turn.drop()
            return waiter.future.done()
        self._gates.move_to_end(gate.ids)
        gate.keys.move_to_end(waiter.key)
        waiter.future.set_result(self.places.take(deployment))
        self._leave(waiter)
        return True
