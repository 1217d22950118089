"""The Containerfile and the compose file, as far as they can be held to their word without an engine.

Linted here: instructions, copied files, users, options. Run here, where root may chroot: CMD and HEALTHCHECK word by
word as the image's user, below a root in which the image's paths lie where it says; with A2PY_DIST (`make test-dist`)
also its RUN, so that /opt/a2py is what the image would hold."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from a2py.cli import exits, options, source
from a2py.cli.exits import Stop
from a2py.cli.ollama import base
from a2py.cli.serve import parser
from a2py.config.settings import Settings
from a2py.providers import PROVIDERS
from tests.commands import LIMIT, clean_env, nothing  # noqa: F401
from tests.process import free_port

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-of-the-container"
ENGINE_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
INSTRUCTIONS = (
    *("ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"),
)


class Instruction(NamedTuple):
    name: str
    rest: str


def instructions() -> list[list[Instruction]]:
    """Return the Containerfile's stages: the instructions before the first FROM, then one list for each FROM."""
    text = (ROOT / "packaging/Containerfile").read_text("utf-8")
    text = re.sub(r"(?m)^#.*\n", "", text).replace("\\\n", "")
    stages: list[list[Instruction]] = [[]]
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            stages.append([])
        stages[-1].append(Instruction(name, rest.strip()))
    return stages


def only(stage: list[Instruction], name: str) -> str:
    (row,) = (one.rest for one in stage if one.name == name)
    return row


def variables() -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(only(FINAL, "ENV")))


BEFORE, BUILD, FINAL = instructions()
HEALTH = re.fullmatch(r"(?P<flags>(?:--[a-z-]+=\w+\s+)+)CMD (?P<words>\[.*\])", only(FINAL, "HEALTHCHECK"))
assert HEALTH
CHECK: list[str] = json.loads(HEALTH["words"])
START: list[str] = json.loads(only(FINAL, "ENTRYPOINT")) + json.loads(only(FINAL, "CMD"))
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "packaging/compose.yaml").read_text("utf-8"))
PAGE = (ROOT / "docs/containers.md").read_text("utf-8")


# -- the Containerfile, read -------------------------------------------------------------------------------------------


def test_every_instruction_is_known_and_stands_where_it_may() -> None:
    assert {one.name for stage in (BEFORE, BUILD, FINAL) for one in stage} == set(INSTRUCTIONS)
    assert [one.name for one in BEFORE] == ["ARG"]
    assert only(BUILD, "FROM") == "python:${PYTHON}-slim AS build" and only(FINAL, "FROM") == "python:${PYTHON}-slim"
    assert "ADD" not in {one.name for one in FINAL}
    assert only(FINAL, "RUN").split("&&")[1].split()[4:] == ["curl", "wget"], "what builds is not in the image"
    assert "curl" not in CHECK[-1] and "wget" not in CHECK[-1]


def test_the_python_is_one_that_a2py_names() -> None:
    version = BEFORE[0].rest.removeprefix("PYTHON=")
    assert f"Programming Language :: Python :: {version}" in (ROOT / "setup.cfg").read_text("utf-8")


def is_ignored(path: str) -> bool:
    """Whether .dockerignore keeps `path` from the build: the last line that fits it, or a directory above it,
    decides."""
    out = False
    above = [path, *map(str, Path(path).parents)][:-1]
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!")
            deep = pattern.startswith("**/")
            if any(
                fnmatchcase(Path(one).name if deep else one, pattern.removeprefix("**/"))
                for one in above
                if deep or "/" not in one
            ):
                out = not line.startswith("!")
    return out


def copied_paths() -> list[str]:
    return [word for one in BUILD if one.name == "COPY" for word in one.rest.split()[:-1]]


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    assert "a2py" in copied_paths()
    for name in copied_paths():
        assert (ROOT / name).exists() and not is_ignored(name), name
    assert not is_ignored("a2py/cli/serve.py")


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".git/config",
        "packaging/secrets/env",
        ".venv/bin/python",
        "tests/x.py",
        "a2py/__pycache__/x.pyc",
        "a2py/cli/.env",
        "x",
    ],
)
def test_nothing_else_reaches_the_build(path: str) -> None:
    assert is_ignored(path)


def test_what_the_wheel_is_made_of_is_copied() -> None:
    setup = (ROOT / "setup.cfg").read_text("utf-8")
    names = re.findall(r"(?m)^(?:long_description = file:|license_files =) (\S+)$", setup)
    assert sorted(names) == ["LICENSE", "README.md"] and {*names, "setup.cfg", "pyproject.toml"} <= set(copied_paths())


