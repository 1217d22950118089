"""claude-code-router's config.json: its models, routes and settings, and what is reported instead of carried."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from a2py.config import Config, load
from a2py.config.imports.draft import Draft, Source
from a2py.config.imports.recognize import translate

OPENROUTER = "https://openrouter.ai/api/v1/chat/completions"


def provider(name: str, url: str = OPENROUTER, models: str = "m", key: Any = "sk-1", **more: Any) -> dict[str, Any]:
    return {"name": name, "api_base_url": url, "api_key": key, "models": models.split(), **more}


def read(tree: Any, env: dict[str, str] | None = None) -> Draft:
    text = tree if isinstance(tree, str) else json.dumps(tree)
    return translate(text, Source("config.json", env=env or {}))


def load_draft(draft: Draft, folder: Path, env: dict[str, str] | None = None) -> Config:
    file = folder / "a2py.yaml"
    file.write_text(draft.render(), "utf-8")
    file.chmod(0o600)
    return load(str(file), env or {}, str(folder))


def one(url: str, **more: Any) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Parameters, model_info and notes of a provider with one model."""
    draft = read({"Providers": [provider("p", url, **more)], "Router": {"default": "p,m"}})
    entry = draft.models[0]
    return entry["litellm_params"], entry.get("model_info", {}), draft.notes


@pytest.mark.parametrize(
    ("url", "model", "base"),
    [
        (OPENROUTER, "openrouter/m", None),
        ("https://openrouter.ai/api/v1", "openrouter/m", None),
        ("https://api.deepseek.com/chat/completions", "deepseek/m", None),
        ("https://api.deepseek.com/v1/chat/completions", "deepseek/m", "https://api.deepseek.com/v1"),
        ("https://generativelanguage.googleapis.com/v1beta/models/", "gemini/m", None),
        ("https://generativelanguage.googleapis.com/v1beta/chat/completions", "gemini/m", None),
        ("https://api.z.ai/api/coding/paas/v4/chat/completions", "zai/m", "https://api.z.ai/api/coding/paas/v4"),
        ("http://localhost:11434/v1/chat/completions", "ollama/m", None),
        ("http://10.0.0.3:11434/v1/chat/completions", "ollama/m", "http://10.0.0.3:11434/v1"),
        ("http://localhost:1234/v1/chat/completions", "lm_studio/m", "http://localhost:1234/v1"),
        ("http://localhost:8000/v1/chat/completions", "openai/m", "http://localhost:8000/v1"),
        ("https://api.example/v1/responses", "openai/responses/m", "https://api.example/v1"),
        ("https://api.openai.com/v1/responses", "openai/responses/m", None),
        ("$QWEN_URL", "openai/m", "os.environ/QWEN_URL"),
    ],
)
def test_an_address_becomes_a_provider_and_a_base(url: str, model: str, base: str | None) -> None:
    params, info, notes = one(url)
    assert (params["model"], params.get("api_base"), info, notes) == (model, base, {}, [])


@pytest.mark.parametrize(
    ("url", "more", "model", "base"),
    [
        ("https://api.anthropic.com/v1/messages", {}, "anthropic/m", "https://api.anthropic.com"),
        ("https://relay.example/v1/messages", {}, "anthropic/m", "https://relay.example"),
        ("https://relay.example/anthropic", {"use": ["Anthropic"]}, "anthropic/m", "https://relay.example/anthropic"),
        ("https://api.deepseek.com/anthropic/v1/messages", {}, "deepseek/m", "https://api.deepseek.com/anthropic"),
    ],
)
def test_an_anthropic_endpoint_is_asked_so(
    url: str, more: dict[str, Any], model: str, base: str, tmp_path: Path
) -> None:
    params, info, notes = one(url, transformer=more)
    assert (params["model"], params["api_base"], notes) == (model, base, [])
    assert info == {"supported_endpoints": ["/v1/messages"]}
    draft = read({"Providers": [provider("p", url, transformer=more)], "Router": {"default": "p,m"}})
    (deployment,) = load_draft(draft, tmp_path).deployments
    assert (deployment.wire, deployment.base, deployment.problem) == ("native", base, "")


def test_keys_stay_as_they_were() -> None:
    def key(value: Any, url: str = OPENROUTER) -> list[Any]:
        draft = read({"Providers": [provider("p", url, key=value)], "Router": {"default": "p,m"}}, {"HALF": "b"})
        return [entry["litellm_params"].get("api_key") for entry in draft.models]

    assert key("sk-1") == ["sk-1"]
    assert key("$A_KEY") == key("${A_KEY}") == ["os.environ/A_KEY"]
    assert key("a-${HALF}") == ["a-b"]
    assert key("sk-$IT-x") == ["sk-$IT-x"]  # part of the key: claude-code-router leaves it, too
    assert key("") == [None]  # the provider's own variable
    assert key("", "https://gateway.example/v1") == ["none"]  # never OPENAI_API_KEY
    assert key(["sk-1", "sk-2", "sk-1"]) == ["sk-1", "sk-2"]  # requests are shared


