"""The search backend of a file: LiteLLM's keys and ours, mistakes with their place, and which secrets may leave."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from a2py.config import ConfigError
from a2py.config import load as load_file
from a2py.config.search import SearchTool
from tests.configured import Folder

ENV = {"OPENAI_API_KEY": "ok", "TAVILY_API_KEY": "tvly-1", "GW_TOKEN": "gw-1"}
MODEL = "model_list: [{model_name: m, litellm_params: {model: openai/m}}]\n"
TOOLS = """
search_tools:
  - search_tool_name: mine
    litellm_params: {search_provider: searxng, api_base: "http://127.0.0.1:8080/"}
  - search_tool_name: paid
    litellm_params: {search_provider: tavily, api_key: os.environ/TAVILY_API_KEY, timeout: 5}
"""
CALLBACK = "litellm_settings: {callbacks: [websearch_interception]"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def load(folder: Folder, text: str, **env: str) -> SearchTool | None:
    return folder.load(MODEL + text, {**ENV, **env}).search


MINE = SearchTool("mine", "searxng", "http://127.0.0.1:8080")
PAID = SearchTool("paid", "tavily", "https://api.tavily.com", "tvly-1", timeout=5.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        (TOOLS, None),
        (TOOLS + CALLBACK + "}", MINE),
        (TOOLS + CALLBACK + ", websearch_interception_params: {search_tool_name: paid}}", PAID),
        (TOOLS + "litellm_settings: {callbacks: websearch_interception}", MINE),
        (TOOLS + "litellm_settings: {callbacks: [{websearch_interception: {search_tool_name: paid}}]}", PAID),
        (TOOLS + "litellm_settings: {callbacks: [{websearch_interception: }]}", MINE),
        (TOOLS + "a2py: {search: paid}", PAID),
        (TOOLS + "a2py: {search: false}\n" + CALLBACK + "}", None),
        (TOOLS + "litellm_settings: {websearch_interception_params: {search_tool_name: paid}}", None),
        ("router_settings:" + TOOLS.replace("\n", "\n  ") + "\n" + CALLBACK + "}", MINE),
    ],
)
def test_who_searches(folder: Folder, text: str, expected: SearchTool | None) -> None:
    assert load(folder, text) == expected


@pytest.mark.parametrize("key", ["api_key", "api_base"])
def test_a_value_is_text(folder: Folder, key: str) -> None:
    text = TOOLS.replace("timeout: 5", f"{key}: false").replace("api_key: os.environ/TAVILY_API_KEY, ", "")
    mistake = folder.mistake(MODEL + text + "a2py: {search: paid}")
    assert (
        mistake.path == f"search_tools.paid.{key}" and mistake.line == 7 and "must be text, got false" in str(mistake)
    )


def test_enabled_providers(folder: Folder) -> None:
    parameters = "websearch_interception_params: {enabled_providers: [openai, groq]}}"
    tool = load(folder, f"{TOOLS}{CALLBACK}, {parameters}")
    assert tool is not None and tool.providers == frozenset({"openai", "groq"})
    assert tool.serves("groq") and not tool.serves("deepseek") and MINE.serves("deepseek")


@pytest.mark.parametrize(
    ("value", "seconds"), [("2.5", 2.5), ("'20'", 20.0), ("os.environ/SECONDS", 7.0), ("", 15.0), ("600", 600.0)]
)
def test_timeouts(folder: Folder, value: str, seconds: float) -> None:
    tool = load(folder, TOOLS.replace("timeout: 5", f"timeout: {value}") + "a2py: {search: paid}", SECONDS="7")
    assert tool is not None and tool.timeout == seconds


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
@pytest.mark.parametrize(
    ("text", "is_told"),
    [
        (TOOLS.replace("os.environ/TAVILY_API_KEY", "tvly-literal"), True),
        ("router_settings:" + TOOLS.replace("os.environ/TAVILY_API_KEY", "tvly-literal").replace("\n", "\n  "), True),
        (TOOLS, False),
        (TOOLS.replace("os.environ/TAVILY_API_KEY", "none"), False),
        ("search_tools: [x, {search_tool_name: y}, {search_tool_name: z, litellm_params: 5}]", False),
    ],
)
def test_a_literal_key_in_a_file_that_others_can_read(folder: Folder, text: str, is_told: bool) -> None:
    file = folder.write("open.yaml", MODEL + text, 0o644)
    warning = "open.yaml contains keys, and other users of this machine can read it. Run: chmod 600 open.yaml"
    assert (warning in load_file(str(file), ENV, str(folder.path)).warnings) is is_told


def test_a_service_by_its_variables(folder: Folder) -> None:
    assert load(folder, "a2py: {search: tavily}") == SearchTool("tavily", "tavily", "https://api.tavily.com", "tvly-1")
    own = {"SEARXNG_API_BASE": "http://127.0.0.1:8888"}
    assert load(folder, "a2py: {search: searxng}", **own) == SearchTool("searxng", "searxng", own["SEARXNG_API_BASE"])
    google = {"GOOGLE_PSE_API_KEY": "k", "GOOGLE_PSE_ENGINE_ID": "cx"}
    tool = load(folder, "a2py: {search: google_pse}", **google)
    assert tool is not None and tool.engine == "cx"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a2py: {search: nobody}", ["litellm_config.yaml:2", "a2py.search", "brave", "search_tools"]),
        (TOOLS + "a2py: {search: paidd}", ["mine, paid"]),
        ("a2py: {search: [x]}", ["the name of a search tool"]),
        (CALLBACK + "}", ["the name of a search tool"]),
        ("a2py: {search: brave}", ["BRAVE_API_KEY"]),
        ("a2py: {search: searxng}", ["SEARXNG_API_BASE"]),
        ("search_tools: [{search_tool_name: x}]\na2py: {search: x}", ["a search service that a2py knows"]),
        (
            "search_tools: [{search_tool_name: x, litellm_params: {search_provider: linkup}}]\na2py: {search: x}",
            ["litellm_config.yaml:2", "search_provider", "linkup", "searxng"],
        ),
        ("search_tools: {}\na2py: {search: x}", ["must be a list"]),
        ("search_tools: [{}]\na2py: {search: x}", ["search_tool_name"]),
        (
            "search_tools: [{search_tool_name: x, litellm_params: {search_provider: google_pse, api_key: k}}]\n"
            "a2py: {search: x}",
            ["search_engine_id", "GOOGLE_PSE_ENGINE_ID"],
        ),
        (
            "search_tools: [{search_tool_name: x, litellm_params: {search_provider: exa_ai}}]\na2py: {search: x}",
            ["EXA_API_KEY"],
        ),
        (
            TOOLS + CALLBACK + ", websearch_interception_params: {enabled_providers: openai}}",
            ["`litellm_settings.websearch_interception_params.enabled_providers`", "a list of providers"],
        ),
        (
            TOOLS + "litellm_settings: {callbacks: [{websearch_interception: {enabled_providers: openai}}]}",
            ["`litellm_settings.callbacks.websearch_interception.enabled_providers`"],
        ),
        (
            TOOLS + "litellm_settings: {callbacks: [{websearch_interception: {search_tool_name: nobody}}]}",
            ["`litellm_settings.callbacks.websearch_interception.search_tool_name`", "mine, paid"],
        ),
        (CALLBACK + "}", ["`litellm_settings.callbacks`"]),
        *(
            (
                f"{TOOLS.replace('timeout: 5', f'timeout: {value}')}a2py: {{search: paid}}",
                [
                    "litellm_config.yaml:7: `search_tools.paid.timeout` must be a number from 0.1 to 600, ",
                    f"got {label}. Write `timeout: 1`.",
                ],
            )
            for value, label in (
                ("soon", "'soon'"),
                ("0", "0"),
                ("-1", "-1"),
                ("601", "601"),
                ("true", "true"),
                ("[5]", "a list"),
            )
        ),
    ],
)
def test_mistakes_name_their_place_and_their_cure(folder: Folder, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as excinfo:
        load(folder, text)
    for word in words:
        assert word in str(excinfo.value)


def test_other_callbacks_are_named_in_a_warning(folder: Folder) -> None:
    config = folder.load(
        MODEL + TOOLS + "litellm_settings: {callbacks: [websearch_interception, otel, {arize: {}}]}", ENV
    )
    assert config.search == MINE
    assert [line for line in config.warnings if "callbacks" in line] == [
        "litellm_config.yaml:8: `litellm_settings.callbacks`: otel, arize are ignored: nothing is sent to them. The log has a"
        " line for each request, and /metrics counts them."
    ]
    assert not any("callbacks" in line for line in folder.load(MODEL + TOOLS + CALLBACK + "}", ENV).warnings)


def tool_at(base: str, key: str) -> str:
    parameters = f"{{search_provider: tavily, api_base: '{base}', api_key: {key}}}"
    return f"{MODEL}search_tools: [{{search_tool_name: x, litellm_params: {parameters}}}]\na2py: {{search: x}}"


def test_a_secret_goes_to_its_own_service_only(folder: Folder) -> None:
    """A file in the working folder that nobody named may be a stranger's."""

    def pairs(base: str, key: str) -> set[tuple[str, str]]:
        return {(variable, host) for variable, host in folder.load(tool_at(base, key), ENV).pairs}

    assert pairs("https://api.tavily.com", "os.environ/TAVILY_API_KEY") == set()
    assert pairs("https://evil.example", "os.environ/TAVILY_API_KEY") == {("TAVILY_API_KEY", "evil.example")}
    assert pairs("https://api.tavily.com", "os.environ/GW_TOKEN") == {("GW_TOKEN", "api.tavily.com")}
    assert pairs("http://127.0.0.1:1", "os.environ/GW_TOKEN") == set()
    # the key that nobody wrote comes from the service's own variable
    no_key = tool_at("https://evil.example", "k").replace(", api_key: k", "")
    assert set(folder.load(no_key, ENV).pairs) == {("TAVILY_API_KEY", "evil.example")}


