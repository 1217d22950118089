"""A digest of every upstream request that the goldens lead to, to prove that a change of the request side changes no
byte.

    python -m tests.digest /tmp/requests.digest          # writes the file, or compares with it if it exists (exit status 1: they differ)
    python -m tests.digest --show "cache: a title" chat own   # print one request

The product of three lists is prepared: the turns of all goldens (deployment and request), the three wires, and sets of
quirks. These are the golden's own, those of each provider's row and of each model family, and each quirk field set
alone to each of its values, both over the defaults and over the golden's own. MIXED seeded conversations are added to
the turns. Each joins the messages of some goldens, damages them a little, and changes several quirks at once. The
digest of a request covers all of `Prepared` but `provider` and `address`, which name the upstream in messages and is
not sent. The file has one line for each turn on each wire, and must lie outside the repository."""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.messages.reply import Reply
from a2py.messages.request import parse
from a2py.messages.types import JSON, Call, Prepared
from a2py.providers import PROVIDERS, find_quirks
from a2py.providers.models import MODELS
from a2py.quirks import EFFORTS, Quirks
from a2py.wires import WIRES, wire
from tests import golden, streams
from tests.wires.test_fuzz import mutate, to_json

ROOT = Path(__file__).resolve().parents[1]
#: Hexadecimal digits of a request's digest in the file.
DIGITS = 12
#: Differences that are printed one by one, and sets of quirks whose differences are counted.
MAX_SHOWN = 20
#: Conversations that are mixed from those of the goldens.
MIX_COUNT = 400
#: The values that a field is set to, one by one. Booleans are turned round.
VALUES: dict[str, tuple[Any, ...]] = {
    "system_role": ("developer",),
    "mid_system": ("inline",),
    "empty_content": ("(no output)",),
    "prefill": ("prefix", "instruct"),
    "documents": ("file", "image_url"),
    "max_tokens_field": ("max_completion_tokens",),
    "max_tokens_limit": (100,),
    "min_tokens": (4096,),
    "sampling": (frozenset(), frozenset({"temperature", "top_p", "top_k"})),
    "temperature_max": (0.5,),
    "temperature_min": (0.9,),
    "stop_limit": (0, 1),
    "tool_name_limit": (12,),
    "tool_choice_named": ("only", "none"),
    "tool_choice_any": ("any", ""),
    "schema": (
        ("drop_$schema", "drop_additional_properties", "drop_defaults", "const_to_enum"),
        ("inline_refs", "drop_formats", "any_of_from_type_list", "no_empty_object"),
    ),
    "tool_ids": ("mistral9", "keep"),
    "tool_id_limit": (12, 40),
    "broken_arguments": ("object",),
    "after_tool": ("(continued)",),
    "reasoning": (
        *("effort", "openrouter", "thinking_type", "thinking_effort", "enable_thinking"),
        *("template", "think", "gemini", "minimax", "together"),
    ),
    "efforts": (EFFORTS[1:], ("high",)),
    "template_key": ("thinking",),
    "effort_off": ("none",),
    "reasoning_history": (
        "reasoning_content",
        "reasoning",
        "reasoning_details",
        "think",
        "thinking_part",
        "thought_signature",
    ),
    "cache": ("blocks", "key", "keyed_blocks", "breakpoint"),
    "session_header": ("x-session",),
    "structured": ("json_object", "none"),
    "context_probe": ("ollama",),
    "web_search": ("responses", "plugin", "always"),
    "tokenizer": ("vllm", "llamacpp"),
    "native_drop": (
        frozenset({"messages.thinking", "messages.tool_reference", "tools.defer_loading", "thinking.display"}),
        frozenset(
            {"messages.redacted_thinking", "messages.document", "tools.typed", "tools.web_search", "context_management"}
        ),
    ),
    "native_betas": ("all",),
    "native_thinking": ("adaptive",),
    "phases": ("none", "all"),
}


class Turn(NamedTuple):
    """One request of a golden, and the deployment that it is for."""

    name: str
    call: Call
    to: Deployment
    stream: bool