def test_routes_keep_their_order_and_names() -> None:
    router = {
        "default": "a,m",
        "background": "A,small",
        "think": "b,deep",
        "longContext": "b,long",
        "longContextThreshold": "90000",
        "webSearch": "b,search",
        "image": "b,eyes",
    }
    draft = read({"Providers": [provider("a", models="m small"), provider("b", models="deep")], "Router": router})
    assert draft.default == "a,m" and draft.tree()["a2py"]["default_model"] == "a,m"
    assert draft.routes == [
        {"name": "image", "when": "image", "model": "b,eyes"},
        {"name": "longContext", "when": {"tokens_over": 90000}, "model": "b,long"},
        {"name": "background", "when": "background", "model": "a,small"},
        {"name": "webSearch", "when": "web_search", "model": "b,search"},
        {"name": "think", "when": "think", "model": "b,deep"},
    ]
    names = [entry["model_name"] for entry in draft.models]
    assert names == ["a,m", "a,small", "b,deep", "b,eyes", "b,long", "b,search"]  # also those that no provider lists
    assert draft.tree()["router_settings"]["model_group_alias"] == {"*": {"model": "a,m", "hidden": True}}
    assert len(draft.notes) == 1 and draft.notes[0].startswith("Router.think: ")


def test_a_route_to_the_default_model_is_kept_only_before_another_one() -> None:
    providers = [provider("a", models="m n")]
    router = {"default": "a,m", "longContext": "a,m", "background": "a,n", "webSearch": "a,m", "think": ""}
    draft = read({"Providers": providers, "Router": router})
    assert [(route["name"], route["model"]) for route in draft.routes] == [
        ("longContext", "a,m"),
        ("background", "a,n"),
    ]
    assert draft.routes[0]["when"] == {"tokens_over": 60000}


@pytest.mark.parametrize(
    ("router", "default", "note"),
    [
        ({"default": ["a,m"]}, "a,m", ""),
        ({"default": "m"}, "a,m", ""),
        ({"default": "b,m"}, "a,m", "Router.default is not carried: Providers has no b that can be asked."),
        ({}, "a,m", "Router.default names no model that can be asked, so a,m is the default model now."),
        ({"default": "a,m", "think": "a"}, "a,m", "Router.think is not carried: a is not of the form provider,model."),
        ({"default": "a,m", "review": "a,m"}, "a,m", "Router.review is not carried: "),
    ],
)
def test_a_router_with_mistakes(router: dict[str, Any], default: str, note: str) -> None:
    draft = read({"Providers": [provider("a")], "Router": router})
    assert draft.default == default and (not note or any(text.startswith(note) for text in draft.notes))
    assert note or not draft.notes


def test_transformers() -> None:
    def use(*uses: Any, **own: Any) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
        return one("https://api.example/v1", transformer={"use": list(uses), **own})

    assert use("deepseek", "enhancetool", "reasoning", "cleancache") == one("https://api.example/v1")
    assert use(["maxtoken", {"max_tokens": 16384}])[1] == {"max_output_tokens": 16384}
    assert use("maxtoken", {"max_tokens": "9"})[1] == {"max_output_tokens": 9}
    assert use(m={"use": [["maxtoken", {"max_tokens": 7}]]})[1] == {"max_output_tokens": 7}
    assert use("maxcompletiontokens")[1] == {"quirks": {"max_tokens_field": "max_completion_tokens"}}
    assert use("extrathinktag")[1] == {"quirks": {"think_tags": True}}
    sampling = use(["sampling", {"temperature": 0.5, "top_k": 3, "top_p": "x", "repetition_penalty": 1.1}])[0]
    assert (sampling["temperature"], sampling["top_k"]) == (0.5, 3) and "top_p" not in sampling
    assert sampling["extra_body"] == {"repetition_penalty": 1.1}
    assert use(["customparams", {"a": {"b": 1}}])[0]["extra_body"] == {"a": {"b": 1}}
    params = use(["openrouter", {"provider": {"only": ["x"]}, "referer": "https://me", "title": ""}])[0]
    assert params["extra_body"] == {"provider": {"only": ["x"]}} and params["extra_headers"] == {
        "HTTP-Referer": "https://me"
    }
    assert "tooluse is not carried: a2py does not force" in use("tooluse")[2][0]
    assert "copilot is not carried: it is a plugin" in use("copilot")[2][0]
    assert (
        "not by the transformer Anthropic"
        in one("https://api.example/v1/chat/completions", transformer={"use": ["Anthropic"]})[2][0]
    )
    gemini = one("https://relay.example/v1beta/models/", transformer={"use": ["gemini"]})[0]
    assert gemini["api_base"] == "https://relay.example/v1beta/openai"


