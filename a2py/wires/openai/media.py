"""Images and documents on both OpenAI wires, and the text that replaces them for a model that does not take them.

Knows: Anthropic's image and document blocks. Must not know: where parts go (turns.py), how a wire writes a part.
Invariants: base64 data is copied once, into its data URL; the proxy never fetches a URL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from a2py.errors import ApiError
from a2py.messages.media import image_type
from a2py.messages.types import JSON
from a2py.wires.common.draft import Draft
from a2py.wires.common.text import block_text, document_title


class Parts(Protocol):
    """How a wire writes the parts of a message's content."""

    def text(self, text: str) -> JSON: ...

    def image(self, url: str) -> JSON:
        """Return an image. `url` may be a data URL."""

    def file(self, name: str, url: str) -> JSON:
        """Return a PDF. `url` is a data URL."""

    def linked_file(self, url: str) -> JSON | None:
        """Return a PDF by its URL; None if the API has no part for that."""

    def pdf_image(self, url: str) -> JSON | None:
        """Return a PDF as a data URL in an image part; None if the API has no part for that."""


def _refuse_file_id(block: JSON) -> None:
    """Raise `ApiError` for a file of Anthropic's Files API. No other upstream has it, and without it the question makes
    no sense. The words are Anthropic's for a request without the beta."""
    if block["source"]["type"] == "file":
        raise ApiError(
            "invalid_request",
            f"messages.content.{block['type']}.source: Input tag 'file' found using 'type' does not match any of the"
            " expected tags: 'base64', 'content', 'text', 'url'. Send the file itself as base64.",
        )


def make_image(block: JSON, draft: Draft, parts: Parts) -> JSON:
    """Return an image block as a part. For a model that takes no images it is a line of text, and reported as lost."""
    source = block["source"]
    _refuse_file_id(block)
    if draft.quirks.images:
        if source["type"] == "base64":
            kind = image_type(source["data"], source["media_type"])
            return parts.image(f"data:{kind};base64,{source['data']}")
        if source["type"] == "url" and draft.quirks.image_urls:
            return parts.image(source["url"])
    draft.lose("image")
    if source["type"] == "url":
        return parts.text(block_text(block))
    return parts.text(
        "[image, not shown: this model takes no images]" if not draft.quirks.images else "[image, not shown]"
    )


def make_document(block: JSON, draft: Draft, parts: Parts) -> JSON:
    """Return a document block as a part: a PDF as a file if the upstream takes it, text as text, anything else as a
    line of text, which is reported as lost."""
    source, form = block["source"], draft.quirks.documents
    _refuse_file_id(block)
    linked_file = parts.linked_file(source["url"]) if source["type"] == "url" and form == "file" else None
    if linked_file is not None:
        return linked_file
    if source["type"] != "base64" or not source["media_type"].endswith("/pdf"):
        return parts.text(draft.text(block))
    url = f"data:{source['media_type']};base64,{source['data']}"
    if form == "file":
        title = block.get("title")
        name = title if isinstance(title, str) and title else "document.pdf"
        return parts.file(name if name.endswith(".pdf") else f"{name}.pdf", url)
    pdf_image = parts.pdf_image(url) if form == "image_url" else None
    if pdf_image is not None:
        return pdf_image
    draft.lose("document")
    return parts.text(f"{document_title(block)}[PDF document, not shown: this model takes no PDF]")


#: Block type → function that returns its part.
MEDIA: dict[str, Callable[[JSON, Draft, Parts], JSON]] = {"image": make_image, "document": make_document}
