"""Images and documents on the Responses wire.

Knows: `input_image` and `input_file` parts, and what stands in their place where a model takes none.
Must not know: where parts go (items.py).
Invariants: base64 data is copied once, into its data URL; the proxy never fetches a URL.
"""

from __future__ import annotations

from a2py.messages.types import JSON
from a2py.wires.common.draft import Draft
from a2py.wires.common.text import block_text, document_title


def text(s: str) -> JSON:
    return {"type": "input_text", "text": s}


def image(block: JSON, draft: Draft) -> JSON:
    """An image block as a part; a text stub, degraded, where the model takes no images."""
    source = block["source"]
    if draft.quirks.images:
        if source["type"] == "base64":
            return {"type": "input_image", "detail": "auto", "image_url": f"data:{source['media_type']};base64,{source['data']}"}
        if source["type"] == "url" and draft.quirks.image_urls:
            return {"type": "input_image", "detail": "auto", "image_url": source["url"]}
    draft.lose("image")
    if source["type"] == "url":
        return text(block_text(block))
    return text("[image, not shown: this model takes no images]" if not draft.quirks.images else "[image, not shown]")


def document(block: JSON, draft: Draft) -> JSON:
    """A document block as a part: PDF (data or URL) where the upstream takes it, text as text."""
    source = block["source"]
    files = draft.quirks.documents == "file"
    if source["type"] == "url" and files:
        return {"type": "input_file", "file_url": source["url"]}
    if source["type"] != "base64" or not source["media_type"].endswith("/pdf"):
        return text(draft.text(block))
    if files:
        title = block.get("title")
        name = title if isinstance(title, str) and title else "document.pdf"
        data = f"data:{source['media_type']};base64,{source['data']}"
        return {"type": "input_file", "filename": name if name.endswith(".pdf") else f"{name}.pdf", "file_data": data}
    draft.lose("document")
    return text(f"{document_title(block)}[PDF document, not shown: this model takes no PDF]")


#: Block type → part.
MEDIA = {"image": image, "document": document}
