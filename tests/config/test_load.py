"""Whole files, as LiteLLM's users have them: read without an edit, with variables, .env, includes, and the master
key."""

from __future__ import annotations

from pathlib import Path

import pytest

from a2py.config import Settings
from tests.configured import Folder

ROOT = Path(__file__).parents[2]
ENV = {"OPENAI_API_KEY": "ok", "AZURE_API_KEY_EU": "eu", "AZURE_API_KEY_CA": "ca"}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


# -- the shapes of LiteLLM's documentation


def test_the_overview(folder: Folder) -> None:
    config = folder.load(
        """
        model_list:
          - model_name: gpt-4o ### RECEIVED MODEL NAME ###
            litellm_params: # all params
              model: azure/gpt-4o-eu
              api_base: https://my-endpoint-europe-berri-992.openai.azure.com/
              api_key: "os.environ/AZURE_API_KEY_EU"
              rpm: 6      # [OPTIONAL]
          - model_name: bedrock-claude-v1
            litellm_params:
              model: bedrock/anthropic.claude-instant-v1
              aws_region_name: us-east-1
          - model_name: gpt-4o
            litellm_params:
              model: azure/gpt-4o-ca
              api_base: https://my-endpoint-canada-berri992.openai.azure.com/
              api_key: "os.environ/AZURE_API_KEY_CA"
              rpm: 12
          - model_name: vllm-models
            litellm_params:
              model: openai/facebook/opt-125m # the `openai/` prefix tells litellm it's openai compatible
              api_base: http://0.0.0.0:4000/v1
              api_key: none
              rpm: 1440
            model_info:
              version: 2
          - model_name: "*"
            litellm_params:
              model: "*"

        litellm_settings:
          drop_params: True
          success_callback: ["langfuse"]

        general_settings:
          master_key: sk-1234
          alerting: ["slack"]
        """,
        ENV,
    )
    first, second = config.resolve("gpt-4o")
    assert (first.model, first.weight, first.rpm, second.model, second.weight) == (
        "gpt-4o-eu",
        6.0,
        0,
        "gpt-4o-ca",
        12.0,
    )
    assert config.resolve("vllm-models")[0].key == "none" and config.resolve("openai/gpt-4o")[0].key == "ok"
    assert config.master_key == "sk-1234" and config.default_name == "gpt-4o"
    assert config.warnings == (
        "litellm_config.yaml:32: `litellm_settings.success_callback` is ignored: nothing is sent to them. The log has a line "
        "for each request, and /metrics counts them.",
        "litellm_config.yaml:36: `general_settings.alerting` is ignored: no spend is limited, and nobody is alerted.",
    )
    assert config.sources == ("litellm_config.yaml",)