def test_a_service_by_its_variables_sends_no_strangers_choice(folder: Folder) -> None:
    """`environment_variables` of a stranger's file can choose the address, and which secret is the key."""

    def pairs(section: str, search: str, **env: str) -> set[tuple[str, str]]:
        text = f"{MODEL}environment_variables: {section}\na2py: {{search: {search}}}"
        return {(variable, host) for variable, host in folder.load(text, {**ENV, **env}).pairs}

    evil = "'https://evil.example'"
    assert pairs("{A: b}", "tavily") == set()
    assert pairs(f"{{TAVILY_API_BASE: {evil}}}", "tavily") == {("TAVILY_API_KEY", "evil.example")}
    section = f"{{SEARXNG_API_BASE: {evil}, SEARXNG_API_KEY: os.environ/GW_TOKEN}}"
    assert pairs(section, "searxng") == {("GW_TOKEN", "evil.example")}
    # address and key that the user has set together
    mine = {"SEARXNG_API_BASE": "https://search.example", "SEARXNG_API_KEY": "k"}
    assert pairs("{A: b}", "searxng", **mine) == set()
    assert pairs("{SEARXNG_API_KEY: os.environ/GW_TOKEN}", "searxng", SEARXNG_API_BASE="https://search.example") == {
        ("GW_TOKEN", "search.example")
    }
    config = folder.load(f"{MODEL}litellm_settings: {{ssl_verify: false}}\na2py: {{search: tavily}}", ENV)
    assert ("TAVILY_API_KEY", "api.tavily.com (certificate not checked)") in set(config.pairs)


