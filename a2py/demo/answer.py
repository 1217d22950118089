"""What the demo model answers: a few rules, applied in order, each of which can say why.

Knows: the conversation, the tools offered, the words. Must not know: the wire's JSON, tokens, sockets.
Invariants: a pure function of the request; every rule's answer is made from the request, and the last rule always answers.
"""

from __future__ import annotations

import ast
import json
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from a2py.demo import arguments
from a2py.demo.conversation import JSON, Conversation, Result

#: Calls of one reply at most, numbers counted to at most, words of one story at most, lines of a tool's answer that are shown and their length.
CALLS, COUNT_TO, WORDS, LINES, LETTERS = 8, 2000, 2000, 20, 200


@dataclass
class Answer:
    """`why`: the reasoning; `calls`: (tool name, arguments)."""

    why: str
    text: str = ""
    calls: list[tuple[str, JSON]] = field(default_factory=list)


# -- tools -------------------------------------------------------------------------------------------------------------

#: Words of a tool's name that say nothing of its subject.
_GENERIC = frozenset(
    (
        "get",
        "fetch",
        "do",
        "make",
        "tool",
        "function",
        "api",
        "call",
        "mcp",
        "a",
        "the",
        "to",
        "current",
        "list",
        "create",
        "find",
        "search",
        "run",
        "use",
        "set",
    )
)
_NO_TOOLS = re.compile(
    r"(?i)\b(?:text only|no tools?|(?:do not|don't|never|without) (?:call|us)(?:e|ing)? (?:any |the )?tools?|without tools?)\b"
)


def _words(name: str) -> list[str]:
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    words = [part.lower() for part in parts]
    return [word for word in words if word not in _GENERIC] or words


def _named(name: str, text: str) -> bool:
    """The words ask for the tool by its name: "use the X tool", "call X", or a name that is no ordinary word."""
    spelled = rf"[`\"']?{re.escape(name)}[`\"']?(?:\(\))?"
    if re.search(
        rf"(?i)\b(?:use|using|call|invoke|with)\s+(?:the\s+|your\s+)?{spelled}(?![\w-])|(?<![\w-]){spelled}\s+tool\b",
        text,
    ):
        return True
    return bool(re.search(r"[_\d]|[a-z][A-Z]", name)) and re.search(rf"(?<![\w-]){spelled}(?![\w-])", text) is not None


def _about(name: str, text: str) -> bool:
    """Every telling word of the tool's name stands in the words."""
    said = set(re.findall(r"[a-z]+|\d+", text.lower()))
    return all(word in said or word + "s" in said or word.rstrip("s") in said for word in _words(name))


def _calls(tool: JSON, found: arguments.Found, parallel: bool) -> list[tuple[str, JSON]]:
    """One call, or one per value where the words hold several for one argument ("in Paris and London")."""
    if parallel and len(found.several) == 1:
        ((name, values),) = found.several.items()
        if isinstance(found.arguments[name], str):
            return [(tool["name"], {**found.arguments, name: value}) for value in values[:CALLS]]
    return [(tool["name"], found.arguments)]


def choose(tools: list[JSON], text: str, choice: str, parallel: bool) -> Answer | None:
    """The call that the words ask for. `choice`: `auto`, `required`, `none`, or a tool's name behind a colon (":get_weather")."""
    if not tools or choice == "none":
        return None
    if choice.startswith(":"):
        tool = next(tool for tool in tools if tool["name"] == choice[1:])
        return Answer(
            f"The request demands the tool {tool['name']}.",
            calls=_calls(tool, arguments.fill(tool.get("parameters"), text), parallel),
        )
    if choice == "auto" and (_NO_TOOLS.search(text) or not text):
        return None
    filled = [(tool, arguments.fill(tool.get("parameters"), text)) for tool in tools]
    for tool, found in filled:
        if _named(tool["name"], text):
            return Answer(f"The user names the tool {tool['name']}, so I call it.", calls=_calls(tool, found, parallel))
    for tool, found in filled:
        if not found.missing and (_about(tool["name"], text) or _shell(found, text)):
            return Answer(
                f"The tool {tool['name']} fits, and the request holds all that it needs.",
                calls=_calls(tool, found, parallel),
            )
    if choice == "required":
        tool, found = next(((tool, found) for tool, found in filled if not found.missing), filled[0])
        return Answer(f"A tool must be called; {tool['name']} comes nearest.", calls=_calls(tool, found, False))
    return None


