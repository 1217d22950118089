"""Content blocks as plain text, for an upstream that has no other form for them.

Knows: how each Anthropic block reads as text. Must not know: any upstream's fields.
Invariants: no block that carries text is lost; base64 never ends up as text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from a2py import jsonsize, jsontext
from a2py.errors import ApiError
from a2py.messages import signatures
from a2py.messages.session import strip_billing
from a2py.messages.types import JSON

#: Separator of the texts of one result.
JOIN = "\n"
#: Text of a turn that must not be empty. Claude Code writes the same.
NO_CONTENT = "(no content)"
#: Text of the result of a call for which the client's history has none.
NO_RESULT = "(no result: the call was interrupted)"
#: Line before the result of a call that is not in the turn before it.
EARLIER_RESULT = "[result of an earlier tool call]"
#: Levels and values that are read of a server tool's result, which the parser has not checked.
DEPTH, VALUES = 32, 20_000


def dumps(value: Any) -> str:
    """Return a decoded value as JSON text."""
    return jsontext.dumps(value).decode()


def arguments_text(input: JSON, broken: str) -> str:
    """Return a call's input as JSON text.

    Claude Code keeps arguments that it could not parse as `{"__unparsedToolInput": {"raw": "…"}}`. They go back as the
    text that they were. If the server rejects text that is no object (`broken` is `object`), they go back as this
    object. Raise `ApiError` if the input nests too deep to be written whole."""
    raw = input.get("__unparsedToolInput")
    text = raw.get("raw") if isinstance(raw, dict) else None
    if not isinstance(text, str) or (broken == "object" and not _is_object(text)):
        try:
            return jsontext.dumps_whole(input).decode()
        except ValueError as error:
            raise too_deep(error) from None
    return text


def too_deep(error: ValueError) -> ApiError:
    return ApiError("invalid_request", f"The request nests too deep to be translated: {error}", should_retry=False)


def _is_object(text: str) -> bool:
    raw = text.encode("utf-8", "replace")
    try:
        return not jsonsize.exceeds(raw) and isinstance(jsontext.loads(raw), dict)
    except ValueError:
        return False


def blocks(content: Any) -> list[JSON]:
    """Return `content` as a list of blocks."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return content if isinstance(content, list) else []


def system_texts(system: Iterable[JSON]) -> list[str]:
    """Return the texts of a `system` field that are not empty, unchanged but for the billing line."""
    return [text for block in system if (text := strip_billing(block_text(block)))]


def wrap_reminder(text: str) -> str:
    """Return a system message in mid-conversation as text of a user's turn."""
    if text.lstrip().startswith("<system-reminder>"):
        return text
    return f"<system-reminder>\n{text}\n</system-reminder>"


def document_title(block: JSON) -> str:
    """Return the lines with title and context of a document; "" if it has neither."""
    title, context = block.get("title"), block.get("context")
    lines = [f"[{title}]"] if isinstance(title, str) and title else []
    if isinstance(context, str) and context:
        lines.append(context)
    return "".join(line + "\n" for line in lines)


def _document(block: JSON) -> str:
    source = block.get("source")
    source = source if isinstance(source, dict) else {}
    kind = source.get("type")
    head = document_title(block)
    if kind == "text":
        return head + str(source.get("data", ""))
    if kind == "content":
        return head + as_text(source.get("content"))
    if kind == "url":
        return f"{head}[document: {source.get('url', '')}]"
    return f"{head}[document of type {source.get('media_type', 'unknown')}, not shown]"


def _image(block: JSON) -> str:
    source = block.get("source")
    if isinstance(source, dict) and source.get("type") == "url":
        return f"[image: {source.get('url', '')}]"
    return "[image, not shown]"


def _search_result(block: JSON) -> str:
    head = f"[{block.get('title') or 'search result'}]({block.get('source') or ''})"
    return f"{head}\n{as_text(block.get('content'))}"


def _web_results(block: JSON) -> str:
    content = block.get("content")
    if isinstance(content, dict):
        return f"[search failed: {content.get('error_code', 'unknown error')}]"
    lines = [_page_line(result) for result in blocks(content) if isinstance(result, dict) and result.get("url")]
    return "[search results]\n" + "\n".join(lines)


def _page_line(result: JSON) -> str:
    """Return the line of one page. Title and snippet of a page that a2py's own search has brought are JSON strings: no
    text of a page can look like a block of the conversation."""
    title, url = result.get("title", ""), result["url"]
    vendor = signatures.read(result.get("encrypted_content"))
    if vendor is None or vendor.kind != "search":
        return f"- {title}: {url}"
    text = vendor.state.get("s")
    return f"- {dumps(title)}: {url}" + (f" {dumps(text)}" if isinstance(text, str) and text else "")


def _fetch_result(block: JSON) -> str:
    """Return the text of a page or a PDF that Anthropic's own server fetched."""
    content = block.get("content")
    content = content if isinstance(content, dict) else {}
    if "error_code" in content:
        return f"[fetch failed: {content['error_code']}]"
    if _fetched_source(block).get("type") in ("text", "base64"):
        return f"[fetched {content.get('url', '')}]\n{_document(content['content'])}"
    return _result(block)


