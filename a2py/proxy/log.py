"""The proxy's log: one line per request, and the few events of the server itself.

Knows: what a line looks like as text and as JSON. Must not know: where a record's values come from.
Invariants: no content, keys or URLs are logged; no value holds a control or format character (see printable.py), which
could break the line or the terminal that shows it.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TextIO

import orjson

from a2py.caller import ANYBODY, Caller
from a2py.deployment import Deployment
from a2py.messages.rules import Choice
from a2py.messages.types import Usage
from a2py.printable import printable

#: What the client is told of an exception that is in the log (`Log.crash`).
INTERNAL = "Internal error of the proxy; its log has the place under this request id"
#: A value that needs no quotes in a text line.
_PLAIN = re.compile(r"[!#-<>-\[\]-~]+\Z")
_SPACE = re.compile(r"[\t-\r ]+")
#: The folder a2py/, with a slash at its end.
_ROOT = __file__.replace("\\", "/").removesuffix("proxy/log.py")


class Spent(NamedTuple):
    """Tokens of an answer. `is_estimated`: the upstream reported none, and these are a2py's guess."""

    input: int = 0
    cached: int = 0
    output: int = 0
    is_estimated: bool = False


@dataclass(slots=True)
class Account:
    """Who asked, and what it took.

    `caller`: the client's key; `session`, `agent`: as the client sent them; `usages`: the tokens of each attempt;
    `is_estimated`: the upstreams did not count all of them; `is_count`: the request only counts tokens, and is no
    answer of a model; `choice`: the rule of `a2py: routes:` that decided, None if there are none."""

    caller: Caller = ANYBODY
    session: str = ""
    agent: str = ""
    usages: list[tuple[Deployment, Usage]] = field(default_factory=list)
    is_estimated: bool = False
    is_count: bool = False
    choice: Choice | None = None

    @property
    def key(self) -> str:
        """Name of the client's key, "" if the proxy asks for none."""
        return self.caller.name


@dataclass(slots=True)
class Record:
    """One request, filled while it runs.

    `status` 499: the client has left; `error`: kind and message; `first_content`, `duration`: seconds from the
    beginning of the request; `reason`: why the model stopped; `degraded`: what could not be carried upstream; `queue`:
    the place in the line when the request began to wait, 0 if it did not, and the seconds that it waited; `account`:
    what the ledger keeps beside these."""

    id: str = ""
    path: str = ""
    model: str = ""
    stream: bool = False
    deployment: str = ""
    upstream: str = ""
    wire: str = ""
    status: int = 0
    error: str = ""
    reason: str = ""
    attempts: int = 0
    queue: tuple[int, float] = (0, 0.0)
    first_content: float = 0.0
    duration: float = 0.0
    spent: Spent = field(default_factory=Spent)
    degraded: tuple[str, ...] = ()
    account: Account = field(default_factory=Account)
    notes: list[str] = field(default_factory=list)

    def values(self) -> dict[str, object]:
        """Return what the line says, in its order."""
        out: dict[str, object] = {"status": self.status, "path": self.path}
        if self.model:
            out |= self._model_names()
        if self.upstream:
            out |= {"upstream": self._upstream_name(), "wire": self.wire}
        if self.stream:
            out["stream"] = True
        if self.attempts > 1:
            out["attempts"] = self.attempts
        place, seconds = self.queue
        if place:
            out |= {"queue": place, "queue_ms": round(seconds * 1000)}
        if self.first_content:
            out["first_ms"] = round(self.first_content * 1000)
        out["ms"] = round(self.duration * 1000)
        out |= self._tokens()
        if self.reason:
            out["stop"] = self.reason
        if self.degraded:
            out["degraded"] = ",".join(self.degraded)
        if self.notes:
            out["notes"] = "; ".join(self.notes[:5])
        if self.error:
            out["error"] = self.error
        out["id"] = self.id
        return out

    def _model_names(self) -> dict[str, object]:
        """Return the name that was asked for, and the rule that decided about it."""
        names: dict[str, object] = {"model": self.model}
        if self.account.choice is not None:
            names |= {"route": self.account.choice.rule, "why": self.account.choice.why}
        return names

    def _tokens(self) -> dict[str, object]:
        spent = self.spent
        if not (spent.input or spent.output or spent.cached):
            return {}
        out: dict[str, object] = {"in": spent.input, "cached": spent.cached, "out": spent.output}
        if spent.output and self.duration > self.first_content:
            out["tok/s"] = round(spent.output / (self.duration - self.first_content), 1)
        if spent.is_estimated:
            out["estimated"] = True
        return out

    def _upstream_name(self) -> str:
        """Return the deployment's id with the model in it.

        The id is `openai/gpt-5.4`, `openai/gpt-5.4#2`, a wildcard's `openai/*`, or what the file says (`model_info:
        id`)."""
        id = self.deployment.replace("*", self.upstream, 1)
        return id if self.upstream in id else f"{id}/{self.upstream}"


class Log:
    """`format`: `text` or `json`; `stream` None: standard error, as it is at the time of each line; `quiet`: no line
    per request."""

    def __init__(self, stream: TextIO | None = None, format: str = "text", quiet: bool = False) -> None:
        self._stream = stream
        self._json = format == "json"
        self.quiet = quiet

    def _write(self, level: str, event: str, values: dict[str, object]) -> None:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
        if self._json:
            line = orjson.dumps({"time": stamp, "level": level, "event": event, **_clean(values)}, default=str).decode()
        else:
            words = [stamp, level.upper().ljust(5), event]
            words += [f"{name}={_word(value)}" for name, value in values.items()]
            line = " ".join(words)
        stream = self._stream or sys.stderr
        try:
            stream.write(line + "\n")
            stream.flush()
        except (OSError, ValueError):
            pass  # a request must not fail because the terminal is closed or the disk is full

    def request(self, record: Record) -> None:
        """Write the line of a request that has ended. A 529 is not an error of the proxy: it has too many
        connections."""
        if not self.quiet:
            self._write(
                "error" if record.status >= 500 and record.status != 529 else "info", "request", record.values()
            )

    def info(self, event: str, **values: object) -> None:
        self._write("info", event, values)

    def warning(self, event: str, **values: object) -> None:
        self._write("warn", event, values)

    def crash(self, error: BaseException, request_id: str) -> None:
        """Write an exception that nobody expected: its type and where it was raised. Its text may hold content, so it
        is not written."""
        places = []
        trace = error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            places.append(f"{_place(code.co_filename)}:{trace.tb_lineno}:{code.co_name}")
            trace = trace.tb_next
        self._write(
            "error", "crash", {"type": type(error).__name__, "at": " < ".join(reversed(places[-8:])), "id": request_id}
        )


def _place(filename: str) -> str:
    """Return the path of a source file below a2py/, like `wires/chat/request.py`; only the name of any other file.

    Several folders have a file of that name."""
    path = filename.replace("\\", "/")
    return path.removeprefix(_ROOT) if path.startswith(_ROOT) else path.rpartition("/")[2]


def _word(value: object) -> str:
    """Return `value` for a text line, in quotes if it holds anything but plain ASCII."""
    text = str(value)
    if _PLAIN.match(text):
        return text
    text = _SPACE.sub(" ", text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{printable(text)}"'


def _clean(value: Any) -> Any:
    """Return `value` with every text in it printable. JSON's own escapes are not enough: a tool that reads the log
    decodes them before it shows the text."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {name: _clean(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(inner) for inner in value]
    return value
