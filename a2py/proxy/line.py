"""The requests that wait for a place at a full upstream, and who of them is next.

Requests that may take a place at the same deployments wait in one `_Gate`. Who gets a place that is free:

1. The gates that have a place free take turns.
2. In a gate the clients' keys take turns, so that a client with a hundred requests does not keep out one with a single
   request.
3. The requests of one key wait in the order in which they came. A sub-agent's turn goes to the main conversation of its
   session if that waits too, unless the sub-agent has waited AGING seconds longer. The sub-agent then has the turn that
   the main conversation had. So a session orders only its own turns: nobody else waits longer for it.

Example, of one key: sub-agent a1 of session A, b of session B, sub-agent a2 of A and the main conversation a of A wait
in this order. They get their places in the order a, b, a1, a2.

Knows: places (places.py), the order of those who wait. Must not know: HTTP, models, why a deployment is chosen.
Invariants: a place is handed over in the moment in which it is free, so that nobody overtakes those who wait;
whoever leaves is out at once, and gives back a place that was handed over meanwhile; at most `length` requests wait,
each in a few objects of fixed size.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from a2py.deployment import Deployment
from a2py.proxy.asker import Asker
from a2py.proxy.places import Place, Places

#: Seconds that a sub-agent waits longer than the main conversation of its session before it is treated like it.
AGING = 60.0

#: Returns one of some deployments that have a place.
Choose = Callable[[Sequence[Deployment]], Deployment]


class LineFull(Exception):
    """As many requests wait as may."""


class TooLate(Exception):
    """The request has waited as long as it may. `place`: its place in the line, 1 is the next."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


class _Waiter:
    """One request. `rank`: the lower one of a session goes first; `ticket`: its turn; `deployments`: as this request
    asks them (a wildcard's are bound to its model)."""

    __slots__ = ("choose", "deployments", "future", "gate", "is_subagent", "key", "rank", "session", "ticket")

    def __init__(
        self, gate: _Gate, deployments: Sequence[Deployment], asker: Asker, choose: Choose, now: float
    ) -> None:
        self.gate = gate
        self.deployments = deployments
        self.key = asker.key
        self.session = asker.session
        self.is_subagent = asker.is_subagent
        self.rank = now + (AGING if asker.is_subagent else 0.0)
        self.choose = choose
        self.future: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self.ticket = _Ticket(self)


class _Ticket:
    """A turn in the order of a key, and who has it."""

    __slots__ = ("waiter",)

    def __init__(self, waiter: _Waiter) -> None:
        self.waiter = waiter


class _KeyLine:
    """The requests of one key: their turns in order, and of each session who waits, main conversations and sub-agents
    apart."""

    __slots__ = ("sessions", "tickets")

    def __init__(self) -> None:
        self.tickets: OrderedDict[_Ticket, None] = OrderedDict()
        self.sessions: dict[str, tuple[OrderedDict[_Waiter, None], OrderedDict[_Waiter, None]]] = {}

    def add(self, waiter: _Waiter) -> None:
        self.tickets[waiter.ticket] = None
        both = self.sessions.setdefault(waiter.session, (OrderedDict(), OrderedDict()))
        both[waiter.is_subagent][waiter] = None

    def remove(self, waiter: _Waiter) -> None:
        del self.tickets[waiter.ticket]
        both = self.sessions[waiter.session]
        del both[waiter.is_subagent][waiter]
        if not any(both):
            del self.sessions[waiter.session]

    def first(self) -> _Waiter:
        """Return whose turn it is: of the session whose ticket is first, the one of the lowest rank."""
        owner = next(iter(self.tickets)).waiter
        waiting = [next(iter(some)) for some in self.sessions[owner.session] if some]
        return min(waiting, key=lambda waiter: waiter.rank)

    def give_first_ticket(self, waiter: _Waiter) -> None:
        """Let `waiter` have the first ticket, and who had that one the ticket of `waiter`."""
        ticket = next(iter(self.tickets))
        owner = ticket.waiter
        owner.ticket, waiter.ticket = waiter.ticket, ticket
        owner.ticket.waiter, ticket.waiter = owner, waiter

    def position(self, waiter: _Waiter) -> int:
        """Return how many turns of this key there are before that of `waiter`, itself included."""
        main, agents = self.sessions[waiter.session]
        if len(main) + len(agents) == 1 and next(reversed(self.tickets)) is waiter.ticket:
            return len(self.tickets)  # nearly always: it has just come
        position = 0
        for ticket in self.tickets:
            position += 1
            other = ticket.waiter
            if other is waiter or (other.session == waiter.session and other.rank > waiter.rank):
                break
        return position


