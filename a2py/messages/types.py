"""The types that requests, wires and writers share: a call, its usage, its outcome, and the sink.

Knows: the shapes that cross the boundary between wires and messages.
Must not know: any upstream's format, bytes on a socket.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Union

from a2py.messages.sent import NOTHING, SentBody

if TYPE_CHECKING:
    from collections.abc import Mapping

    from a2py.errors import ApiError
    from a2py.messages.splice import Splice

JSON = dict[str, Any]
#: Names an item of the upstream: a run of text or reasoning, a tool call by its index, a Responses item by its id.
Key = Union[str, int]


@dataclass(slots=True)
class Request:
    """A checked request. `body`: as the client sent it; `system`: text blocks (a string becomes one); `size`: bytes of
    the body; `tool_ids`: ids of the calls in the history."""

    body: JSON
    model: str
    messages: list[JSON]
    system: list[JSON] = field(default_factory=list)
    tools: list[JSON] = field(default_factory=list)
    max_tokens: int = 0
    stream: bool = False
    size: int = 0
    tool_ids: frozenset[str] = frozenset()

    @property
    def has_thread(self) -> bool:
        """Whether the vendor keeps the conversation, and the messages are only its newest part."""
        return bool(self.body.get("thread"))

    @property
    def thinking_mode(self) -> str:
        """What the client wants to see of reasoning: `show`, `omit` (blocks without text) or `none`; "" if it did not
        say."""
        thinking = self.body.get("thinking")
        if not isinstance(thinking, dict):
            return ""
        if thinking.get("type") == "disabled":
            return "none"
        return "omit" if thinking.get("display") == "omitted" else "show"


@dataclass(slots=True)
class Usage:
    """Tokens as Anthropic counts them: `input` without the cached ones, `output` with the `thinking`; `cache_hour`:
    those of `cache_creation` that the cache keeps for an hour."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_creation: int = 0
    thinking: int = 0
    web_searches: int = 0
    cache_hour: int = 0

    @property
    def prompt(self) -> int:
        """Tokens of the whole prompt."""
        return self.input + self.cache_read + self.cache_creation

    @property
    def is_empty(self) -> bool:
        """Whether nothing was counted."""
        return not (self.prompt or self.output)

    def by_direction(self) -> list[tuple[str, int]]:
        """Return the tokens by their direction, for counters. What is 0 is left out."""
        counts = (("input", self.input), ("cached", self.cache_read), ("cache_write", self.cache_creation))
        return [pair for pair in (*counts, ("output", self.output)) if pair[1]]

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.cache_read + other.cache_read,
            self.cache_creation + other.cache_creation,
            self.thinking + other.thinking,
            self.web_searches + other.web_searches,
            self.cache_hour + other.cache_hour,
        )

    def body(self) -> JSON:
        """Return Anthropic's `usage`. `input_tokens` is at least 1, because Claude Code keeps the estimate of
        message_start instead of a 0."""
        out: JSON = {
            "input_tokens": self.input if self.input > 0 else 1,
            "cache_creation_input_tokens": self.cache_creation,
            "cache_read_input_tokens": self.cache_read,
            "output_tokens": self.output,
        }
        if self.thinking:
            out["output_tokens_details"] = {"thinking_tokens": self.thinking}
        if self.web_searches:
            # The SDK's type requires both numbers.
            out["server_tool_use"] = {"web_search_requests": self.web_searches, "web_fetch_requests": 0}
        return out


@dataclass(slots=True)
class Outcome:
    """How a reply ended. `reason`: an Anthropic stop reason (the sink changes it to `tool_use` if and only if it
    emitted a tool block); `final_reason`: the stop reason that the client got; `error`: the reply failed, and `reason`
    means nothing. `output_estimate`: output tokens if the upstream reports no usage; `notes`: what was left out or odd,
    for the log; `called_tools`: names of the tools that were called; `has_phases`: a message of the reply has a phase;
    `is_estimated`: the upstream reported no usage, and `usage` is a2py's own guess."""

    reason: str = "end_turn"
    usage: Usage | None = None
    error: ApiError | None = None
    stop_sequence: str | None = None
    stop_details: JSON | None = None
    model: str = ""
    notes: list[str] = field(default_factory=list)
    output_estimate: int = 0
    final_reason: str = ""
    called_tools: frozenset[str] = frozenset()
    has_phases: bool = False
    is_estimated: bool = False

    def final_usage(self, estimate: Usage) -> Usage:
        """Return the reported usage. Numbers that are missing or zero come from `estimate` (input) and
        `output_estimate`."""
        usage = self.usage
        if usage is None:
            return Usage(input=estimate.input, output=self.output_estimate)
        if usage.prompt and usage.output:
            return usage
        return replace(
            usage,
            input=usage.input if usage.prompt else estimate.input,
            output=usage.output or self.output_estimate,
        )

    def measure(self, input_estimate: int, is_complete: bool) -> tuple[Usage, bool]:
        """Return the tokens that the reply took, and whether any of them is an estimate.

        What the upstream reported stands. What it did not is estimated: by `input_estimate`, and by what was seen of
        the output. A reply that broke off before anything came took nothing that anybody knows of: if no
        other attempt of the request took anything, its input is estimated at its end (proxy/exchange.py)."""
        usage, has_output = self.usage, self.output_estimate > 1
        if is_complete:
            final = self.final_usage(Usage(input=input_estimate))
            return final, self.is_estimated or final != usage
        if usage is None:
            return (Usage(input=input_estimate, output=self.output_estimate) if has_output else Usage()), True
        if self.output_estimate > usage.output:
            return replace(usage, output=self.output_estimate), True
        return usage, True


