"""Find the configuration file, and read the environment with `.env`.

Knows: the search order, `.env`, which of its names count. Must not know: what any key or variable means.
Invariants: `os.environ` is neither read nor written: the caller passes the environment; `.env` never overrides it and
never reads it; `.env` does not decide which file is read; no warning shows a value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

from a2py.config.variables import Origin, Variables
from a2py.providers import PROVIDERS

#: Name of the file of the clients' keys (keys.py).
KEYS_FILE = "keys.yaml"
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
    text: str, file: str, env: Mapping[str, str], warn: Callable[[str], None], outer_names: Collection[str] = ()
) -> dict[str, str]:
    """Return the variables of a `.env`, and warn about the lines that are ignored.

    It may have `NAME=value`, `export`, comments, single quotes (literal), double quotes (escapes, several lines) and
    `${NAME}`. That is the variable of `env`, else the one above it in the file, else nothing. A line whose `${NAME}` is
    in `outer_names` is ignored."""
    return {name: value for name, (value, _) in _read_lines(text, file, env, warn, outer_names).items()}


def _read_lines(
    text: str, file: str, env: Mapping[str, str], warn: Callable[[str], None], outer_names: Collection[str]
) -> dict[str, tuple[str, int]]:
    """Return name → value and line."""
    variables: dict[str, tuple[str, int]] = {}
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if not match:
            warn(f"{file}:{number}: this line is ignored. Write NAME=value.")
            continue
        name, value = match.groups()
        quote = value[0] if value[:1] in ("'", '"') else ""
        if quote:
            content = _read_quoted(value[1:], quote, lines)
            if content is None:
                warn(f"{file}:{number}: {name} is ignored: its quote is never closed. Write the closing {quote}.")
                continue
            value = content
        else:
            value = re.split(r"(?:\A|\s+)#", value, maxsplit=1)[0]
        if quote != "'":
            outer = _find_hidden_reference(value, outer_names, variables)
            if outer:
                if name not in outer_names and (counts(name) or SECRET.search(name)):
                    why = f"${{{outer}}} is a variable of the environment, which {file} may not read"
                    warn(f"{file}:{number}: {name} is ignored: {why}. Set {name} in the environment instead.")
                continue
            value = _REFERENCE.sub(lambda m: env.get(m[1], variables.get(m[1], ("", 0))[0]), value)
        if quote == '"':
            value = re.sub(r"\\([nrt\\\"$])", lambda m: _ESCAPES[m[1]], value)
        variables[name] = (value, number)
    return variables


def _find_hidden_reference(value: str, outer_names: Collection[str], variables: Collection[str]) -> str:
    """Return the first `${NAME}` of `value` that is in `outer_names` and not in `variables`, "" for none."""
    return next((name for name in _REFERENCE.findall(value) if name in outer_names and name not in variables), "")


def _read_quoted(rest: str, quote: str, lines: Iterator[tuple[int, str]]) -> str | None:
    """Return the text up to the closing quote, which may be on a later line; None if it never closes."""
    while (end := _find_quote(rest, quote)) < 0:
        following = next(lines, None)
        if following is None:
            return None
        rest += "\n" + following[1]
    return rest[:end]


def counts(name: str) -> bool:
    """Return whether a variable of `.env` counts even if no file names it."""
    return name in TABLE or name.startswith(PREFIX)


def _find_quote(rest: str, quote: str) -> int:
    if quote == "'":
        return rest.find("'")
    match = re.match(r'(?:[^"\\]|\\.)*"', rest, re.DOTALL)
    return match.end() - 1 if match else -1


def environment(env: Mapping[str, str], cwd: str, warn: Callable[[str], None] = lambda _: None) -> Variables:
    """Return `env` with the variables that `.env` in `cwd` adds. Warn about a `.env`, or lines of it, that are ignored.

    The author of a cloned repository wrote its `.env`. So `.env` may set keys and addresses, and nothing that decides
    what runs. A `.env` that is a link out of the folder is ignored, because it could lead to another project's keys."""
    file = os.path.join(cwd, ".env")
    if not within(file, cwd):
        target = os.path.realpath(file)
        warn(f".env is ignored: it links to {target}, outside this folder. Set its variables in the environment.")
        return Variables(env)
    try:
        with open(file, "rb") as f:
            text = f.read(MAX_DOTENV).decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return Variables(env)
    except (OSError, UnicodeDecodeError) as e:
        warn(f".env is ignored: it cannot be read ({type(e).__name__}). Save it as UTF-8 text that you may read.")
        return Variables(env)
    entries = _read_lines(text, ".env", {}, warn, env)
    if any(value and SECRET.search(name) for name, (value, _) in entries.items()):
        warn_readable(file, ".env", warn)
    own = [name for name in entries if _is_own(name)]
    for name in own:
        warn(f".env:{entries[name][1]}: {name} is ignored in .env. Set it in the environment.")
    dotenv = {name: value for name, (value, _) in entries.items() if name not in own}
    table_values = {name: value for name, value in dotenv.items() if counts(name) and name not in env}
    return Variables({**table_values, **env}, dotenv, dict.fromkeys(table_values, Origin(dotenv=True)))


