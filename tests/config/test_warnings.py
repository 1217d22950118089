"""What is told and what is not: unknown keys, what is left out, mistakes with their place, and secrets, which never
show."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2py.config import SETTINGS, ConfigError, load
from a2py.config.collapse import collapse
from a2py.config.missing import EFFECTS, UnsupportedKey, describe_keys
from a2py.config.setting_row import Setting
from a2py.config.tree import node_of, resolve
from a2py.config.unserved import WARNED_SETTINGS
from a2py.errors import ApiError
from tests.configured import KEY, Folder

ENV = {"OPENAI_API_KEY": "ok"}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


# -- unknown, ignored, misplaced


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            "router_settings: {num_retrys: 1}",
            "`router_settings.num_retrys` is unknown and ignored. Did you mean `num_retries`?",
        ),
        ("modellist: {}", "`modellist` is unknown and ignored. Did you mean `model_list`?"),
        ("zzz: 1", "`zzz` is unknown and ignored."),
        (
            "litellm_settings: {retry_after: 1}",
            "`litellm_settings.retry_after` is unknown and ignored. Write it below `router_settings:`.",
        ),
        ("a2py: {num_retries: 1}", "`a2py.num_retries` is unknown and ignored. Write it below `router_settings:`."),
        ("drop_params: true", "`drop_params` is unknown and ignored. Write it below `litellm_settings:`."),
        (
            "router_settings: {api_key: x}",
            "`router_settings.api_key` is unknown and ignored. Write it below `model_list[].litellm_params:`.",
        ),
        (
            "model_list: [{model_name: m, litellm_params: {model: openai/x}, num_retries: 1}]",
            "`model_list[0].num_retries` is unknown and ignored. Write it below `model_list[].litellm_params:`.",
        ),
        ("fallbacks: []", "`fallbacks` is unknown and ignored. Write it below `router_settings:`."),
        ("a2py: {include: x}", "`a2py.include` is unknown and ignored. Write it at the top of the file."),
        (
            "a2py: {keepalive_second: 1}",
            "`a2py.keepalive_second` is unknown and ignored. Did you mean `keepalive_seconds`?",
        ),
        (
            "model_list: [{model_name: m, litellm_param: {model: x}}]",
            "`model_list[0].litellm_param` is unknown and ignored. Did you mean `litellm_params`?",
        ),
        (
            "model_list: [{model_name: m, litellm_params: {model: openai/x, max_output_tokens: 3}}]",
            "`model_list[0].litellm_params.max_output_tokens` is unknown and ignored. Write it below `model_list[].model_info:`.",
        ),
        (
            "model_list: [{model_name: m, litellm_params: {model: openai/x, temprature: 3}}]",
            "`model_list[0].litellm_params.temprature` is unknown and ignored. Did you mean `temperature`?",
        ),
    ],
)
def test_an_unknown_key_is_one_warning(folder: Folder, text: str, warning: str) -> None:
    config = folder.load(text, ENV)
    assert [w for w in config.warnings if "is unknown" in w] == [f"litellm_config.yaml:1: {warning}"]


def test_what_is_ignored_in_silence(folder: Folder) -> None:
    config = folder.load(
        """
        x-anchors: &base {model: openai/m, input_cost_per_token: 0.1, tags: [a], api_key: k}
        model_list:
          - model_name: m
            litellm_params: {<<: *base, output_cost_per_token: 1}
            model_info: {access_groups: [a], input_cost_per_token: 0, tags: [], litellm_provider: openai, supports_audio_input: true}
        litellm_settings:
          cache: false
          cache_params: {type: redis, host: os.environ/REDIS_HOST}
          turn_off_message_logging: true
          telemetry: false
          langfuse_default_tags: [a]
        router_settings: {enable_pre_call_checks: true, client_ttl: 3, cache_responses: false}
        general_settings: {disable_spend_logs: true, background_health_checks: true, health_check_interval: 300}
        """
    )
    assert config.warnings == () and config.resolve("m")[0].model == "m"


def test_what_is_missing_here_is_told_once_with_its_consequence(folder: Folder) -> None:
    config = folder.load(
        """
        model_list:
          - {model_name: m, litellm_params: {model: openai/m, max_budget: 1, mock_response: hi}}
          - {model_name: n, litellm_params: {model: openai/n, max_budget: 1}}
        litellm_settings: {callbacks: [otel], success_callback: [], max_budget: 100, guardrails: [], cache: true}
        router_settings: {content_policy_fallbacks: [], provider_budget_config: {a: 1}}
        general_settings: {database_url: "postgresql://u:p@h/db", enable_jwt_auth: true, store_model_in_db: false}
        guardrails: [{guardrail_name: g}]
        """,
        ENV,
    )
    places = [warning.partition(" ignored: ")[0] for warning in config.warnings]
    assert places == [
        "litellm_config.yaml:2: `model_list.litellm_params.max_budget`, `model_list.litellm_params.mock_response` are",
        "litellm_config.yaml:4: `litellm_settings.max_budget`, `guardrails` (line 7) are",
        "litellm_config.yaml:4: `litellm_settings.cache` is",
        "litellm_config.yaml:5: `router_settings.provider_budget_config` is",
        "litellm_config.yaml:6: `general_settings.database_url` is",
        "litellm_config.yaml:6: `general_settings.enable_jwt_auth` is",
        "litellm_config.yaml:4: `litellm_settings.callbacks`: otel is",
    ]
    assert "get 401. Make keys with `a2py keys new NAME`" in config.warnings[4] and "u:p" not in str(config.warnings)
    assert config.mistakes == ()


def test_a_guardrail_is_told_as_one_wherever_it_stands(folder: Folder) -> None:
    config = folder.load(
        """
        model_list: [{model_name: m, litellm_params: {model: openai/m, guardrails: [g]}}]
        guardrails: [{guardrail_name: g}]
        policies: {p: {guardrails: {add: [g]}}}
        mcp_servers: {s: {url: "http://127.0.0.1:1"}}
        general_settings: {pass_through_endpoints: [{path: /p, target: "http://127.0.0.1:1"}]}
        """,
        ENV,
    )
    assert config.warnings == (
        "litellm_config.yaml:1: `model_list.litellm_params.guardrails`, `guardrails` (line 2), `policies` (line 3) are "
        "ignored: no request is checked, changed or refused for them.",
        "litellm_config.yaml:4: `mcp_servers`, `general_settings.pass_through_endpoints` (line 5) are ignored: their "
        "paths are a 404, and nothing of them is added to a request.",
    )


def test_each_group_of_keys_has_a_consequence() -> None:
    assert {row.meaning for row in WARNED_SETTINGS} <= EFFECTS.keys()


def test_each_key_of_general_settings_has_an_effect_of_its_own() -> None:
    """The meaning of their row is a list of everything that a2py lacks there."""
    paths = [path for row in WARNED_SETTINGS for path in row.paths if path.startswith("general_settings.")]
    (node,) = node_of(["x"], "c.yaml").value
    for path in paths:
        (line,) = describe_keys([UnsupportedKey(path.replace("*", ""), node, "")])
        assert "a2py has no ." not in line, f"{path} has no effect in missing.py"


def test_variables_of_litellms_server_are_told_with_their_consequence(folder: Folder) -> None:
    env = {
        **ENV,
        "DATABASE_URL": "postgresql://u:p@h/db",
        "STORE_MODEL_IN_DB": "True",
        "UI_USERNAME": "admin",
        "REDIS_HOST": "h",
        "REDIS_PORT": "1",
        "LANGFUSE_PUBLIC_KEY": "pk",
    }
    text = "model_list: [{model_name: m, litellm_params: {model: openai/m}}]"
    lines = folder.load(text, env).warnings
    assert [line.partition(" ignored: ")[0] for line in lines] == [
        "the environment: DATABASE_URL, STORE_MODEL_IN_DB are",
        "the environment: UI_USERNAME is",
        "the environment: REDIS_HOST, REDIS_PORT are",
        "the environment: LANGFUSE_PUBLIC_KEY is",
    ]
    assert "get 401. Make keys with `a2py keys new NAME`" in lines[0]
    other = {**ENV, "DATABASE_URL": "x", "REDIS_URL": "x"}  # of some other program
    assert folder.load(text, other).warnings == ()
    assert len(folder.load(f"{text}\ngeneral_settings: {{master_key: k}}", other).warnings) == 2
    both = folder.load(
        f"{text}\ngeneral_settings: {{master_key: k, database_url: os.environ/DATABASE_URL}}", other
    ).warnings
    assert [line.partition(" is ")[0] for line in both] == [
        "litellm_config.yaml:2: `general_settings.database_url`",
        "the environment: REDIS_URL",
    ]
    empty = folder.load("model_list: []\ngeneral_settings: {master_key: k}", {"STORE_MODEL_IN_DB": "True"}).warnings
    assert "nothing is served" in empty[0] and "STORE_MODEL_IN_DB" in empty[1]


def test_what_is_the_same_at_many_places_is_told_once(folder: Folder) -> None:
    entries = "\n".join(
        f"  - {{model_name: m{n}, litellm_params: {{model: nobody/m{n}, api_base: http://127.0.0.1:1/v1, temprature: 1}}}}"
        for n in range(100)
    )
    config = folder.load(f"model_list:\n{entries}\n", ENV)
    assert config.warnings == (
        "litellm_config.yaml:2: `model_list[0].litellm_params.temprature` is unknown and ignored. Did you mean "
        "`temperature`? (also at lines 3, 4, 5 and 96 more)",
        "litellm_config.yaml:2: `model_list[0].litellm_params.model`: the provider nobody is unknown, so its model is "
        "requested from an OpenAI-compatible server at api_base. Write openai/ before it. (also at lines 3, 4, 5 and 96 "
        "more)",
    )


def test_collapsing_keeps_what_differs() -> None:
    assert collapse(["a.yaml:1: x", "b.yaml:1: x", "a.yaml:2: y", "a.yaml:3: x", "z", "z", "a.yaml:1: x"]) == [
        "a.yaml:1: x (also at line 3)",
        "b.yaml:1: x",
        "a.yaml:2: y",
        "z",
    ]


@pytest.mark.parametrize("key", ["model_lst", "modellist", "models_list", "model-list"])
def test_models_below_a_misspelt_key_stop_the_start(folder: Folder, key: str) -> None:
    error = folder.mistake(f"{key}:\n  - {{model_name: m, litellm_params: {{model: openai/m}}}}", ENV)
    assert str(error) == (
        f"litellm_config.yaml:1: `{key}` is unknown, and there is no `model_list`. Write `model_list:`."
    )


def test_mistakes_are_those_that_were_surely_meant_otherwise(folder: Folder) -> None:
    config = folder.load(
        """
        model_list: [{model_name: m, litellm_params: {model: openai/m, brand_new_key: 1}}]
        router_settings: {num_retrys: 1, fallbacks: [{m: [n]}], routing_strategy: least-busy}
        """,
        ENV,
    )
    assert [warning.split("`")[1] for warning in config.mistakes] == [
        "router_settings.num_retrys",
        "router_settings.fallbacks",
    ]
    assert len(config.warnings) == 4 and set(config.mistakes) < set(config.warnings)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            "router_settings: {fallbacks: [{m: [mm]}]}",
            "`router_settings.fallbacks` names mm, but no model is called so. Correct the name",
        ),
        ("router_settings: {fallbacks: [{q: [m]}]}", "`router_settings.fallbacks` names q, but no model"),
        (
            "router_settings: {default_fallbacks: [model-2]}",
            "names model-2, but no model is called so. Did you mean model-1?",
        ),
        ("router_settings: {context_window_fallbacks: [{m: [z]}]}", "context_window_fallbacks` names z"),
        ("router_settings: {model_group_alias: {a: z}}", "model_group_alias` names z"),
        ("a2py: {default_model: z}", "litellm_config.yaml:5: `a2py.default_model` names z"),
        (
            "router_settings: {routing_strategy: least-busy}",
            "routing_strategy` is ignored: a2py shares by weight, as simple-shuffle does, not by least-busy.",
        ),
        (
            "router_settings: {fallbacks: [{'*': [m]}, {w/1: [w/2]}], model_group_alias: {a: m, b: a, c: w/3, d-*: w/*}}",
            "",
        ),
    ],
)
def test_names_that_nobody_serves_are_told(folder: Folder, text: str, warning: str) -> None:
    models = "".join(
        f"  - {{model_name: {n}, litellm_params: {{model: {m}}}}}\n"
        for n, m in (("m", "openai/m"), ("model-1", "openai/1"), ("w/*", "openai/*"))
    )
    config = folder.load(f"model_list:\n{models}{text}\n", ENV)
    assert (len(config.warnings) == 1 and warning in config.warnings[0]) if warning else config.warnings == ()


def test_a_model_without_a_name(folder: Folder) -> None:
    config = folder.load("model_list: [{litellm_params: {model: openai/m}}, {model_info: {}}]", ENV)
    assert config.list_names() == ("openai/m",)
    assert config.warnings[0] == (
        "litellm_config.yaml:1: `model_list[0]` has no model_name, so it is called openai/m. Write `model_name:`."
    )


# -- mistakes


@pytest.mark.parametrize(
    ("text", "line", "path", "message"),
    [
        ("model_list: {}", 1, "model_list", "must be a list, got a mapping"),
        ("model_list:\n  - a", 2, "model_list[0]", "must be a mapping, got text"),
        ("model_list:\n  - model_name: [a]", 2, "model_list[0].model_name", "must be text, got a list"),
        ("model_list:\n  - litellm_params: x", 2, "model_list[0].litellm_params", "must be a mapping, got text"),
        (
            "model_list:\n  - litellm_params:\n      rpm: many",
            3,
            "model_list[0].litellm_params.rpm",
            "must be a whole number of at least 0, got 'many'",
        ),
        ("litellm_settings: []", 1, "litellm_settings", "must be a mapping, got a list"),
        ("a2py:\n  unasked_thinking: never", 2, "a2py.unasked_thinking", "must be show or hide, got 'never'"),
        ("a2py:\n  max_body_mb: 0", 2, "a2py.max_body_mb", "must be a whole number of at least 1, got 0"),
        (
            "router_settings:\n  retry_policy:\n    a: b",
            3,
            "router_settings.retry_policy.a",
            "must be a whole number of at least 0, got 'b'",
        ),
        ("environment_variables: [a]", 1, "environment_variables", "must be a mapping, got a list"),
        ("- a", 1, "", "the file must be a mapping, got a list"),
        ("just text", 1, "", "the file must be a mapping, got text"),
    ],
)
def test_a_wrong_type_names_file_line_and_key(folder: Folder, text: str, line: int, path: str, message: str) -> None:
    error = folder.mistake(text)
    assert (error.file, error.line, error.path, error.message) == ("litellm_config.yaml", line, path, message)
    key = f"`{path}` " if path else ""
    assert (
        str(error).startswith(f"litellm_config.yaml:{line}: {key}{message}. ") and error.cure and "\n" not in str(error)
    )


def test_no_file(folder: Folder) -> None:
    with pytest.raises(ConfigError, match="there is no configuration file") as excinfo:
        load(None, {}, str(folder.path))
    assert "a2py.yaml" in excinfo.value.cure
    with pytest.raises(ConfigError, match=r"nowhere\.yaml cannot be read: No such file"):
        load("nowhere.yaml", {}, str(folder.path))
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(".", {}, str(folder.path))


def test_files_are_named_as_the_user_sees_them(folder: Folder, tmp_path: Path) -> None:
    folder.write("sub/c.yaml", "zzz: 1\n")
    assert load("sub/../sub/c.yaml", {}, str(tmp_path)).sources == ("sub/c.yaml",)
    assert load(str(tmp_path / "sub/c.yaml"), {}, str(tmp_path / "other")).sources == (str(tmp_path / "sub/c.yaml"),)


def test_a_key_that_stands_twice(folder: Folder) -> None:
    config = folder.load("router_settings: {timeout: 1}\nrouter_settings: {num_retries: 5}\n")
    assert (
        config.warnings[0]
        == "litellm_config.yaml:2: the key `router_settings` is written twice, and the last one is used. Remove one."
    )
    assert config.settings.num_retries == 5 and config.settings.timeout == 0.0


# -- secrets


def test_no_secret_shows_anywhere(folder: Folder) -> None:
    text = f"""
    model_list:
      - model_name: m
        litellm_params:
          model: openai/m
          api_key: {KEY}
          api_base: https://u:{KEY}@h.example/v1?key={KEY}
          extra_headers: {{Authorization: {KEY}}}
          extra_body: {{token: {KEY}}}
          unknown_secret: {KEY}
          rpm: %s
    general_settings: {{master_key: {KEY}, database_url: {KEY}}}
    environment_variables: {{A_KEY: {KEY}, GROQ_API_KEY: {KEY}}}
    zzz: {KEY}
    """
    folder.write(".env", f"OTHER_API_KEY={KEY}\n{KEY}\n")
    config = folder.load(text % 5)
    assert config.deployments[0].key == KEY and config.master_key == KEY
    assert KEY not in repr(config) and KEY not in repr(config.deployments) and KEY not in " ".join(config.warnings)
    assert KEY not in " ".join(config.origins.values())
    with pytest.raises(ApiError) as excinfo:
        config.resolve("nothing")
    assert KEY not in str(excinfo.value)
    assert KEY not in str(folder.mistake(text % KEY))
    assert KEY not in str(folder.mistake(f"general_settings: {{master_key: {KEY}"))
    assert KEY not in str(folder.mistake(f"general_settings: {{master_key: [{KEY}]}}"))


@pytest.mark.skipif(os.name != "posix", reason="file modes")
@pytest.mark.parametrize(
    ("text", "mode", "has_warning"),
    [
        ("general_settings: {master_key: k}", 0o644, True),
        ("general_settings: {master_key: k}", 0o640, True),
        ("general_settings: {master_key: k}", 0o600, False),
        ("general_settings: {master_key: os.environ/X}", 0o644, False),
        ("general_settings: {master_key: null}", 0o644, False),
        ("model_list: [{model_name: m, litellm_params: {model: openai/x, api_key: k}}]", 0o644, True),
        ("model_list: [{model_name: m, litellm_params: {model: openai/x, api_key: os.environ/X}}]", 0o644, False),
        (
            "model_list: [{model_name: m, litellm_params: {model: openai/x, extra_headers: {Authorization: k}}}]",
            0o644,
            True,
        ),
        ("model_list: [{model_name: m, litellm_params: {model: openai/x, extra_headers: {X: k}}}]", 0o644, False),
        ("environment_variables: {OPENAI_API_KEY: k}", 0o644, True),
        ("environment_variables: {PORT: 1}", 0o644, False),
        (
            "model_list: [{model_name: m, litellm_params: {model: openai/x, api_base: 'http://h/v1', api_key: EMPTY}}]",
            0o644,
            False,
        ),
    ],
)
def test_a_file_with_keys_that_others_can_read(folder: Folder, text: str, mode: int, has_warning: bool) -> None:
    folder.write("c.yaml", text, mode)
    config = load("c.yaml", {"X": "v"}, str(folder.path))
    assert (
        "c.yaml contains keys, and other users of this machine can read it. Run: chmod 600 c.yaml" in config.warnings
    ) is has_warning


# -- anything at all


NAMES = st.sampled_from(["m", "n", "*", "w/*", "a-*b", "M[1m]", "claude-x-20250929", "", None, 4])
MODELS = st.sampled_from(
    [
        "openai/m",
        "openai/*",
        "*",
        "azure/*",
        "bedrock/x",
        "zzz/x",
        "gpt-5",
        "openai/responses/*",
        "os.environ/X",
        "/",
        None,
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["os.environ/X", "os.environ/NO", "1"])
)


VALUES = st.recursive(
    LEAVES | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES.map(str), inner, max_size=3),
    max_leaves=6,
)
POOL = [
    0,
    1,
    True,
    "m",
    "show",
    "os.environ/X",
    "os.environ/NO",
    ["m", "w/x"],
    {"m": "n"},
    {"m": ["n"]},
    [{"m": ["n"]}],
    {"a-*": {"images": False}},
]
POOL += [{"m": {"a": 1}}, {"a": 1}, {"*": "w/*"}, "http://h:1/v1", "hosted_vllm", ["/v1/messages"], "responses", None]


def fits(row: Setting, value: object) -> bool:
    try:
        row.parse(resolve(node_of(value, "f"), {"X": "1"}), "p")
    except ConfigError:
        return False
    return True


def section(prefix: str) -> st.SearchStrategy[dict[str, object]]:
    """Draw a mapping of keys that the table has below `prefix`, with stars replaced. About one value in ten is
    arbitrary."""
    rows = {
        path.removeprefix(prefix).replace("*", "x"): row
        for row in SETTINGS
        for path in row.paths
        if path.startswith(prefix)
    }
    pool = {
        key: [v for v in POOL if fits(row, v)] for key, row in sorted(rows.items()) if "." not in key and "[" not in key
    }
    pair = st.sampled_from(list(pool)).flatmap(
        lambda key: st.tuples(
            st.just(key), st.integers(0, 9).flatmap(lambda n: st.sampled_from(pool[key]) if n and pool[key] else VALUES)
        )
    )
    return st.lists(pair, max_size=3).map(dict)


SECTIONS = {name: section(f"{name}.") for name in ("litellm_settings", "router_settings", "general_settings", "a2py")}
ITEM = st.fixed_dictionaries(
    {"model_name": NAMES, "litellm_params": section("model_list[].litellm_params.")},
    optional={"model_info": section("model_list[].model_info.")},
)


def fitting(item: dict[str, Any], model: object) -> dict[str, Any]:
    return {**item, "litellm_params": {**item["litellm_params"], "model": model}}


FITTING = st.tuples(ITEM, MODELS).map(lambda pair: fitting(*pair))
TREES = st.fixed_dictionaries({}, optional={"model_list": st.lists(FITTING, max_size=3), **SECTIONS})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=TREES)
def test_whatever_a_file_holds_is_served_or_refused(folder: Folder, tree: dict[str, object]) -> None:
    """No exception but ConfigError, each with its file, and every warning in one line."""
    folder.write("litellm_config.yaml", yaml.safe_dump(tree))
    try:
        config = load("litellm_config.yaml", {"X": "1", "OPENAI_API_KEY": "k"}, str(folder.path))
    except ConfigError as error:
        assert error.file and str(error).splitlines() == [str(error)]
        return
    for name in config.list_names():
        assert config.resolve(name)
    for name in ("m", "w/openai/x[1m]", "claude-x", "anthropic/n", "a-b", "zzz"):
        with suppress(ApiError):
            assert all(not dep.problem and "*" not in dep.model for dep in config.resolve(name))
    assert all(warning.splitlines() == [warning] for warning in config.warnings)