def test_settings() -> None:
    tree = {
        "APIKEY": "$CCR_KEY",
        "PROXY_URL": "127.0.0.1:7890",
        "API_TIMEOUT_MS": "600000",
        "HOST": "0.0.0.0",
        "PORT": 3456,
        "LOG": True,
        "LOG_LEVEL": "debug",
        "OPENAI_API_KEY": "sk-unused",
        "CUSTOM_ROUTER_PATH": "/home/me/router.js",
        "StatusLine": {"enabled": False},
        "transformers": [{"path": "/home/me/x.js"}],
        "Settings": {"maxTokens": 1},
        "providers": [provider("a", models="m n")],
        "Router": {"default": "a,m", "think": "a,n"},
        "fallback": {"default": ["a,n"], "think": ["a,m"], "image": ["a,m"]},
    }
    draft = read(tree)
    assert draft.settings == {
        "general_settings.master_key": "os.environ/CCR_KEY",
        "a2py.upstream_proxy": "http://127.0.0.1:7890",
        "litellm_settings.request_timeout": 600,
    }
    assert (draft.host, draft.port) == ("0.0.0.0", "3456")
    assert draft.fallbacks == {"a,m": ["a,n"], "a,n": ["a,m"]}
    assert [note.split(" ", 1)[0] for note in draft.notes] == [
        "Router.think:",
        "transformers[0]",
        "CUSTOM_ROUTER_PATH",
        "Settings",
    ]
    assert read({**tree, "PROXY_URL": "socks5://h:1"}).notes[1].startswith("PROXY_URL is not carried: only http")


def test_providers_with_mistakes() -> None:
    tree = {
        "Providers": [
            "x",
            provider("a", ""),
            provider("b", "ftp://h"),
            provider("c", "http://h:x/v1"),
            provider("d", stream=False),
            provider("e", models=""),
        ]
    }
    draft = read(tree)
    assert [entry["model_name"] for entry in draft.models] == ["d,m"]
    assert draft.notes[:4] == [
        "Providers[0] is not carried: it must be an object.",
        "Providers[1] (a) is not carried: its api_base_url is no URL that begins with http:// or https://.",
        "Providers[2] (b) is not carried: its api_base_url is no URL that begins with http:// or https://.",
        "Providers[3] (c) is not carried: its api_base_url is no URL that begins with http:// or https://.",
    ]
    assert "(d): stream is not carried" in draft.notes[4]
    assert draft.notes[5].startswith("Providers[5] (e): models has no names")
    # `/model a,m` must not be answered by the default model in silence
    assert "*" not in draft.tree().get("router_settings", {}).get("model_group_alias", {}) and draft.default == "d,m"
    assert "no provider that can be asked" in read({"Providers": [], "Router": {}}).notes[0]


def test_the_file_serves_alone(tmp_path: Path) -> None:
    tree = {
        "PROXY_URL": "http://proxy.example:3128",
        "APIKEY": "clients-key",
        "Providers": [
            provider("or", models="z-ai/glm-4.7 q/r"),
            provider("mine", "http://127.0.0.1:9/v1/chat/completions", "x", ""),
        ],
        "Router": {"default": "or,z-ai/glm-4.7", "background": "mine,x"},
    }
    draft = read(tree)
    config = load_draft(draft, tmp_path)
    assert not any(deployment.problem for deployment in config.deployments)
    assert config.master_key == "clients-key" and config.settings.upstream_proxy == "http://proxy.example:3128"
    assert config.resolve("claude-opus-5-5")[0].model == config.resolve("anything")[0].model == "z-ai/glm-4.7"
    assert config.resolve("mine,x")[0].base == "http://127.0.0.1:9/v1"
    assert config.list_names() == ("or,z-ai/glm-4.7", "or,q/r", "mine,x")
    assert yaml.safe_load(draft.render()) == draft.tree()


def test_a_comment_of_the_file_is_one_line() -> None:
    draft = read({"Providers": [provider("a\n- b", "")]})
    assert all(line.startswith("#") for line in draft.render().split("\n\n")[0].splitlines())
