"""Where the configuration is looked for, and the environment it is read in.

Knows: the search order, `.env`, which of its names count. Must not know: what any key or variable means.
Invariants: `os.environ` is neither read nor written: the caller gives the environment; `.env` never overrides it and never reads it; `.env`
has no say in which file is read; values never show in a warning.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from a2py.config.variables import Origin, Variables
from a2py.providers import PROVIDERS

MAX_DOTENV = 1 << 20
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][\w.-]*)\s*=\s*(.*?)\s*\Z", re.ASCII)
_REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*)\}")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "$": "$"}
#: Names of variables whose values are secrets.
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|AUTHORIZATION", re.IGNORECASE)
#: Variables of `.env` that count by themselves. Any other counts only if the configuration names it by os.environ/NAME.
TABLE = frozenset(
    (
        "AZURE_API_VERSION",
        *(name for row in PROVIDERS.values() for name in (*row.keys, *row.bases, *row.env_headers.values())),
    )
)
PREFIX = "LITELLM_"
#: Variables that never count from `.env`: they decide what runs, which file is read and who may connect.
OWN_PREFIX, OWN_NAMES = "A2PY_", frozenset(("CONFIG_FILE_PATH", "OLLAMA_HOST"))


def read_dotenv(
    text: str, file: str, env: Mapping[str, str], warn: Callable[[str], None], hidden: Collection[str] = ()
) -> dict[str, str]:
    """The variables of a `.env`: `NAME=value`, `export`, comments, single quotes (literal), double quotes (escapes, several lines), `${NAME}`.

    `${NAME}` gives the variable of `env`, else the one above it in the file, else nothing. A line whose `${NAME}` is in `hidden` is ignored."""
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
        quote = value[0] if value[:1] in ("'", '"') else ""
        if quote:
            rest = value[1:]
            while (end := _closing(rest, quote)) < 0:
                following = next(lines, None)
                if following is None:
                    break
                rest += "\n" + following[1]
            if end < 0:
                warn(f"{file}:{number}: the quote is never closed, ignored")
                continue
            value = rest[:end]
        else:
            value = re.split(r"(?:\A|\s+)#", value, maxsplit=1)[0]
        if quote != "'":
            outer = next((used for used in _REFERENCE.findall(value) if used in hidden and used not in out), "")
            if outer:
                if name not in hidden and (counts(name) or SECRET.search(name)):
                    why = f"${{{outer}}} is a variable of the environment, which {file} may not read; set {name} in the environment instead"
                    warn(f"{file}:{number}: {name} is ignored: {why}")
                continue
            value = _expand(value, env, out)
        if quote == '"':
            value = re.sub(r"\\([nrt\\\"$])", lambda m: _ESCAPES[m[1]], value)
        out[name] = value
    return out


def counts(name: str) -> bool:
    """Return whether a variable of `.env` counts even if no file names it."""
    return name in TABLE or name.startswith(PREFIX)


def _closing(rest: str, quote: str) -> int:
    if quote == "'":
        return rest.find("'")
    found = re.match(r'(?:[^"\\]|\\.)*"', rest, re.DOTALL)
    return found.end() - 1 if found else -1


def _expand(value: str, env: Mapping[str, str], out: Mapping[str, str]) -> str:
    return _REFERENCE.sub(lambda m: env.get(m[1], out.get(m[1], "")), value)


def environment(env: Mapping[str, str], cwd: str, warn: Callable[[str], None] = lambda _: None) -> Variables:
    """Return `env` and what `.env` in `cwd` adds to it. `warn` receives one line for a `.env` that cannot be read, and for what is ignored in it.

    The author of a cloned repository wrote its `.env`. So `.env` may give keys and addresses, and nothing that decides what runs. A `.env` that
    is a link out of the folder is ignored, because it could lead to another project's keys."""
    file = os.path.join(cwd, ".env")
    if not within(file, cwd):
        warn(
            f".env is a link to {os.path.realpath(file)}, outside this folder, ignored; set its variables in the environment"
        )
        return Variables(env)
    try:
        with open(file, "rb") as f:
            text = f.read(MAX_DOTENV).decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return Variables(env)
    except (OSError, UnicodeDecodeError) as e:
        warn(f".env: cannot be read ({type(e).__name__}), ignored")
        return Variables(env)
    added = read_dotenv(text, ".env", {}, warn, env)
    if any(value and SECRET.search(name) for name, value in added.items()):
        warn_readable(file, ".env", warn)
    own = [name for name in added if name.upper().startswith(OWN_PREFIX) or name in OWN_NAMES]
    if own:
        warn(
            f".env: {', '.join(own)} {'is' if len(own) == 1 else 'are'} ignored there; set {'it' if len(own) == 1 else 'them'} in the environment"
        )
    dotenv = {name: value for name, value in added.items() if name not in own}
    counted = {name: value for name, value in dotenv.items() if counts(name) and name not in env}
    return Variables({**counted, **env}, dotenv, dict.fromkeys(counted, Origin(dotenv=True)))


def within(file: str, folder: str) -> bool:
    """Return whether `file` lies in `folder` or below it, after following links."""
    real, root = os.path.realpath(file), os.path.realpath(folder)
    return real.startswith(os.path.join(root, ""))


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


class Located(NamedTuple):
    """`path`: the configuration file. `untrusted`: it was found in the working folder, nobody named it."""

    path: str
    untrusted: bool


def find(path: str | None, env: Mapping[str, str], cwd: str) -> str | None:
    """The configuration file: `path`, $A2PY_CONFIG, $CONFIG_FILE_PATH (these need not exist), a2py.yaml and litellm_config.yaml in `cwd`,
    $XDG_CONFIG_HOME/a2py/config.yaml; None where there is none. Relative to `cwd`; `.env` has no say."""
    located = locate(path, env, cwd)
    return located.path if located is not None else None


def locate(path: str | None, env: Mapping[str, str], cwd: str) -> Located | None:
    """Return the configuration file (see `find`), and whether it was merely found in the working folder."""
    named = path or env.get("A2PY_CONFIG") or env.get("CONFIG_FILE_PATH")
    if named:
        home = env.get("HOME") or env.get("USERPROFILE") or "~"
        return Located(os.path.join(cwd, home + named[1:] if named.startswith("~/") else named), False)
    file = next((file for file in places(env, cwd) if os.path.isfile(file)), None)
    if file is None:
        return None
    own = (_own(env), env.get("CREDENTIALS_DIRECTORY", ""))
    folder = os.path.realpath(os.path.dirname(file))
    return Located(file, not any(os.path.isabs(place) and os.path.realpath(place) == folder for place in own))


def places(env: Mapping[str, str], cwd: str) -> tuple[str, ...]:
    """Where a file is looked for that nothing names, in this order."""
    here = tuple(os.path.join(cwd, name) for name in ("a2py.yaml", "litellm_config.yaml"))
    own = _own(env)
    return here + ((os.path.join(own, "config.yaml"),) if own else ())


def _own(env: Mapping[str, str]) -> str:
    """Return the user's own configuration directory, "" for none. A relative XDG_CONFIG_HOME is ignored: it would lie in the working folder."""
    home = env.get("HOME") or env.get("USERPROFILE") or ""
    base = next(
        filter(os.path.isabs, (env.get("XDG_CONFIG_HOME") or "", os.path.join(home, ".config") if home else "")), ""
    )
    return os.path.join(base, "a2py") if base else ""
