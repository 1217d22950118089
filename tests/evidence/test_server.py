"""What servers say of themselves: their answers as recorded or as their sources write them, and answers that no honest server gives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.evidence.server import MAX_ID, MAX_MODELS, MODELS, ROOT_PATHS, Answer, ListedModel, is_chat_name, read


def answers_of(
    models: Any = None, headers: dict[str, str] | None = None, status: int = 200, **paths: Any
) -> dict[str, Answer]:
    """Answers of a server: its model list, and further paths (`api_version` is /api/version)."""
    answers = {} if models is None else {MODELS: Answer(status, headers or {}, models)}
    for name, body in paths.items():
        answers["/" + name.replace("_", "/")] = Answer(200, {}, body)
    return answers


def listing(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"object": "list", "data": list(entries)}


PROGRAMS = [
    # vLLM 0.9 to 0.26: docs.vllm.ai, ModelCard of its OpenAI protocol
    (
        answers_of(
            listing({"id": "Qwen/Qwen3-32B", "owned_by": "vllm", "max_model_len": 40960}), version={"version": "0.11.0"}
        ),
        "vLLM",
        "hosted_vllm",
    ),
    # a fork that renames the owner keeps max_model_len
    (answers_of(listing({"id": "m", "owned_by": "me", "max_model_len": 8192})), "vLLM", "hosted_vllm"),
    (answers_of(listing({"id": "m", "owned_by": "sglang", "root": "m", "max_model_len": 32768})), "SGLang", "sglang"),
    # the real llama.cpp server (xllamacpp 2026.10)
    (
        answers_of(
            {
                "models": [{"name": "tiny"}],
                **listing({"id": "tiny", "owned_by": "llamacpp", "meta": {"n_ctx": 4096, "n_ctx_train": 131072}}),
            },
            {"server": "llama.cpp"},
            props={"default_generation_settings": {"n_ctx": 4096}, "total_slots": 2, "modalities": {"vision": False}},
        ),
        "llama.cpp",
        "llamacpp",
    ),
    # llama.cpp behind nginx: the Server header is nginx's
    (answers_of(listing({"id": "x", "owned_by": "llamacpp"}), {"server": "nginx"}), "llama.cpp", "llamacpp"),
    # a proxy that hides the list: /props alone
    (answers_of(props={"default_generation_settings": {"n_ctx": 512}, "total_slots": 1}), "llama.cpp", "llamacpp"),
    (
        answers_of(listing({"id": "qwen3-8b", "object": "model", "owned_by": "organization_owner"})),
        "LM Studio",
        "lm_studio",
    ),
    (
        answers_of(
            listing({"id": "qwen3:8b", "owned_by": "library"}),
            api_version={"version": "0.11.4"},
            api_tags={"models": [{"name": "qwen3:8b"}]},
        ),
        "Ollama",
        "ollama",
    ),
    (answers_of(api_version={"version": "0.11.4"}, api_tags={"models": [{"name": "qwen3:8b"}]}), "Ollama", "ollama"),
    # TGI 3: its router's /v1/models
    (
        answers_of(listing({"id": "meta/llama", "object": "model", "created": 0, "owned_by": "meta/llama"})),
        "TGI",
        "local_server",
    ),
    # mlx_lm.server: http.server's header, no owner
    (
        answers_of(listing({"id": "mlx-community/x", "object": "model"}), {"server": "BaseHTTP/0.6 Python/3.12"}),
        "MLX",
        "local_server",
    ),
    (answers_of(listing({"id": "koboldcpp/x", "owned_by": "koboldcpp"})), "KoboldCpp", "local_server"),
    (
        answers_of(listing({"id": "gpt-5", "owned_by": "openai"}), {"x-litellm-version": "1.80"}),
        "LiteLLM",
        "litellm_proxy",
    ),
    (answers_of(listing({"id": "gpt-5", "owned_by": "openai", "supported_endpoint_types": ["openai"]})), "new-api", ""),
    (answers_of(listing({"id": "gpt-5", "owned_by": "openai"}), {"x-oneapi-request-id": "1"}), "one-api", ""),
    # nothing that any of them says
    (answers_of(listing({"id": "gpt-5", "owned_by": "openai"}, {"id": "m", "owned_by": "me"})), "", ""),
    (answers_of({"error": "no key"}, status=401), "", ""),
    (answers_of("<html>"), "", ""),
    ({}, "", ""),
]


@pytest.mark.parametrize(
    ("answers", "program", "row"),
    PROGRAMS,
    ids=[f"{at}-{program or 'unknown'}" for at, (_, program, _) in enumerate(PROGRAMS)],
)
def test_a_server_is_known_by_what_it_says(answers: dict[str, Answer], program: str, row: str) -> None:
    word = read(answers)
    assert (word.program, word.row) == (program, row)
    assert bool(word.reason) is bool(program)
    assert word.is_relay is (program in ("LiteLLM", "new-api", "one-api"))


def test_context_slots_and_version() -> None:
    word = read(
        answers_of(
            listing({"id": "a", "owned_by": "llamacpp", "meta": {"n_ctx": 99}}),
            props={"default_generation_settings": {"n_ctx": 4096}, "total_slots": 2},
            version={"version": "b7000"},
        )
    )
    assert (word.context("a"), word.slots, word.version, word.has_vision) == (4096, 2, "b7000", True)
    assert word.context("any-other-name") == 4096, "llama.cpp serves its one model under every name"


@pytest.mark.parametrize(
    ("entry", "context"),
    [
        ({"max_model_len": 32768}, 32768),
        ({"loaded_context_length": 8192, "max_context_length": 131072}, 8192),
        ({"context_length": 200000}, 200000),
        ({"context_window": 131072}, 131072),
        ({"meta": {"n_ctx": 2048}}, 2048),
        ({"max_model_len": "32768"}, 0),
        ({"max_model_len": -1}, 0),
        ({"max_model_len": True}, 0),
        ({"max_model_len": 10**12}, 0),
        ({"meta": []}, 0),
        ({}, 0),
    ],
)
def test_the_context_of_a_listed_model(entry: dict[str, Any], context: int) -> None:
    word = read(answers_of(listing({"id": "m", **entry})))
    assert word.context("m") == context
    assert word.context("other") == 0


def test_chat_models_come_without_embeddings_and_the_loaded_ones_first() -> None:
    word = read(
        answers_of(
            listing(
                {"id": "text-embedding-nomic", "type": "embeddings"},
                {"id": "old", "state": "not-loaded"},
                {"id": "vectors", "type": "embeddings"},
                {"id": "new", "state": "loaded"},
            )
        )
    )
    assert word.chat_models == ("new", "old")
    assert [model.id for model in word.models] == ["text-embedding-nomic", "old", "vectors", "new"]


@pytest.mark.parametrize(
    "name",
    [
        "text-embedding-3-small",
        "bge-m3",
        "BAAI/bge-large",
        "whisper-1",
        "tts-1",
        "dall-e-3",
        "jina-reranker",
        "nomic-embed-text",
    ],
)
def test_names_of_models_that_do_not_chat(name: str) -> None:
    assert not is_chat_name(name)


@pytest.mark.parametrize(
    "name", ["gpt-5", "qwen3:8b", "claude-sonnet-5.5", "gemma-3-27b", "olmo-2", "e5x", "mistral-embassy-x"]
)
def test_names_of_models_that_chat(name: str) -> None:
    assert is_chat_name(name)


def test_ollama_names_its_models_by_tags_where_the_list_is_missing() -> None:
    tags = {"models": [{"name": "a:latest"}, {"name": ""}, {"name": 3}, "x", {"name": "b\n"}]}
    assert read(answers_of(api_version={"version": "1"}, api_tags=tags)).models == (ListedModel("a:latest"),)
    assert read(answers_of(api_version={"version": "1"}, api_tags={"models": None})).models == ()


@pytest.mark.parametrize("entry", [None, 3, {}, {"id": 3}, {"id": ""}, {"id": "a\nb"}, {"id": "x" * (MAX_ID + 1)}])
def test_entries_without_a_usable_id_are_left_out(entry: Any) -> None:
    assert [model.id for model in read(answers_of(listing(entry, {"id": "m"}))).models] == ["m"]


def test_a_list_is_bounded_and_may_be_bare() -> None:
    assert len(read(answers_of(listing(*[{"id": f"m{i}"} for i in range(MAX_MODELS + 5)]))).models) == MAX_MODELS
    assert read(answers_of([{"id": "m"}])).models == (ListedModel("m"),)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["vllm", "llamacpp", "library"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "data",
                    "models",
                    "owned_by",
                    "meta",
                    "max_model_len",
                    "version",
                    "name",
                    "default_generation_settings",
                    "n_ctx",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(
    st.dictionaries(
        st.sampled_from([MODELS, *ROOT_PATHS]), st.tuples(st.sampled_from([200, 401, 500]), json_values), max_size=5
    )
)
def test_any_json_is_read(answers: dict[str, tuple[int, Any]]) -> None:
    word = read({path: Answer(status, {}, body) for path, (status, body) in answers.items()})
    assert all(model.id and len(model.id) <= MAX_ID for model in word.models)
    assert word.context("m") >= 0


@pytest.mark.parametrize(
    ("modalities", "has_vision"), [({"vision": False}, False), ({"vision": True}, True), (None, True), ([], True)]
)
def test_llama_cpp_says_whether_its_model_sees(modalities: Any, has_vision: bool) -> None:
    assert (
        read(answers_of(props={"default_generation_settings": {}, "modalities": modalities})).has_vision is has_vision
    )
