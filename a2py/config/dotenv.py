"""Where the configuration is looked for, and the environment it is read in.

Knows: the search order, `.env`. Must not know: what any key or variable means.
Invariants: `os.environ` is neither read nor written: the caller gives the environment; `.env` never overrides it; values never show in a warning.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping

MAX_DOTENV = 1 << 20
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][\w.-]*)\s*=\s*(.*?)\s*\Z", re.ASCII)
_REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*)\}")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "$": "$"}
#: Names of variables whose values are secrets.
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|AUTHORIZATION", re.IGNORECASE)


def read_dotenv(text: str, file: str, env: Mapping[str, str], warn: Callable[[str], None]) -> dict[str, str]:
    """The variables of a `.env`: `NAME=value`, `export`, comments, single quotes (literal), double quotes (escapes, several lines), `${NAME}`."""
    out: dict[str, str] = {}
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.match(line)
        if not found:
            warn(f"{file}:{number}: not of the form NAME=value, ignored")
            continue
        name, value = found.groups()
        if value[:1] in ("'", '"'):
            quote, rest = value[0], value[1:]
            while (end := _closing(rest, quote)) < 0:
                following = next(lines, None)
                if following is None:
                    break
                rest += "\n" + following[1]
            if end < 0:
                warn(f"{file}:{number}: the quote is never closed, ignored")
                continue
            value = rest[:end]
            if quote == '"':
                value = re.sub(r"\\([nrt\\\"$])", lambda m: _ESCAPES[m[1]], _expand(value, env, out))
        else:
            value = _expand(re.split(r"(?:\A|\s+)#", value, maxsplit=1)[0], env, out)
        out[name] = value
    return out


def _closing(rest: str, quote: str) -> int:
    if quote == "'":
        return rest.find("'")
    found = re.match(r'(?:[^"\\]|\\.)*"', rest, re.DOTALL)
    return found.end() - 1 if found else -1


def _expand(value: str, env: Mapping[str, str], out: Mapping[str, str]) -> str:
    return _REFERENCE.sub(lambda m: env.get(m[1], out.get(m[1], "")), value)


def environment(env: Mapping[str, str], cwd: str, warn: Callable[[str], None] = lambda _: None) -> dict[str, str]:
    """`env` and what `.env` in `cwd` adds to it; an unreadable `.env` is told to `warn` and left."""
    file = os.path.join(cwd, ".env")
    try:
        with open(file, "rb") as f:
            text = f.read(MAX_DOTENV).decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return dict(env)
    except (OSError, UnicodeDecodeError) as e:
        warn(f".env: cannot be read ({type(e).__name__}), ignored")
        return dict(env)
    added = read_dotenv(text, ".env", env, warn)
    if any(value and SECRET.search(name) for name, value in added.items()):
        warn_readable(file, ".env", warn)
    return {**added, **env}


def warn_readable(file: str, shown: str, warn: Callable[[str], None]) -> None:
    """One warning if others than the owner can read `file`, which holds keys (POSIX only)."""
    if os.name != "posix":
        return
    try:
        mode = os.stat(file).st_mode
    except OSError:
        return
    if mode & 0o044:
        warn(f"{shown} holds keys and can be read by other users of this machine: chmod 600 {shown}")


def find(path: str | None, env: Mapping[str, str], cwd: str) -> str | None:
    """The configuration file: `path`, $A2PY_CONFIG, $CONFIG_FILE_PATH (these need not exist), a2py.yaml and litellm_config.yaml in `cwd`,
    $XDG_CONFIG_HOME/a2py/config.yaml; None where there is none. Relative to `cwd`."""
    whole = environment(env, cwd)
    named = path or whole.get("A2PY_CONFIG") or whole.get("CONFIG_FILE_PATH")
    if named:
        home = whole.get("HOME") or whole.get("USERPROFILE") or "~"
        return os.path.join(cwd, home + named[1:] if named.startswith("~/") else named)
    return next((file for file in places(whole, cwd) if os.path.isfile(file)), None)


def places(env: Mapping[str, str], cwd: str) -> tuple[str, ...]:
    """Where a file is looked for that nothing names, in this order."""
    home = env.get("HOME") or env.get("USERPROFILE") or ""
    base = env.get("XDG_CONFIG_HOME") or (os.path.join(home, ".config") if home else "")
    here = tuple(os.path.join(cwd, name) for name in ("a2py.yaml", "litellm_config.yaml"))
    return here + ((os.path.join(base, "a2py", "config.yaml"),) if base else ())