def _reply(upstream: golden.Block, call: Call, to: Deployment, request: Prepared, is_stream: bool) -> list[JSON]:
    """Return the content of the answer, which the golden's next turn sends back."""
    data, options = golden.upstream_bytes(upstream), golden.sink_options(call, to)
    if is_stream:
        message = streams.accumulate(streams.events(streams.run(wire(to.wire), request, [data], **options)))
        return list(message.get("content", []))
    sink = Reply(streams.MESSAGE_ID, streams.MODEL, options["origin"], options["thinking"], options["history_ids"])
    decoder = wire(to.wire).decoder(request, sink)
    decoder.feed(data)
    answer = sink.message(decoder.close(), streams.ESTIMATE)
    return list(answer["content"])


def turns(case: golden.Case) -> Iterator[Turn]:
    reply: list[JSON] = []
    for n, step in enumerate(case.steps()):
        body = golden._substitute(step.blocks["request"].json() if "request" in step.blocks else golden.REQUEST, reply)
        to = golden.deployment(step.config)
        upstream = step.blocks.get("upstream")
        try:
            call = golden.call({**body, "model": body.get("model", "claude-test")}, step.config)
        except ApiError:
            continue  # the parser refuses it: no wire is asked
        is_stream = call.request.stream and not (upstream is not None and "unary" in upstream.options)
        yield Turn(f"{case.id} #{n}", call, to, is_stream)
        if upstream is not None:
            try:
                reply = _reply(upstream, call, to, wire(to.wire).prepare(call, to, is_stream), is_stream)
            except ApiError:
                reply = []


def all_turns() -> list[Turn]:
    """Of those that are equal, the first."""
    turns_by_key: dict[str, Turn] = {}
    for case in golden.cases():
        for turn in turns(case):
            turns_by_key.setdefault(
                repr((turn.call, turn.to, turn.to.key, dict(turn.to.headers), turn.to.query, turn.stream)), turn
            )
    distinct = list(turns_by_key.values())
    return [*distinct, *mix(distinct)]


def mix(distinct: list[Turn]) -> Iterator[Turn]:
    """Conversations that no golden has. A mixture that the parser refuses is left out."""
    dice = random.Random(MIX_COUNT)
    alone = list(toggles().values())
    for n in range(MIX_COUNT):
        parts = [dice.choice(distinct) for _ in range(dice.randint(1, 4))]
        body: JSON = dict(parts[0].call.request.body)
        body["messages"] = [message for part in parts for message in part.call.request.body["messages"]]
        tools = [tool for part in parts for tool in part.call.request.body.get("tools") or ()]
        if tools:
            body["tools"] = tools
        to = replace(parts[0].to, quirks=replace(parts[0].to.quirks, **dict(dice.sample(alone, dice.randint(0, 6)))))
        mutant = mutate(body, dice, dice.choice([0.0, 0.0, 0.01, 0.03]))
        try:
            call = replace(parts[0].call, request=parse(to_json(mutant)))
        except ApiError:
            continue
        yield Turn(f"mixed #{n}", call, to, call.request.stream)


# -- quirks ------------------------------------------------------------------------------------------------------------


def toggles() -> dict[str, tuple[str, Any]]:
    """Name → field, value: each field alone, away from its default."""
    out: dict[str, tuple[str, Any]] = {}
    for field in fields(Quirks):
        default = getattr(Quirks(), field.name)
        values = (not default,) if isinstance(default, bool) else VALUES[field.name]
        out.update({f"{field.name}[{n}]": (field.name, value) for n, value in enumerate(values)})
    return out


def rows() -> dict[str, Quirks]:
    """Return the distinct sets of quirks in the tables: each provider's row, and each model family at a host that is
    not in the table."""
    out = {name: find_quirks(name, "", "a-model") for name in PROVIDERS}
    for provider in ("nobody", "openai", "openrouter"):
        for family in MODELS:
            model = family.models[0].replace("*", "1").replace("[", "").replace("]", "")
            out[f"{provider}/{model}"] = find_quirks(provider, "", model)
    distinct: dict[Quirks, str] = {}
    for name, quirks in out.items():
        distinct.setdefault(quirks, name)
    return {name: quirks for quirks, name in distinct.items()}


