"""The hops of one reply: what the model searched, what it is asked next, and how the hops add up to one message.

Example, three hops: the model calls the function (hop 0), gets results and calls it again (hop 1), gets more and
answers (hop 2). The client sees `server_tool_use`, `web_search_tool_result`, both again, and `text`, in one message.

Knows: calls, outcomes, usage. Must not know: backends, sockets, when a search is made.
Invariants: no hop follows a reply that was cut, or that calls the client's tools as well (the client must answer
those first); at most HOPS hops; usage is the sum of all hops.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from a2py.errors import ApiError
from a2py.messages.reply import Reply
from a2py.messages.types import JSON, Call, Outcome, Request, Sink, Usage
from a2py.search import blocks
from a2py.search.function import Rules, as_client_tool, error_text, find_tool, read_rules, results_text
from a2py.search.page import QUERY, Page, Query
from a2py.search.sink import CALLS, HopSink, SearchCall
from a2py.wires.common.search import RESULT, failure, make_block_id

#: Questions to the model within one reply. Anthropic's own loop ends after ten with `pause_turn` (docs.claude.com,
#: server tools, 2026-11).
HOPS = 10


@dataclass(slots=True)
class Search:
    """One search that the model wants. `query`: None if it is not made; `error`: why, an error code of Anthropic's, set
    by whoever makes it if it fails; `pages`: what it brought."""

    call: SearchCall
    query: Query | None
    error: str = ""
    pages: list[Page] = field(default_factory=list)


class Loop:
    """The hops of one attempt. `call`: what the model is asked in the next hop; `count`: hops so far; `searches`: how
    many were made; `is_paused`: the model wanted to search again after the last hop."""

    def __init__(self, call: Call, tool: JSON) -> None:
        self.rules: Rules = read_rules(tool)
        request = call.request
        tools = [as_client_tool(tool, self.rules) if each is tool else each for each in request.tools]
        self.call = replace(call, request=replace(request, tools=tools, body={**request.body, "tools": tools}))
        self._sink: Sink | None = None
        self._hop: HopSink | None = None
        self._record: Reply | None = None
        self._pages: dict[int, Page] = {}
        self._ids = _block_ids(request)
        self._usage: Usage | None = None
        self._notes: list[str] = []
        self._output_estimate = 0
        self._searches: list[Search] = []
        self._is_added = False  # the latest outcome is in the sums
        self._is_finished = False
        self.count = 0
        self.searches = 0
        self.is_paused = False

    def open(self, sink: Sink, origin: str) -> HopSink:
        """Return the sink of the next hop, which writes into `sink`, the client's reply. `origin`: who replies."""
        self._sink = sink
        self._record = Reply(self.call.message_id, "", origin, "show", self.call.request.tool_ids)
        self._hop = HopSink(sink, self._record, self.rules.name, self.count, dict(self._pages), self._make_id)
        self.count += 1
        self._is_added = False
        return self._hop

    def _make_id(self, id: str) -> str:
        """Return an id for a block that no other block of the reply has."""
        name = make_block_id(id or self.call.message_id)
        number = 1
        while name in self._ids:
            number += 1
            name = make_block_id(f"{id or self.call.message_id}_{number}")
        self._ids.add(name)
        return name

    def end_hop(self, outcome: Outcome) -> list[Search]:
        """Return the searches that the hop asks for; none if the reply is over.

        A reply that was cut, or failed, makes no search: its calls may be incomplete."""
        hop = self._hop
        assert hop is not None
        if outcome.error is not None or outcome.reason not in ("end_turn", "tool_use"):
            return []
        if hop.is_flooded:
            outcome.error = ApiError("upstream", f"the model asked for more than {CALLS} searches at once")
            return []
        hop.end()
        if not hop.calls:
            return []
        if hop.has_lost_call:
            outcome.notes.append("a tool call was left out: it has no name")
        self._add_up(outcome)
        self._searches = [self._plan(call) for call in hop.calls]
        return self._searches

    def _plan(self, call: SearchCall) -> Search:
        if not call.query:
            return Search(call, None, "invalid_tool_input")
        if len(call.query) > QUERY:
            return Search(call, None, "query_too_long")
        if self.searches >= self.rules.limit:
            return Search(call, None, "max_uses_exceeded")
        self.searches += 1
        return Search(call, self.rules.query(call.query))

    def sum_up(self, last: Outcome | None) -> Outcome | None:
        """Return the outcome of a reply that broke off: `last` with the usage of the hops before it; None if no hop has
        ended. `last`: of the latest hop, None if it has none.

        Nothing is written: what the client has got stays as it is."""
        if self._is_finished:
            return last
        if last is not None and not self._is_added:
            self._add_up(last)
        if last is None and self._usage is None and not self.searches:
            return None
        return replace(last or Outcome(), usage=self._total(), output_estimate=self._output_estimate, notes=self._notes)

    def _add_up(self, outcome: Outcome) -> None:
        self._is_added = True
        if outcome.usage is not None:
            self._usage = outcome.usage if self._usage is None else self._usage + outcome.usage
        self._output_estimate += outcome.output_estimate
        self._notes += outcome.notes

    def add_results(self, outcome: Outcome) -> bool:
        """Write the results of the searches. Return whether the model is to be asked again, with them."""
        sink, hop, record = self._sink, self._hop, self._record
        assert sink is not None and hop is not None and record is not None
        answers = [self._write_result(sink, search) for search in self._searches]
        if hop.has_other_calls:
            return False
        if self.count >= HOPS:
            self.is_paused = True
            return False
        try:
            message = record.message(replace(outcome, notes=[]), Usage())
        except ApiError as error:  # too long to be kept
            outcome.error = error.with_traceback(None)
            return False
        self._ask_again(message["content"], answers)
        return True

    def _write_result(self, sink: Sink, search: Search) -> JSON:
        """Write the result block of `search`, and return the answer to the model's call."""
        call = search.call
        if search.error:
            content: Any = failure(search.error)
            text = error_text(search.error)
        else:
            first = len(self._pages) + 1
            pages = list(enumerate(search.pages, first))
            self._pages.update(pages)
            content, text = blocks.results(search.pages), results_text(pages)
        sink.server_result(f"{call.block_id}.result", RESULT, call.block_id, content)
        answer: JSON = {"type": "tool_result", "tool_use_id": call.id, "content": text}
        return {**answer, "is_error": True} if search.error else answer

    def _ask_again(self, content: list[JSON], answers: list[JSON]) -> None:
        """Make the next hop's call: the conversation, the model's own turn, and the results."""
        request = self.call.request
        calls = [block for block in content if block["type"] == "tool_use"]
        for block, answer in zip(calls, answers, strict=True):  # the reply calls nothing else
            answer["tool_use_id"] = block["id"]  # made by us if the model gave none
        turns = [{"role": "assistant", "content": content}, {"role": "user", "content": answers}]
        messages = [*request.messages, *turns]
        body = {**request.body, "messages": messages}
        choice = body.get("tool_choice")
        if isinstance(choice, dict) and choice.get("type") in ("any", "tool"):
            # the forced search was made. Anthropic's own loop forces the first call only
            body["tool_choice"] = {**{name: value for name, value in choice.items() if name != "name"}, "type": "auto"}
        ids = request.tool_ids | {block["id"] for block in calls}
        self.call = replace(self.call, request=replace(request, messages=messages, body=body, tool_ids=ids))

    def finish(self, outcome: Outcome) -> Outcome:
        """Return the outcome of the whole reply; `outcome` is that of its last hop."""
        hop, sink = self._hop, self._sink
        assert hop is not None and sink is not None
        self._is_finished = True
        if not self._is_added:
            self._add_up(outcome)
            if outcome.error is None:
                self._fail_unmade(sink, hop)
        outcome.usage = self._total()
        outcome.output_estimate = self._output_estimate
        outcome.notes = self._notes
        if self.is_paused:
            outcome.reason = "pause_turn"
        if hop.closing is not None:
            sink.raw("message_delta", self._closing(hop.closing, hop, outcome), b"")
        return outcome

    def _total(self) -> Usage | None:
        """Return the usage of all hops; if no upstream has reported any, that of the searches."""
        if self._usage is None and not self.searches:
            return None
        return (self._usage or Usage()) + Usage(web_searches=self.searches)

    def _fail_unmade(self, sink: Sink, hop: HopSink) -> None:
        """Write the results of the searches that a cut reply asked for and that were not made."""
        for call in hop.calls:
            if call.block_id:
                sink.server_result(f"{call.block_id}.result", RESULT, call.block_id, failure())

    def _closing(self, event: JSON, hop: HopSink, outcome: Outcome) -> JSON:
        """Return the message_delta of an upstream that speaks Anthropic, with the usage of all hops."""
        delta, usage = event["delta"], event["usage"]
        if self.is_paused:
            delta = {**delta, "stop_reason": "pause_turn"}
        if outcome.usage is not None:
            usage = {**usage, **outcome.usage.body()}
        return {**event, "delta": delta, "usage": usage}


def _block_ids(request: Request) -> set[str]:
    """Return the ids of earlier searches. Some servers count their calls from 1 in each reply."""
    turns = [message["content"] for message in request.messages if isinstance(message["content"], list)]
    return {
        block["id"]
        for turn in turns
        for block in turn
        if block["type"] == "server_tool_use" and isinstance(block.get("id"), str)
    }


def begin(call: Call) -> Loop | None:
    """Return the loop of a request that offers a web search; None if it offers none."""
    tool = find_tool(call.request)
    return None if tool is None else Loop(call, tool)
