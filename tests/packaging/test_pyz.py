"""The single file: built here from what is installed, it starts, finds its cache, shares it, mistrusts others', and
says what is wrong.

With A2PY_DIST (`make test-dist`) also what was really built: the file on every Python that is here, the wheel by pip,
pipx and uvx."""

from __future__ import annotations

import glob
import importlib.machinery
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

import a2py
from tests.commands import LIMIT, clean_env
from tests.process import free_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the single file is for Linux")
pyz = pytest.importorskip("tools.pyz", reason="pip is not here")

ROOT = Path(__file__).resolve().parents[2]
SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]


def installed_files() -> dict[str, bytes]:
    """The files of a2py and of all that it needs, as they lie in this environment."""
    out = {
        f"a2py/{path.relative_to(ROOT / 'a2py')}": path.read_bytes()
        for path in (ROOT / "a2py").rglob("*")
        if path.suffix in (".py", ".json") and "__pycache__" not in path.parts
    }
    out["a2py-0.dist-info/METADATA"] = f"Metadata-Version: 2.1\nName: a2py\nVersion: {a2py.__version__}\n\n".encode()
    ahead, names = ["aiohttp", "orjson", "PyYAML"], set()
    while ahead:
        name = ahead.pop()
        if name in names:
            continue
        names.add(name)
        package = importlib.metadata.distribution(name)
        needs = map(pyz.Requirement, package.requires or ())
        ahead += [one.name for one in needs if one.marker is None or one.marker.evaluate({"extra": ""})]
        for file in package.files or ():
            if not pyz.LEFT_OUT.search(str(file)) and ".." not in file.parts and file.suffix != ".pyc":
                content = Path(file.locate()).read_bytes()
                out[str(file)] = pyz.strip(content) if file.suffix == ".so" else content
    return out


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pyz") / "a2py.pyz"
    path.write_bytes(pyz.archive({SUFFIX: installed_files(), ".cpython-399.so": {}}, "3.99"))
    path.chmod(0o755)
    return path


def run(
    single: Path, *args: str, cwd: Path, python: str = sys.executable, flags: tuple[str, ...] = (), **env: str
) -> subprocess.CompletedProcess[str]:
    whole = {name: value for name, value in clean_env(cwd, **env).items() if name != "PYTHONPATH"}
    return subprocess.run(
        [python, *flags, str(single), *args], cwd=cwd, env=whole, capture_output=True, text=True, timeout=LIMIT
    )


def list_cache(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir())


# -- a start -----------------------------------------------------------------------------------------------------------


def test_the_second_start_unpacks_nothing(single: Path, tmp_path: Path) -> None:
    cache = tmp_path / ".cache" / "a2py"
    imports = []
    for _ in range(2):
        result = run(single, "--version", cwd=tmp_path, flags=("-X", "importtime", "-S"))
        assert result.stdout == f"a2py {a2py.__version__}\n" and result.returncode == 0, result.stderr
        imports.append(set(re.findall(r"\| +([\w.]+)$", result.stderr, re.MULTILINE)))
        (name,) = list_cache(cache)
        assert re.fullmatch(r"pyz-[0-9a-f]{16}-cpython-3\d+-\S+", name)
    assert "zipfile" in imports[0] and not {"zipfile", "shutil", "tempfile", "argparse"} & imports[1]
    versions = json.loads(run(single, "--version", "--json", cwd=tmp_path).stdout)
    assert versions["a2py"] == a2py.__version__ and versions["orjson"] == importlib.metadata.version("orjson")


def test_it_serves_with_its_c_extensions_on_several_workers(single: Path, tmp_path: Path) -> None:
    """Under another name, in the background, with workers that are started by it."""
    program = tmp_path / "bin" / "proxy"
    program.parent.mkdir()
    shutil.copy(single, program)
    result = run(program, "start", "--port", "0", "--num-workers", "2", cwd=tmp_path)
    try:
        match = re.search(r"pid (\d+) at (http://\S+), log", result.stdout)
        assert match, result.stderr
        body = {"model": "demo", "max_tokens": 100, "messages": [{"role": "user", "content": "Say hello"}]}
        request = urllib.request.Request(
            match[2] + "/v1/messages", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=LIMIT) as answer:
            assert json.load(answer)["content"][0]["text"] == "Hello!"
        log = run(program, "logs", "-n", "1000", cwd=tmp_path).stdout
        assert "Try it:" in log and "C parser" not in log
        commands = [
            Path(path).read_bytes()
            for path in glob.glob(f"/proc/{match[1]}/task/*/children")
            for path in command_lines(path)
        ]
        assert len(commands) == 2 and all(bytes(program) in command for command in commands)
    finally:
        assert "stopped" in run(program, "stop", cwd=tmp_path).stdout