def _fetched_source(block: JSON) -> JSON:
    value: Any = block
    for name in ("content", "content", "source"):
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _server_tool_use(block: JSON) -> str:
    return f"[{block.get('name', 'server tool')}: {dumps(block.get('input', {}))}]"


def _result(block: JSON) -> str:
    """Return the text of any other result block of a server tool: its texts if it is a list that has some, otherwise
    JSON."""
    content = block.get("content")
    texts = [item["text"] for item in content if _is_text(item)] if isinstance(content, list) else []
    return f"[{block.get('type')}: {JOIN.join(texts) if texts else _readable(content)}]"


def _is_text(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "text" and isinstance(item.get("text"), str)


def _readable(content: Any) -> str:
    """Return `content` as JSON, without base64 and without what only Anthropic can read. Both cannot be removed from
    more than VALUES values, so larger content is returned only if it has neither."""
    whole = dumps(content)
    if not jsonsize.exceeds(whole.encode(), VALUES):
        return dumps(_bare(content))
    return "too large to be shown" if '"encrypted_' in whole or '"base64"' in whole else whole


def _bare(value: Any, depth: int = DEPTH) -> Any:
    """Return `value` without base64 and without what only Anthropic can read. Levels below `depth` become null."""
    if isinstance(value, (dict, list)) and not depth:
        return None
    if isinstance(value, dict):
        data_key = "data" if value.get("type") == "base64" else None
        return {
            name: _bare(inner, depth - 1)
            for name, inner in value.items()
            if name != data_key and not name.startswith("encrypted_")
        }
    return [_bare(inner, depth - 1) for inner in value] if isinstance(value, list) else value


_TEXTS: dict[str, Callable[[JSON], str]] = {
    "text": lambda block: str(block.get("text", "")),
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "server_tool_use": _server_tool_use,
    "mcp_tool_use": _server_tool_use,
    "web_search_tool_result": _web_results,
    "web_fetch_tool_result": _fetch_result,
    "tool_reference": lambda block: f"[tool loaded: {block.get('tool_name') or block.get('name', '')}]",
    "tool_use": lambda block: f"[tool call {block.get('name', '')}: {dumps(block.get('input', {}))}]",
    "tool_result": lambda block: f"[tool result: {as_text(block.get('content'))}]",
    "thinking": lambda block: "",
    "redacted_thinking": lambda block: "",
    "compaction": lambda block: str(block.get("content") or ""),
    "container_upload": lambda block: "[file, not shown]",
}
#: Types of blocks of which the client may want citations.
CITABLE = frozenset({"document", "search_result"})
#: Types of blocks that change the tool list, or have no meaning as text.
SILENT = frozenset({"tool_addition", "tool_removal", "fallback", "mid_conv_system"})


def block_text(block: JSON) -> str:
    """Return one block as text; "" if it has none."""
    kind = block.get("type")
    if not isinstance(kind, str):  # the parser does not check the blocks inside a server tool's result
        kind = ""
    render = _TEXTS.get(kind)
    if render is not None:
        return render(block)
    if kind in SILENT:
        return ""
    if kind.endswith("_tool_result"):
        return _result(block)
    text = block.get("text")
    return text if isinstance(text, str) else ""


def list_omitted(block: JSON) -> Iterator[str]:
    """Yield the names of what `block_text` leaves out of `block` or only mentions, for the report of lost things."""
    kind = block.get("type", "")
    if kind in ("image", "document"):
        source = block["source"]
        if source["type"] == "content":
            yield from _omitted_in(source["content"])
        elif kind == "image" or source["type"] not in ("text", "url"):
            yield kind
    elif kind in ("tool_result", "search_result"):
        yield from _omitted_in(block.get("content"))
    elif kind == "web_fetch_tool_result" and _fetched_source(block).get("type") == "base64":
        yield "document"
    elif kind == "container_upload":
        yield "file"
    elif kind not in _TEXTS and kind not in SILENT and not block_text(block):
        yield kind or "block"


def _omitted_in(content: Any) -> Iterator[str]:
    for block in content if isinstance(content, list) else ():
        yield from list_omitted(block)


def wants_citations(block: JSON) -> bool:
    """Return whether the client asks for citations of a document or search result. Only Anthropic's API can cite them
    (CitationsConfigParam of anthropic 2.14.0)."""
    citations = block.get("citations")
    return block["type"] in CITABLE and isinstance(citations, dict) and citations.get("enabled") is True


def unfold_documents(content: list[JSON]) -> Iterator[JSON]:
    """Yield `content` with each document that holds images replaced by its parts: a text block with the heading,
    texts, images."""
    for block in content:
        inner = (
            block["source"].get("content")
            if block["type"] == "document" and block["source"]["type"] == "content"
            else None
        )
        if isinstance(inner, list) and any(part["type"] != "text" for part in inner):
            head = document_title(block).rstrip()
            if head:
                yield {"type": "text", "text": head}
            yield from unfold_documents(inner)
        else:
            yield block


def as_text(content: Any) -> str:
    """Return a string as it is, or the texts of blocks, joined by line breaks."""
    if isinstance(content, str):
        return content
    return JOIN.join(filter(None, map(block_text, (b for b in blocks(content) if isinstance(b, dict)))))