def _shell(found: arguments.Found, text: str) -> bool:
    """A tool that runs commands, and words that ask for one."""
    if "command" not in found.arguments:
        return False
    return bool(arguments.RUN.search(text)) or any(pattern.search(text) for pattern, _ in arguments.SHELL)


def short(line: str) -> str:
    return line if len(line) <= LETTERS else line[: LETTERS - 1] + "…"


def report(results: list[Result]) -> Answer:
    """The answer after the tools have answered."""
    said = []
    for result in results:
        lines = result.text.strip().splitlines()
        failed = bool(lines) and lines[0].lower().startswith(("error", "<tool_use_error>"))
        if not lines:
            said.append(f"`{result.name}` finished without output.")
        elif len(lines) == 1 and len(lines[0]) <= LETTERS:
            said.append(f"`{result.name}` {'failed' if failed else 'says'}: {lines[0]}")
        else:
            more = f"\n… and {len(lines) - LINES} more lines." if len(lines) > LINES else ""
            said.append(
                f"`{result.name}` {'failed' if failed else 'returned'}:\n\n```\n"
                + "\n".join(map(short, lines[:LINES]))
                + f"\n```{more}"
            )
    names = ", ".join(dict.fromkeys(result.name for result in results))
    return Answer(f"{names} answered; I report it and stop here.", "\n\n".join(said))


# -- words -------------------------------------------------------------------------------------------------------------

Rule = Callable[[re.Match[str], Conversation, list[JSON]], "Answer | None"]

_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


def calculate(expression: str) -> int | float:
    """Plain arithmetic; ValueError for anything else, and for numbers that grow beyond reason."""

    def value(node: ast.AST) -> int | float:
        if isinstance(node, ast.Expression):
            return value(node.body)
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            return node.value
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            return -value(node.operand) if isinstance(node.op, ast.USub) else value(node.operand)
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            left, right = value(node.left), value(node.right)
            if isinstance(node.op, ast.Pow) and (abs(right) > 64 or abs(left) > 10**6):
                raise ValueError("too large")
            result = _OPERATORS[type(node.op)](left, right)
            if isinstance(result, complex) or abs(result) > 10**30:
                raise ValueError("too large")
            return result  # type: ignore[no-any-return]
        raise ValueError("not arithmetic")

    try:
        return value(ast.parse(expression.strip().replace("^", "**").replace("×", "*").replace("÷", "/"), mode="eval"))
    except (SyntaxError, ArithmeticError, RecursionError, MemoryError) as error:
        raise ValueError(str(error)) from None


def _number(n: int | float) -> str:
    return f"{n:.10g}" if isinstance(n, float) else str(n)


def _arithmetic(m: re.Match[str], talk: Conversation, tools: list[JSON]) -> Answer | None:
    try:
        result = calculate(m[0])
    except ValueError:
        return None
    return Answer(f"It is arithmetic: I work out {m[0].strip()}.", f"{m[0].strip()} = {_number(result)}")


def _count(m: re.Match[str], talk: Conversation, tools: list[JSON]) -> Answer:
    first, last = int(m[1] or 1), min(int(m[2]), int(m[1] or 1) + COUNT_TO)
    return Answer(f"I count from {first} to {last}.", ", ".join(map(str, range(first, last + 1))) + ".")