def command_lines(path: str) -> list[str]:
    return [f"/proc/{pid}/cmdline" for pid in Path(path).read_text().split()]


def test_starts_at_once_share_one_directory(single: Path, tmp_path: Path) -> None:
    env = clean_env(tmp_path)
    all_of_them = [
        subprocess.Popen(
            [sys.executable, str(single), "--version"], env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        for _ in range(5)
    ]
    assert [process.communicate(timeout=LIMIT)[0] for process in all_of_them] == [f"a2py {a2py.__version__}\n"] * 5
    assert len(list_cache(tmp_path / ".cache" / "a2py")) == 1


# -- where the cache lies ----------------------------------------------------------------------------------------------


def test_systemds_cache_directory_then_xdgs(single: Path, tmp_path: Path) -> None:
    own, xdg = tmp_path / "own", tmp_path / "xdg"
    own.mkdir()
    assert (
        run(single, "--version", cwd=tmp_path, CACHE_DIRECTORY=f"{own}:/other", XDG_CACHE_HOME=str(xdg)).returncode == 0
    )
    assert len(list_cache(own)) == 1 and not xdg.exists()
    assert run(single, "--version", cwd=tmp_path, XDG_CACHE_HOME=str(xdg)).returncode == 0
    assert len(list_cache(xdg / "a2py")) == 1 and not (tmp_path / ".cache").exists()
    assert run(single, "--version", cwd=tmp_path, XDG_CACHE_HOME="relative").returncode == 0
    assert (tmp_path / ".cache").exists() and not (tmp_path / "relative").exists()


def test_without_a_cache_it_runs_from_a_directory_that_it_removes(single: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    result = run(single, "--version", cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path / "file"), TMPDIR=str(temporary))
    assert result.stdout == f"a2py {a2py.__version__}\n" and result.returncode == 0
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("whose", ["everybody's", "another user's", "in everybody's"])
def test_nothing_is_loaded_from_where_others_can_write(single: Path, tmp_path: Path, whose: str) -> None:
    run(single, "--version", cwd=tmp_path)
    cache = tmp_path / ".cache" / "a2py"
    (name,) = list_cache(cache)
    (cache / name / "a2py" / "cli" / "__init__.py").write_text("def main():\n    print('planted')\n")
    assert run(single, "--version", cwd=tmp_path).stdout == "planted\n", "the test's own premise"
    if whose == "another user's":
        if os.geteuid() != 0:
            pytest.skip("only root can give a directory away")
        os.chown(cache / name, 12345, 12345)
    else:
        (cache / name if whose == "everybody's" else cache).chmod(0o777)
    assert run(single, "--version", cwd=tmp_path).stdout == f"a2py {a2py.__version__}\n"


def test_a_file_system_without_programs_is_named(single: Path, tmp_path: Path) -> None:
    probe = shutil.which("unshare") and subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True, timeout=LIMIT
    )
    if not probe or probe.returncode:
        pytest.skip("no mount namespaces here")
    (tmp_path / "noexec").mkdir()
    script = f"mount -t tmpfs -o noexec x noexec && XDG_CACHE_HOME=$PWD/noexec {sys.executable} {single} models"
    result = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        cwd=tmp_path,
        env=clean_env(tmp_path),
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert (
        result.returncode == 1
        and "nothing may be executed: set XDG_CACHE_HOME" in result.stderr
        and "Traceback" not in result.stderr
    )


