"""The configuration that serves the embedded demo model, and the demo's lifetime.

Knows: the demo upstream's address and quirks, flags. Must not know: when the demo is chosen (source.py), how it
answers.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from a2py.cli.source import Source, apply_flags, master_key, read_environment
from a2py.config import Config, single
from a2py.quirks import override

#: The demo upstream takes thinking as `thinking: {type}`, and everything else in OpenAI's form.
DEMO_QUIRKS: Mapping[str, Any] = {"reasoning": "thinking_type"}


async def open_source(stack: AsyncExitStack, source: Source, args: argparse.Namespace) -> Config:
    """Return the source's configuration. If the source is the demo, start the demo upstream; it ends with `stack`."""
    if source.config is not None:
        return source.config
    from a2py.demo import CONTEXT, Demo

    demo = await stack.enter_async_context(Demo())
    return demo_config(demo.base, CONTEXT, args)


def demo_config(base: str, context: int, args: argparse.Namespace) -> Config:
    """Return the configuration that serves the demo upstream at `base` under every name.

    Of the environment, only the master key is used."""
    key = master_key(None, read_environment(), os.getcwd())
    config = single(model="openai/demo", alias="demo", api_base=base, env={"LITELLM_MASTER_KEY": key})
    deployments = tuple(
        replace(
            dep,
            id="demo/demo",
            provider="demo",
            overrides=DEMO_QUIRKS,
            quirks=override(dep.quirks, dict(DEMO_QUIRKS)),
            max_input_tokens=context,
        )
        for dep in config.deployments
    )
    return apply_flags(replace(config, deployments=deployments, binders={}), args)
