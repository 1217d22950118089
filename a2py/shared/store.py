"""The limits of all processes, in Redis, and in this process alone while Redis does not answer.

Before an attempt, `take` counts it at the first candidate that has room: one call. After it the grant is settled: one
call in the background. A beat a second renews the lease of all that this process runs, learns how many processes there
are, and exchanges news.

If a call takes longer than CALL_SECONDS, this process decides with its own part of the limits (mirror.py). After
MAX_FAILURES in a row it does not ask again until a new connection has joined. To join is to write what was counted
meanwhile. For GUARD_SECONDS after it the shared limits and this process's part of them hold both, because the others
may not have joined yet.

Each time Redis may not know what runs here (a new connection, an answer that was late), the process joins under a new
name, and what it runs is written anew under that name. So nothing has to be known of calls whose answers were lost.

Knows: when to connect, what is counted where. Must not know: deployments, HTTP, what the news means.
Invariants: `take` returns within some CALL_SECONDS whatever Redis does; one log line a change; no address with a login
and no password is logged.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from a2py.shared import script
from a2py.shared.grant import Grant, Verdict, end_changes, take_back
from a2py.shared.link import CALL_SECONDS, Late, Link, ScriptMissing, make_pool
from a2py.shared.mirror import Mirror
from a2py.shared.script import Change, Script, Take
from a2py.shared.subject import Ask, Asks
from a2py.shared.trouble import CHECK_ADDRESS, Announcer, LinkError, Reporter, StrangeAnswer

#: Seconds for which a process's running requests count after its last sign of life, and between two beats.
LEASE_SECONDS, BEAT_SECONDS = 15.0, 1.0
#: Failed calls in a row after which Redis is not asked.
MAX_FAILURES = 3
#: Seconds between two attempts to connect.
PAUSE_SECONDS = 0.5
#: Seconds after joining, or after a late answer, in which this process's part of the limits holds, too.
GUARD_SECONDS = 2.0
#: Milliseconds after which TAKE counts nothing any more: nobody waits for its answer.
LATEST_MS = int(2 * CALL_SECONDS * 1000)
#: Subjects that a beat asks about.
MAX_BEAT = 128
#: Words that wait to be told (the oldest goes first), words that one beat tells, and bytes of a word.
MAX_WORDS, MAX_TOLD, WORD_BYTES = 2000, 100, 65536
#: What a reply that is not as our scripts make it raises.
MALFORMED = (ValueError, TypeError, IndexError, AttributeError, KeyError)


class Stream:
    """The words that processes tell each other.

    `on_word`: gets each word of another process, and its age in seconds; `on_join`: called once, when this process
    begins to hear words; `words`: to be told; `last`: id of the last word that was heard; `has_joined`: it began."""

    def __init__(self) -> None:
        self.on_word: Callable[[bytes, float], None] = lambda word, age: None
        self.on_join: Callable[[], None] = lambda: None
        self.words: deque[bytes] = deque(maxlen=MAX_WORDS)
        self.last = "$"
        self.has_joined = False


class Store:
    """`url`: of Redis; `options`: further arguments of its connections; `keys`: part of the address → the key that set
    it, for messages; `is_up`: Redis is asked; `name`: of this process, `number`: how many it has had; `mirror`: what
    this process knows without asking; `news`: what processes tell each other."""

    def __init__(
        self, url: str, options: Mapping[str, Any], log: Reporter, keys: Mapping[str, str] | None = None
    ) -> None:
        self._pool = make_pool(url, options)
        self._log = Announcer(log, url, keys)
        self.mirror = Mirror()
        self.is_up = False
        self._base = secrets.token_hex(6)  # of this process's names
        self.number = 0  # of its name
        self._link: Link | None = None
        self._failures = 0
        self._is_broken = self._must_join = self._is_checked = self._is_closed = False
        self._offset = time.time() - time.monotonic()  # Redis's clock less ours, seconds
        self._guard_end = 0.0
        self._birth = b""
        self._reason: LinkError | None = None  # why there was no connection at the latest try
        self.news = Stream()
        self._wake = asyncio.Event()  # a beat is due, or there is nothing to beat for
        self._decision = asyncio.Event()  # Redis is asked, or it is not
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return f"{self._base}.{self.number}"

    def now(self) -> int:
        """Return Redis's time in milliseconds, as far as it is known."""
        return int((time.monotonic() + self._offset) * 1000)

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Leave, so that what this process ran does not count any longer.

        `asyncio.wait_for` may lose a cancellation (Python before 3.12), so the task also looks at `_is_closed`."""
        link = self._link if self.is_up else None
        self.is_up, self._is_closed = False, True
        if link is not None:
            try:
                await self._run_script(link, script.LEAVE, script.leave_arguments(self.name, self._busy()))
            except LinkError:
                pass
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._pool.aclose()

    def _busy(self) -> list[str]:
        return [id for id, share in self.mirror.shares.items() if share.running or share.output]

    def tell(self, word: bytes) -> None:
        """Tell all other processes `word`, at once if Redis is there, otherwise when it is back."""
        if len(word) <= WORD_BYTES:
            self.news.words.append(word)
            self._wake.set()

    # -- limits --------------------------------------------------------------------------------------------------------

    async def take(self, candidates: Sequence[Asks]) -> Verdict:
        """Count one attempt at the first of `candidates` that has room."""
        if not self.is_up and not await self._wait_until_up():
            return self._take_alone(candidates)
        if not self.mirror.alone_since:
            return await self._take_shared(candidates)
        now = self.now()
        refusals = [self.mirror.find_refusal(asks, now) for asks in candidates]
        indexes = [index for index, refusal in enumerate(refusals) if refusal is None]
        if not indexes:
            return Verdict(-1, None, [refusal for refusal in refusals if refusal is not None])
        verdict = await self._take_shared([candidates[index] for index in indexes])
        if verdict.grant is not None:
            return verdict._replace(choice=indexes[verdict.choice])
        rest = iter(verdict.refusals)
        return Verdict(-1, None, [refusal or next(rest) for refusal in refusals])

    async def _take_shared(self, candidates: Sequence[Asks]) -> Verdict:
        take = await self._ask(candidates)
        if take is None:
            return self._take_alone(candidates)
        if take.choice < 0:
            return Verdict(-1, None, take.refusals)
        asks = candidates[take.choice]
        self.mirror.note_take(asks, take.now, take.sums)
        return Verdict(take.choice, Grant(self, asks, script.slice_of(take.now), self.number))

    def _take_alone(self, candidates: Sequence[Asks]) -> Verdict:
        """Decide with this process's part of the limits."""
        now = self.now()
        self.mirror.begin_alone(now)
        self._guard_end = time.monotonic() + GUARD_SECONDS
        choice, refusals = self.mirror.take(candidates, now)
        if choice < 0:
            return Verdict(-1, None, refusals)
        self._must_join = True
        return Verdict(choice, Grant(self, candidates[choice], script.slice_of(now), self.number + 1))

    async def _ask(self, candidates: Sequence[Asks]) -> Take | None:
        """Return what Redis says; None if it says nothing in time."""
        for _ in range(2):
            link, number = self._link, self.number
            if link is None or not self.is_up:
                return None
            arguments = script.take_arguments(self.name, self.now() + LATEST_MS, candidates)
            try:
                reply = await self._run_script(link, script.TAKE, arguments, partial(self._undo, candidates, number))
                take = script.read_take(reply, candidates)
            except Late:
                return None  # it is counted
            except LinkError as error:
                self._note_failure(error)
                return None
            except MALFORMED:
                self._note_failure(StrangeAnswer())
                return None
            self._failures = 0
            if take.choice >= 0 and number != self.number:
                self._move(candidates[take.choice])
            if take.code != script.NO_LEASE:
                return None if take.code == script.TOO_LATE else take
            if not await self._join_again(link):
                return None
        return None

    async def _run_script(
        self, link: Link, which: Script, arguments: list[Any], late: Callable[[Any], None] | None = None
    ) -> Any:
        """Return the reply. Raise LinkError."""
        try:
            return await link.wait("EVALSHA", *arguments, late=late)
        except ScriptMissing:
            return await link.wait("EVAL", which.text, *arguments[1:], late=late)

    def _undo(self, candidates: Sequence[Asks], number: int, reply: Any) -> None:
        """Take back what was counted in an answer that nobody waits for."""
        try:
            take = script.read_take(reply, candidates)
        except MALFORMED:
            return
        if take.choice >= 0 and number == self.number:
            changes = end_changes(candidates[take.choice], script.slice_of(take.now), take_back)
            if not self._send_changes(changes):
                self._join_soon()

    def _move(self, asks: Asks) -> None:
        """Count what runs under the present name: it was counted under an earlier one after that had been given up."""
        self._send_changes({ask.subject.id: _running(ask) for ask in asks})

    def change(self, changes: Mapping[str, Change], since: int) -> None:
        """Change what counts at subjects (by id) that Redis has since name number `since`."""
        is_known = since <= self.number
        valid = changes if is_known else {id: each._replace(running=0, output=0) for id, each in changes.items()}
        is_sent = self._send_changes(valid)
        self._must_join = self._must_join or not is_sent or not is_known
        now = self.now()
        for id, each in changes.items():
            self.mirror.change(id, each, now, is_sent=is_sent)

    def _send_changes(self, changes: Mapping[str, Change]) -> bool:
        return self.send(script.ADJUST, script.adjust_arguments(self.name, changes))

    async def ask(self, which: Script, arguments: list[Any], late: Callable[[Any], None]) -> Any:
        """Return the reply of a script; None if there is none in time. `late`: gets a reply that nobody waits for."""
        if (not self.is_up and not await self._wait_until_up()) or self._link is None:
            return None
        try:
            return await self._run_script(self._link, which, arguments, late)
        except Late:
            return None  # it is counted
        except LinkError as error:
            self._note_failure(error)
            return None

    def send(self, which: Script, arguments: list[Any]) -> bool:
        """Run a script whose reply nobody waits for. Return False if it can't be sent."""
        link = self._link
        if link is None or not self.is_up:
            return False
        again = partial(link.tell, "EVAL", which.text, *arguments[1:], on_refusal=self._join_soon)
        return link.tell("EVALSHA", *arguments, on_missing=again, on_refusal=self._join_soon)

    def _join_soon(self) -> None:
        """Redis may not know what runs here: tell it anew."""
        self._must_join = True

    # -- the connection ------------------------------------------------------------------------------------------------

    async def _wait_until_up(self) -> bool:
        """Wait for a connection that is being made, at most CALL_SECONDS, and return whether Redis is asked."""
        if not self._is_broken and not self._decision.is_set():
            try:
                await asyncio.wait_for(self._decision.wait(), CALL_SECONDS)
            except asyncio.TimeoutError:
                self._note_failure(
                    self._reason or LinkError(f"makes no connection within {CALL_SECONDS:g} s", CHECK_ADDRESS)
                )
        return self.is_up

    def _note_failure(self, error: LinkError) -> None:
        """Count a failed call. After MAX_FAILURES in a row, Redis is not asked any more."""
        self._failures += 1
        if self._failures < MAX_FAILURES or self._is_broken:
            return
        self._is_broken, self.is_up = True, False
        self._decision.set()
        self._wake.set()
        self.mirror.begin_alone(self.now())
        self._log.tell_trouble(error, self.mirror.count)

    async def _run(self) -> None:
        """Keep a connection, for as long as the process runs."""
        while not self._is_closed:
            link = Link(self._pool, self._on_end, self._note_failure)
            try:
                await link.open()
                await self._join(link)
                await self._beat_once(link)
                self._come_up(link)
                await self._beat(link)
            except Late:
                pass  # it is counted
            except LinkError as error:
                self._reason = error
                self._note_failure(error)
            except Exception as error:  # a bug, or a word that one has: the limits go on being shared
                self._reason = LinkError(f"can't be used ({type(error).__name__}: {error})")
                self._note_failure(self._reason)
            finally:
                self.is_up, self._link = False, None
                await link.close()
            if not self._is_broken:
                self._decision.clear()
            await asyncio.sleep(PAUSE_SECONDS if self._failures > 1 else 0.0)

    def _on_end(self, error: LinkError) -> None:
        """Note that the connection has ended."""
        if self.is_up:
            self.is_up = False
            self._decision.clear()
            self._note_failure(error)
        self._wake.set()

    def _come_up(self, link: Link) -> None:
        self._link, self.is_up, self._failures = link, True, 0
        if self._is_broken or not self._is_checked:
            self._log.tell_answer()
        self._is_broken, self._reason = False, None
        self._guard_end = time.monotonic() + GUARD_SECONDS
        self._decision.set()

    async def _join(self, link: Link) -> None:
        """Join under a new name. Raise LinkError."""
        mirror = self.mirror
        birth = await link.call("GET", script.BIRTH)
        is_all = bool(self._birth) and birth != self._birth  # Redis has been emptied
        before, self.number = self.name if self.number else "", self.number + 1
        standings = mirror.standings(self.now(), is_all=is_all)
        mirror.forget_debt()
        self._must_join = False
        arguments = script.join_arguments(self.name, before, int(LEASE_SECONDS * 1000), secrets.token_hex(8), standings)
        start = time.monotonic()
        try:
            now, self._birth = await self._run_script(link, script.JOIN, arguments)
        except BaseException as error:
            mirror.owe(standings)
            self._must_join = True
            if isinstance(error, MALFORMED):
                raise StrangeAnswer from None
            raise
        self._offset = now / 1000 - (start + time.monotonic()) / 2

    async def _join_again(self, link: Link) -> bool:
        """Join once more over a connection that is in use. Return whether it has succeeded."""
        try:
            await self._join(link)
        except LinkError:
            return False
        return True

    async def _beat(self, link: Link) -> None:
        """Beat until Redis is not asked any more. Raise LinkError."""
        while self.is_up:
            self._wake.clear()
            try:
                has_more = await self._beat_once(link)
            except Late:  # the next one may be in time; after MAX_FAILURES there is none
                has_more = False
            if not self._is_checked:
                self._is_checked = True
                await self._check_memory(link)
            if self.mirror.alone_since and time.monotonic() >= self._guard_end:
                self.mirror.end_alone()
            if has_more:
                continue
            try:
                await asyncio.wait_for(self._wake.wait(), BEAT_SECONDS)
            except asyncio.TimeoutError:
                pass

    async def _beat_once(self, link: Link) -> bool:
        """Renew the lease, exchange news. Return whether there are more. Raise LinkError."""
        mirror = self.mirror
        if self._must_join:
            await self._join(link)
        ids = list(mirror.shares)[-MAX_BEAT:]
        news = self.news
        words = list(islice(news.words, MAX_TOLD))
        arguments = script.beat_arguments(self.name, int(LEASE_SECONDS * 1000), news.last, words, ids)
        start = time.monotonic()
        try:
            beat = script.read_beat(await self._run_script(link, script.BEAT, arguments))
        except MALFORMED:
            raise StrangeAnswer from None
        self._failures = 0
        if not beat.has_lease:
            await self._join(link)
            return True
        for _ in words:
            news.words.popleft()
        self._offset = beat.now / 1000 - (start + time.monotonic()) / 2
        mirror.note_beat(beat.now, beat.processes, beat.rank, dict(zip(ids, beat.counts, strict=False)))
        for id, word in beat.words:
            news.last = id
            if word:
                news.on_word(word, max(0.0, (beat.now - int(id.partition("-")[0])) / 1000))
        if not news.has_joined:
            news.has_joined = True
            news.on_join()
        return len(beat.words) >= script.NEWS_READ or len(words) == MAX_TOLD

    async def _check_memory(self, link: Link) -> None:
        """Warn if Redis may throw away what is counted."""
        try:
            lines = (await link.call("INFO", "memory")).decode("utf-8", "replace").splitlines()
        except (LinkError, AttributeError):
            return  # not allowed there
        values = dict(line.partition(":")[::2] for line in lines)
        policy = values.get("maxmemory_policy", "noeviction")
        if values.get("maxmemory", "0") != "0" and policy != "noeviction":
            self._log.tell_eviction(policy)


def _running(ask: Ask) -> Change:
    return Change(running=int(ask.subject.parallel > 0), output=ask.output if ask.subject.tpm else 0)
