"""What code, tests, goldens and docs cite exists: files, modules, rules, pages, anchors, recordings.

Knows: how each is written. Must not know: what the cited thing says.
Invariants: a citation is read from prose (comments, docstrings, Markdown without its code blocks) and from strings that
are nothing else than a path or a list of rules. Each kind of citation is found at least once, or the test below it
could not fail."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import a2py
from tests import recordings

ROOT = Path(a2py.__file__).parents[1]
FOLDERS = ("a2py", "tests", "docs", "bench", "tools", "packaging", "examples", ".github")
SUFFIXES = {".py", ".md", ".yml", ".yaml", ""}
#: Prose that others write, or that describes other machines.
FOREIGN = {"bench/RESULTS.md"}
#: Paths that are examples, and no files of the repository.
EXAMPLES = {
    "tests/x.py",
    "a2py/x.py",
    "a2py/a.py",
    "a2py/b.py",
    "a2py/cli.py",
    "my_sdk_script.py",
    "yaml.py",
    "__main__.py",
}

#: A file of the repository, by the end of its path.
FILE = re.compile(r"(?<![\w/.~$*-])(?:\.\./)?((?:[\w-]+/)*[\w-]+\.(?:py|md))\b(?!\()")
#: A module, by its full name; what follows it may be an attribute.
MODULE = re.compile(r"\ba2py\.(?:cli|config|demo|http1|messages|providers|proxy|upstream|wires)(?:\.\w+)+")
RUN = re.compile(r"python3? -m ((?:a2py|tests|bench|tools)(?:\.\w+)*)")
RULE = re.compile(r"(?<![\w%./#-])[ABC]\d{1,2}\b(?!\.\d)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
RECORDING = re.compile(r"(?<![\w/.])[a-z0-9-]+/(?:stream|nonstream|error)-[a-z0-9](?:[\w.-]*\w)?")
CAPTURE = re.compile(r"(?<![\w/.-])[a-z]\w*_\w+\.json\b")
ANCHOR = re.compile(r'<a id="([\w-]+)">')
#: A string that is nothing but a path, or a list of rules.
CITATION = re.compile(r"(?:a2py|tests|docs)/[\w/-]+\.(?:py|md)|[ABC]\d+(?:\|[ABC]\d+)*")
#: Papers that the repository does not hold.
PAPERS = re.compile(
    r"\b(?:DESIGN|TRANSLATION|HOUSE|VOICE)\b|\bCLAUDE_CODE(?:\.md| §)|\bwire/(?:quirks|errors)|\bCONFIG(?:\.md|'s (?:rules|keys))"
)
BESIDE = "../shared"


@cache
def tree() -> tuple[str, ...]:
    """All files of the repository that may be cited, or may cite."""
    top = [path for path in ROOT.iterdir() if path.is_file()]
    inside = [
        path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    return tuple(sorted(path.relative_to(ROOT).as_posix() for path in top + inside))


@cache
def citing() -> tuple[str, ...]:
    own = Path(__file__).relative_to(ROOT).as_posix()
    names = [name for name in tree() if Path(name).suffix in SUFFIXES and name not in FOREIGN and name != own]
    return tuple(name for name in names if "/" in name or Path(name).suffix == ".md" or name == "Makefile")


@cache
def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


@cache
def prose(name: str) -> str:
    """Comments, docstrings and strings that are paths or rules; Markdown without its code blocks; other files whole."""
    if name.endswith(".md"):
        return re.sub(r"^(`{3,}).*?^\1$", "", text(name), flags=re.MULTILINE | re.DOTALL)
    return "\n".join(read_strings(name)) if name.endswith(".py") else text(name)


def read_strings(name: str) -> Iterator[str]:
    source = text(name)
    yield from (
        token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    )
    module = ast.parse(source)
    for node in ast.walk(module):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield ast.get_docstring(node) or ""
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and CITATION.fullmatch(node.value):
            yield node.value.replace("|", " ")


def resolve(name: str, citation: str) -> bool:
    """Whether `cited`, read in the file `name`, is a file. A bare name is a neighbour's, or one that the repository has once."""
    if citation in EXAMPLES or (ROOT / citation).exists() or (ROOT / name).parent.joinpath(citation).exists():
        return True
    ends = [other for other in tree() if other == citation or other.endswith("/" + citation)]
    return bool(ends) if "/" in citation else len(ends) == 1


