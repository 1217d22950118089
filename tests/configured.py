"""Configuration files for tests: return the Config of a text, or the message about its mistake."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from a2py.config import Config, ConfigError, load
from a2py.deployment import Deployment

#: Keys that must never be printed.
KEY = "sk-very-secret-0123456789"


class Folder:
    """A working directory with a configuration in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        file.chmod(mode)
        return file

    def load(self, text: str, env: Mapping[str, str] | None = None) -> Config:
        self.write("litellm_config.yaml", text)
        return load(None, env or {}, str(self.path))

    def one(self, params: str, env: Mapping[str, str] | None = None, info: str = "{}", more: str = "") -> Deployment:
        """The deployment of a file with one model called `m`; `params` and `info` in YAML's flow style."""
        text = f"model_list:\n  - model_name: m\n    litellm_params: {params}\n    model_info: {info}\n{more}"
        (deployment,) = self.load(text, env).deployments
        return deployment

    def mistake(self, text: str, env: Mapping[str, str] | None = None) -> ConfigError:
        with pytest.raises(ConfigError) as excinfo:
            self.load(text, env)
        return excinfo.value
