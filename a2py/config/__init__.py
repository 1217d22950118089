"""The configuration: LiteLLM's file as it is, the environment, and what model names mean."""

from a2py.config.assemble import from_environment, load, single
from a2py.config.dotenv import environment, find
from a2py.config.error import ConfigError
from a2py.config.names import Config
from a2py.config.setting_row import Setting
from a2py.config.settings import Settings
from a2py.config.table import SETTINGS

__all__ = [
    "SETTINGS",
    "Config",
    "ConfigError",
    "Setting",
    "Settings",
    "environment",
    "find",
    "from_environment",
    "load",
    "single",
]