@cache
def anchors(page: str) -> frozenset[str]:
    """The anchors of a page: its `<a id>`s, and its headings as GitHub spells them."""
    words = [
        re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
        for line in prose(page).split("\n")
        if line.startswith("#")
    ]
    return frozenset(ANCHOR.findall(text(page))) | {word.replace(" ", "-") for word in words}


@cache
def rules() -> frozenset[str]:
    return frozenset(name.upper() for name in anchors("docs/translation.md") if re.fullmatch(r"[abc]\d+", name))


def module_exists(full: str) -> bool:
    """Whether a module has this name, or one with this attribute has the name before it."""
    path = ROOT.joinpath(*full.split("."))
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    parent, _, attribute = full.rpartition(".")
    file = ROOT.joinpath(*parent.split(".")).with_suffix(".py")
    file = file if file.is_file() else file.with_suffix("") / "__init__.py"
    return file.is_file() and re.search(rf"\b{attribute}\b", file.read_text("utf-8")) is not None


def find_dangling(name: str) -> Iterator[str]:
    """What the file `name` cites and does not exist, recordings aside."""
    content = prose(name)
    yield from (citation for citation in FILE.findall(content) if not resolve(name, citation))
    yield from (full for full in MODULE.findall(content) + RUN.findall(content) if not module_exists(full))
    yield from (rule for rule in RULE.findall(content) if rule not in rules())
    if name.endswith(".md"):
        yield from (link for link in LINK.findall(content) if not link_exists(name, link))


def link_exists(name: str, link: str) -> bool:
    if link.startswith(("http://", "https://", "mailto:")):
        return True
    page, _, anchor = link.partition("#")
    target = (ROOT / name).parent.joinpath(page).resolve() if page else ROOT / name
    return target.exists() and (not anchor or anchor in anchors(target.relative_to(ROOT).as_posix()))


@pytest.mark.parametrize("name", citing())
def test_what_a_file_cites_exists(name: str) -> None:
    assert not sorted(set(find_dangling(name)))


@pytest.mark.parametrize("name", citing())
def test_no_paper_is_cited_that_the_repository_does_not_hold(name: str) -> None:
    papers = PAPERS.findall(text(name))
    assert not papers
    assert BESIDE not in text(name) or name.startswith(("tests/", "bench/")), (
        "only tests may read what lies beside the repository"
    )


@pytest.mark.skipif(not recordings.WIRE.is_dir(), reason="no recordings here")
@pytest.mark.parametrize("name", [name for name in citing() if name.startswith(("docs/", "tests/", "a2py/"))])
def test_recordings_and_captures_exist(name: str) -> None:
    content = prose(name)
    missing = [citation for citation in RECORDING.findall(content) if not any(recordings.WIRE.glob(citation + "*"))]
    if name.startswith("tests/goldens/"):
        missing += [citation for citation in CAPTURE.findall(content) if not (recordings.CLIENTS / citation).is_file()]
    assert not missing


def test_each_kind_of_citation_is_seen() -> None:
    every = "\n".join(map(prose, citing()))
    for pattern, example in (
        (FILE, "a2py/proxy/router.py"),
        (MODULE, "a2py.wires.chat"),
        (RUN, "tests.mutate"),
        (RULE, "B15"),
        (LINK, "translation.md#b7"),
        (RECORDING, "openrouter/stream-tool-01.sse"),
        (CAPTURE, "image_tool_result.json"),
    ):
        assert any(example in citation for citation in pattern.findall(every)), example
    assert {"A1", "A19", "B1", "B15", "C1"} <= rules()
    assert PAPERS.search("the five points of DESIGN.md") and PAPERS.search("wire/quirks G")


def test_a_citation_of_nothing_is_seen() -> None:
    assert not resolve("a2py/wires/chat/stream.py", "chat/media_of_old.py") and not resolve("a2py/sse.py", "stream.py")
    assert resolve("a2py/wires/chat/calls.py", "stream.py") and resolve("docs/design.md", "a2py/sse.py")
    assert not module_exists("a2py.wires.chat.nowhere") and module_exists("a2py.wires.chat.stream.ChatDecoder")
    assert not link_exists("docs/design.md", "translation.md#a99") and link_exists(
        "README.md", "docs/translation.md#a8"
    )