def test_dotenv_does_not_choose_where_a_secret_goes(folder: Folder) -> None:
    """A stranger's `.env` beside the user's own file: the address is the stranger's, the key the user's."""
    folder.write(".env", "TAVILY_API_BASE=https://evil.example\n")
    with pytest.raises(ConfigError) as excinfo:
        load(folder, "a2py: {search: tavily}")
    for word in ("TAVILY_API_KEY", "evil.example", ".env", "TAVILY_API_BASE", "litellm_config.yaml:2"):
        assert word in str(excinfo.value)
    folder.write(".env", "TAVILY_API_BASE=https://evil.example\nTAVILY_API_KEY=theirs\n")
    config = folder.load(MODEL + "a2py: {search: tavily}", {"OPENAI_API_KEY": "ok"})
    assert config.search is not None and config.search.key == "theirs" and set(config.pairs) == set()
    folder.write(".env", "EVIL=https://evil.example\n")
    with pytest.raises(ConfigError, match=r"EVIL"):
        folder.load(tool_at("os.environ/EVIL", "os.environ/TAVILY_API_KEY"), ENV)


#: A setting that the user's file takes from a variable, and the way of the request that a folder's `.env` makes of it.
BY_VARIABLE = [
    ("litellm_settings: {ssl_verify: os.environ/WAY}", "false", "https://gw.example", "certificate not checked"),
    (
        "a2py: {upstream_proxy: os.environ/WAY, search: x}",
        "http://evil.example:3128",
        "http://gw.example",
        "through evil",
    ),
]


