"""The environment with which Claude Code and programs of Anthropic's SDKs work best on this proxy, and its syntax in
each shell.

Knows: the variables that Claude Code 2.1.332 reads (measured 2026-11-22).
Must not know: files, processes, where the values come from.
Invariants: pure. `SHELLS` quote every value.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

#: Variables that are always set → value and reason. A value that the user has set is kept.
TUNING: dict[str, tuple[str, str]] = {
    "API_TIMEOUT_MS": ("3000000", "a slow model may take 50 minutes for one answer (else 10)"),
    "CLAUDE_STREAM_IDLE_TIMEOUT_MS": ("1800000", "pings carry 30 minutes of silent reasoning (else 5 to 20)"),
    "CLAUDE_CODE_AUTO_MODE_SERVER": (
        "0",
        "auto mode asks the model itself: no gateway answers the vendor's own safety field",
    ),
    "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": ("1", "/model lists the models that are served here"),
    "CLAUDE_CODE_ATTRIBUTION_HEADER": (
        "0",
        "no fingerprint that changes inside the prompt: the upstream's prefix cache hits",
    ),
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": ("1", "no calls to other servers than this proxy"),
    "DISABLE_TELEMETRY": ("1", "no telemetry"),
}
#: Families of models that Claude Code asks for by itself → the variable that sets the model to use instead.
FAMILIES: dict[str, str] = {
    "opus": "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "sonnet": "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "haiku": "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "fable": "ANTHROPIC_DEFAULT_FABLE_MODEL",
}
#: The name for background requests if rules choose the model. Without it Claude Code (2.1.332, 2026-11-30) uses the
#: main model's name for them.
HAIKU = "claude-haiku-5-5"
#: Variables that make a client bypass the proxy, or send a second credential.
REMOVED_VARIABLES = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BEDROCK_BASE_URL",
    "ANTHROPIC_VERTEX_BASE_URL",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_GATEWAY",
    "CLAUDE_CODE_USE_VERTEX",
)
#: Stands for a key that only its owner has: the proxy knows a digest of it.
FOREIGN_TOKEN = "…"
#: The token for a proxy that asks for none: some clients do not start without one.
NO_TOKEN = "a2py"
#: The window that Claude Code assumes for a model that it does not know. A larger window needs no variable.
ASSUMED_WINDOW = 1_000_000
#: The smallest window that works. Claude Code compacts 33,000 tokens before the window's end (2.1.332, measured
#: 2026-11), and needs some 15,000 for itself.
SMALLEST_WINDOW = 50_000


@dataclass(frozen=True)
class Target:
    """A proxy as a client needs it.

    `model`: the model to use, "" if the client's own names work. `names`: of all models that are served. `window`,
    `output`: limits of `model` in tokens, 0 if unknown. `is_routed`: rules choose the model, and they leave alone what
    is asked for by a name of the file."""

    url: str
    token: str = field(default="", repr=False)
    model: str = ""
    names: tuple[str, ...] = ()
    window: int = 0
    output: int = 0
    is_routed: bool = False


def family_model(family: str, target: Target) -> str:
    """Return the model to use for a family: one whose name contains the family's word, else `target.model`."""
    return next((name for name in target.names if family in name.lower() and "*" not in name), target.model)


def client_env(target: Target) -> dict[str, str]:
    """Return variable → value, in the order in which they are printed."""
    env = {"ANTHROPIC_BASE_URL": target.url, "ANTHROPIC_AUTH_TOKEN": target.token or NO_TOKEN}
    if target.model:
        env["ANTHROPIC_MODEL"] = target.model
        for family, variable in FAMILIES.items():
            env[variable] = family_model(family, target)
        env["ANTHROPIC_SMALL_FAST_MODEL"] = env[FAMILIES["haiku"]]
    if target.is_routed:
        env[FAMILIES["haiku"]] = env["ANTHROPIC_SMALL_FAST_MODEL"] = HAIKU
    if SMALLEST_WINDOW <= target.window < ASSUMED_WINDOW:
        env["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] = str(target.window)
    if target.output:
        env["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(target.output)
    env.update((name, value) for name, (value, _) in TUNING.items())
    return env


#: Variables of `client_env` that are always set, even if the user has set them.
ROUTE = ("ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN")


def overlay(user: Mapping[str, str], env: Mapping[str, str]) -> dict[str, str]:
    """Return `user`'s environment with `env` added. The user's values win, except those that bypass the proxy."""
    own = {name: value for name, value in user.items() if name not in REMOVED_VARIABLES and name not in ROUTE}
    return {**own, **{name: value for name, value in env.items() if name not in own}}


def _sh(env: Mapping[str, str], unset: tuple[str, ...]) -> str:
    return "\n".join(
        [*(f"unset {name}" for name in unset), *(f"export {name}={shlex.quote(value)}" for name, value in env.items())]
    )


def _fish_quote(value: str) -> str:
    return (
        "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        if not re.fullmatch(r"[\w@%+=:,./-]+", value)
        else value
    )


def _fish(env: Mapping[str, str], unset: tuple[str, ...]) -> str:
    return "\n".join(
        [
            *(f"set -e {name}" for name in unset),
            *(f"set -gx {name} {_fish_quote(value)}" for name, value in env.items()),
        ]
    )


def _powershell(env: Mapping[str, str], unset: tuple[str, ...]) -> str:
    lines = [f"Remove-Item Env:{name} -ErrorAction SilentlyContinue" for name in unset]
    return "\n".join(lines + ["$env:{} = '{}'".format(name, value.replace("'", "''")) for name, value in env.items()])


def _json(env: Mapping[str, str], unset: tuple[str, ...]) -> str:
    return json.dumps(dict(env), indent=2)


def _settings(env: Mapping[str, str], unset: tuple[str, ...]) -> str:
    return json.dumps({"env": dict(env)}, indent=2)


#: Shell → function that prints the environment for it. `settings`: for ~/.claude/settings.json.
SHELLS: dict[str, Callable[[Mapping[str, str], tuple[str, ...]], str]] = {
    "sh": _sh,
    "fish": _fish,
    "powershell": _powershell,
    "json": _json,
    "settings": _settings,
}
