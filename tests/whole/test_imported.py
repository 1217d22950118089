"""Imported files serve as the other proxy did: each request goes to the model that its own file names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from a2py.config import Config, load
from a2py.config.imports.draft import Source
from a2py.config.imports.recognize import translate
from tests.proxied import message, run_proxy
from tests.scripted import ScriptedServer, answering

IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
READ = {"name": "read", "input_schema": {"type": "object"}}


def import_config(text: str, folder: Path) -> Config:
    file = folder / "a2py.yaml"
    file.write_text(translate(text, Source("config")).render(), "utf-8")
    file.chmod(0o600)
    config = load(str(file), {}, str(folder))
    assert config.warnings == () and not any(deployment.problem for deployment in config.deployments)
    return config


async def test_a_router_of_claude_code_router(tmp_path: Path) -> None:
    async with ScriptedServer(*[answering("Hi")] * 8) as upstream:
        router = {
            "APIKEY": "sk-clients",
            "Providers": [
                {
                    "name": "mine",
                    "api_base_url": f"{upstream.base}/chat/completions",
                    "api_key": "sk-up",
                    "models": ["main", "small", "search", "eyes", "long", "thinker"],
                    "transformer": {"use": [["maxtoken", {"max_tokens": 77}]]},
                }
            ],
            "Router": {
                "default": "mine,main",
                "background": "mine,small",
                "webSearch": "mine,search",
                "image": "mine,eyes",
                "longContext": "mine,long",
                "longContextThreshold": 5000,
                "think": "mine,thinker",
            },
        }
        async with run_proxy(import_config(json.dumps(router), tmp_path)) as proxy:

            async def ask(**changes: Any) -> str:
                answer = await proxy.ask(message(**changes), headers={"x-api-key": "sk-clients"})
                assert answer.status == 200
                return str(upstream.requests[-1].json["model"])

            assert (await proxy.ask(message(model="claude-opus-4-5"))).status == 401
            assert await ask(model="claude-opus-4-5") == "main"
            assert await ask(model="claude-haiku-4-5-20251001") == "small"
            assert await ask(model="claude-opus-4-5", tools=[SEARCH, READ]) == "search"
            assert await ask(model="claude-opus-4-5", messages=[{"role": "user", "content": [IMAGE]}]) == "eyes"
            assert await ask(model="claude-opus-4-5", messages=[{"role": "user", "content": "word " * 9000}]) == "long"
            assert await ask(model="mine,thinker", messages=[{"role": "user", "content": [IMAGE]}]) == "thinker"
            assert await ask(model="gpt-4o", max_tokens=500) == "main"
        assert upstream.requests[-1].json["max_tokens"] == 77
        assert upstream.requests[-1].headers["authorization"] == "Bearer sk-up"


@pytest.mark.parametrize("program", ["claude-code-proxy", "free-claude-code"])
async def test_a_dotenv(program: str, tmp_path: Path) -> None:
    async with ScriptedServer(*[answering("Hi")] * 4) as upstream:
        if program == "claude-code-proxy":
            text = f"OPENAI_API_KEY=k\nOPENAI_BASE_URL={upstream.base}\nBIG_MODEL=a\nMIDDLE_MODEL=b\nSMALL_MODEL=c\n"
        else:
            text = f"LM_STUDIO_BASE_URL={upstream.base}\nMODEL=lmstudio/a\nMODEL_SONNET=lmstudio/b\nMODEL_HAIKU=lmstudio/c\n"
        async with run_proxy(import_config(text, tmp_path)) as proxy:
            for model in (
                "claude-opus-4-1",
                "claude-sonnet-4-5-20250929",
                "claude-3-5-haiku-20241022",
                "claude-fable-5",
            ):
                assert (await proxy.ask(message(model=model))).status == 200
        assert [request.json["model"] for request in upstream.requests] == ["a", "b", "c", "a"]