def variants(own: Quirks, tables: dict[str, Quirks], alone: dict[str, tuple[str, Any]]) -> Iterator[tuple[str, Quirks]]:
    yield "own", own
    for name, quirks in tables.items():
        yield f"row:{name}", quirks
    for name, (field, value) in alone.items():
        yield f"default+{name}", replace(Quirks(), **{field: value})
        yield f"own+{name}", replace(own, **{field: value})


# -- digests -----------------------------------------------------------------------------------------------------------


def prepare(turn: Turn, name: str, quirks: Quirks) -> JSON:
    """What goes upstream, as JSON can tell it; an error where the wire refuses the request."""
    to = replace(turn.to, wire=name, quirks=quirks)
    try:
        request = wire(name).prepare(turn.call, to, turn.stream)
    except ApiError as error:
        return {"error": [error.kind, error.message]}
    return {
        "url": request.url,
        "headers": sorted(request.headers.items()),
        "body": request.body.decode("utf-8", "surrogatepass"),
        "degraded": request.degraded,
        "added": sorted(request.added_fields),
        "stream": request.stream,
        "names": sorted(request.names.items()),
        "stops": request.stops,
        "decoder": name != "native"
        and [request.think_tags, request.think_open, request.limit, request.search],  # native has no use for them
    }


def digest(record: JSON) -> str:
    return sha256(repr(record).encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


def lines() -> Iterator[str]:
    """The first names the sets of quirks; then a line for each turn on each wire, with a digest for each set."""
    tables, alone = rows(), toggles()
    yield "\t".join(["", "", *(name for name, _ in variants(Quirks(), tables, alone))])
    for turn in all_turns():
        for name in WIRES:
            digests = (digest(prepare(turn, name, quirks)) for _, quirks in variants(turn.to.quirks, tables, alone))
            yield "\t".join([turn.name, name, *digests])


def compare(path: Path) -> int:
    """Print how the requests differ from those of the file; how many do."""
    before = {tuple(line.split("\t")[:2]): line.split("\t") for line in path.read_text("utf-8").splitlines()}
    new = lines()
    names = next(new).split("\t")
    assert names == before.pop(("", "")), (
        "the file is of another list of quirks: write it anew with that version of the goldens"
    )
    by_variant: Counter[str] = Counter()
    differences = same = additions = 0
    for line in new:
        cells = line.split("\t")
        old = before.pop((cells[0], cells[1]), None)
        if old is None:
            additions += 1
            continue
        for name, was, now in zip(names[2:], old[2:], cells[2:], strict=True):
            if was == now:
                same += 1
                continue
            by_variant[f"{cells[1]} {name}"] += 1
            differences += 1
            if differences <= MAX_SHOWN:
                print(f"differs: {cells[0]!r} {cells[1]} {name}")
    for name, count in by_variant.most_common(MAX_SHOWN):
        print(f"{count:6} {name}")
    print(
        f"{same} requests are the same, {by_variant.total()} differ; {additions} lines are new, {len(before)} are gone"
    )
    return by_variant.total()


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("file", nargs="?", type=Path)
    options.add_argument(
        "--show", nargs=3, metavar=("TURN", "WIRE", "QUIRKS"), help="print a request, as `differs` names it"
    )
    args = options.parse_args()
    if args.show:
        title, name, wanted_variant = args.show
        turn = next(turn for turn in all_turns() if turn.name == title)
        quirks = next(
            quirks for variant, quirks in variants(turn.to.quirks, rows(), toggles()) if variant == wanted_variant
        )
        record = prepare(turn, name, quirks)
        if "body" in record:
            record["body"] = orjson.loads(record["body"])
        print(golden.pretty(record))
        return 0
    if args.file is None or ROOT in args.file.resolve().parents:
        options.error("name a file outside the repository")
    if args.file.exists():
        return 1 if compare(args.file) else 0
    text = "\n".join(lines()) + "\n"
    args.file.write_text(text, "utf-8")
    print(f"{args.file}: {text.count(chr(10)) - 1} lines written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