def test_load_balancing_with_router_settings(folder: Folder) -> None:
    config = folder.load(
        """
        model_list:
          - model_name: zephyr-beta
            litellm_params:
                model: huggingface/HuggingFaceH4/zephyr-7b-beta
                api_base: http://0.0.0.0:8001
                api_key: k
                rpm: 60
                tpm: 1000
          - model_name: zephyr-beta
            litellm_params: {model: huggingface/HuggingFaceH4/zephyr-7b-beta, api_base: http://0.0.0.0:8002, api_key: k}
            rpm: 600
          - model_name: zephyr-beta
            litellm_params: {model: huggingface/HuggingFaceH4/zephyr-7b-beta, api_base: http://0.0.0.0:8003, api_key: k}
          - model_name: gpt-4o
            litellm_params: {model: gpt-4o, api_key: my-openai-key, rpm: 200}
          - model_name: gpt-3.5-turbo-16k
            litellm_params: {model: gpt-3.5-turbo-16k, api_key: my-openai-key, rpm: 100}

        litellm_settings:
          num_retries: 3
          request_timeout: 10
          fallbacks: [{"zephyr-beta": ["gpt-4o"]}]
          context_window_fallbacks: [{"zephyr-beta": ["gpt-3.5-turbo-16k"]}, {"gpt-4o": ["gpt-3.5-turbo-16k"]}]
          allowed_fails: 3

        router_settings:
          routing_strategy: simple-shuffle
          model_group_alias: {"gpt-4": "gpt-4o"}
          num_retries: 2
          timeout: 30
          redis_host: localhost
          redis_password: secret
          redis_port: 1992
        """
    )
    s = config.settings
    assert [(d.id, d.weight) for d in config.resolve("zephyr-beta")] == [
        ("huggingface/HuggingFaceH4/zephyr-7b-beta", 60.0),
        ("huggingface/HuggingFaceH4/zephyr-7b-beta#2", 600.0),
        ("huggingface/HuggingFaceH4/zephyr-7b-beta#3", 60.0),  # without rpm: the least of the others
    ]
    assert (s.num_retries, s.request_timeout, s.timeout, s.allowed_fails) == (2, 10.0, 30.0, 3)  # the router's wins
    assert s.fallbacks == {"zephyr-beta": ("gpt-4o",)}
    assert s.context_window_fallbacks == {"zephyr-beta": ("gpt-3.5-turbo-16k",), "gpt-4o": ("gpt-3.5-turbo-16k",)}
    assert config.resolve("gpt-4") == config.resolve("gpt-4o") and config.warnings == ()
    assert config.origins["num_retries"] == "litellm_config.yaml:29 router_settings.num_retries"


def test_all_settings(folder: Folder) -> None:
    config = folder.load(
        """
        router_settings:
          model_group_alias: {a: m, b: {model: m, hidden: true}}
          fallbacks: [{m: [m]}]
          default_fallbacks: [m]
          context_window_fallbacks: [{m: [m]}]
          num_retries: 1
          timeout: 1.5
          stream_timeout: 2
          routing_strategy: simple-shuffle
          allowed_fails: 7
          cooldown_time: 8
          retry_after: 9
          retry_policy: {AuthenticationErrorRetries: 3, TimeoutErrorRetries: 0}
          model_group_retry_policy: {m: {RateLimitErrorRetries: 5}}
          max_fallbacks: 2
          disable_cooldowns: true
        litellm_settings:
          drop_params: true
          modify_params: true
          request_timeout: 11
          set_verbose: true
          use_chat_completions_url_for_anthropic_messages: true
          reasoning_auto_summary: true
          anthropic_messages_estimate_initial_input_tokens: false
          sse_keepalive_ping_interval_seconds: 12
          ssl_verify: /etc/ssl
          force_ipv4: true
          aiohttp_trust_env: false
          json_logs: true
        general_settings:
          dangerously_permit_weak_or_unset_master_key: true
          max_parallel_requests: 13
          global_max_parallel_requests: 14
        a2py:
          delta_keepalive_seconds: 1
          commit_seconds: 2
          unasked_thinking: hide
          quirks: {m: {images: false}}
          default_model: m
          allowed_hosts: [gate.lan]
          allowed_origins: "https://a.example, https://b.example"
          drain_seconds: 3
          max_body_mb: 4
          max_connections: 5
          buffer_kb: 6
          capture_dir: /tmp/captures
        model_list:
          - {model_name: m, litellm_params: {model: openai/m}}
        """,
        ENV,
    )
    assert config.warnings == ()
    assert config.settings == Settings(
        keepalive_seconds=12.0,
        delta_keepalive_seconds=1.0,
        commit_seconds=2.0,
        unasked_thinking="hide",
        quirks={"m": {"images": False}},
        default_model="m",
        allowed_hosts=("gate.lan",),
        allowed_origins=("https://a.example", "https://b.example"),
        drain_seconds=3.0,
        max_body_mb=4,
        max_connections=5,
        buffer_kb=6,
        capture_dir="/tmp/captures",
        num_retries=1,
        request_timeout=11.0,
        timeout=1.5,
        stream_timeout=2.0,
        retry_after=9.0,
        retry_policy={"AuthenticationErrorRetries": 3, "TimeoutErrorRetries": 0},
        model_group_retry_policy={"m": {"RateLimitErrorRetries": 5}},
        fallbacks={"m": ("m",)},
        default_fallbacks=("m",),
        context_window_fallbacks={"m": ("m",)},
        max_fallbacks=2,
        allowed_fails=7,
        cooldown_time=8.0,
        disable_cooldowns=True,
        routing_strategy="simple-shuffle",
        max_parallel_requests=13,
        global_max_parallel_requests=14,
        use_chat_completions_url=True,
        reasoning_auto_summary=True,
        estimate_initial_input_tokens=False,
        json_logs=True,
        ssl_verify="/etc/ssl",
        force_ipv4=True,
        trust_env=False,
    )
    assert config.insecure is True and config.aliases == {"a": "m", "b": "m"} and config.hidden_names == {"b"}


