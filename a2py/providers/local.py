"""Rows of servers that people run themselves.

Knows: default bases and ports, quirks. Must not know: model families (models.py), the environment, sockets.
Invariants: the key is optional; a port tells a server only where nothing else uses it by default.
"""

from __future__ import annotations

from a2py.providers.families import WITH_TOP_K
from a2py.providers.types import Provider, row
from a2py.providers.vendors import TEXT_FIELDS

_OLLAMA = {
    "broken_arguments": "object",
    "image_urls": False,
    "tool_choice_named": "only",
    "tool_choice_none": False,
    "reasoning_history": "reasoning",
    "context_probe": "ollama",
    "native_drop": TEXT_FIELDS,
}
_LLAMA_CPP = {
    "broken_arguments": "object",
    "sampling": WITH_TOP_K,
    "tool_choice_named": "only",
    "reasoning_history": "reasoning_content",
    "tokenizer": "llamacpp",
    "native_count": True,
    "native_drop": TEXT_FIELDS,
}

LOCAL: tuple[Provider, ...] = (
    row(
        "ollama",
        "http://localhost:11434/v1",
        key_optional=True,
        hosts=(":11434", "ollama.com"),
        quirks=_OLLAMA,
        docs="docs.ollama.com openai-compatibility (2026-10): tool_choice and image URLs unticked, reasoning_effort; "
        "ollama/stream-tool-01",
    ),
    row(
        "ollama_chat",
        "http://localhost:11434/v1",
        keys=("OLLAMA_API_KEY",),
        bases=("OLLAMA_API_BASE",),
        key_optional=True,
        hosts=(),
        quirks=_OLLAMA,
        docs="docs.litellm.ai providers/ollama: its second name for Ollama (2026-10)",
    ),
    row(
        "hosted_vllm",
        key_optional=True,
        quirks={
            "sampling": WITH_TOP_K,
            "reasoning_history": "reasoning",
            "broken_arguments": "object",
            "tokenizer": "vllm",
            "native_count": True,
            "native_drop": TEXT_FIELDS,
        },
        docs="docs.vllm.ai reasoning_outputs (0.26, 2026): the field is `reasoning`, it was `reasoning_content`; "
        "/tokenize; vllm 43995, 47761 "
        "(2026-07): 400 for arguments of the history that are no JSON; its /v1/messages wants an input_schema of "
        "every tool (0.26), and its templates no "
        "tool_reference: claude-code 77928 (2026-08)",
    ),
    row(
        "sglang",
        "http://localhost:30000/v1",
        key_optional=True,
        hosts=(":30000",),
        quirks={
            "sampling": WITH_TOP_K,
            "reasoning_history": "reasoning_content",
            "broken_arguments": "object",
            "native_drop": TEXT_FIELDS,
        },
        docs="docs.sglang.ai separate_reasoning (2026); port 30000 is its default; sglang 28035 (2026-06): history "
        "arguments are parsed",
    ),
    row(
        "llamacpp",
        "http://127.0.0.1:8080/v1",
        key_optional=True,
        hosts=(),
        quirks=_LLAMA_CPP,
        docs="llama.cpp server README (2026): tool_choice takes words, /tokenize, reasoning_content in history; 8080 "
        "is anybody's port; "
        "500 Failed to parse tool call arguments as JSON: llama.cpp 25510 (2026-07), and the real server in "
        "tests/whole/test_llamacpp.py",
    ),
    row(
        "llamafile",
        "http://127.0.0.1:8080/v1",
        key_optional=True,
        hosts=(),
        quirks=_LLAMA_CPP,
        docs="llamafile carries the llama.cpp server (2026)",
    ),
    row(
        "docker_model_runner",
        "http://localhost:22088/engines/llama.cpp/v1",
        key_optional=True,
        hosts=(":22088", ":12434"),
        quirks={name: value for name, value in _LLAMA_CPP.items() if name not in ("tokenizer", "native_count")},
        docs="docs.docker.com model-runner (2026): llama.cpp behind /engines, without its /tokenize; TCP port 12434",
    ),
    row(
        "lm_studio",
        key_optional=True,
        hosts=(":1234",),
        quirks={
            "sampling": WITH_TOP_K,
            "tool_choice_named": "only",
            "broken_arguments": "object",
            "native_drop": TEXT_FIELDS,
        },
        docs="400 Invalid tool_choice type 'object': lmstudio-bug-tracker 670, 2025-05 to 2026-07; port 1234 is its "
        "default",
    ),
    row(
        "litellm_proxy",
        key_optional=True,
        quirks={"cache": "blocks", "documents": "file"},
        docs="docs.litellm.ai (2026-10): cache_control and file parts are translated for the provider behind",
    ),
)