def test_the_image_has_no_root_and_no_secret() -> None:
    user = only(FINAL, "USER")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user), "a number: Kubernetes can't tell a name from root"
    names = [one.name for one in FINAL]
    assert names.index("USER") > names.index("COPY") and names.index("USER") < names.index("CMD")
    assert not [name for name in variables() if re.search("KEY|TOKEN|PASSWORD", name)]


def test_the_port_is_one_everywhere() -> None:
    env = variables()
    assert env["PORT"] == only(FINAL, "EXPOSE") == str(options.PORT)
    assert COMPOSE["services"]["a2py"]["ports"] == [f"127.0.0.1:{options.PORT}:{options.PORT}"]
    assert {flag.env for flag in options.LISTEN} <= set(env)


def test_nothing_names_a_registry() -> None:
    texts = [(ROOT / "packaging" / name).read_text("utf-8") for name in ("Containerfile", "compose.yaml")]
    for image in [*re.findall(r"(?m)^FROM (\S+)", texts[0]), *re.findall(r"(?m)^ +image: (\S+)", texts[1])]:
        assert "." not in image.partition("/")[0] and ":5" not in image, image


# -- the secret --------------------------------------------------------------------------------------------------------


def test_a_secret_that_this_user_may_not_read_is_named(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    (nothing / "env").write_text(f"LITELLM_MASTER_KEY={KEY}\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(nothing))
    assert source.read_environment()["LITELLM_MASTER_KEY"] == KEY

    def refuse(*args: Any, **more: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(Stop) as excinfo:
        source.read_environment()
    assert excinfo.value.code == exits.CONFIG
    assert f"{nothing}/env" in str(excinfo.value) and KEY not in str(excinfo.value)


def test_other_commands_read_the_secret_too(
    nothing: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (nothing / "env").write_text("DEEPSEEK_API_KEY=sk-of-the-secret\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(nothing))
    from a2py.cli import main

    for command in (["models"], ["config", "show"], ["env"]):
        assert main(command) == exits.OK
        out = capsys.readouterr().out
        assert "deepseek" in out and "sk-of-the-secret" not in out, command


# -- what it runs ------------------------------------------------------------------------------------------------------


class Image:
    """A root that looks like the image's: the system's directories, and the image's own; a command is run in it as by
    an engine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "root"
        self.binds: list[tuple[str, str, str]] = []
        for name in ("usr", "bin", "sbin", "lib", "lib64", "dev", "proc"):
            host = Path("/", name)
            if host.is_symlink():
                self.root.mkdir(exist_ok=True)
                (self.root / name).symlink_to(os.readlink(host))
            elif host.is_dir():
                self.bind(str(host), "rbind" if name in ("dev", "proc") else "bind")
        for name in ("tmp", "src", "wheels", "run/secrets", "etc/a2py", "opt"):
            (self.root / name).mkdir(parents=True)
        for name in (
            "resolv.conf",
            "hosts",
            "nsswitch.conf",
            "ssl",
            "pip.conf",
            "ld.so.cache",
            "ld.so.conf",
            "ld.so.conf.d",
        ):
            host = Path("/etc", name)
            if host.is_dir():
                shutil.copytree(host, self.root / "etc" / name, ignore=shutil.ignore_patterns("private"))
            elif host.exists():
                shutil.copy(host, self.root / "etc" / name)
        if sys.base_prefix not in ("/usr", "/usr/local"):
            self.bind(sys.base_prefix)

    def bind(self, host: str, how: str = "bind", to: str = "") -> None:
        target = self.root / (to or host).lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        self.binds.append((how, host, str(target)))

    def words(self, command: list[str], user: str, cwd: str) -> list[str]:
        mounts = "".join(
            f"mount --{how} {shlex.quote(host)} {shlex.quote(target)}; "
            + (f"mount -o remount,bind,ro {shlex.quote(target)}; " if how == "bind" else "")
            for how, host, target in self.binds
        )
        uid, _, gid = user.partition(":")
        prefix = [
            "setpriv",
            "--reuid",
            uid,
            "--regid",
            gid,
            "--clear-groups",
            "--no-new-privs",
            "--bounding-set=-all",
            "--inh-caps=-all",
        ]
        inside = ["sh", "-c", 'cd "$0" && exec "$@"', cwd, *(prefix if user != "0:0" else []), *command]
        return ["unshare", "-m", "sh", "-ec", f"{mounts}exec {shlex.join(['chroot', str(self.root), *inside])}"]

    def run(
        self, command: list[str], env: Mapping[str, str], user: str = "0:0", cwd: str = "/"
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.words(command, user, cwd), env=env, capture_output=True, text=True, timeout=5 * LIMIT
        )


def environment(port: int, **more: str) -> dict[str, str]:
    """ENV of the image on top of an engine's own, at a port that is free here."""
    env = {name: value.replace("$PATH", ENGINE_PATH) for name, value in variables().items()}
    return {
        "HOME": "/",
        **env,
        "PORT": str(port),
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        **more,
    }


@pytest.fixture(scope="module", params=["from the checkout", "as built"])
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Image:
    able = sys.platform == "linux" and os.geteuid() == 0 and all(map(shutil.which, ("unshare", "setpriv", "chroot")))
    if (
        not able
        or subprocess.run(
            ["unshare", "-m", "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True, timeout=LIMIT
        ).returncode
    ):
        pytest.skip("nobody may mount and chroot here")
    folder = tmp_path_factory.mktemp("image")
    container = Image(folder)
    if request.param == "from the checkout":
        container.bind(str(ROOT))
        container.bind(sys.prefix)
        container.bind(sys.prefix, to="/opt/a2py")
        return container
    if not os.environ.get("A2PY_DIST"):
        pytest.skip("A2PY_DIST names no directory: make test-dist")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "python")], check=True, timeout=LIMIT)
    container.bind(str(folder / "python"), to="/usr/local")  # the image's Python lies there, and has pip
    for place in filter(
        os.path.isdir, re.findall(r"/opt/[\w.-]+", " ".join([*pip_settings(), os.environ.get("PIP_FIND_LINKS", "")]))
    ):
        container.bind(place)
    for name in copied_paths():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, container.root / "src" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, container.root / "src" / name)
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    env = {**environment(0), **pip, "PATH": ENGINE_PATH, "HOME": "/tmp"}
    for name in ("HTTP_PROXY", "http_proxy"):
        env = {**env, name: os.environ.get(name, "")}
    env |= {name: value for name, value in os.environ.items() if name.upper() in ("HTTPS_PROXY", "NO_PROXY")}
    for rest in (one.rest for one in BUILD if one.name == "RUN"):
        result = container.run(["sh", "-c", rest], env, cwd=only(BUILD, "WORKDIR"))
        assert result.returncode == 0, result.stderr[-3000:]
    return container


def pip_settings() -> list[str]:
    result = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, timeout=LIMIT
    )
    return result.stdout.splitlines()


def wait(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + LIMIT
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while process.poll() is None and time.monotonic() < deadline:
        try:
            opener.open(f"{url}/health/liveliness", timeout=2).close()
            return
        except OSError:
            time.sleep(0.05)
    process.kill()
    raise AssertionError(process.communicate(timeout=LIMIT)[1])


@pytest.mark.integration
def test_it_starts_as_the_image_does_and_its_check_tells(image: Image) -> None:
    """The image's user, variables and words; the key in the secret, the models in the mounted file."""
    port, user, cwd = free_port(), only(FINAL, "USER"), only(FINAL, "WORKDIR")
    (image.root / "run/secrets/env").write_text(f"LITELLM_MASTER_KEY={KEY}\nDEEPSEEK_API_KEY=sk-x\n")
    shutil.copy(ROOT / "examples/deepseek.yaml", image.root / "etc/a2py/config.yaml")
    (image.root / "etc/a2py/config.yaml").chmod(0o644)
    env = environment(port)
    assert image.run(CHECK, env, user, cwd).returncode == 1, "nothing is up"
    process = subprocess.Popen(
        image.words(START, user, cwd),
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait(f"http://127.0.0.1:{port}", process)
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert re.findall(r"(?m)^[UG]id:\t(\d+)", status) == user.split(":"), "the server itself, no shell above it"
        assert re.search(r"(?m)^CapEff:\t0+$", status)
        result = image.run(CHECK, env, user, cwd)
        assert result.returncode == 0, result.stderr
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/models")
        with pytest.raises(urllib.error.HTTPError) as excinfo:
            opener.open(request, timeout=LIMIT)
        assert excinfo.value.code == 401
        excinfo.value.close()
        request.add_header("authorization", f"Bearer {KEY}")
        with opener.open(request, timeout=LIMIT) as answer:
            assert "deepseek-chat" in [row.get("display_name") for row in json.load(answer)["data"]]
        process.send_signal(signal.SIGTERM)
        out, log = process.communicate(timeout=LIMIT)
        assert process.returncode == 0 and "serving config.yaml" in log, log
        assert KEY not in out + log
    finally:
        process.kill()
        process.wait()
    assert image.run(CHECK, env, user, cwd).returncode == 1, "it is down"


@pytest.mark.integration
@pytest.mark.parametrize("mode", [None, 0o600], ids=["no secret", "a secret for root alone"])
def test_without_a_key_it_refuses_to_start(image: Image, mode: int | None) -> None:
    secret = image.root / "run/secrets/env"
    secret.unlink(missing_ok=True)
    (image.root / "etc/a2py/config.yaml").unlink(missing_ok=True)
    if mode is not None:
        secret.write_text(f"LITELLM_MASTER_KEY={KEY}\n")
        secret.chmod(mode)
    result = image.run([*START, "--demo"], environment(free_port()), only(FINAL, "USER"), only(FINAL, "WORKDIR"))
    secret.unlink(missing_ok=True)
    expected = (
        (exits.REFUSED, "set LITELLM_MASTER_KEY")
        if mode is None
        else (exits.CONFIG, "/run/secrets/env can't be read by this user")
    )
    assert (result.returncode, expected[1] in result.stderr) == (expected[0], True), result.stderr


# -- compose -----------------------------------------------------------------------------------------------------------


def fill(text: str) -> str:
    """Compose's own `${NAME:-default}`, with nothing set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def test_compose_names_what_there_is() -> None:
    assert set(COMPOSE) == {"name", "services", "volumes", "secrets"}
    mine = COMPOSE["services"]["a2py"]
    here = ROOT / "packaging" / mine["build"]["context"]
    assert here.resolve() == ROOT and (here / mine["build"]["dockerfile"]).is_file()
    assert set(mine["secrets"]) == set(COMPOSE["secrets"]) == {"env"}, "/run/secrets/env is what a2py reads"
    volumes = [one.partition(":")[0] for one in COMPOSE["services"]["ollama"]["volumes"]]
    mine_too = [one.partition(":") for one in mine["volumes"]]
    assert [*volumes, *(name for name, _, _ in mine_too)] == list(COMPOSE["volumes"])
    assert [place for _, _, place in mine_too] == [only(FINAL, "VOLUME")] == [f"{variables()['XDG_STATE_HOME']}/a2py"]
    assert mine["read_only"] and mine["cap_drop"] == ["ALL"]


def test_composes_command_is_one_of_a2pys() -> None:
    name, *flags = map(fill, COMPOSE["services"]["a2py"]["command"])
    args = parser(name).read(flags)
    provider, _, model = args.model.partition("/")
    assert name == "serve" and provider in PROVIDERS and model


def test_a2py_waits_for_the_ollama_that_it_asks() -> None:
    mine, ollama = COMPOSE["services"]["a2py"], COMPOSE["services"]["ollama"]
    assert mine["depends_on"] == {"ollama": {"condition": "service_healthy"}}
    assert ollama["healthcheck"]["test"] == ["CMD", "ollama", "list"]
    assert set(mine["environment"]) == {"OLLAMA_API_BASE"} and base(mine["environment"]) == "http://ollama:11434"
    assert "OLLAMA_API_BASE" in PROVIDERS["ollama"].bases
    assert int(ollama["environment"]["OLLAMA_CONTEXT_LENGTH"]) >= 65536
    assert "ports" not in ollama, "Ollama asks for no key"


def test_composes_one_liner_serves_every_name_by_that_ollama() -> None:
    name, *flags = map(fill, COMPOSE["services"]["a2py"]["command"])
    args = parser(name).read(flags)
    config = source.choose(args, COMPOSE["services"]["a2py"]["environment"], "/nowhere").config
    assert config is not None
    (deployment,) = config.resolve("claude-sonnet-4-5")
    assert (
        deployment.provider == "ollama"
        and deployment.base.startswith("http://ollama:11434")
        and deployment.quirks.context_probe == "ollama"
    )


def test_it_is_given_longer_than_it_drains() -> None:
    assert int(COMPOSE["services"]["a2py"]["stop_grace_period"].removesuffix("s")) > Settings().drain_seconds


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_page_says_what_the_files_say() -> None:
    for word in (
        *(f"`{name}`" for name in variables() if name not in ("PATH", "PYTHONUNBUFFERED")),
        only(FINAL, "USER"),
        f"{only(FINAL, 'WORKDIR')}/config.yaml",
        f"{variables()['CREDENTIALS_DIRECTORY']}/env",
        "-f packaging/Containerfile",
        "-f packaging/compose.yaml",
        *re.findall(r"\$\{(\w+)", (ROOT / "packaging/compose.yaml").read_text("utf-8")),
        "not run",
    ):
        assert word in PAGE, word


def test_the_commands_of_the_page_are_a2pys() -> None:
    """Whatever follows the image's name is a command line of a2py's."""
    text = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)).replace("\\\n", " ")
    commands = []
    for line in filter(lambda line: re.match(r"(docker|podman) run", line), text.splitlines()):
        words = shlex.split(line, comments=True)
        commands.append(words[words.index("a2py", 2 if "--name" not in words else words.index("--name") + 2) + 1 :])
    assert len(commands) >= 3
    for words in commands:
        parser("serve").read(words[1:] if words[:1] == ["serve"] else words)
