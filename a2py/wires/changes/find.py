"""Find what became of a client's request on its way upstream, by comparing the two bodies.

The bodies are compared as they went over the wire. Nothing is noted while a request is translated, so that nobody pays
for an explanation that nobody reads.

Knows: both forms of a request, the table of fields (table.py). Must not know: who reads it, recordings, time.
Invariants: nothing raises on two JSON objects, whatever they hold; each field of the client's that is not in the
upstream's body is named, and each of the upstream's that is not in the client's; at most LIMIT changes, and those that
`degraded` names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from a2py.messages.types import JSON
from a2py.wires.changes.change import SETTINGS, UNKNOWN_FIELDS, Change, Question, count, rule, show
from a2py.wires.changes.same import LIMIT, compare_native, compare_passed
from a2py.wires.changes.table import ADDED_FIELDS, BLOCKS, FIELDS, HISTORY, LOSS_RULES, Field

#: Values that mean nothing, so that nobody misses them.
_EMPTY: tuple[Any, ...] = (None, [], {}, "")


def find_changes(client: JSON, question: Question, *, is_passed: bool = False) -> list[Change]:
    """Return what is different in `question`. `client`: the client's body; `is_passed`: a request to an endpoint of
    OpenAI's, which passes."""
    if is_passed:
        return compare_passed(client, question)
    is_native = question.deployment.wire == "native"
    changes = compare_native(client, question) if is_native else _Translation(client, question).find()
    return [*changes[:LIMIT], *_list_lost(changes, question)]


def _list_lost(changes: list[Change], question: Question) -> Iterator[Change]:
    """Yield what is reported as lost and was not found by comparing."""
    paths = [change.path for change in changes if change.kind == "dropped"]
    names = {path.partition("[")[0] for path in paths} | {path.rpartition("[")[2].rstrip("]") for path in paths}
    for what in question.degraded:
        if what not in names:
            yield Change(
                "dropped", what, "", "", "", "it can't be carried (x-a2py-degraded)", rule(LOSS_RULES.get(what, "a11"))
            )


