"""Images and documents on the chat wire.

Knows: `image_url` and `file` parts, and what stands in their place where a model takes none.
Must not know: where parts go (messages.py).
Invariants: base64 data is copied once, into its data URL; the proxy never fetches a URL.
"""

from __future__ import annotations

from a2py.messages.types import JSON
from a2py.wires.common.draft import Draft
from a2py.wires.common.text import block_text, document_title

Part = JSON


def _text(text: str) -> Part:
    return {"type": "text", "text": text}


def image(block: JSON, draft: Draft) -> Part:
    """An image block as a part; a text stub, degraded, where the model takes no images."""
    source = block["source"]
    if draft.quirks.images:
        if source["type"] == "base64":
            return {"type": "image_url", "image_url": {"url": f"data:{source['media_type']};base64,{source['data']}"}}
        if source["type"] == "url" and draft.quirks.image_urls:
            return {"type": "image_url", "image_url": {"url": source["url"]}}
    draft.lose("image")
    if source["type"] == "url":
        return _text(block_text(block))
    return _text("[image, not shown: this model takes no images]" if not draft.quirks.images else "[image, not shown]")


def document(block: JSON, draft: Draft) -> Part:
    """A document block as a part: PDF where the upstream takes it, text as text, a URL as a line."""
    source = block["source"]
    if source["type"] != "base64" or not source["media_type"].endswith("/pdf"):
        return _text(draft.text(block))
    url = f"data:{source['media_type']};base64,{source['data']}"
    form = draft.quirks.documents
    if form == "file":
        title = block.get("title")
        name = title if isinstance(title, str) and title else "document.pdf"
        return {"type": "file", "file": {"filename": name if name.endswith(".pdf") else f"{name}.pdf", "file_data": url}}
    if form == "image_url":
        return {"type": "image_url", "image_url": {"url": url}}
    draft.lose("document")
    return _text(f"{document_title(block)}[PDF document, not shown: this model takes no PDF]")


#: Block type → part.
MEDIA = {"image": image, "document": document}
