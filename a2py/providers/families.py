"""Names that the two tables of model families share.

Knows: groups of servers, how a row is written. Must not know: any row.
"""

from __future__ import annotations

from typing import Any

from a2py.providers.types import ModelRow

#: Servers that run weights themselves, and those that pass `chat_template_kwargs` to a model's own chat template
#: (docs.vllm.ai, docs.sglang.ai, llama.cpp's server README, build.nvidia.com; table of 2026-11).
SELF_HOSTED = ("hosted_vllm", "sglang", "llamacpp", "llamafile", "docker_model_runner", "lm_studio")
TEMPLATE_SERVERS = ("hosted_vllm", "sglang", "llamacpp", "llamafile", "docker_model_runner", "nvidia_nim")
OLLAMA = ("ollama", "ollama_chat")
OPENAI = ("openai", "azure", "github")
ZHIPU = ("zai", "bigmodel")
#: Smallest output limits of models that always reason, so that their reasoning leaves room for an answer (Claude Code's
#: check allows 64 tokens). Output under `low` effort was 1,000 to 3,000 tokens with gpt-oss and o-series, 3,000 to
#: 7,400 with Kimi K3 (2026-10).
ROOM, LARGE_ROOM = 4_096, 8_192
NO_SAMPLING: frozenset[str] = frozenset()
#: Sampling fields of servers that also take `top_k`.
WITH_TOP_K = frozenset({"temperature", "top_p", "top_k"})


def family(*models: str, on: tuple[str, ...] = (), docs: str, **quirks: Any) -> ModelRow:
    """Return the row of the models with these patterns on the servers `on`; without `on`, on every server."""
    return ModelRow(models, quirks, frozenset(on), docs)
