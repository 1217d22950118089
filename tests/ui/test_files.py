"""The page's files, without a browser: they are packaged, need no other address and no inline script, and write no markup."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import ConfigParser
from html.parser import HTMLParser

import pytest

from tests.ui import browser
from tests.ui.fake import FILES
from tests.ui.rules import FILE, ROOT, dump, rules

NAMES = ("index.html", "app.css", "app.js", "rules.json")
#: What writes markup or runs text: what is shown is chosen by others.
SINKS = (
    "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "setHTML", "createContextualFragment", "DOMParser",
    "srcdoc", "eval(", "new Function", "javascript:", "setAttribute('on", 'setAttribute("on', "setAttribute('style",
    "setAttribute('href", "setAttribute('src", "localStorage", "sessionStorage", "document.cookie", "importScripts",
)  # fmt: skip
#: Names of SVG's namespace are no addresses that are asked for.
NAMESPACE = "http://www.w3.org/2000/svg"


def read(name: str) -> str:
    return (FILES / name).read_text("utf-8")


class Elements(HTMLParser):
    """All elements of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("sink", SINKS)
def test_nothing_writes_markup_runs_text_or_keeps_the_bearer(sink: str) -> None:
    assert sink not in read("app.js")


def test_attributes_come_from_a_list_that_holds_no_script_and_no_address() -> None:
    script = read("app.js")
    lists = re.findall(r"^const (?:ATTRIBUTES|SHAPES) = new Set\((.*?)\.split", script, re.MULTILINE | re.DOTALL)
    names = {name for text in lists for name in re.findall(r"[\w-]+", text)}
    assert len(lists) == 2 and len(names) > 30
    assert "const OPEN_NAME = /^(aria|data)-[a-z]+$/;" in script
    assert not {name for name in names if name.startswith("on") or name in ("href", "src", "style", "action", "srcdoc")}
    # A link is a place of this page, or a file that the browser made of a text.
    assert re.findall(r"\.href = (.*);", script) == ["'#/' + path.map(encodeURIComponent).join('/')", "URL.createObjectURL(new Blob([text], { type: 'text/plain' }))"]  # fmt: skip
    direct = set(re.findall(r"\.setAttribute\(([^,]+),", script))
    assert {name for name in direct if not name.startswith("'aria-")} == {"name", "'points'", "'colspan'"}


@pytest.mark.parametrize("name", NAMES)
def test_no_other_address_is_named(name: str) -> None:
    text = read(name).replace(NAMESPACE, "")
    assert not re.findall(
        r"(?:https?:)?//[a-z0-9]", re.sub(r"^\s*//.*$|(?<=[;,{}]) // .*$", "", text, flags=re.MULTILINE)
    )
    assert "@import" not in text and "url(" not in text and "sourceMappingURL" not in text


def test_the_page_needs_no_inline_script_or_style() -> None:
    elements = Elements(read("index.html")).tags
    assert [attrs for tag, attrs in elements if tag == "script"] == [{"type": "module", "src": "/ui/app.js"}]
    assert [attrs["href"] for tag, attrs in elements if tag == "link"] == ["data:,", "/ui/app.css"]
    assert "style" not in [tag for tag, _ in elements]
    assert not [name for _, attrs in elements for name in attrs if name == "style" or name.startswith("on")]


def test_without_javascript_the_page_says_what_it_needs() -> None:
    text = " ".join(read("index.html").split())
    assert "<noscript>" in text and "a2py top" in text
    browsers = re.findall(r"Chrome or Edge \d+, Firefox \d+, Safari [\d.]+", text + read("app.js"))
    assert len(browsers) == 2 and len(set(browsers)) == 1


def test_the_page_stays_small() -> None:
    """tests/test_project.py bounds its lines."""
    assert sum((FILES / name).stat().st_size for name in NAMES) < 250_000


def test_the_rules_are_those_of_the_documentation() -> None:
    assert FILE.read_text("utf-8") == dump(), "docs/translation.md has changed: python -m tests.ui.rules"
    anchors = re.findall(r'<a id="([abc]\d+)"></a>', (ROOT / "docs" / "translation.md").read_text("utf-8"))
    assert list(rules()) == anchors and all(rule["text"] and rule["title"] for rule in rules().values())


def test_the_files_are_in_the_package() -> None:
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", "utf-8")
    data = [name.strip() for name in parser["options.package_data"]["a2py"].split(",")]
    assert "ui/*" in data and {path.name for path in FILES.iterdir()} == set(NAMES)


def test_the_script_is_valid() -> None:
    if not shutil.which("node"):
        pytest.skip("node not installed")
    for path in (FILES / "app.js", browser.HERE / "drive.js"):
        subprocess.run(["node", "--check", str(path)], check=True, capture_output=True)