def test_our_own_setting_wins_over_litellms(folder: Folder) -> None:
    text = "a2py: {keepalive_seconds: 5}\nlitellm_settings: {sse_keepalive_ping_interval_seconds: 12}\n"
    assert folder.load(text).settings.keepalive_seconds == 5.0


def test_organizations_make_a_deployment_each(folder: Folder) -> None:
    config = folder.load(
        "model_list: [{model_name: '*', litellm_params: {model: openai/*, organization: [org-1, org-2]}}]", ENV
    )
    deps = config.resolve("gpt-4o")
    assert [(d.id, d.headers["OpenAI-Organization"]) for d in deps] == [("openai/*", "org-1"), ("openai/*#2", "org-2")]


def test_a_list_of_credentials(folder: Folder) -> None:
    config = folder.load(
        """
        model_list:
          - model_name: gpt-4o
            litellm_params: {model: azure/gpt-4o, litellm_credential_name: azure_eu, api_version: 2025-01-01}
          - model_name: other
            litellm_params: {model: azure/gpt-4o, litellm_credential_name: none}
          - just text
        credential_list:
          - credential_name: azure_eu
            credential_values:
              api_key: os.environ/AZURE_API_KEY_EU
              api_base: https://eu.openai.azure.com
              api_version: "2023-05-15"
            credential_info: {description: EU}
        """.replace("          - just text\n", ""),
        ENV,
    )
    dep = config.resolve("gpt-4o")[0]
    assert (dep.key, dep.base, dep.query) == (
        "eu",
        "https://eu.openai.azure.com/openai/deployments/gpt-4o",
        "api-version=2025-01-01",
    )
    assert config.deployments[1].problem
    assert config.warnings == (
        "litellm_config.yaml:5: `model_list[1].litellm_params.litellm_credential_name` is ignored: there is no credential none. "
        "`credential_list` has: azure_eu.",
    )


def test_a_credential_that_is_nearly_right_or_without_a_list(folder: Folder) -> None:
    text = (
        "model_list: [{model_name: m, litellm_params: {model: openai/m, api_key: k, litellm_credential_name: azur_eu}}]"
    )
    place = "litellm_config.yaml:1: `model_list[0].litellm_params.litellm_credential_name`"
    problem = f"{place} is ignored: there is no credential azur_eu. "
    assert folder.load(text).warnings == (problem + "Write it into `credential_list`.",)
    values = "\ncredential_list: [{credential_name: azure_eu, credential_values: {api_base: 'http://h/v1'}}]"
    assert folder.load(text + values).warnings == (problem + "Did you mean azure_eu?",)


def test_weights(folder: Folder) -> None:
    config = folder.load(
        """
        model_list:
          - {model_name: a, litellm_params: {model: openai/1, weight: 3, rpm: 1}}
          - {model_name: a, litellm_params: {model: openai/2, rpm: 100}}
          - {model_name: a, litellm_params: {model: openai/3, weight: 0}}
          - {model_name: b, litellm_params: {model: openai/1, tpm: 10}}
          - {model_name: b, litellm_params: {model: openai/2, tpm: 30}}
          - {model_name: c, litellm_params: {model: openai/1}}
        """,
        ENV,
    )
    assert [d.weight for d in config.deployments] == [3.0, 0.0, 0.0, 10.0, 30.0, 1.0]


