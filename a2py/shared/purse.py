"""What keys have spent on all machines together.

Each machine has a ledger of its own, which knows what its answers have cost. So what a ledger says it has spent is
written as it is, and not added: nothing is counted twice after a restart, and nothing is lost if Redis was emptied.
What running requests have reserved counts as long as the lease of their process. All amounts are millionths of a
dollar.

    {a2py:1}:m:ID      hash of one key: s → beginning of the period; l:LEDGER → spent there; h:PROCESS → reserved

Knows: this script. Must not know: keys, prices, what is said to a client.
Invariants: a request is admitted only if what all ledgers have spent and all processes have reserved is below the
amount; while Redis does not answer, the ledger of this machine decides, with what the others had spent until then.
"""

from __future__ import annotations

from typing import NamedTuple

from a2py.shared.script import BEGIN, NUMBERS, PREFIX, PROCESSES, make_script
from a2py.shared.store import MALFORMED, Store

PURSE = PREFIX + "m:"
MICRO = 1_000_000
#: Milliseconds for which a purse is kept after its last use: longer than any period but `total`, whose purse the
#: ledgers fill again.
KEPT_MS = 40 * 24 * 3_600_000
#: Keys whose spending elsewhere is remembered.
MAX_KEYS = 1024

_OPEN = f"""
local ledger, start, key = ARGV[3], N[1], KEYS[2]
local stored = tonumber(redis.call('HGET', key, 's') or '-1')
if stored < start then
  redis.call('DEL', key)
  redis.call('HSET', key, 's', start)
end
redis.call('PEXPIRE', key, {KEPT_MS})
local mine = 'l:' .. ledger
"""
#: KEYS: processes, purse. ARGV: process, numbers: beginning of the period, amount, spent by this ledger, to reserve;
#: ledger.
RESERVE = make_script(
    BEGIN
    + NUMBERS
    + _OPEN
    + """
if not lives(process) then return {now, -1, 0, 0} end
if N[3] > tonumber(redis.call('HGET', key, mine) or '0') then redis.call('HSET', key, mine, N[3]) end
local spent, held, fields = 0, 0, redis.call('HGETALL', key)
for i = 1, #fields, 2 do
  local kind, rest, value = fields[i]:sub(1, 2), fields[i]:sub(3), tonumber(fields[i + 1])
  if kind == 'l:' then
    spent = spent + value
  elseif kind == 'h:' then
    if lives(rest) then held = held + value else redis.call('HDEL', key, fields[i]) end
  end
end
if spent + held >= N[2] then return {now, 0, spent, held} end
add(key, 'h:' .. process, N[4])
return {now, 1, spent, held}
"""
)
#: KEYS: processes, purse. ARGV: process, numbers: beginning of the period, cost, reserved (0 if another name of the
#: process has reserved it); ledger.
PAY = make_script(
    BEGIN
    + NUMBERS
    + _OPEN
    + """
add(key, mine, N[2])
if lives(process) then add(key, 'h:' .. process, -N[3]) end
return now
"""
)


class Total(NamedTuple):
    """US dollars that were spent and reserved before, on all machines; `has_room`: one more request is admitted."""

    spent: float
    reserved: float
    has_room: bool
    charge: Charge | None = None


class Charge:
    """What a running request has reserved. `number`: of the process's name under which it has."""

    __slots__ = ("_amount", "_id", "_ledger", "_number", "_store")

    def __init__(self, store: Store, id: str, ledger: str, amount: int, number: int) -> None:
        self._store, self._id, self._ledger = store, id, ledger
        self._amount, self._number = amount, number

    def settle(self, cost: float, start: float) -> None:
        """Replace what is reserved by the cost. `start`: of the period in which the request ends."""
        amount, self._amount = self._amount if self._number == self._store.number else 0, 0
        numbers = f"{round(start)} {round(cost * MICRO)} {amount}"
        self._store.send(PAY, [PAY.digest, 2, PROCESSES, PURSE + self._id, self._store.name, numbers, self._ledger])


class Purses:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._others: dict[str, tuple[float, float]] = {}  # id → period, spent by other ledgers

    async def reserve(self, id: str, ledger: str, start: float, amount: float, own: float, cost: float) -> Total:
        """Reserve `cost` for a key. `own`: what `ledger` says that the key has spent since `start`."""
        store = self._store
        numbers = f"{round(start)} {round(amount * MICRO)} {round(own * MICRO)} {round(cost * MICRO)}"
        charge = Charge(store, id, ledger, round(cost * MICRO), store.number)
        arguments = [RESERVE.digest, 2, PROCESSES, PURSE + id, store.name, numbers, ledger]

        def give_back(reply: object) -> None:
            if isinstance(reply, list) and reply[1:2] == [1]:
                charge.settle(0.0, start)

        reply = await store.ask(RESERVE, arguments, give_back)
        try:
            _, code, spent, reserved = reply
            spent, reserved = spent / MICRO, reserved / MICRO
        except MALFORMED:
            code = -1
        if code < 0:
            period, elsewhere = self._others.get(id, (0.0, 0.0))
            total = own + (elsewhere if period == start else 0.0)
            return Total(total, 0.0, total < amount)
        self._others.pop(id, None)
        self._others[id] = start, max(0.0, spent - own)
        if len(self._others) > MAX_KEYS:
            del self._others[next(iter(self._others))]
        return Total(spent, reserved, bool(code), charge if code else None)
