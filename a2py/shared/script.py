"""The scripts that Redis runs, what they are given, and what they return.

Everything is below one hash tag, so that a cluster keeps it in one place, and below the version of this schema, so that
processes of two schemas do not read each other's fields:

    {a2py:1}:p         sorted set: process → the time at which its lease ends, ms
    {a2py:1}:b         a random word, written once: another one means that Redis has lost what was counted
    {a2py:1}:n         stream: what the processes tell each other
    {a2py:1}:s:ID      hash of one subject: r<slice>, t<slice> → requests and tokens of a slice;
                       c<process>, h<process> → running requests and the output that they have reserved

A minute is the running slice of SLICE_MS and the twelve before it, so what is counted leaves after 60 to 65 s: never
too early. What a process runs counts only while its lease lasts, so one call renews all of it. If Redis's clock goes
back, slices that are then ahead still count, and those more than a minute ahead are dropped, as are such leases. So is
what no script of ours writes.

Knows: Lua as Redis 5 and later run it. Must not know: connections, what a subject is.
Invariants: a script takes its time from Redis alone; it never waits, and touches only the keys that it is given; no
value of a key is a secret.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from hashlib import sha1
from typing import Any, NamedTuple

from a2py.shared.subject import PARALLEL, RPM, TPM, Asks, Refusal

SCHEMA = 1
PREFIX = f"{{a2py:{SCHEMA}}}:"
PROCESSES, BIRTH, NEWS, SUBJECT = PREFIX + "p", PREFIX + "b", PREFIX + "n", PREFIX + "s:"
#: Milliseconds of a slice, and how many slices count.
SLICE_MS, SLICES = 5000, 13
#: Milliseconds after its last use for which a key is kept.
KEPT_MS = 3_600_000
#: Words of the stream that are kept, roughly, and that one call reads.
NEWS_KEPT, NEWS_READ = 2000, 100
#: Result of TAKE, instead of the number of a candidate: none has room; the process has no lease; it is too late.
NO_ROOM, NO_LEASE, TOO_LATE = 0, -1, -2

BEGIN = f"""
if redis.replicate_commands then redis.replicate_commands() end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local SLICE, KEPT = {SLICE_MS}, {KEPT_MS}
local slice = math.floor(now / SLICE)
local oldest, newest = slice - {SLICES - 1}, slice + {SLICES - 1}
local process = ARGV[1]
local function add(key, field, by)
  if by ~= 0 and redis.call('HINCRBY', key, field, by) <= 0 then redis.call('HDEL', key, field) end
end
local known = {{}}
local function lives(name)
  local is_alive = known[name]
  if is_alive == nil then
    local lease = redis.call('ZSCORE', KEYS[1], name)
    lease = tonumber(lease or 0)
    is_alive = lease > now and lease < now + 60000
    known[name] = is_alive
  end
  return is_alive
end
local function read(key)
  local s = {{r = {{}}, t = {{}}, rs = 0, ts = 0, c = 0, h = 0, oc = 0, oh = 0}}
  local fields = redis.pcall('HGETALL', key)
  if fields.err then  -- something else is kept there
    redis.call('DEL', key)
    fields = {{}}
  end
  for i = 1, #fields, 2 do
    local kind, rest, value = fields[i]:sub(1, 1), fields[i]:sub(2), tonumber(fields[i + 1])
    if kind == 'r' or kind == 't' then
      local n = tonumber(rest)
      if not (n and value) or n < oldest or n > newest then
        redis.call('HDEL', key, fields[i])
      else
        s[kind][n] = value
        s[kind .. 's'] = s[kind .. 's'] + value
      end
    elseif not (value and s[kind]) or not lives(rest) then
      redis.call('HDEL', key, fields[i])
    else
      s[kind] = s[kind] + value
      if rest ~= process then s['o' .. kind] = s['o' .. kind] + value end
    end
  end
  return s