# -- environment, .env, include


def test_variables_from_everywhere(folder: Folder) -> None:
    folder.write(".env", "FROM_DOTENV=d\nBOTH=dotenv\nBASE=http://dot/v1\n")
    config = folder.load(
        """
        environment_variables:
          FROM_FILE: f
          BOTH: file
          INDIRECT: os.environ/FROM_ENV
          DEEPSEEK_API_KEY: dk
        model_list:
          - {model_name: a, litellm_params: {model: openai/a, api_key: os.environ/FROM_FILE, api_base: os.environ/BASE}}
          - {model_name: b, litellm_params: {model: openai/b, api_key: os.environ/FROM_DOTENV}}
          - {model_name: c, litellm_params: {model: openai/c, api_key: os.environ/BOTH, rpm: os.environ/RPM, timeout: "os.environ/TIMEOUT"}}
          - {model_name: d, litellm_params: {model: openai/d, api_key: os.environ/INDIRECT, extra_headers: {X: os.environ/FROM_ENV}}}
          - {model_name: os.environ/NAME, litellm_params: {model: os.environ/MODEL}}
        litellm_settings: {drop_params: os.environ/DROP}
        """,
        {
            "FROM_ENV": "e",
            "BOTH": "env",
            "RPM": "7",
            "TIMEOUT": "1.5",
            "NAME": "n",
            "MODEL": "deepseek/x",
            "DROP": "true",
        },
    )
    assert config.warnings == ()
    assert [d.key for d in config.deployments] == ["f", "d", "env", "e", "dk"]
    assert (
        config.deployments[0].base == "http://dot/v1"
        and config.deployments[2].weight == 7
        and config.deployments[2].timeout == 1.5
    )
    assert config.deployments[3].headers == {"X": "e"} and config.deployments[4].name == "n"


def test_unset_variables_are_told(folder: Folder) -> None:
    config = folder.load(
        """
        model_list:
          - {model_name: m, litellm_params: {model: openai/m, api_key: k, rpm: os.environ/NO_RPM, extra_headers: {X: os.environ/NO_X}}}
        general_settings: {master_key: os.environ/NO_KEY}
        router_settings: {timeout: os.environ/NO_TIME}
        """
    )
    assert config.master_key == "" and config.settings.timeout == 0.0 and config.deployments[0].rpm == 0
    assert config.warnings == (
        "litellm_config.yaml:2: a part of `model_list[0].litellm_params.extra_headers` is ignored: the variable NO_X is not set. Set NO_X.",
        "litellm_config.yaml:3: `general_settings.master_key` is ignored: the variable NO_KEY is not set. Set NO_KEY.",
        "litellm_config.yaml:4: `router_settings.timeout` is ignored: the variable NO_TIME is not set. Set NO_TIME.",
        "litellm_config.yaml:2: `model_list[0].litellm_params.rpm` is ignored: the variable NO_RPM is not set. Set NO_RPM.",
    )


def test_includes(folder: Folder) -> None:
    folder.write(
        "models/more.yaml",
        "model_list:\n  - {model_name: b, litellm_params: {model: openai/b}}\ninclude: [deeper.yaml]\n",
    )
    folder.write("models/deeper.yaml", "router_settings: {num_retries: 9, timeout: 9}\ninclude: more.yaml\n")
    config = folder.load(
        "include: [models/more.yaml]\nmodel_list: [{model_name: a, litellm_params: {model: openai/a}}]\nrouter_settings: {num_retries: 1}\n",
        ENV,
    )
    assert [d.name for d in config.deployments] == ["a", "b"]
    assert (config.settings.num_retries, config.settings.timeout) == (1, 9.0)  # the including file wins
    assert config.sources == ("litellm_config.yaml", "models/more.yaml", "models/deeper.yaml")
    assert config.deployments[1].source == "models/more.yaml:2"
    assert config.warnings == ("models/deeper.yaml:2: `include` is ignored: more.yaml is included twice. Remove it.",)