def _is_own(name: str) -> bool:
    """Return whether a variable never counts from `.env`."""
    return name.upper().startswith(OWN_PREFIX) or name in OWN_NAMES


def within(file: str, folder: str) -> bool:
    """Return whether `file` lies in `folder` or below it, after following links."""
    real, root = os.path.realpath(file), os.path.realpath(folder)
    return real.startswith(os.path.join(root, ""))


def warn_readable(file: str, label: str, warn: Callable[[str], None]) -> None:
    """Warn if others than the owner can read `file`, which contains keys (POSIX only).

    A file that nobody here could change the mode of is no reason: a ConfigMap or a Secret of Kubernetes, a volume that
    is mounted read-only into a container."""
    if os.name != "posix":
        return
    try:
        mode = os.stat(file).st_mode
        is_mounted = _is_kubernetes(file) or bool(os.statvfs(file).f_flag & os.ST_RDONLY)
    except OSError:
        return
    if mode & 0o044 and not is_mounted:
        warn(f"{label} contains keys, and other users of this machine can read it. Run: chmod 600 {label}")


def _is_kubernetes(file: str) -> bool:
    """Return whether `file` is of a volume of Kubernetes: its files are links by way of `..data`.

    The real path has the name of the directory behind `..data`, which begins with two dots and a year."""
    return any(part.startswith("..20") for part in os.path.realpath(file).split("/"))


class ConfigFile(NamedTuple):
    """`path`: the configuration file. `is_untrusted`: it is in the working folder and nobody named it."""

    path: str
    is_untrusted: bool


def find(path: str | None, env: Mapping[str, str], cwd: str) -> str | None:
    """Return the configuration file, None if there is none.

    It is `path`, $A2PY_CONFIG or $CONFIG_FILE_PATH (these need not exist), else a2py.yaml or litellm_config.yaml in
    `cwd`, else $XDG_CONFIG_HOME/a2py/config.yaml. `.env` cannot set it."""
    config_file = locate(path, env, cwd)
    return config_file.path if config_file is not None else None


def locate(path: str | None, env: Mapping[str, str], cwd: str) -> ConfigFile | None:
    """Return the configuration file (see `find`), and whether it is trusted."""
    given_path = path or env.get("A2PY_CONFIG") or env.get("CONFIG_FILE_PATH")
    if given_path:
        home = env.get("HOME") or env.get("USERPROFILE") or "~"
        return ConfigFile(
            os.path.join(cwd, home + given_path[1:] if given_path.startswith("~/") else given_path), False
        )
    file = next((file for file in places(env, cwd) if os.path.isfile(file)), None)
    if file is None:
        return None
    own = (_own(env), env.get("CREDENTIALS_DIRECTORY", ""))
    folder = os.path.realpath(os.path.dirname(file))
    return ConfigFile(file, not any(os.path.isabs(place) and os.path.realpath(place) == folder for place in own))


def places(env: Mapping[str, str], cwd: str) -> tuple[str, ...]:
    """Return the files to look for if nothing names one, in this order."""
    here = tuple(os.path.join(cwd, name) for name in ("a2py.yaml", "litellm_config.yaml"))
    own = _own(env)
    return here + ((os.path.join(own, "config.yaml"),) if own else ())


def find_keys(config_file: str | None, env: Mapping[str, str]) -> str:
    """Return the path of the clients' keys, "" for none: beside the configuration file, else in the user's own
    configuration directory. There need not be a file."""
    folder = os.path.dirname(config_file) if config_file else _own(env)
    return os.path.join(folder, KEYS_FILE) if folder else ""


def _own(env: Mapping[str, str]) -> str:
    """Return the user's own configuration directory, "" for none.

    A relative XDG_CONFIG_HOME is ignored: it would be in the working folder."""
    home = env.get("HOME") or env.get("USERPROFILE") or ""
    base = next(
        filter(os.path.isabs, (env.get("XDG_CONFIG_HOME") or "", os.path.join(home, ".config") if home else "")), ""
    )
    return os.path.join(base, "a2py") if base else ""