end
"""

#: The numbers of ARGV[2], which are one text: each argument of a call costs 2 µs to encode.
NUMBERS = """
local N = {}
for number in ARGV[2]:gmatch('%S+') do N[#N + 1] = tonumber(number) end
"""

#: KEYS: processes, then subjects. ARGV: process, numbers: latest time, number of candidates, and for each the number of
#: its asks, and for each ask: index of its key, rpm, tpm, max_parallel, input, output.
_TAKE = (
    BEGIN
    + NUMBERS
    + """
local latest = N[1]
if latest > 0 and now > latest then return {now, -2} end
if not lives(process) then return {now, -1} end
local subjects = {}
local function subject(index)
  if not subjects[index] then subjects[index] = read(KEYS[index]) end
  return subjects[index]
end
local function wait(slices, sum, most)
  if sum <= most then return 0 end
  for n = oldest, newest do
    sum = sum - (slices[n] or 0)
    if sum <= most then return (n + 13) * SLICE - now end
  end
  return -1
end
local result, at = {now, 0}, 3
for candidate = 1, N[2] do
  local asks, begin = N[at], at + 1
  local limit, which, longest = 0, 0, -1
  for a = 0, asks - 1 do
    local x = begin + a * 6
    local s = subject(N[x])
    local rpm, tpm, parallel = N[x + 1], N[x + 2], N[x + 3]
    local input, output = N[x + 4], N[x + 5]
    if parallel > 0 and s.c >= parallel and longest < 0 then limit, which, longest = 3, a, 0 end
    if rpm > 0 then
      local ms = wait(s.r, s.rs, rpm - 1)
      if ms > longest and ms ~= 0 then limit, which, longest = 1, a, ms end
    end
    if tpm > 0 then
      local ms = wait(s.t, s.ts, tpm - s.h - input - output)
      if ms < 0 then ms = input > tpm and 9e15 or 60000 end
      if ms > longest and ms ~= 0 then limit, which, longest = 2, a, ms end
    end
  end
  at = begin + asks * 6
  if limit == 0 then
    result[2] = candidate
    for a = 0, asks - 1 do
      local x = begin + a * 6
      local key, s = KEYS[N[x]], subject(N[x])
      local rpm, tpm, parallel = N[x + 1], N[x + 2], N[x + 3]
      local input, output = N[x + 4], N[x + 5]
      if rpm > 0 then add(key, 'r' .. slice, 1) end
      if tpm > 0 then
        add(key, 't' .. slice, input)
        add(key, 'h' .. process, output)
      end
      if parallel > 0 then add(key, 'c' .. process, 1) end
      redis.call('PEXPIRE', key, KEPT)
      result[#result + 1] = s.rs
      result[#result + 1] = s.ts
    end
    return result
  end
  result[#result + 1] = limit
  result[#result + 1] = which
  result[#result + 1] = longest
end
return result
"""
)

#: KEYS: processes, then subjects. ARGV: process, numbers: for each subject what to add: running, reserved output; a
#: slice, requests and tokens there; requests and tokens now.
_ADJUST = (
    BEGIN
    + NUMBERS
    + """
local is_alive = lives(process)
for i = 2, #KEYS do
  local key, x = KEYS[i], 1 + (i - 2) * 7
  if is_alive then
    add(key, 'c' .. process, N[x])
    add(key, 'h' .. process, N[x + 1])
  end
  local n = N[x + 2]
  if n >= oldest then
    add(key, 'r' .. n, N[x + 3])
    add(key, 't' .. n, N[x + 4])
  end
  add(key, 'r' .. slice, N[x + 5])
  add(key, 't' .. slice, N[x + 6])
  redis.call('PEXPIRE', key, KEPT)
end
return now
"""
)

#: KEYS: processes, birth, then subjects. ARGV: process, the name that it had before or "", milliseconds of a lease, a
#: random word, and for each subject: running, reserved output, number of slices, and for each slice: its number,
#: requests and tokens to add.
_JOIN = (
    BEGIN
    + """
local before = ARGV[2]
if before ~= '' then redis.call('ZREM', KEYS[1], before) end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), process)
redis.call('PEXPIRE', KEYS[1], KEPT)
redis.call('SET', KEYS[2], ARGV[4], 'NX')
redis.call('PEXPIRE', KEYS[2], KEPT)
local x = 5
for i = 3, #KEYS do
  local key = KEYS[i]
  read(key)
  if before ~= '' then redis.call('HDEL', key, 'c' .. before, 'h' .. before) end
  add(key, 'c' .. process, tonumber(ARGV[x]))
  add(key, 'h' .. process, tonumber(ARGV[x + 1]))
  local count = tonumber(ARGV[x + 2])
  x = x + 3
  for _ = 1, count do
    local n = tonumber(ARGV[x])
    if n >= oldest then
      add(key, 'r' .. n, tonumber(ARGV[x + 1]))
      add(key, 't' .. n, tonumber(ARGV[x + 2]))
    end
    x = x + 3
  end
  redis.call('PEXPIRE', key, KEPT)
end
return {now, redis.call('GET', KEYS[2])}
"""
)

#: KEYS: processes, birth, news, then subjects. ARGV: process, milliseconds of a lease, id of the last word that was
#: read ("$": none of those that are there), words to tell.
_BEAT = (
    BEGIN
    + f"""
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZREMRANGEBYSCORE', KEYS[1], now + 60000, '+inf')
if not lives(process) then return {{now, -1}} end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), process)
for i = 1, #KEYS do redis.call('PEXPIRE', KEYS[i], KEPT) end
local names, before = redis.call('ZRANGE', KEYS[1], 0, -1), 0
for _, name in ipairs(names) do
  if name < process then before = before + 1 end
end
local base = process:match('^[^.]*')
if redis.call('TYPE', KEYS[3]).ok ~= 'stream' then redis.call('DEL', KEYS[3]) end
local words, from = {{}}, ARGV[3]
if from == '$' then
  local newest = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
  from = newest and newest[1] or '0-0'
  words = {{from, ''}}
end
for _, entry in ipairs(redis.call('XRANGE', KEYS[3], from, '+', 'COUNT', {NEWS_READ + 1})) do
  if entry[1] ~= from then
    words[#words + 1] = entry[1]
    words[#words + 1] = entry[2][2] ~= base and entry[2][4] or ''
  end
end
for i = 4, #ARGV do
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', {NEWS_KEPT}, '*', 'p', base, 'w', ARGV[i])
end
local counts = {{}}
for i = 4, #KEYS do
  local s = read(KEYS[i])
  local all = {{s.oc, s.oh}}
  for n = oldest, newest do
    if s.r[n] or s.t[n] then
      all[#all + 1] = n
      all[#all + 1] = s.r[n] or 0
      all[#all + 1] = s.t[n] or 0
    end
  end
  counts[#counts + 1] = all
end
return {{now, #names, before, redis.call('GET', KEYS[2]), words, counts}}
"""
)

#: KEYS: processes, then subjects. ARGV: process. The process ends: what it runs no longer counts.
_LEAVE = (
    BEGIN
    + """
redis.call('ZREM', KEYS[1], process)
for i = 2, #KEYS do redis.call('HDEL', KEYS[i], 'c' .. process, 'h' .. process) end
return now
"""
)


class Script(NamedTuple):
    """`digest`: what EVALSHA names it by."""

    text: str
    digest: str


def make_script(text: str) -> Script:
    return Script(text, sha1(text.encode()).hexdigest())  # not for security: it is how Redis names scripts


TAKE, ADJUST, JOIN, BEAT, LEAVE = map(make_script, (_TAKE, _ADJUST, _JOIN, _BEAT, _LEAVE))
_LIMITS = {1: RPM, 2: TPM, 3: PARALLEL}

Arguments = list[Any]


def slice_of(now_ms: float) -> int:
    return int(now_ms // SLICE_MS)


class Change(NamedTuple):
    """What ADJUST adds to a subject. `slice`: where `requests` and `tokens` are added; the others: now."""

    running: int = 0
    output: int = 0
    slice: int = 0
    requests: int = 0
    tokens: int = 0
    new_requests: int = 0
    new_tokens: int = 0


class Take(NamedTuple):
    """What TAKE returned. `choice`: index of the candidate that was counted, -1 if there is none; `sums`: requests and
    tokens of each of its subjects before; `refusals`: why each candidate has no room; `code`: NO_ROOM, NO_LEASE,
    TOO_LATE, or positive."""

    now: int
    code: int
    choice: int = -1
    sums: tuple[tuple[int, int], ...] = ()
    refusals: tuple[Refusal, ...] = ()


def take_arguments(process: str, latest: int, candidates: Sequence[Asks]) -> Arguments:
    """Return the arguments of EVALSHA for TAKE."""
    keys: dict[str, int] = {}
    numbers = [latest, len(candidates)]
    for asks in candidates:
        numbers.append(len(asks))
        for (id, rpm, tpm, parallel), input, output in asks:
            index = keys.setdefault(SUBJECT + id, len(keys) + 2)
            numbers += (index, rpm, tpm, parallel, input, output)
    return [TAKE.digest, len(keys) + 1, PROCESSES, *keys, process, " ".join(map(str, numbers))]


def read_take(reply: Sequence[int], candidates: Sequence[Asks]) -> Take:
    if not all(type(number) is int for number in reply):
        raise TypeError("reply")
    now, code, *rest = reply
    if code > 0:
        return Take(now, code, code - 1, tuple(zip(rest[::2], rest[1::2], strict=False)))
    if code < 0:
        return Take(now, code)
    refusals = (
        Refusal(asks[which], _LIMITS[limit], math.inf if ms > 1e15 else ms / 1000)
        for asks, limit, which, ms in zip(candidates, rest[::3], rest[1::3], rest[2::3], strict=False)
    )
    return Take(now, code, refusals=tuple(refusals))


def adjust_arguments(process: str, changes: Mapping[str, Change]) -> Arguments:
    """`changes`: subject → what to add."""
    numbers = [number for change in changes.values() for number in change]
    keys = [SUBJECT + id for id in changes]
    return [ADJUST.digest, len(keys) + 1, PROCESSES, *keys, process, " ".join(map(str, numbers))]


class Standing(NamedTuple):
    """What JOIN writes of one subject: `running` and `output` as they are now; `slices`: (slice, requests, tokens) to
    add."""

    running: int
    output: int
    slices: tuple[tuple[int, int, int], ...] = ()


def join_arguments(process: str, before: str, lease_ms: int, word: str, standings: Mapping[str, Standing]) -> Arguments:
    numbers: Arguments = []
    for standing in standings.values():
        numbers += (standing.running, standing.output, len(standing.slices))
        for each in standing.slices:
            numbers += each
    keys = [SUBJECT + id for id in standings]
    return [JOIN.digest, len(keys) + 2, PROCESSES, BIRTH, *keys, process, before, lease_ms, word, *numbers]


class Counts(NamedTuple):
    """What BEAT returns of one subject: what the other processes run and have reserved, and (slice, requests, tokens)
    of all processes."""

    running: int
    output: int
    slices: tuple[tuple[int, int, int], ...]


class Beat(NamedTuple):
    """What BEAT returned. `has_lease`: False if the process must join again, and nothing else is known; `count`: of
    processes; `rank`: how many of their names are before this one's; `words`: (id, word), b"" for one of its own."""

    now: int
    has_lease: bool
    processes: int = 1
    rank: int = 0
    birth: bytes = b""
    words: tuple[tuple[str, bytes], ...] = ()
    counts: tuple[Counts, ...] = ()


def beat_arguments(process: str, lease_ms: int, last: str, words: Sequence[bytes], ids: Sequence[str]) -> Arguments:
    keys = [SUBJECT + id for id in ids]
    return [BEAT.digest, len(keys) + 3, PROCESSES, BIRTH, NEWS, *keys, process, lease_ms, last, *words]


def read_beat(reply: Sequence[Any]) -> Beat:
    if reply[1] == -1:
        return Beat(reply[0], has_lease=False)
    now, count, rank, birth, words, rows = reply
    if not type(now) is type(count) is type(rank) is int:
        raise TypeError("reply")
    pairs = tuple((id.decode("ascii", "replace"), word) for id, word in zip(words[::2], words[1::2], strict=False))
    counts = tuple(
        Counts(running, output, tuple(zip(slices[::3], slices[1::3], slices[2::3], strict=False)))
        for running, output, *slices in rows
    )
    return Beat(now, True, count, rank, birth or b"", pairs, counts)


def leave_arguments(process: str, ids: Sequence[str]) -> Arguments:
    keys = [SUBJECT + id for id in ids]
    return [LEAVE.digest, len(keys) + 1, PROCESSES, *keys, process]