def test_mistakes_in_included_files_name_that_file(folder: Folder) -> None:
    folder.write("more.yaml", "router_settings:\n  timeout: soon\n")
    error = folder.mistake("include: more.yaml\n")
    assert (error.file, error.line, error.path) == ("more.yaml", 2, "router_settings.timeout")
    folder.write("more.yaml", "- a\n")
    assert "more.yaml:1: the file must be a mapping, got a list. Begin with" in str(
        folder.mistake("include: more.yaml\n")
    )
    error = folder.mistake("a2py: {}\ninclude:\n  - gone.yaml\n")
    assert str(error) == (
        "litellm_config.yaml:3: `include` names gone.yaml, which cannot be read: No such file or directory. Correct its name."
    )
    assert folder.mistake("include: {a: b}\n").path == "include"


# -- master key


@pytest.mark.parametrize(
    ("text", "env", "key", "message"),
    [
        ("general_settings: {master_key: sk-1}", {}, "sk-1", ""),
        ("general_settings: {master_key: 0123}", {}, "0123", ""),
        ("general_settings: {master_key: os.environ/LITELLM_MASTER_KEY}", {"LITELLM_MASTER_KEY": "sk-2"}, "sk-2", ""),
        ("a2py: {}", {"LITELLM_MASTER_KEY": " sk-2 "}, "sk-2", ""),
        ("general_settings: {master_key: sk-1}", {"LITELLM_MASTER_KEY": "sk-2"}, "sk-1", ""),
        (
            "litellm_settings: {master_key: sk-1}",
            {},
            "sk-1",
            "1: `litellm_settings.master_key` is used. Better write it below `general_settings:`.",
        ),
        ("router_settings: {master_key: sk-1}", {}, "sk-1", "1: `router_settings.master_key` is used. Better"),
        ("master_key: sk-1", {}, "sk-1", "1: `master_key` is used. Better"),
        ("master_key: sk-1\ngeneral_settings: {master_key: sk-3}", {}, "sk-3", "1: `master_key` is used. Better"),
        ("general_settings: {master_key: 1234}", {}, "1234", ""),
        ("general_settings: {master_key: null}", {}, "", "1: `general_settings.master_key` is ignored: it is empty. "),
        ("general_settings: {master_key: }", {}, "", "ignored: it is empty. Write a key, or remove the line."),
        ("general_settings: {master_key: ''}", {}, "", "1: `general_settings.master_key` is ignored: it is empty."),
        ("general_settings: {master_key: '  '}", {}, "", "1: `general_settings.master_key` is ignored: it is empty."),
        ("general_settings: {master_key: os.environ/X}", {"X": " "}, "", "the variable X is not set. Set X."),
        ("master_key: sk-1\ngeneral_settings: {master_key: ''}", {}, "sk-1", "2: `general_settings.master_key` is ign"),
        ("general_settings: {master_key: ''}", {"LITELLM_MASTER_KEY": "sk-2"}, "sk-2", "is ignored: it is empty."),
        ("environment_variables: {LITELLM_MASTER_KEY: ''}", {}, "", "1: `environment_variables.LITELLM_MASTER_KEY` is"),
        ("environment_variables: {LITELLM_MASTER_KEY: }", {}, "", "1: `environment_variables.LITELLM_MASTER_KEY` is"),
    ],
)
def test_the_master_key(folder: Folder, text: str, env: dict[str, str], key: str, message: str) -> None:
    config = folder.load(text, env)
    assert config.master_key == key and any(message in warning for warning in config.warnings)
    assert "sk-" not in " ".join(config.warnings) and (not key or key not in repr(config))


def test_no_master_key_is_no_warning(folder: Folder) -> None:
    text = "model_list: [{model_name: m, litellm_params: {model: openai/m}}]\ngeneral_settings: {}\n"
    assert folder.load(text, ENV).warnings == ()


