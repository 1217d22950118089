"""The rules of docs/translation.md as a2py/ui/rules.json, which the page shows in a dialog: `python -m tests.ui.rules`.

Knows: how a rule looks in that page. Must not know: what a rule says.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "translation.md"
FILE = ROOT / "a2py" / "ui" / "rules.json"
RULE = re.compile(
    r'^<a id="([abc]\d+)"></a>\*\*[ABC]\d+\. (.+?)\.?\*\* (.*?)(?=\n\n<a id=|\n\n#|\Z)', re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"\[([^]]+)\]\([^)]*\)")


def rules() -> dict[str, dict[str, str]]:
    """Return each rule's title and words, without Markdown's marks."""
    out = {}
    for name, title, text in RULE.findall(PAGE.read_text("utf-8")):
        paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
        out[name] = {"title": plain(title), "text": "\n\n".join(plain(part) for part in paragraphs)}
    return out


def plain(text: str) -> str:
    return LINK.sub(r"\1", text).replace("**", "").replace("`", "").replace("\\", "")


def dump() -> str:
    return json.dumps(rules(), ensure_ascii=False, indent=0) + "\n"


if __name__ == "__main__":
    FILE.write_text(dump(), "utf-8")