def _say(m: re.Match[str], talk: Conversation, tools: list[JSON]) -> Answer:
    words = arguments.quoted(m[1])
    text = words[0] if words else m[1].strip()
    if not words and re.fullmatch(r"(?i)(?:hello|hi|hey|good (?:morning|evening|day))[.!]?", text):
        text = text.rstrip(".!").capitalize() + "!"
    return Answer("The user tells me what to say.", text)


def _hello(m: re.Match[str], talk: Conversation, tools: list[JSON]) -> Answer:
    return Answer("The user greets me, and I greet back.", "Hello! " + WHO)


def _who(m: re.Match[str], talk: Conversation, tools: list[JSON]) -> Answer:
    return Answer("The user asks what I am.", f"{WHO}\n\n{CURE}")


def _tools(m: re.Match[str], talk: Conversation, tools: list[JSON]) -> Answer:
    if not tools:
        return Answer("The user asks for my tools, and there are none.", "This request offers me no tools.")
    lines = [f"- `{tool['name']}`: {first_line(tool.get('description'))}".rstrip(": ") for tool in tools]
    return Answer(
        f"The user asks for my tools; {len(tools)} are offered.",
        f"This request offers me {len(tools)} tools:\n\n" + "\n".join(lines),
    )


def first_line(text: Any) -> str:
    return (str(text or "").strip().splitlines() or [""])[0][:100]


def _summary(m: re.Match[str], talk: Conversation, tools: list[JSON]) -> Answer:
    asks = [ask.splitlines()[0][:200] for ask in talk.asks[:-1]][-LINES:]
    listed = "\n".join(f"- {ask}" for ask in asks) or "- nothing yet"
    text = f"The user asked, in this order:\n{listed}"
    if "<summary>" in talk.ask:
        text = f"<analysis>\n{len(talk.asks) - 1} requests stand above.\n</analysis>\n\n<summary>\n{text}\n</summary>"
    return Answer("The user wants a summary of this conversation.", text)


_BEGIN = (
    "Once there was",
    "On a quiet morning stood",
    "Everybody in the valley had heard of",
    "Nobody expected much of",
    "At the end of the road lived",
)
_MIDDLE = (
    "It listened more than it spoke, and every word went out as soon as it was known.",
    "Some days brought rain and some brought visitors, and both were let in by the same door.",
    "When a message arrived in a strange tongue, it was carried across the river and came back in a familiar one.",
    "The lamps were lit one after another, never two at once, so that nobody lost the thread.",
    "A traveller asked how far it was to the sea, and was told the truth: farther than it looks.",
    "What had been cut short was never made up; it was handed on as it had come, with an honest note.",
    "In the evening the accounts were done, and each token stood where it belonged.",
)
_END = "And that is how it ended, neither sooner nor later than it should."


def _story(m: re.Match[str], talk: Conversation, tools: list[JSON]) -> Answer:
    wanted = re.search(r"(\d+)\s*words?", talk.ask)
    about = re.search(
        r"(?i)\b(?:about|on)\s+(?:an?\s+|the\s+)?([\w' -]{2,40}?)(?=[.,!?;\n]|\s+(?:in|with|of|that)\b|$)", talk.ask
    )
    subject = about[1].strip() if about else "a small proxy"
    size = min(int(wanted[1]), WORDS) if wanted else 400 if re.search(r"(?i)\blong\b", talk.ask) else 90
    seed = sum(map(ord, talk.ask))
    article = "" if subject.startswith(("a ", "an ")) else "the "
    text = [f"{_BEGIN[seed % len(_BEGIN)]} {article}{subject}."]
    words, n = len(text[0].split()), seed
    while words < size - 12:
        n += 1
        text.append(_MIDDLE[n % len(_MIDDLE)])
        words += len(text[-1].split())
    text.append(_END)
    paragraphs = [" ".join(text[i : i + 5]) for i in range(0, len(text), 5)]
    return Answer(
        f"The user wants a {m[1].lower()}; {subject} is its subject, some {size} words its length.",
        "\n\n".join(paragraphs),
    )