@pytest.mark.parametrize("value", ["false", "true", "no", "[]", "{}"])
@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("general_settings: {{master_key: {}}}", "general_settings.master_key"),
        ("litellm_settings: {{master_key: {}}}", "litellm_settings.master_key"),
        ("router_settings: {{redis_host: h, redis_password: {}}}", "router_settings.redis_password"),
        ("model_list: [{{litellm_params: {{api_key: {}}}}}]", "model_list[0].litellm_params.api_key"),
        ("model_list: [{{litellm_params: {{azure_ad_token: {}}}}}]", "model_list[0].litellm_params.azure_ad_token"),
    ],
)
def test_a_secret_is_text(folder: Folder, text: str, path: str, value: str) -> None:
    mistake = folder.mistake(text.format(value))
    assert mistake.path == path and mistake.line == 1 and "must be text, got" in str(mistake)
    assert folder.load(text.format("'false'")).master_key in ("", "false")


@pytest.mark.parametrize("env", [{}, {"A2PY_INSECURE": "0"}, {"A2PY_INSECURE": "1"}, {"A2PY_INSECURE": "true"}])
def test_insecure(folder: Folder, env: dict[str, str]) -> None:
    assert folder.load("a2py: {}", env).insecure is (env.get("A2PY_INSECURE") in ("1", "true"))
    assert folder.load("general_settings: {dangerously_permit_weak_or_unset_master_key: false}", env).insecure is False


def test_empty_sections(folder: Folder) -> None:
    config = folder.load("model_list:\nlitellm_settings:\nrouter_settings: {}\ngeneral_settings: null\ninclude:\n", ENV)
    assert config.settings == Settings() and config.warnings == (
        "litellm_config.yaml: `model_list` is missing or empty, so the models come from the keys of the environment. "
        "Write `model_list:` to name models.",
    )


# -- sharing: the line, affinity


def test_the_line_and_the_limit_of_a_name(folder: Folder) -> None:
    config = folder.load(
        """
        model_list:
          - {model_name: big, litellm_params: {model: openai/gpt-4o}}
          - {model_name: openai/*, litellm_params: {model: openai/*}}
          - {model_name: small, litellm_params: {model: openai/gpt-4o-mini}}
        a2py:
          queue: {length: 7, seconds: "90"}
          affinity: off
          cache_health: false
          max_parallel_requests: {big: 4, openai/*: 2, smal: 1}
        """,
        ENV,
    )
    settings = config.settings
    assert (settings.queue_length, settings.queue_seconds) == (7, 90.0)
    assert not settings.affinity and not settings.cache_health
    assert [dep.name_parallel for dep in config.deployments] == [4, 2, 0]
    (bound,) = config.resolve("openai/gpt-9")
    assert (bound.name, bound.group, bound.name_parallel) == ("openai/gpt-9", "openai/*", 2)
    assert bound.seat == config.deployments[1].seat
    (warning,) = config.warnings
    assert "`a2py.max_parallel_requests` names smal" in warning and "Did you mean small?" in warning


def test_a_seat_stays_if_another_entry_is_removed(folder: Folder) -> None:
    def seats(*hosts: str) -> dict[str, str]:
        entries = "\n".join(
            f"  - {{model_name: m, litellm_params: {{model: openai/x, api_key: k, api_base: 'http://127.0.0.1:{host}/v1'}}}}"
            for host in hosts
        )
        config = folder.load(f"model_list:\n{entries}\n")
        assert len({dep.seat for dep in config.deployments}) == len(hosts)
        return {dep.base: dep.seat for dep in config.deployments}

    before, after = seats("1", "2", "3"), seats("3", "2")
    assert after == {base: seat for base, seat in before.items() if base in after}
    assert seats("1") == {base: seat for base, seat in before.items() if ":1/" in base}


def test_seats_of_equal_entries_and_of_ids(folder: Folder) -> None:
    entry = "{model_name: m, litellm_params: {model: openai/x, api_key: k}"
    config = folder.load(f"model_list:\n  - {entry}}}\n  - {entry}}}\n  - {entry}, model_info: {{id: mine}}}}\n")
    one, two, three = (dep.seat for dep in config.deployments)
    assert two == f"{one}#2" and three == "id:mine" and one != "k"
