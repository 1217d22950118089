"""What a start says: what is served under which names, where, what is off, and how to use it.

Knows: a Config, an address, which optional parts are there. Must not know: how anything is served.
Invariants: pure; a key never shows: where one is needed, the text names the variable.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from urllib.parse import urlsplit

from a2py import __version__
from a2py.cli.clientenv import Target
from a2py.cli.source import CURE
from a2py.cli.terminal import Terminal
from a2py.config import Config
from a2py.errors import ApiError

#: Names that are listed; the rest are counted.
SHOWN = 20


def own_url(host: str, port: int, tls: bool = False) -> str:
    """The URL under which this machine reaches a server that listens on `host`."""
    name = host
    try:
        if ipaddress.ip_address(host).is_unspecified:
            name = "127.0.0.1"
    except ValueError:
        name = host or "127.0.0.1"
    return f"http{'s' if tls else ''}://{f'[{name}]' if ':' in name else name}:{port}"


def loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def target(config: Config, url: str) -> Target:
    """The proxy as a client needs it."""
    names = config.listing()
    model = config.default_name or (names[0] if names else "")
    window = output = 0
    try:
        first = config.resolve(model)[0] if model else None
    except ApiError:
        first = None
    if first is not None:
        window, output = first.max_input_tokens, first.max_output_tokens or first.quirks.max_tokens_limit
    return Target(url, config.master_key, model, names, window, output)


def rows(config: Config) -> list[tuple[str, str, str, str]]:
    """Name, `provider/model`, wire, host or problem; one row a deployment, then the aliases."""
    out = []
    for dep in config.deployments:
        where = f"✗ {dep.problem}" if dep.problem else urlsplit(dep.base).netloc
        out.append((dep.name, "/".join(filter(None, (dep.provider, dep.model))), dep.wire, where))
    out += [(alias, f"→ {name}", "", "") for alias, name in config.aliases.items() if alias not in config.hidden]
    if config.default_name and _upstream(config, "claude-opus-5-5") == _upstream(config, config.default_name) != "":
        out.append(("claude-*", f"→ {config.default_name}", "", ""))
    return out


def _upstream(config: Config, name: str) -> str:
    """`provider/model` that `name` means; "" where it means none that works."""
    try:
        dep = config.resolve(name)[0]
    except ApiError:
        return ""
    return f"{dep.provider}/{dep.model}"


def parts_off(present: Mapping[str, bool]) -> list[str]:
    """Optional parts that are not there, with the cure. `present`: `c_parser`, `uvloop`."""
    off = []
    if not present["c_parser"]:
        off.append("aiohttp's C parser (slower; reinstall aiohttp from a wheel)")
    if not present["uvloop"]:
        off.append("uvloop (pip install 'a2py[speed]')")
    return off


def curl(target: Target) -> str:
    """One line that streams an answer, in any POSIX shell."""
    body = {
        "model": target.model or "claude-sonnet-4-5",
        "max_tokens": 200,
        "stream": True,
        "messages": [{"role": "user", "content": "Say hello"}],
    }
    key = ' -H "authorization: Bearer $ANTHROPIC_AUTH_TOKEN"' if target.token else ""
    quoted = json.dumps(body).replace("'", "'\\''")
    return f"curl -N {target.url}/v1/messages -H 'content-type: application/json'{key} -d '{quoted}'"


def exports(target: Target, key_variable: bool) -> list[str]:
    """The three lines that Claude Code needs. `key_variable`: the master key stands in LITELLM_MASTER_KEY."""
    token = "a2py" if not target.token else '"$LITELLM_MASTER_KEY"' if key_variable else "…  # your master_key"
    lines = [f"export ANTHROPIC_BASE_URL={target.url}", f"export ANTHROPIC_AUTH_TOKEN={token}"]
    return [*lines, f"export ANTHROPIC_MODEL={target.model}"] if target.model else lines


def text(
    shown: Terminal, config: Config, target: Target, what: str, listening: str, present: Mapping[str, bool], demo: bool, key_variable: bool
) -> str:
    """The whole summary. `listening`: the address as it was bound."""
    stream = shown.err
    public = "" if target.url.endswith(listening) else f", listening on {listening}"
    lines = [f"{shown.style(f'a2py {__version__}', 'bold', stream)} at {shown.style(target.url, 'cyan', stream)}{public}, serving {what}"]
    if demo:
        lines.append(shown.style("  for a real model: " + "; ".join(CURE), "yellow", stream))
    listed = rows(config)
    if listed:
        lines += ["", shown.table(listed[:SHOWN], indent="  ")]
    if len(listed) > SHOWN:
        lines.append(f"  … and {len(listed) - SHOWN} more: a2py models")
    lines += [f"{shown.style('warning:', 'yellow', stream)} {warning}" for warning in config.warnings]
    off = parts_off(present)
    if off:
        lines.append(f"off: {', '.join(off)}")
    if all(dep.problem for dep in config.deployments):
        cure = "mend what is marked ✗ above" if listed else "add a model to model_list (a2py config init writes an example)"
        return "\n".join([*lines, "", shown.style(f"nothing can be asked yet: {cure}", "yellow", stream), ""])
    lines += ["", "Claude Code, here or elsewhere on this machine (or: a2py claude; more variables: a2py env):"]
    lines += [f"  {line}" for line in exports(target, key_variable)]
    lines += ["", "Try it:", f"  {curl(target)}", ""]
    return "\n".join(lines)