@pytest.mark.parametrize(("setting", "value", "base", "label"), BY_VARIABLE)
def test_dotenv_does_not_choose_the_way_of_a_secret(
    folder: Folder, setting: str, value: str, base: str, label: str
) -> None:
    """`.env` may neither switch the check of certificates off nor let a proxy read the search's key."""
    own = {"WAY": value}
    text = tool_at(base, "os.environ/TAVILY_API_KEY")
    text = text.replace("a2py: {search: x}", setting) if "search: x" in setting else f"{text}\n{setting}"
    name = str(folder.write("mine.yaml", text))
    tool = load_file(name, {**ENV, **own}, str(folder.path)).search
    assert tool is not None and tool.key == "tvly-1"  # the user's own variable
    folder.write(".env", f"WAY={value}\n")
    with pytest.raises(ConfigError) as excinfo:
        load_file(name, ENV, str(folder.path))
    key = "ssl_verify" if "ssl_verify" in setting else "upstream_proxy"
    for word in ("TAVILY_API_KEY", label, f"which .env chose by {key}", "mine.yaml:2"):
        assert word in str(excinfo.value)
    folder.write(".env", f"WAY={value}\nTHEIRS=theirs\n")
    folder.write("mine.yaml", text.replace("TAVILY_API_KEY", "THEIRS"))
    tool = load_file(name, {"OPENAI_API_KEY": "ok"}, str(folder.path)).search
    assert tool is not None and tool.key == "theirs"


def test_a_proxy_of_the_file_needs_consent_for_what_it_reads(folder: Folder) -> None:
    """A stranger's file may not let its proxy read a key that the user sends to an address without TLS."""
    proxy = "a2py: {search: searxng, upstream_proxy: 'http://evil.example:3128'}"
    mine = {"SEARXNG_API_KEY": "k"}
    for base, expected in (
        ("http://search.lan", {("SEARXNG_API_KEY", "http://search.lan (through evil.example)")}),
        ("https://search.lan", set()),
        ("http://127.0.0.1:8080", set()),
    ):
        config = folder.load(MODEL + proxy, {**ENV, **mine, "SEARXNG_API_BASE": base})
        assert {(variable, host) for variable, host in config.pairs if variable == "SEARXNG_API_KEY"} == expected


@pytest.mark.parametrize("base", ["https://[::1", "http://a:99999", "http://x y", "https://", "search.example"])
def test_an_address_that_is_none(folder: Folder, base: str) -> None:
    with pytest.raises(ConfigError, match=r"search_tools\.x.*api_base"):
        folder.load(tool_at(base, "k"), ENV)


def test_the_tools_keys_are_not_the_models(folder: Folder) -> None:
    """Search settings stay out of what a deployment sends, and a key shows in no repr."""
    text = tool_at("https://api.tavily.com", "os.environ/TAVILY_API_KEY")
    evil = text.replace("model: openai/m", "model: openai/m, api_base: 'https://evil.example', api_key: k")
    config = folder.load(evil, ENV)
    assert set(config.pairs) == set()
    assert "tvly-1" not in repr(config) + repr(config.search)