class _Gate:
    """Those who may take a place at one of `deployments`, whose ids are `ids`, and whose limits are those in force.
    `keys`: the key whose turn it is comes first."""

    __slots__ = ("deployments", "ids", "keys")

    def __init__(self, ids: tuple[str, ...], deployments: Sequence[Deployment]) -> None:
        self.ids = ids
        self.deployments = deployments
        self.keys: OrderedDict[str, _KeyLine] = OrderedDict()

    def first(self) -> _Waiter:
        return next(iter(self.keys.values())).first()

    def position(self, waiter: _Waiter) -> int:
        """Return the place of `waiter`: 1 is the next, if nobody comes or leaves meanwhile."""
        own = self.keys[waiter.key].position(waiter)
        before = 0
        rounds = own  # keys whose turn is earlier have one turn more before it
        for key, line in self.keys.items():
            if key == waiter.key:
                rounds = own - 1
            else:
                before += min(len(line.tickets), rounds)
        return own + before


class Line:
    """All requests of this process that wait, `waiting` of them. `places`: those that they wait for."""

    def __init__(self, places: Places) -> None:
        self.places = places
        places.on_release = self._hand_over
        self._gates: OrderedDict[tuple[str, ...], _Gate] = OrderedDict()  # the one whose turn it is comes first
        self._deployments: dict[str, Deployment] = {}  # deployment id → where its limits are taken from
        self.waiting = 0

    def renew(self, deployments: Iterable[Deployment]) -> None:
        """Let everybody wait by the limits of `deployments` from now on: those of a new configuration, or with what
        their servers say."""
        self._deployments = {one.id: one for one in deployments}
        for gate in self._gates.values():
            gate.deployments = self._with_limits(gate.deployments)
        self._hand_over()

    async def wait(
        self,
        deployments: Sequence[Deployment],
        asker: Asker,
        choose: Choose,
        *,
        length: int,
        seconds: float,
        on_join: Callable[[int], None] = lambda place: None,
    ) -> Place:
        """Return a place at one of `deployments`, which are all full now, at most `seconds` from now.

        `choose`: which of those that have a place to take; `length`: how many requests may wait; `on_join`: called with
        the place in the line, 1 is the next. Raise LineFull or TooLate."""
        if self.waiting >= length:
            raise LineFull
        loop = asyncio.get_running_loop()
        waiter = self._join(deployments, asker, choose, loop.time())
        timer = loop.call_later(seconds, self._end_wait, waiter)
        try:
            on_join(self._position(waiter))
            self._hand_over()  # there is a place if the request began before its limit was raised
            return await waiter.future
        except asyncio.CancelledError:
            future = waiter.future
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().release()  # it was handed over in the moment in which the client left
            raise
        finally:
            timer.cancel()
            self._leave(waiter)

    def _join(self, deployments: Sequence[Deployment], asker: Asker, choose: Choose, now: float) -> _Waiter:
        ids = tuple(sorted(one.id for one in deployments))
        gate = self._gates.get(ids)
        if gate is None:
            gate = self._gates[ids] = _Gate(ids, deployments)
        gate.deployments = self._with_limits(deployments)
        waiter = _Waiter(gate, deployments, asker, choose, now)
        gate.keys.setdefault(waiter.key, _KeyLine()).add(waiter)
        self.waiting += 1
        return waiter

    def _with_limits(self, deployments: Sequence[Deployment]) -> list[Deployment]:
        """Return `deployments` with the limits that are in force."""
        pairs = ((one, self._deployments.get(one.id, one)) for one in deployments)
        return [
            replace(one, max_parallel=now.max_parallel, name_parallel=now.name_parallel, slots=now.slots)
            for one, now in pairs
        ]

    def _leave(self, waiter: _Waiter) -> None:
        """Take `waiter` out of the line, if it is still there."""
        gate = waiter.gate
        line = gate.keys.get(waiter.key)
        if line is None or waiter.ticket not in line.tickets:
            return
        line.remove(waiter)
        self.waiting -= 1
        if not line.tickets:
            del gate.keys[waiter.key]
        if not gate.keys:
            del self._gates[gate.ids]

    def _end_wait(self, waiter: _Waiter) -> None:
        if not waiter.future.done():
            waiter.future.set_exception(TooLate(self._position(waiter)))
            self._leave(waiter)

    def _position(self, waiter: _Waiter) -> int:
        """Return the place of `waiter`. Those at other gates count too while all wait for the same limit."""
        gate = waiter.gate
        others = self.waiting - sum(len(line.tickets) for line in gate.keys.values())
        return gate.position(waiter) + (others if self.places.is_total_reached else 0)

    def _hand_over(self) -> None:
        """Give each place that is free to whom it belongs."""
        while True:
            for gate in self._gates.values():
                free = [one for one in gate.deployments if not self.places.find_limit(one)]
                if free:
                    break
            else:
                return
            waiter = gate.first()
            if not waiter.future.done():  # otherwise its client has left, and its task has had no turn since
                self._gates.move_to_end(gate.ids)
                gate.keys[waiter.key].give_first_ticket(waiter)
                gate.keys.move_to_end(waiter.key)
                ids = {one.id for one in free}
                own = [one for one in waiter.deployments if one.id in ids]
                waiter.future.set_result(self.places.take(waiter.choose(own)))
            self._leave(waiter)
