"""Random answers, told in the dialects of chat completions: the accumulated stream, the unary reply and the answer
itself are the same.

Knows: the liberties that servers take with chunks, calls, ends and usage while they mean the same. `A2PY_FUZZ=20000`
runs that many answers."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
import pytest

from a2py.messages.types import JSON
from a2py.wires import wire
from a2py.wires.chat.stream import ChatDecoder
from tests import streams

ANSWERS = int(os.environ.get("A2PY_FUZZ", "80"))
WORDS = [
    "Hello",
    " world",
    "\n",
    "é",
    "😀",
    '"q"',
    "\\",
    "{",
    "}",
    "[",
    "]",
    "\t",
    "<b>",
    "0",
    "\u2028",
    "}{",
    "data: ",
    "[DONE]",
    " ",
]
CHAT = wire("chat")


class Call(NamedTuple):
    id: str
    name: str
    input: JSON


class Answer(NamedTuple):
    reasoning: str
    text: str
    calls: list[Call]
    finish: str
    usage: JSON


class Rendering(NamedTuple):
    stream: bytes
    body: bytes


def words(dice: random.Random, most: int = 12) -> str:
    return "".join(dice.choice(WORDS) for _ in range(dice.randint(1, most)))


def value(dice: random.Random, depth: int = 0) -> Any:
    roll = dice.random()
    if roll < 0.4 or depth > 2:
        return words(dice, 5)
    if roll < 0.5:
        return dice.choice([0, 1, -3.5, True, None])
    if roll < 0.75:
        return {words(dice, 2): value(dice, depth + 1) for _ in range(dice.randint(0, 3))}
    return [value(dice, depth + 1) for _ in range(dice.randint(0, 3))]


def answer(dice: random.Random) -> Answer:
    calls = [
        Call(
            dice.choice([f"call_{n}", f"functions.f:{n}", "call_0", ""]),
            dice.choice(["get", "put", "run_it"]),
            {words(dice, 2): value(dice) for _ in range(dice.randint(0, 3))},
        )
        for n in range(dice.choice([0, 0, 1, 1, 2, 3]))
    ]
    prompt, completion = dice.randint(1, 5000), dice.randint(1, 500)
    usage: JSON = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    if dice.random() < 0.4:
        usage["prompt_tokens_details"] = {"cached_tokens": dice.randint(0, prompt)}
    reasoning = words(dice) if dice.random() < 0.5 else ""
    text = words(dice) if dice.random() < 0.7 else ""
    silent = "" if reasoning or text or calls else "stop"  # a stream that says nothing at all is no reply
    return Answer(
        reasoning, text, calls, dice.choice(["stop", "stop", "eos", silent, "tool_calls" if calls else "stop"]), usage
    )


def cut(dice: random.Random, text: str, most: int) -> list[str]:
    places = sorted(dice.randrange(len(text) + 1) for _ in range(dice.randrange(most)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


#: How reasoning is sent: delta or message fields for a piece of it.
REASONING: dict[str, Callable[[Any], Any]] = {
    "reasoning_content": lambda s: {"reasoning_content": s},
    "reasoning": lambda s: {"reasoning": s},
    "both": lambda s: {"reasoning": s, "reasoning_content": s},
    "details": lambda s: {"reasoning": s, "reasoning_details": [{"type": "reasoning.text", "text": s, "index": 0}]},
    "parts": lambda s: {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": s}]}]},
    "summary": lambda s: {"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": s}]}]},
}
#: What later fragments of a call repeat or fill in.
REPEATS: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda call: ({}, {}),
    "name": lambda call: ({}, {"name": call.name}),
    "both": lambda call: ({"id": call.id} if call.id else {}, {"name": call.name}),
    "empty": lambda call: ({"id": "", "type": ""}, {"name": ""}),
    "null": lambda call: ({"id": None, "type": None}, {"name": None}),
    "other id": lambda call: ({"id": "chatcmpl-tool-1"} if call.id else {}, {}),
}
#: How calls are distinguished: the index of the n-th; None: none.
INDEXES: dict[str, Callable[[int], int | None]] = {
    "index": lambda n: n,
    "gaps": lambda n: 3 + 2 * n,
    "zero": lambda n: 0,
    "none": lambda n: None,
    "late id": lambda n: n,
}


class Teller:
    """One dialect, chosen by `dice`, in which one answer is told twice."""

    def __init__(self, dice: random.Random, answer: Answer) -> None:
        self.dice, self.answer = dice, answer
        self.reasoning = dice.choice(sorted(REASONING))
        self.indexes = dice.choice(sorted(INDEXES))
        self.repeat = dice.choice(sorted(REPEATS))
        if self.indexes in ("zero", "none", "late id"):  # then only ids tell, and names are not repeated
            calls = [call._replace(id=f"call_{n}x") for n, call in enumerate(answer.calls)]
            self.answer = answer._replace(calls=calls)
            self.repeat = dice.choice(["nothing", "empty", "null"])
        self.whole_calls: list[JSON] = []

    def fragments(self, n: int, call: Call) -> list[JSON]:
        dice = self.dice
        raw = json.dumps(call.input, ensure_ascii=dice.random() < 0.5)
        form = dice.choice(["text", "text", "object", "{} first"] if call.input else ["{}", "", "null", "missing"])
        argument_forms: dict[str, Any] = {"object": call.input, "{} first": "{}", "{}": "{}", "null": None}
        function: JSON = {"name": call.name, "arguments": argument_forms.get(form, "")}
        if form == "missing":
            del function["arguments"]
        rest = cut(dice, raw, 6) if form in ("text", "{} first") else []
        if form == "text" and dice.random() < 0.4 and self.indexes != "late id":
            function["arguments"] = rest.pop(0)
        beside, inside = REPEATS[self.repeat](call)
        out: list[JSON] = [{**({"id": call.id} if call.id else {}), "type": "function", "function": function}]
        out += [{**beside, "function": {**inside, "arguments": piece}} for piece in rest]
        if self.indexes == "late id" and len(out) > 1:
            out[1]["id"] = out[0].pop("id")
        whole = {
            "name": call.name,
            "arguments": function.get("arguments") if form in ("object", "", "null", "{}") else raw,
        }
        self.whole_calls.append({**({"id": call.id} if call.id else {}), "type": "function", "function": whole})
        index = INDEXES[self.indexes](n)
        return [fragment if index is None else {"index": index, **fragment} for fragment in out]

    def calls(self) -> list[JSON]:
        """The deltas of all calls; where the indexes allow it their fragments are mixed, the first ones in their
        order."""
        dice, waiting = self.dice, [self.fragments(n, call) for n, call in enumerate(self.answer.calls)]
        is_mixed = self.indexes in ("index", "gaps") and dice.random() < 0.5
        next_call, order = 0, []
        while any(waiting):
            going = [fragments for fragments in waiting[:next_call] if fragments]
            if next_call < len(waiting) and (not going or (is_mixed and dice.random() < 0.5)):
                going, next_call = [waiting[next_call]], next_call + 1
            order.append(dice.choice(going if is_mixed else going[:1]).pop(0))
        deltas = []
        while order:
            count = dice.choice([1, 1, 2]) if is_mixed or self.indexes == "index" else 1
            deltas.append({"tool_calls": order[:count]})
            order = order[count:]
        return deltas

    def tell(self) -> Rendering:
        dice, answer = self.dice, self.answer
        parts = self.reasoning in ("parts", "summary") or dice.random() < 0.3
        deltas = [REASONING[self.reasoning](piece) for piece in cut(dice, answer.reasoning, 5) if piece]
        deltas += [{"content": [{"type": "text", "text": s}] if parts and s else s} for s in cut(dice, answer.text, 6)]
        deltas += self.calls()
        message: JSON = {
            "role": "assistant",
            "content": ([{"type": "text", "text": answer.text}] if parts else answer.text) if answer.text else None,
        }
        if answer.reasoning:
            ahead = REASONING[self.reasoning](answer.reasoning)
            message.update(
                {**ahead, "content": [*ahead["content"], *(message["content"] or ())]} if "content" in ahead else ahead
            )
        if answer.calls:
            message["tool_calls"] = self.whole_calls
        chunks: list[JSON] = [
            {"choices": [{"index": 0, "delta": self.pad(delta), "finish_reason": None}]} for delta in deltas
        ]
        if dice.random() < 0.7 or not chunks:
            chunks.append({"choices": [{"index": 0, "delta": {}}]})
        chunks[-1]["choices"][0]["finish_reason"] = answer.finish or None
        self.count(chunks)
        others: list[JSON] = [
            {"choices": [], "prompt_filter_results": []},
            {"choices": [{"index": 1, "delta": {"content": "other"}}]},
        ]
        for extra in others:
            if dice.random() < 0.1:
                chunks.insert(dice.randrange(len(chunks)), extra)
        body = {
            "choices": [{"index": 0, "message": message, "finish_reason": answer.finish or None}],
            "usage": answer.usage,
        }
        return Rendering(self.frame(chunks), orjson.dumps(body))

    def pad(self, delta: JSON) -> JSON:
        roll = self.dice.random()
        if roll < 0.1:
            return {"role": "assistant", "refusal": "", "function_call": None, "audio": None, **delta}
        return {"content": None, "reasoning": "", "tool_calls": [], **delta} if roll < 0.2 else delta

    def count(self, chunks: list[JSON]) -> None:
        usage, last = self.answer.usage, chunks[-1]
        place = self.dice.choice(["finish", "choice", "x_groq", "later", "every"])
        if place == "finish":
            last["usage"] = usage
        elif place == "choice":
            last["choices"][0]["usage"] = usage
        elif place == "x_groq" and self.answer.finish:
            last["x_groq"] = {"usage": usage}
        elif place == "every":
            for chunk in chunks:
                chunk["usage"] = {**usage, "completion_tokens": 1, "total_tokens": usage["prompt_tokens"] + 1}
            last["usage"] = usage
        else:
            chunks.append({"choices": [], "usage": usage})

    def frame(self, chunks: list[JSON]) -> bytes:
        dice, out = self.dice, []
        end, space, is_ascii = dice.choice(["\n", "\n", "\r\n"]), dice.choice([" ", " ", ""]), dice.random() < 0.3
        for chunk in chunks:
            if dice.random() < 0.05:
                out.append(f": keep-alive{end}{end}")
            out.append(f"data:{space}{json.dumps(chunk, ensure_ascii=is_ascii)}{end}{end}")
        if dice.random() < 0.7 or not self.answer.finish:
            out.append(f"data:{space}[DONE]{end}{end}")
        return "".join(out).encode()


@pytest.mark.parametrize("batch", range(4))
def test_a_stream_is_its_unary_reply(batch: int) -> None:
    for seed in range(batch, ANSWERS, 4):
        dice = random.Random(seed)
        teller = Teller(dice, answer(dice))
        rendering = teller.tell()
        options: Any = {
            "thinking": dice.choice(["show", "omit", "none"]),
            "history_ids": frozenset(dice.choice([[], ["call_0"]])),
        }
        request = streams.upstream_request()
        out = streams.run(CHAT, request, [rendering.stream], **options)
        message = streams.accumulate(streams.events(out))
        assert message == streams.unary(CHAT, streams.upstream_request(stream=False), rendering.body, **options), seed
        assert message == streams.collect(CHAT, request, rendering.stream, **options), seed
        assert streams.text_of(message) == teller.answer.text, seed
        assert [(block["name"], block["input"]) for block in streams.tools_of(message)] == [
            c[1:] for c in teller.answer.calls
        ], seed
        assert bool(teller.answer.calls) == (message["stop_reason"] == "tool_use"), seed
        size = dice.choice([1, 7, 37, 500])
        pieces = [rendering.stream[at : at + size] for at in range(0, len(rendering.stream), size)]
        assert streams.run(CHAT, request, pieces, **options) == out, seed
        assert streams.run(CHAT._replace(decoder=ChatDecoder), request, pieces, **options) == out, seed
        assert without_nulls(streams.sdk_message(out)["content"]) == without_nulls(message["content"]), seed


def without_nulls(content: list[JSON]) -> list[JSON]:
    """The SDK adds some."""
    return [{name: value for name, value in block.items() if value is not None} for block in content]
