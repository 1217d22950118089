"""The browser of these tests. One for each test: what a test leaves behind can't help another."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.ui.browser import Browser, missing


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    if reason := missing():
        pytest.skip(reason)
    browser = Browser()
    await browser.start()
    try:
        yield browser
    finally:
        await browser.stop()