@pytest.mark.integration
@pytest.mark.real
def test_under_the_hardened_unit(single: Path, tmp_path: Path) -> None:
    """With seccomp, no capabilities and a read-only system, its cache in CacheDirectory=, its keys in a credential."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "systemd", "systemctl"))):
        pytest.skip("root, unshare and systemd are needed")
    result = subprocess.run(
        ["unshare", "-m", sys.executable, "-m", "tests.hardened_unit", str(tmp_path), str(single)],
        capture_output=True,
        text=True,
        timeout=10 * LIMIT,
        cwd=ROOT,
        env={**clean_env(tmp_path), "PYTHONPATH": str(ROOT)},
    )
    if "CalledProcessError" in result.stderr and "'mount" in result.stderr:
        pytest.skip("no mount namespaces here")
    assert result.returncode == 0, result.stderr[-2000:]
    report = json.loads(result.stdout)
    if not report["manager"]:
        pytest.skip("systemd --user does not run in this sandbox")
    details = f"{report}\n{(tmp_path / 'manager.log').read_text()[-3000:]}"
    assert report["start"] == 0 and report["active"] == "active", details
    assert "event: message_stop" in report["answer"] and report["without the key"] == 401, details
    assert (
        report["status"] == {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
        and report["root"] == "ro"
    ), details
    assert (
        len(report["cache"]) == 1
        and report["cache"][0][0].startswith("pyz-")
        and report["cache again"] == report["cache"]
    ), details
    assert (
        report["reload"] == [0, "active", True] and report["restart"] == [0, True] and report["answer again"] == 200
    ), details
    assert report["stop"] == [0, "success"], details


# -- what it can not do ------------------------------------------------------------------------------------------------


def test_another_python_gets_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a2py.pyz"
    path.write_bytes(pyz.archive({".cpython-399-x86_64-linux-gnu.so": {"a2py/cli.py": b""}}, "3.99 for Linux"))
    older = [
        p
        for version in ("2.7", "3.6", "3.8", "3.9")
        for p in glob.glob(f"{os.path.expanduser('~')}/.pyenv/versions/{version}*/bin/python")
    ]
    for python in (sys.executable, *older):
        result = run(path, "--version", cwd=tmp_path, python=python)
        assert result.returncode == 1 and result.stderr.startswith(
            "a2py: this file holds CPython 3.99 for Linux; this is "
        ), result.stderr
        assert "pipx install a2py" in result.stderr and "Traceback" not in result.stderr


# -- how it is made ----------------------------------------------------------------------------------------------------


def test_the_same_files_give_the_same_bytes_and_what_is_shared_is_stored_once(tmp_path: Path) -> None:
    parts = {".a.so": {"x.py": b"1", "y.py": b"same"}, ".b.so": {"y.py": b"same", "x.py": b"2"}}
    archive = pyz.archive(parts, "these")
    assert archive == pyz.archive({end: dict(reversed(files.items())) for end, files in parts.items()}, "these")
    assert archive != pyz.archive({**parts, ".b.so": {**parts[".b.so"], "x.py": b"3"}}, "these")
    (tmp_path / "x").write_bytes(archive)
    with zipfile.ZipFile(tmp_path / "x") as outer:
        assert outer.namelist() == ["__main__.py", "common.zip", "a.zip", "b.zip"]
        inside = {}
        for name in outer.namelist()[1:]:
            with outer.open(name) as file, zipfile.ZipFile(file) as inner:
                inside[name] = {entry: inner.read(entry) for entry in inner.namelist()}
    assert inside == {"common.zip": {"y.py": b"same"}, "a.zip": {"x.py": b"1"}, "b.zip": {"x.py": b"2"}}


def wheel(folder: Path, name: str, version: str, *requires: str, **files: str) -> Path:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        lines = "".join(f"Requires-Dist: {line}\n" for line in requires)
        archive.writestr(
            f"{name}-{version}.dist-info/METADATA",
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{lines}\nlong text\n",
        )
        archive.writestr(f"{name}-{version}.dist-info/RECORD", "")
        for file, text in files.items():
            archive.writestr(file.replace("__", "/"), text)
    return path


def test_requirements_are_those_of_the_target_not_of_this_python(tmp_path: Path) -> None:
    paths = [
        wheel(tmp_path, "a2py", "1", "Web_Lib[x]>=2", "loop; extra == 'speed' and sys_platform != 'win32'"),
        wheel(
            tmp_path,
            "web_lib",
            "2",
            "old<3; python_version < '3.11'",
            "more>=1; extra == 'x'",
            "never; extra == 'y'",
            "old>=2",
        ),
    ]
    wheels = {path.name.split("-")[0].replace("_", "-"): path for path in paths}
    requirements = {version: pyz.closure(wheels, pyz.environment(version), set()) for version in ("3.10", "3.14")}
    assert {name: str(limits) for name, limits in requirements["3.14"].items()} == {
        "a2py": "",
        "web-lib": ">=2",
        "more": ">=1",
        "old": ">=2",
    }
    assert set(str(requirements["3.10"]["old"]).split(",")) == {"<3", ">=2"}
    assert "loop" in pyz.closure(wheels, pyz.environment("3.12"), {"speed"})


def test_what_no_program_needs_is_left_out(tmp_path: Path) -> None:
    path = wheel(
        tmp_path,
        "lib",
        "1",
        lib__a="",
        **{"lib__b.pyx": "", "lib__c.py": "c", "lib-1.dist-info__licenses__LICENSE": "free"},
    )
    assert pyz.files([path]) == {
        "lib/a": b"",
        "lib/c.py": b"c",
        "lib-1.dist-info/licenses/LICENSE": b"free",
        "lib-1.dist-info/METADATA": b"Metadata-Version: 2.1\nName: lib\nVersion: 1\n",
    }
    with pytest.raises(SystemExit, match="no place for it"):
        pyz.files([wheel(tmp_path, "other", "1", **{"other-1.data__scripts__x": ""})])


# -- what was really built ---------------------------------------------------------------------------------------------


def find_built(pattern: str) -> Path:
    folder = os.environ.get("A2PY_DIST", "")
    if not folder:
        pytest.skip("A2PY_DIST names no directory: make test-dist")
    (path,) = (ROOT / folder).glob(pattern)
    return path


def pythons() -> list[str]:
    """One interpreter of each version that the single file holds, as far as they are here."""
    programs = {}
    for version in pyz.VERSIONS:
        places = [
            shutil.which(f"python{version}"),
            *glob.glob(f"{os.path.expanduser('~')}/.pyenv/versions/{version}.*/bin/python"),
        ]
        for place in filter(None, places):
            result = subprocess.run(
                [place, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                capture_output=True,
                text=True,
                timeout=LIMIT,
            )
            if result.stdout.strip() == version:
                programs[version] = place
    return list(programs.values())


def answers(command: list[str], cwd: Path) -> None:
    """`command` serves the demo, whole and streamed, and ends as it should; with its C extensions."""
    port = free_port()
    process = subprocess.Popen(
        [*command, "--demo", "--port", str(port)], cwd=cwd, env=clean_env(cwd), stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr
        log = ""
        while "Try it:" not in log:
            line = process.stderr.readline()
            assert line, log
            log += line
        assert "C parser" not in log
        body = {
            "model": "demo",
            "max_tokens": 100,
            "stream": True,
            "messages": [{"role": "user", "content": "Say hello"}],
        }
        url = f"http://127.0.0.1:{port}/v1/messages"
        with urllib.request.urlopen(
            urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"}), timeout=LIMIT
        ) as answer:
            assert b"event: message_stop" in answer.read()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.integration
def test_the_built_file_serves_on_every_python_that_is_here(tmp_path: Path) -> None:
    path = find_built("a2py.pyz")
    assert pythons()
    for python in pythons():
        answers([python, str(path)], tmp_path)
    assert len(list_cache(tmp_path / ".cache" / "a2py")) == len(pythons())
    result = subprocess.run(
        [str(path), "--version"],
        env=clean_env(tmp_path, PATH=f"{Path(pythons()[0]).parent}:/usr/bin:/bin"),
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert result.stdout == f"a2py {a2py.__version__}\n", "it is executable by itself"


@pytest.mark.integration
@pytest.mark.parametrize("how", ["pip", "pipx", "uvx"])
def test_the_wheel_installs_and_serves(tmp_path: Path, how: str) -> None:
    path = str(find_built("a2py-*.whl"))
    home = tmp_path / "home"
    home.mkdir()
    env = {**clean_env(home), "PIPX_HOME": str(home / "pipx"), "PIPX_BIN_DIR": str(home / "bin")}

    def do(*words: str) -> str:
        result = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=5 * LIMIT)
        assert result.returncode == 0, result.stderr
        return result.stdout

    if how == "pip":
        do(sys.executable, "-m", "venv", str(home / "venv"))
        do(str(home / "venv/bin/python"), "-m", "pip", "install", "--quiet", path)
        command = [str(home / "venv/bin/a2py")]
    else:
        tool = shutil.which(how) or pytest.skip(f"{how} is not here")
        if how == "pipx":
            do(tool, "install", path)
            command = [str(home / "bin/a2py")]
        else:
            command = [tool, "--from", path, "a2py"]
    assert do(*command, "--version") == f"a2py {a2py.__version__}\n"
    answers(command, home)