class _Translation:
    """A Messages request that went upstream in one of OpenAI's forms. `target_fields`: fields of the upstream's body
    that are explained."""

    def __init__(self, client: JSON, question: Question) -> None:
        self.client = client
        self.question = question
        self.body = question.body
        self.is_chat = question.deployment.wire == "chat"
        self.target_fields: set[str] = {"messages", "input", "instructions", "tools"}
        self.changes: list[Change] = []

    def find(self) -> list[Change]:
        for name, value in self.client.items():
            if name == "system":
                self._compare_system(value)
            elif name == "messages":
                self._compare_turns(_objects(value))
            elif name == "tools":
                self._compare_tools(_objects(value))
            elif value not in _EMPTY:
                self._compare_field(name, value)
        self._list_added()
        return self.changes

    def note(self, kind: str, path: str, to: str, values: tuple[Any, Any], reason: tuple[Field | None, str]) -> None:
        """Add a change. `reason`: the row of the table, and words of its own."""
        row, note = reason
        before, after = ("" if value is None else show(value) for value in values)
        quirks = row.quirks if row is not None else ()
        because = self.question.explain(note or (row.note if row is not None else ""), quirks)
        doc = rule(row.rule) if row is not None else UNKNOWN_FIELDS
        self.changes.append(Change(kind, path, to, before, after, because, doc))

    # -- fields --------------------------------------------------------------------------------------------------------

    def _compare_field(self, name: str, value: Any) -> None:
        row = FIELDS.get(name)
        if row is None:
            if self.body.get(name) != value:
                self.note("dropped", name, "", (value, None), (None, "it is not known to be accepted"))
            return
        targets = [target for target in row.targets if target in self.body]
        self.target_fields.update(targets)
        for target in targets:
            result = self.body[target]
            if target != name:
                self.note("renamed", name, target, (value, result), (row, ""))
            elif result != value:
                self.note("changed", name, target, (value, result), (row, ""))
        if not targets:
            self.note("dropped", name, "", (value, None), (row, ""))

    def _list_added(self) -> None:
        for name, value in self.body.items():
            if name in self.target_fields or self.client.get(name) == value:
                continue
            setting = self.question.find_setting(name)
            if setting:
                self.changes.append(Change("added", "", name, "", show(value), setting, SETTINGS))
            else:
                self.note("added", "", name, (None, value), (ADDED_FIELDS.get(name, Field((), "a18")), ""))

    # -- system, turns, tools ------------------------------------------------------------------------------------------

    def _compare_system(self, value: Any) -> None:
        if value in _EMPTY:
            return
        blocks = "text" if isinstance(value, str) else count(len(_objects(value)), "block")
        row = Field((), "a1", ("system_role", "system_as_user"))
        first = next(iter(_objects(self.body.get("messages"))), {})
        if "instructions" in self.body:
            self.note("renamed", "system", "instructions", (blocks, "text"), (row, ""))
        elif first.get("role") in ("system", "developer"):
            self.note("renamed", "system", f"messages[0] role {first['role']}", (blocks, "text"), (row, ""))
        else:
            self.note("changed", "system", "messages[0]", (blocks, "text of the first user turn"), (row, ""))

    def _compare_turns(self, turns: list[JSON]) -> None:
        messages = _objects(self.body.get("messages" if self.is_chat else "input"))
        blocks = [block for turn in turns for block in _blocks(turn)]
        kinds = Counter(_type(block) for block in blocks)
        there = self._count_sent(messages)
        for kind, number in kinds.items():
            if kind != "text":
                self._compare_kind(kind, number, there.get(kind, 0))
        self._compare_system_turns(turns, messages)
        self._compare_marks(blocks, messages)
        if len(turns) != len(messages):
            row = Field((), "a3", ("alternation", "mid_system"))
            names = (count(len(turns), "message"), count(len(messages), "message" if self.is_chat else "item"))
            self.note("changed", "messages", "messages" if self.is_chat else "input", names, (row, ""))

    def _compare_kind(self, kind: str, number: int, there: int) -> None:
        """Compare the content blocks of one type. `there`: how many there are of what they become."""
        path, what = f"messages[].content[{kind}]", count(number, "block")
        if kind not in BLOCKS:
            row = Field((), "a7" if kind.startswith(("server_tool", "web_", "mcp_")) or "_tool_" in kind else "a11")
            self.note("changed", path, "text", (what, "text"), (row, "as readable text"))
            return
        chat, responses, row = BLOCKS[kind]
        if there or kind == "search_result":
            self.note("renamed", path, chat if self.is_chat else responses, (what, count(there, "part")), (row, ""))
        else:
            note = "a line of text replaces it" if kind in ("image", "document") else ""
            self.note("dropped", path, "", (what, None), (row, note))

    def _count_sent(self, messages: list[JSON]) -> dict[str, int]:
        """Return, by the type of block, how many parts there are of what it becomes."""
        parts = Counter(_type(part) for message in messages for part in _parts(message))
        if not self.is_chat:
            items = Counter(_type(item) for item in messages)
            return {
                "tool_use": items["function_call"],
                "tool_result": items["function_call_output"],
                "thinking": items["reasoning"],
                "image": parts["input_image"],
                "document": parts["input_file"],
            }
        return {
            "tool_use": sum(len(_objects(message.get("tool_calls"))) for message in messages),
            "tool_result": sum(message.get("role") == "tool" for message in messages),
            "thinking": sum(any(name in message for name in HISTORY) for message in messages)
            + parts["thinking"]
            + sum("extra_content" in call for message in messages for call in _objects(message.get("tool_calls"))),
            "image": parts["image_url"],
            "document": parts["file"],
        }

    def _compare_system_turns(self, turns: list[JSON], messages: list[JSON]) -> None:
        number = sum(turn.get("role") == "system" for turn in turns)
        system_count = sum(message.get("role") in ("system", "developer") for message in messages[1:])
        if number and system_count < number:
            row = Field((), "a2", ("mid_system",))
            self.note("changed", "messages[] role system", "text", (count(number, "message"), "text"), (row, ""))

    def _compare_marks(self, blocks: list[JSON], messages: list[JSON]) -> None:
        system, tools = self.client.get("system"), self.client.get("tools")
        number = sum("cache_control" in one for one in (*blocks, *_objects(system), *_objects(tools)))
        if not number:
            return
        row = Field((), "a16", ("cache",))
        parts = [part for message in messages for part in _parts(message)]
        marks = sum("cache_control" in part for part in parts)
        breakpoints = sum("prompt_cache_breakpoint" in part for part in parts)
        if breakpoints:
            names = (count(number, "mark"), count(breakpoints, "mark"))
            self.note("renamed", "cache_control", "prompt_cache_breakpoint", names, (row, ""))
        elif marks < number:
            kind, to = ("changed", "cache_control") if marks else ("dropped", "")
            self.note(
                kind,
                "cache_control",
                to,
                (count(number, "mark"), count(marks, "mark") if marks else None),
                (row, ""),
            )

    def _compare_tools(self, tools: list[JSON]) -> None:
        names = {name: upstream_name for upstream_name, name in self.question.names.items()}
        functions = {function.get("name"): function for function in self._functions()}
        others = Counter[str]()
        for tool in tools:
            name = str(tool.get("name"))
            function = functions.get(names.get(name, name))
            if function is None:
                row = Field((), "a11", ("web_search", "tools", "tool_choice_none"))
                self.note("dropped", f"tools[{name}]", "", (tool.get("type", "tool"), None), (row, ""))
                continue
            others.update(key for key in tool if key not in ("name", "description", "input_schema", "cache_control"))
            self._compare_tool(name, tool, function)
        for key, number in others.items():
            row = Field((), "a9" if key == "defer_loading" else "a8")
            self.note("dropped", f"tools[].{key}", "", (count(number, "tool"), None), (row, ""))
        hosted_tools = [tool for tool in _objects(self.body.get("tools")) if tool.get("type", "function") != "function"]
        for tool in hosted_tools:
            row = Field((), "a11", ("web_search",))
            self.note("added", "", "tools[]", (None, tool), (row, "the upstream's own tool"))

    def _compare_tool(self, name: str, tool: JSON, function: JSON) -> None:
        if function.get("name") != name:
            row = Field((), "a8", ("tool_name_limit",))
            self.note("renamed", f"tools[{name}].name", "name", (name, function.get("name")), (row, ""))
        schema, parameters = tool.get("input_schema"), function.get("parameters")
        if schema is not None and schema != parameters:
            row = Field((), "a8", ("schema",))
            self.note("changed", f"tools[{name}].input_schema", "parameters", (schema, parameters), (row, ""))

    def _functions(self) -> Iterator[JSON]:
        """Yield the functions of the upstream's request, in either form."""
        for tool in _objects(self.body.get("tools")):
            function = tool.get("function", tool)
            if isinstance(function, dict) and tool.get("type", "function") == "function":
                yield function


def _objects(value: Any) -> list[JSON]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _type(block: JSON) -> str:
    kind = block.get("type")
    return kind if isinstance(kind, str) else ""


def _blocks(turn: JSON) -> Iterable[JSON]:
    """Yield the content blocks of a turn, and the media in its tool results."""
    for block in _objects(turn.get("content")):
        yield block
        if block.get("type") == "tool_result":
            yield from (one for one in _objects(block.get("content")) if one.get("type") in ("image", "document"))


def _parts(message: JSON) -> Iterable[JSON]:
    yield from _objects(message.get("content"))
    yield from _objects(message.get("output"))
