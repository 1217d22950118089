"""What a server says of itself: which program it is, which models it lists, how long their context is.

The answers to a few GET requests are read here. The program decides which row of the provider table holds behind
`openai/` and an api_base of one's own; the list decides which models a wildcard serves, and which of them is the home
of `claude-*`.

Knows: the answers of vLLM, SGLang, llama.cpp, LM Studio, Ollama, TGI, MLX, KoboldCpp, LiteLLM, new-api and one-api.
Must not know: when they are asked, sockets, time.
Invariants: every answer is hostile input: any JSON is read without an exception, and nothing is kept above MAX_MODELS
models, MAX_ID characters of a name, MAX_CONTEXT tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeGuard

#: Models of one server that are kept, characters of an id, tokens of a context.
MAX_MODELS, MAX_ID, MAX_CONTEXT = 2000, 256, 100_000_000
#: Characters of a version that are kept.
VERSION_LENGTH = 40
#: Paths that are asked besides `{base}/models`, below the server's root, of servers on the own machine or net.
ROOT_PATHS = ("/props", "/version", "/api/version", "/api/tags")
MODELS = "/models"

#: Ids of models that do not chat.
_NO_CHAT = re.compile(
    r"embed|(?:^|[/_-])(?:bge|gte|e5|minilm|nomic|jina)(?:[-_.]|$)|rerank|whisper|(?:^|[/_-])tts"
    r"|speech|transcri|moderation|dall-e|"
    r"stable-diffusion|(?:^|[/_-])flux|image-\d|clip-|colbert|reward",
    re.IGNORECASE,
)


class Answer(NamedTuple):
    """One HTTP answer. `headers`: lower-case names; `body`: the JSON value, None if it was none."""

    status: int
    headers: Mapping[str, str]
    body: Any


class ListedModel(NamedTuple):
    """A model of the server's list. `context`: tokens of prompt and reply together, 0 if unknown; `is_chat`: whether
    its name is not that of an embedding or another model that does not chat; `is_loaded`: False only if the server says
    so."""

    id: str
    context: int = 0
    is_chat: bool = True
    is_loaded: bool = True


class ServerWord(NamedTuple):
    """`program`: as people call it, "" if unknown; `row`: its row of the provider table, "" for none (then the
    families' rows hold); `is_relay`: it passes requests on to vendors; `version`: as it says; `models`: in its order;
    `slots`: requests that it answers at once (llama.cpp), 0 if unknown; `reason`: what gave it away; `has_vision`:
    False only if the server says so."""

    program: str = ""
    row: str = ""
    is_relay: bool = False
    version: str = ""
    models: tuple[ListedModel, ...] = ()
    slots: int = 0
    reason: str = ""
    has_vision: bool = True

    def context(self, model: str) -> int:
        """Return the context of `model` in tokens, 0 if it is unknown. A server with one model serves it under any name
        (llama.cpp)."""
        for entry in self.models:
            if entry.id == model:
                return entry.context
        return self.models[0].context if len(self.models) == 1 and self.program == "llama.cpp" else 0

    @property
    def chat_models(self) -> tuple[str, ...]:
        """Ids of the listed models that chat, the loaded ones first."""
        chat = [model for model in self.models if model.is_chat]
        return tuple(model.id for model in sorted(chat, key=lambda model: not model.is_loaded))


class _Program(NamedTuple):
    name: str
    row: str
    is_relay: bool = False


_VLLM = _Program("vLLM", "hosted_vllm")
_SGLANG = _Program("SGLang", "sglang")
_LLAMA_CPP = _Program("llama.cpp", "llamacpp")
_LM_STUDIO = _Program("LM Studio", "lm_studio")
_OLLAMA = _Program("Ollama", "ollama")
#: Servers that run weights and have no row of their own: vLLM's row without what only vLLM has would be a guess, so the
#: common subset holds.
_TGI = _Program("TGI", "local_server")
_MLX = _Program("MLX", "local_server")
_KOBOLD = _Program("KoboldCpp", "local_server")
_LITELLM = _Program("LiteLLM", "litellm_proxy", True)
_NEW_API = _Program("new-api", "", True)
_ONE_API = _Program("one-api", "", True)

#: `owned_by` of every entry of the list → program (their sources and recordings, 2025–2026).
_OWNERS = {
    "vllm": _VLLM,
    "sglang": _SGLANG,
    "llamacpp": _LLAMA_CPP,
    "organization_owner": _LM_STUDIO,
    "library": _OLLAMA,
    "koboldcpp": _KOBOLD,
}


def is_chat_name(model: str) -> bool:
    """Return whether `model` is not the name of an embedding, speech or image model."""
    return not _NO_CHAT.search(model)


def read(answers: Mapping[str, Answer]) -> ServerWord:
    """Return what a server says of itself. `answers`: path → answer, as far as there was one; the paths are MODELS and
    ROOT_PATHS."""
    entries = list(_entries(answers.get(MODELS)))
    program, reason = _program(answers, entries)
    props = _object(answers, "/props")
    settings, modalities = props.get("default_generation_settings"), props.get("modalities")
    slot_context = _tokens(settings.get("n_ctx")) if isinstance(settings, dict) else 0
    models = tuple(_read_model(entry, slot_context if program is _LLAMA_CPP else 0) for entry in entries)
    if not models and program is _OLLAMA:
        models = tuple(ListedModel(name, 0, is_chat_name(name)) for name in _tags(answers))
    return ServerWord(
        program=program.name if program else "",
        row=program.row if program else "",
        is_relay=bool(program and program.is_relay),
        version=_version(answers),
        models=models,
        slots=_tokens(props.get("total_slots")) if program is _LLAMA_CPP else 0,
        reason=reason,
        has_vision=not (isinstance(modalities, dict) and modalities.get("vision") is False),
    )


class _Marks:
    """What gives a program away, taken from its answers."""

    def __init__(self, answers: Mapping[str, Answer], entries: list[dict[str, Any]]) -> None:
        listing = answers.get(MODELS)
        self.headers = listing.headers if listing is not None else {}
        self.server = self.headers.get("server", "").lower()
        self.entries = entries
        owners = {str(entry.get("owned_by", "")).lower() for entry in entries}
        self.owner = next(iter(owners)) if len(owners) == 1 else ""
        self.has_props = isinstance(_object(answers, "/props").get("default_generation_settings"), dict)
        self.has_tags = bool(_object(answers, "/api/version").get("version")) and "models" in _object(
            answers, "/api/tags"
        )

    def all_entries(self, is_so: Callable[[dict[str, Any]], bool]) -> bool:
        return bool(self.entries) and all(map(is_so, self.entries))


#: Program, the mark in words, the mark. The first that is there counts: a program's own marks come before those that
#: others copy.
_MARKS: tuple[tuple[_Program, str, Callable[[_Marks], bool]], ...] = (
    (
        _LITELLM,
        "its answers carry x-litellm headers",
        lambda m: any(name.startswith("x-litellm") for name in m.headers),
    ),
    (_NEW_API, "its answers carry x-new-api-version", lambda m: "x-new-api-version" in m.headers),
    (
        _NEW_API,
        "its model list has supported_endpoint_types",
        lambda m: any("supported_endpoint_types" in entry for entry in m.entries),
    ),
    (_ONE_API, "its answers carry x-oneapi-request-id", lambda m: "x-oneapi-request-id" in m.headers),
    (_LLAMA_CPP, "its Server header", lambda m: m.server.startswith("llama.cpp")),
    (_LLAMA_CPP, "its /props", lambda m: m.has_props),
    *(
        (program, f"its model list says owned_by: {owner}", lambda m, owner=owner: m.owner == owner)
        for owner, program in _OWNERS.items()
    ),
    (_OLLAMA, "it answers /api/version and /api/tags", lambda m: m.has_tags),
    (_VLLM, "its model list has max_model_len", lambda m: m.all_entries(lambda entry: "max_model_len" in entry)),
    (
        _TGI,
        "its model list names each model as its own owner",
        lambda m: m.all_entries(lambda entry: entry.get("owned_by") == entry["id"]),
    ),
    (
        _MLX,
        "its Server header, and a model list without owned_by",
        lambda m: m.server.startswith("basehttp") and m.all_entries(lambda entry: "owned_by" not in entry),
    ),
)

#: Program → its row of the provider table, and whether it is a relay.
PROGRAMS = {program.name: (program.row, program.is_relay) for program, _, _ in _MARKS}


def _program(answers: Mapping[str, Answer], entries: list[dict[str, Any]]) -> tuple[_Program | None, str]:
    """Return the program, and what gave it away."""
    marks = _Marks(answers, entries)
    return next(((program, words) for program, words, is_there in _MARKS if is_there(marks)), (None, ""))


def _entries(listing: Answer | None) -> Iterator[dict[str, Any]]:
    """Yield the entries of a model list that have an id."""
    body = listing.body if listing is not None and listing.status == 200 else None
    data = body.get("data") if isinstance(body, dict) else body
    if not isinstance(data, list):
        return
    for entry in data[:MAX_MODELS]:
        if isinstance(entry, dict) and _is_id(entry.get("id")):
            yield entry


def _read_model(entry: dict[str, Any], slot_context: int) -> ListedModel:
    id = entry["id"]
    meta = entry.get("meta")
    context = slot_context or next(filter(None, (_tokens(entry.get(name)) for name in _CONTEXT_FIELDS)), 0)
    if not context and isinstance(meta, dict):
        context = _tokens(meta.get("n_ctx"))
    kind = str(entry.get("type") or entry.get("model_type") or "").lower()
    return ListedModel(id, context, "embed" not in kind and is_chat_name(id), entry.get("state") != "not-loaded")


#: Names under which servers and relays give the context: vLLM and SGLang; LM Studio; OpenRouter-like relays; Groq-like;
#: LiteLLM-like.
_CONTEXT_FIELDS = (
    "max_model_len",
    "loaded_context_length",
    "max_context_length",
    "context_length",
    "context_window",
    "max_input_tokens",
)


def _tags(answers: Mapping[str, Answer]) -> Iterator[str]:
    models = _object(answers, "/api/tags").get("models")
    for entry in models[:MAX_MODELS] if isinstance(models, list) else ():
        name = entry.get("name") if isinstance(entry, dict) else None
        if _is_id(name):
            yield name


def _version(answers: Mapping[str, Answer]) -> str:
    for path in ("/version", "/api/version"):
        version = _object(answers, path).get("version")
        if isinstance(version, str) and version.isprintable():
            return version[:VERSION_LENGTH]
    return ""


def _object(answers: Mapping[str, Answer], path: str) -> dict[str, Any]:
    answer = answers.get(path)
    return answer.body if answer is not None and answer.status == 200 and isinstance(answer.body, dict) else {}


def _is_id(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= MAX_ID and value.isprintable()


def _tokens(value: object) -> int:
    """Return a number of tokens, 0 for anything else."""
    return value if type(value) is int and 0 < value <= MAX_CONTEXT else 0
