"""Which Redis a file names: LiteLLM's keys and variables, mistakes with their place, and what may leave this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from a2py.config import ConfigError
from a2py.config import load as load_file
from a2py.config.redis import STATE, RedisAddress
from tests.configured import Folder

ENV = {"OPENAI_API_KEY": "ok"}
MODEL = "model_list: [{model_name: m, litellm_params: {model: openai/m}}]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def load(folder: Folder, keys: str, **env: str) -> RedisAddress | None:
    return folder.load(f"{MODEL}router_settings: {{{keys}}}", {**ENV, **env}).redis


@pytest.mark.parametrize(
    ("keys", "env", "url", "options"),
    [
        ("redis_url: 'redis://h:1/2'", {}, "redis://h:1/2", {}),
        ("redis_url: 'rediss://u:p@h:1'", {"REDIS_PASSWORD": "x"}, "rediss://u:p@h:1", {}),
        (
            "redis_url: 'redis://h'",
            {"REDIS_PASSWORD": "x", "REDIS_USERNAME": "u"},
            "redis://h",
            {"username": "u", "password": "x"},
        ),
        ("redis_host: h", {}, "redis://h:6379/0", {}),
        ("redis_host: h, redis_port: 7, redis_db: 3, redis_ssl: true", {}, "rediss://h:7/3", {}),
        ("redis_host: h", {"REDIS_PORT": "7", "REDIS_DB": "3", "REDIS_SSL": "True"}, "rediss://h:7/3", {}),
        ("redis_host: h, redis_port: 8", {"REDIS_PORT": "7"}, "redis://h:8/0", {}),
        ("redis_host: h", {"REDIS_URL": "redis://other", "REDIS_HOST": "other"}, "redis://h:6379/0", {}),
        ("redis_host: os.environ/REDIS_HOST", {"REDIS_HOST": "h"}, "redis://h:6379/0", {}),
        ("redis_host: '::1', redis_password: pw", {}, "redis://[::1]:6379/0", {"password": "pw"}),
        (  # the password of the certificate is not the one of the Redis
            "redis_url: 'rediss://h?ssl_password=c', redis_password: pw, redis_username: u",
            {},
            "rediss://h?ssl_password=c",
            {"username": "u", "password": "pw"},
        ),
        ("redis_url: 'redis://h?password=c', redis_password: pw", {}, "redis://h?password=c", {}),
        ("redis_url: 'unix:///run/redis.sock'", {}, "unix:///run/redis.sock", {}),
        ("redis_url: 'rediss://h?db=1&ssl_ca_path=/'", {}, "rediss://h?db=1&ssl_ca_path=/", {}),
    ],
)
def test_where_limits_are_shared(
    folder: Folder, keys: str, env: dict[str, str], url: str, options: dict[str, str]
) -> None:
    address = load(folder, keys, **env)
    assert address is not None and address.url == url and address.options == options


@pytest.mark.parametrize(
    ("keys", "env"),
    [
        ("num_retries: 1", {"REDIS_URL": "redis://h", "REDIS_HOST": "h"}),
        ("redis_host: os.environ/REDIS_HOST", {}),
        ("redis_port: 7", {}),
        ("redis_host: ''", {}),
    ],
)
def test_without_an_address_nothing_is_shared(folder: Folder, keys: str, env: dict[str, str]) -> None:
    assert load(folder, keys, **env) is None
    assert folder.load(MODEL, ENV).redis is None


@pytest.mark.parametrize(
    ("keys", "env", "words"),
    [
        ("redis_url: x", {}, ["litellm_config.yaml:2", "router_settings.redis_url", "redis://host:6379"]),
        ("redis_url: 'http://h:1'", {}, ["the address of a Redis"]),
        ("redis_url: 'redis://h:port'", {}, ["the address of a Redis"]),
        ("redis_url: 'redis://h/0?foo=bar'", {}, ["has an option `foo` that is unknown", "client_name"]),
        ("redis_url: 'redis://h/0?pasword=bar'", {}, ["an option `pasword` that is unknown", "mean `password`?"]),
        ("redis_url: 'redis://h/0?db=one'", {}, ["has an option `db` that is not a whole number"]),
        (
            "redis_url: 'redis://h/0?client_name=x&socket_timeout=one'",
            {},
            ["option `socket_timeout` that is not a num"],
        ),
        ("redis_url: 'redis://h/0?ssl_cert_reqs=none'", {}, ["option `ssl_cert_reqs`, which is for TLS", "rediss://"]),
        (
            "redis_url: 'rediss://h/0?ssl_cert_reqs=no'",
            {},
            ["option `ssl_cert_reqs`", "Write required, optional, none"],
        ),
        ("redis_url: 'redis://h:1/abc'", {}, ["litellm_config.yaml:2", "a path that is no database", "host:6379/0"]),
        ("redis_url: 'rediss://h/0?ssl_ca_certs=/no/ca'", {}, ["`ssl_ca_certs` that names a file that cannot be read"]),
        (
            "redis_url: 'rediss://h/0?ssl_keyfile=/'",
            {},
            ["option `ssl_keyfile` that names a folder. Write the path of a"],
        ),
        ("redis_url: 'rediss://h/0?ssl_ca_path=/no'", {}, ["`ssl_ca_path` that names a file", "a folder of them"]),
        ("redis_url: 'redis://h:1/1/2'", {}, ["a path that is no database"]),
        ("redis_host: h, redis_port: none", {}, ["router_settings.redis_port", "a whole number"]),
        ("redis_host: h", {"REDIS_DB": "one"}, ["REDIS_DB", "a whole number"]),
    ],
)
def test_mistakes(folder: Folder, keys: str, env: dict[str, str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as excinfo:
        load(folder, keys, **env)
    assert all(word in str(excinfo.value) for word in words), str(excinfo.value)


@pytest.mark.parametrize("url", ["redis://u:1/s3cret@h:1", "redis://u:1?s3cret=x@h:1", "redis://:s3cret@h:1/s3cret"])
def test_a_mistake_shows_no_login(folder: Folder, url: str) -> None:
    """A password with a `/` or `?` that is not escaped ends up in the path or the options."""
    assert "s3cret" not in str(folder.mistake(f"{MODEL}router_settings: {{redis_url: '{url}'}}", ENV))


@pytest.mark.parametrize("path", ["", "/", "/3", "/3/"])
def test_databases(folder: Folder, path: str) -> None:
    assert load(folder, f"redis_url: 'redis://h:1{path}'") is not None


@pytest.mark.parametrize(
    ("keys", "env", "password", "db"),
    [
        ("redis_host: h, redis_password: x", {}, "router_settings.redis_password", "router_settings.redis_db"),
        ("redis_host: h", {"REDIS_PASSWORD": "x", "REDIS_DB": "9"}, "REDIS_PASSWORD", "REDIS_DB"),
        (
            "redis_url: 'redis://:x@h'",
            {"REDIS_PASSWORD": "x"},
            "router_settings.redis_url",
            "router_settings.redis_url",
        ),
        ("redis_url: 'redis://h'", {"REDIS_PASSWORD": "x"}, "REDIS_PASSWORD", "router_settings.redis_url"),
        ("redis_url: 'redis://u@h'", {}, "router_settings.redis_password", "router_settings.redis_url"),
    ],
)
def test_keys_for_messages(folder: Folder, keys: str, env: dict[str, str], password: str, db: str) -> None:
    address = load(folder, keys, **env)
    assert address is not None and (address.keys["password"], address.keys["db"]) == (password, db)


def test_no_login_shows(folder: Folder) -> None:
    config = folder.load(
        f"{MODEL}router_settings: {{redis_url: 'rediss://user:s3cret-word@h:1/0', redis_password: s3cret-word}}", ENV
    )
    assert config.redis is not None and config.redis.label == "rediss://h:1"
    assert "s3cret-word" not in repr(config) and "s3cret-word" not in " ".join(config.warnings)


def test_a_found_file_needs_consent_for_state_and_password(folder: Folder) -> None:
    (folder.path / "litellm_config.yaml").write_text(
        f"{MODEL}router_settings: {{redis_host: redis.example, redis_password: os.environ/REDIS_PASSWORD}}"
    )
    env = {**ENV, "REDIS_PASSWORD": "pw"}
    pairs = load_file(None, env, str(folder.path)).pairs
    assert {(pair.variable, pair.host) for pair in pairs} == {
        (STATE, "redis://redis.example:6379"),
        ("REDIS_PASSWORD", "redis://redis.example:6379"),
    }
    assert load_file("litellm_config.yaml", env, str(folder.path)).pairs == {}, "a file that somebody has named"


def test_this_machine_needs_no_consent(folder: Folder) -> None:
    (folder.path / "litellm_config.yaml").write_text(
        f"{MODEL}router_settings: {{redis_host: localhost, redis_password: os.environ/REDIS_PASSWORD}}"
    )
    assert load_file(None, {**ENV, "REDIS_PASSWORD": "pw"}, str(folder.path)).pairs == {}


def test_a_folders_dotenv_does_not_choose_where_the_state_goes(folder: Folder) -> None:
    (folder.path / ".env").write_text("REDIS_HOST=evil.example\nREDIS_PASSWORD=pw\nREDIS_PORT=1\n")
    (folder.path / "litellm_config.yaml").write_text(f"{MODEL}router_settings: {{redis_host: os.environ/REDIS_HOST}}")
    with pytest.raises(ConfigError, match=r"redis://evil\.example:6379, which \.env chose"):
        load_file("litellm_config.yaml", ENV, str(folder.path))
    (folder.path / ".env").write_text("REDIS_HOST=localhost\nREDIS_PASSWORD=pw\nREDIS_PORT=1\n")
    config = load_file("litellm_config.yaml", ENV, str(folder.path))
    assert config.redis == RedisAddress("redis://localhost:6379", "redis://localhost:6379/0"), (
        "only what is named counts"
    )