WHO = "I am the demo model inside a2py: a few rules instead of a language model, reached over a real socket by the real wire."
CURE = (
    "To get a real model, set a key such as OPENAI_API_KEY, DEEPSEEK_API_KEY or OPENROUTER_API_KEY, or start Ollama, or write a file "
    "with `a2py config init`; then start a2py again."
)

#: Pattern of the user's words → rule. The first rule that answers decides.
RULES: tuple[tuple[re.Pattern[str], Rule], ...] = (
    (re.compile(r"(?i)<summary>|\bsummari[sz]e (?:the|this|our) (?:conversation|session|chat)"), _summary),
    (
        re.compile(
            r"(?is)^\W*(?:please\s+)?(?:just\s+|only\s+)?(?:say|repeat(?: after me)?|echo|(?:reply|respond|answer)(?:\s+\w+)?\s+with)\b[\s:,]+(?:(?:exactly|only|just|the words?|(?:one|a single|the following) (?:word|sentence|text))[\s:]+)*(.+?)\s*$"
        ),
        _say,
    ),
    (re.compile(r"(?i)\bcount\s+(?:up\s+)?(?:from\s+(\d{1,6})\s+)?(?:up\s+)?to\s+(\d{1,6})\b"), _count),
    (re.compile(r"(?i)\b(?:what|which|list|name|show)\b.{0,20}\btools\b"), _tools),
    (re.compile(r"(?i)\b(?:who|what) are you\b|\b(?:what|which) (?:large |language |ai )*model\b"), _who),
    (re.compile(r"(?i)\b(story|poem|essay|tale|text|novel)\b(?=.*)"), _story),
    (arguments.ARITHMETIC, _arithmetic),
    (re.compile(r"(?i)^\W*(?:hello|hi|hey|good (?:morning|evening|day))\b"), _hello),
)


def words(talk: Conversation, tools: list[JSON]) -> Answer:
    """The answer in words."""
    if talk.notice:
        result = re.search(r"(?s)<result>\s*(.*?)\s*</result>", talk.notice)
        return Answer(
            "A notice came without a question.", f"It is done, with this result: {result[1]}" if result else "Noted."
        )
    for pattern, rule in RULES:
        found = pattern.search(talk.ask)
        answer = rule(found, talk, tools) if found else None
        if answer is not None:
            return answer
    if talk.images:
        return Answer(
            "There are images, and I can tell only what their bytes say.",
            "I see " + "; and ".join(talk.images) + f". {WHO}",
        )
    ask = " ".join(talk.ask.split())
    quote = f"You asked: “{ask[:200]}{'…' if len(ask) > 200 else ''}” " if ask else "You asked nothing yet. "
    can = "I can say and count things, do arithmetic, tell a story, call a tool that you name, and report what it returned."
    return Answer("None of my rules fits; I say what I am and what I can do.", f"{quote}{WHO} {can}\n\n{CURE}")


def structured(talk: Conversation, format: JSON) -> Answer:
    """An answer in JSON: `json_schema` fills the schema from the words, `json_object` holds the plain answer."""
    if format.get("type") == "json_schema":
        described = format.get("json_schema")
        value = arguments.build(described.get("schema") if isinstance(described, dict) else {}, talk.ask)
    else:
        value = {"answer": words(talk, []).text}
    return Answer(
        "The reply must be JSON, so I fill in what the schema asks for.", json.dumps(value, ensure_ascii=False)
    )


def answer(talk: Conversation, tools: list[JSON], choice: str, parallel: bool, format: JSON) -> Answer:
    """The reply to a conversation: a forced call, a report, a call, JSON, or words, in this order."""
    if choice == "auto" and talk.results:
        return report(talk.results)
    called = choose(tools, talk.ask, choice, parallel)
    if called is not None:
        return called
    if talk.results:
        return report(talk.results)
    if format.get("type") in ("json_schema", "json_object"):
        return structured(talk, format)
    return words(talk, tools)
