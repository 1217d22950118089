"""`make pyz`: dist/a2py.pyz, one file that runs on several CPython versions with their C extensions.

Knows: wheels, zip archives, which files of a wheel a running program needs. Must not know: a2py's code.
Invariants: the same wheels give the same bytes; what all versions share is stored once; debug information is left out
(of 3.4 MB of compressed extension modules a version, 0.8 MB stay) where `strip` is there; licences stay.

The archive holds `__main__.py` (tools/pyz_main.py), `common.zip` and one `cp3NN.zip` a version, stored, not compressed:
a start reads a directory of a few entries, however many files are inside.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.parser import HeaderParser
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.specifiers import SpecifierSet
from pip._vendor.packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
#: Platform tags that pip accepts as x86-64 Linux with glibc 2.28 or newer (Debian 10, RHEL 8).
PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
    "manylinux_2_12_x86_64",
    "manylinux_2_5_x86_64",
)
#: Files of a wheel that no running program needs.
LEFT_OUT = re.compile(
    r"\.(pyx|pxd|pxi|pyi|h|c|hash|typed)$|/(RECORD|WHEEL|INSTALLER|REQUESTED|top_level\.txt|sboms/.*)$|/_testcapi\."
)
#: A time that every zip can hold, the same for every build.
EPOCH = (1980, 1, 1, 0, 0, 0)
SHEBANG = b"#!/usr/bin/env python3\n"

Files = dict[str, bytes]


def main() -> None:
    parser = argparse.ArgumentParser(description="Build dist/a2py.pyz.")
    parser.add_argument(
        "--python", nargs="+", default=VERSIONS, metavar="3.N", help=f"versions inside (default: {' '.join(VERSIONS)})"
    )
    parser.add_argument("--uvloop", action="store_true", help="put uvloop in, too (1 MB a version)")
    parser.add_argument("--output", "-o", type=Path, default=ROOT / "dist" / "a2py.pyz", metavar="FILE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        extras = {"speed"} if args.uvloop else set()
        parts = {
            suffix(version): files(wheels(wheel, version, extras, Path(folder) / version)) for version in args.python
        }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    data = archive(parts, f"{', '.join(args.python)} for Linux on x86-64")
    args.output.write_bytes(data)
    args.output.chmod(0o755)
    print(f"{args.output}: {len(data) / 1e6:.1f} MB for CPython {', '.join(args.python)}")


def suffix(version: str) -> str:
    """Return the suffix of the extension modules of CPython `version`."""
    return f".cpython-{version.replace('.', '')}-x86_64-linux-gnu.so"


def pip(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words], check=True)


def build_wheel(folder: Path) -> Path:
    """Build a2py's own wheel from a copy of the sources. In the tree itself setuptools leaves a build/, whose old files
    would be in the next wheel."""
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.cfg", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (source / "README.md").write_text("")  # the description is left out again
    shutil.copytree(ROOT / "a2py", source / "a2py", ignore=shutil.ignore_patterns("__pycache__"))
    pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(source))
    return next(folder.glob("a2py-*.whl"))


# -- which wheels ------------------------------------------------------------------------------------------------------


def wheels(own: Path, version: str, extras: set[str], folder: Path) -> list[Path]:
    """Download a2py's wheel and everything it needs on `version` into `folder`.

    pip evaluates `python_version < "3.11"` for the Python on which it runs, whatever --python-version says. So this
    function evaluates the requirements again: it downloads what is missing and leaves out what only this Python
    needs."""
    folder.mkdir()
    shutil.copy(own, folder)
    while True:
        paths = {str(canonicalize_name(path.name.split("-")[0])): path for path in folder.glob("*.whl")}
        versions = closure(paths, environment(version), extras)
        missing = [f"{name}{limits}" for name, limits in versions.items() if name not in paths]
        if not missing:
            break
        tag = "cp" + version.replace(".", "")
        target = ["--implementation", "cp", "--python-version", version, "--abi", tag, "--abi", "abi3", "--abi", "none"]
        target += [word for platform in PLATFORMS for word in ("--platform", platform)]
        pip("download", "--only-binary=:all:", *target, "--dest", str(folder), "--no-deps", *missing)
    for name, limits in versions.items():
        if paths[name].name.split("-")[1] not in limits:  # a wheel that was read later needs it
            raise SystemExit(f"{paths[name].name} is not {limits or 'any version'}: pin it in setup.cfg")
    return [paths[name] for name in sorted(versions)]


def environment(version: str) -> dict[str, str]:
    """Return the values of environment markers on the target."""
    names = {
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "sys_platform": "linux",
    }
    return {
        **names,
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "python_version": version,
        "python_full_version": f"{version}.0",
    }


def closure(paths: Mapping[str, Path], env: Mapping[str, str], extras: set[str]) -> dict[str, SpecifierSet]:
    """Return all that a2py needs according to the wheels in `paths`: name → allowed versions."""
    versions: dict[str, SpecifierSet] = {}
    names: set[str] = set()
    ahead: list[tuple[str, SpecifierSet, set[str]]] = [("a2py", SpecifierSet(), extras)]
    while ahead:
        name, limits, extra_names = ahead.pop()
        versions[name] = versions.get(name, SpecifierSet()) & limits
        if name in names or name not in paths:
            continue
        names.add(name)
        for requirement in requirements(paths[name]):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({**env, "extra": extra}) for extra in extra_names | {""}):
                ahead.append((str(canonicalize_name(requirement.name)), requirement.specifier, set(requirement.extras)))
    return versions


def requirements(wheel: Path) -> Iterator[Requirement]:
    with zipfile.ZipFile(wheel) as zip_file:
        name = next(name for name in zip_file.namelist() if name.endswith(".dist-info/METADATA"))
        for line in HeaderParser().parsestr(zip_file.read(name).decode()).get_all("Requires-Dist", []):
            yield Requirement(line)


# -- what goes in ------------------------------------------------------------------------------------------------------


def files(paths: Iterable[Path]) -> Files:
    """Return name → content of the files that the wheels install."""
    out: Files = {}
    for path in paths:
        with zipfile.ZipFile(path) as zip_file:
            for name in zip_file.namelist():
                if name.endswith("/") or LEFT_OUT.search(name):
                    continue
                if ".data/" in name:
                    raise SystemExit(
                        f"{path.name} installs {name} outside the library: tools/pyz.py has no place for it"
                    )
                out[name] = strip(zip_file.read(name)) if name.endswith(".so") else zip_file.read(name)
    return {name: short(content) if name.endswith("/METADATA") else content for name, content in out.items()}


def strip(library: bytes) -> bytes:
    """Return an extension module without debug information; unchanged if `strip` is not installed."""
    program = shutil.which("strip")
    if program is None:
        return library
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        file.write(library)
        file.flush()
        subprocess.run([program, "--strip-debug", file.name], check=True)
        return Path(file.name).read_bytes()


def short(metadata: bytes) -> bytes:
    """Return METADATA without the description. importlib.metadata needs only names and versions."""
    return metadata.partition(b"\n\n")[0] + b"\n"


def archive(parts: Mapping[str, Files], holds: str) -> bytes:
    """Return the whole file. `parts`: suffix of extension modules → files. `holds`: a summary of the content for
    people."""
    common = find_shared(list(parts.values()))
    inner, names = {"common.zip": pack(common)}, {}
    for end, content in parts.items():
        names[end] = end.strip(".").removesuffix(".so") + ".zip"
        inner[names[end]] = pack({name: data for name, data in content.items() if name not in common})
    start = (ROOT / "tools" / "pyz_main.py").read_text("utf-8")
    digest = hashlib.sha256(b"".join([start.encode(), *inner.values()])).hexdigest()[:16]
    for name, value in {"PARTS": names, "COMMON": "common.zip", "DIGEST": digest, "VERSIONS": holds}.items():
        before, match, after = start.partition(f"\n{name} = ")
        if not match:
            raise SystemExit(f"tools/pyz_main.py has no line `{name} = …`")
        start = f"{before}{match}{value!r}\n{after.partition(chr(10))[2]}"
    out = io.BytesIO()
    out.write(SHEBANG)
    with zipfile.ZipFile(out, "a") as outer:
        for name, data in {"__main__.py": start.encode(), **inner}.items():
            outer.writestr(entry(name), data)
    return out.getvalue()


def find_shared(all_files: Sequence[Files]) -> Files:
    """Return the files that are the same, byte for byte, for every version."""
    first, *rest = all_files
    return {name: data for name, data in first.items() if all(other.get(name) == data for other in rest)}


def pack(content: Files) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as zip_file:
        for name in sorted(content):
            zip_file.writestr(entry(name), content[name], zipfile.ZIP_DEFLATED, 9)
    return out.getvalue()


def entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, EPOCH)
    info.external_attr = 0o644 << 16
    return info


if __name__ == "__main__":
    os.umask(0o022)
    main()