@dataclass(slots=True)
class Call:
    """One client request, with everything that the core may need of the world outside (clock, random ids), read
    once."""

    request: Request
    message_id: str
    now: float  #: seconds since the epoch
    session: str = ""  #: the client's session id, "" if it sent none
    betas: tuple[str, ...] = ()
    version: str = "2023-06-01"
    unasked_thinking: bool = True  #: `a2py: unasked_thinking: show`
    client_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    estimate: int = 1  #: input tokens by count.estimate


class Prepared(NamedTuple):
    """A request as it goes upstream. `names`: tool name as sent → the client's, if they differ; `stops`: stop sequences
    that the decoder applies; `added_fields`: optional fields that the proxy added itself (a lesson may remove them);
    `degraded`: what the upstream's format can't express."""

    url: str
    headers: dict[str, str]
    body: bytes
    stream: bool
    names: Mapping[str, str] = {}
    stops: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()
    added_fields: frozenset[str] = frozenset()
    think_tags: bool = False
    think_open: bool = False
    #: output tokens that were requested. A reply that used exactly these was cut, whatever the upstream says; 0: not
    #: checked
    limit: int = 0
    provider: str = ""  #: decides what some error codes mean
    address: str = ""  #: host and port, for messages about the upstream
    tools: frozenset[str] = frozenset()  #: names of the tools, as sent
    search: str = ""  #: the question of a web search that the upstream runs by itself (chat wire)
    sent_body: SentBody = NOTHING  #: the body once it was sent, for reading errors inside the reply

    def __repr__(self) -> str:
        """Return a text without headers and query, which hold keys, and without content."""
        return f"Prepared({self.url.partition('?')[0]!r}, {len(self.body)} bytes, stream={self.stream})"


class Sink(Protocol):
    """The verbs that a decoder calls. One `key` is one upstream item, of one kind. Keys may come in any order, and
    interleaved."""

    def text(self, key: Key, s: str) -> None:
        """A piece of text for the client."""

    def text_json(self, key: Key, raw: bytes) -> None:
        """The same with text that is the inside of a JSON string: escaped UTF-8 without quotes and lone surrogates."""

    def thinking(self, key: Key, s: str) -> None:
        """A piece of reasoning."""

    def thinking_json(self, key: Key, raw: bytes) -> None: ...

    def around(self, key: Key) -> tuple[bytes, bytes] | None:
        """Return what this sink writes before and after a string of `text_json` or `thinking_json` for `key`, as long
        as no other verb is called; None if it does anything else with it. A `Splice` needs it."""

    def signature(self, key: Key, kind: str, state: JSON) -> None:
        """Vendor state that must come back with the thinking of `key`; opens an empty thinking block if there was no
        text."""

    def reasoning_field(self, name: str) -> None:
        """The field in which this reply's reasoning comes, so that it can go back in that field."""

    def tool(self, key: Key, id: str, name: str) -> None:
        """A call exists. May be repeated; the first non-empty id and name count."""

    def args(self, key: Key, s: str) -> None:
        """A fragment of the call's arguments, as JSON text."""

    def args_json(self, key: Key, raw: bytes) -> None: ...

    def complete(self, key: Key) -> None:
        """The upstream says that this item is complete."""

    def server_tool(self, key: Key, id: str, name: str, input: JSON) -> None:
        """A whole `server_tool_use` block."""

    def server_result(self, key: Key, type: str, tool_use_id: str, content: Any) -> None:
        """A whole result block of a server tool, for example `web_search_tool_result`."""

    def citation(self, key: Key, citation: JSON) -> None:
        """A citation of the text item `key`."""

    def raw(self, type: str, event: JSON, data: bytes) -> None:
        """A whole Anthropic event (native wire). `data`: its JSON as it came, b"" if it must be written anew.

        `index` is an int, fields that the SDKs need are there, a block's start is empty. message_stop is not passed:
        the latest message_delta is sent when the message is closed."""


class Decoder(Protocol):
    """Turns upstream bytes into verbs. No input raises.

    `is_finished`: nothing more will be read, so the relay may hang up. `splice`: turns the next HTTP chunk into one for
    the client without this decoder; valid until the decoder is fed again, None if there is none. `progress`: grows with
    each event that has content; comments and empty events leave it as it is."""

    is_finished: bool
    splice: Splice | None

    @property
    def progress(self) -> int: ...

    def feed(self, data: bytes) -> None: ...

    def close(self) -> Outcome: ...
