"""What a start prints: which models are served, where, and how to use them.

Knows: a Config, an address. Must not know: how anything is served.
Invariants: pure. A key never shows: where a client needs one, the text names the variable.
"""

from __future__ import annotations

import ipaddress
import json
from typing import NamedTuple
from urllib.parse import urlsplit

from a2py import __version__
from a2py.cli.clientenv import FAMILIES, FOREIGN_TOKEN, HAIKU, Target
from a2py.cli.source import CURE
from a2py.cli.terminal import Terminal
from a2py.config import Config
from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.messages.rules import list_words

#: How many names the summary lists; it only counts the others.
MAX_ROWS = 20
#: How many models `a2py status` names; it only counts the others.
MAX_NAMES = 8


class Row(NamedTuple):
    """A line of the models table.

    `upstream`: `provider/model`, or `→ name` for an alias; `place`: the host, or the problem."""

    name: str
    upstream: str
    wire: str
    place: str


class StartReport(NamedTuple):
    """What a start has to report.

    `what`: where the configuration comes from. `listening`: the address as it was bound. `has_key_variable`: the master
    key is the value of LITELLM_MASTER_KEY. `has_c_parser`: aiohttp's C parser is installed."""

    config: Config
    target: Target
    what: str
    listening: str
    is_demo: bool
    has_key_variable: bool
    has_c_parser: bool = True


def own_url(host: str, port: int, tls: bool = False) -> str:
    """Return the URL under which this machine reaches a server that listens on `host`."""
    name = host
    try:
        if ipaddress.ip_address(host).is_unspecified:
            name = "127.0.0.1"
    except ValueError:
        name = host or "127.0.0.1"
    return f"http{'s' if tls else ''}://{f'[{name}]' if ':' in name else name}:{port}"


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def describe_target(config: Config, url: str) -> Target:
    """Return the proxy at `url` as a client needs it."""
    names = config.list_chat_names()
    model = config.default_name or (names[0] if names else "")
    window = output = 0
    first = _first_deployment(config, model)
    if first is not None:
        window, output = first.max_input_tokens, first.max_output_tokens or first.quirks.max_tokens_limit
    if not config.settings.routes:
        return Target(url, config.master_key, model, names, window, output)
    return Target(url, config.master_key, "", names, _long_window(config, window), output, is_routed=True)


def _first_deployment(config: Config, name: str) -> Deployment | None:
    try:
        return config.resolve(name)[0] if name else None
    except ApiError:
        return None


def _long_window(config: Config, window: int) -> int:
    """Return the window of the models to which long prompts go, `window` if no rule asks for them. 0: unknown."""
    longs = [rule.model for rule in config.settings.routes if "tokens_over" in list_words((rule,))]
    windows = [dep.max_input_tokens for name in longs if (dep := _first_deployment(config, name)) is not None]
    return max((window, *windows)) if all((window, *windows)) else 0


def list_rows(config: Config) -> list[Row]:
    """Return one row for each deployment, in the configuration's order, then the aliases."""
    out = []
    for dep in config.deployments:
        place = f"✗ {dep.problem}" if dep.problem else urlsplit(dep.base).netloc
        way = dep.wire if dep.is_chat else dep.mode
        out.append(Row(dep.name, "/".join(filter(None, (dep.provider, dep.model))), way, place))
    out += [
        Row(alias, f"→ {name}", "", "") for alias, name in config.aliases.items() if alias not in config.hidden_names
    ]
    if config.default_name and _upstream(config, "claude-opus-5-5") == _upstream(config, config.default_name) != "":
        out.append(Row("claude-*", f"→ {config.default_name}", "", ""))
    return out


def _upstream(config: Config, name: str) -> str:
    """Return the `provider/model` that serves `name`, "" if none does."""
    try:
        dep = config.resolve(name)[0]
    except ApiError:
        return ""
    return f"{dep.provider}/{dep.model}"


def describe_served(config: Config, what: str) -> str:
    """Return in one line what is served, for `a2py status`."""
    names = list(dict.fromkeys(dep.name for dep in config.deployments if not dep.problem))
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return (
        f"serving {what} ({', '.join(names[:MAX_NAMES])}{more})" if names else f"serving {what} (no model can be used)"
    )


def format_curl(target: Target) -> str:
    """Return a line for any POSIX shell that streams an answer."""
    body = {
        "model": target.model or "claude-sonnet-4-5",
        "max_tokens": 200,
        "stream": True,
        "messages": [{"role": "user", "content": "Say hello"}],
    }
    key = ' -H "authorization: Bearer $ANTHROPIC_AUTH_TOKEN"' if target.token else ""
    text = json.dumps(body).replace("'", "'\\''")
    return f"curl -N {target.url}/v1/messages -H 'content-type: application/json'{key} -d '{text}'"


def format_exports(target: Target, has_key_variable: bool) -> list[str]:
    """Return the three lines that Claude Code needs."""
    if not target.token:
        token = "a2py"
    elif target.token == FOREIGN_TOKEN:
        token = f"{FOREIGN_TOKEN}  # a key that `a2py keys new NAME` has printed"
    else:
        token = '"$LITELLM_MASTER_KEY"' if has_key_variable else "…  # your master_key"
    lines = [f"export ANTHROPIC_BASE_URL={target.url}", f"export ANTHROPIC_AUTH_TOKEN={token}"]
    if target.is_routed:
        lines.append(f"export {FAMILIES['haiku']}={HAIKU}")
    return [*lines, f"export ANTHROPIC_MODEL={target.model}"] if target.model else lines


def summarize(terminal: Terminal, report: StartReport) -> str:
    """Return the whole summary."""
    config, target, stream = report.config, report.target, terminal.err
    title, url = terminal.style(f"a2py {__version__}", "bold", stream), terminal.style(target.url, "cyan", stream)
    address = "" if target.url.endswith(report.listening) else f", listening on {report.listening}"
    lines = [f"{title} at {url}{address}, serving {report.what}"]
    if report.is_demo:
        lines.append(terminal.style("  for a real model: " + "; ".join(CURE), "yellow", stream))
    table = list_rows(config)
    if table:
        lines += ["", terminal.table(table[:MAX_ROWS], indent="  ")]
    if len(table) > MAX_ROWS:
        lines.append(f"  … and {len(table) - MAX_ROWS} more: a2py models")
    lines += [f"  route {n}: {rule.label} → {rule.model}" for n, rule in enumerate(config.settings.routes, 1)]
    lines += [f"{terminal.style('warning:', 'yellow', stream)} {warning}" for warning in config.warnings]
    if not report.has_c_parser:
        lines.append("slow: aiohttp's C parser is missing (reinstall aiohttp from a wheel)")
    if all(dep.problem for dep in config.deployments):
        cure = (
            "correct what is marked ✗ above"
            if table
            else "add a model to model_list (a2py config init writes an example)"
        )
        return "\n".join([*lines, "", terminal.style(f"no model can be used yet: {cure}", "yellow", stream), ""])
    lines += ["", "Claude Code, here or elsewhere on this machine (or: a2py claude; more variables: a2py env):"]
    lines += [f"  {line}" for line in format_exports(target, report.has_key_variable)]
    lines += ["", "Try it:", f"  {format_curl(target)}", ""]
    return "\n".join(lines)
