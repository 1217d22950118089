"""`a2py ui`: open the page of the running a2py in the browser.

Knows: browsers. Must not know: how a token is made (pagelink.py), what the page shows.
Invariants: without a browser the link is printed; no text browser takes over the terminal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from a2py.cli import options, pagelink, running
from a2py.cli.exits import OK
from a2py.cli.terminal import Terminal

EXAMPLES = (
    "a2py ui",
    "a2py ui --print                          the link, for another browser",
    "a2py ui --url http://gateway:4000 --print",
)


def parser(name: str) -> options.Parser:
    out = options.Parser(
        name, "Open the page of the running a2py, which shows every request and both of its sides.", EXAMPLES
    )
    out.add_argument("--print", action="store_true", help="print the link, which is worth one page, for a minute")
    return out.flags((running.URL, *options.LISTEN), options.SOURCE)


def run(name: str, argv: list[str]) -> int:
    args, terminal = parser(name).read(argv), Terminal()
    link = pagelink.make_link(args)
    if args.print:
        terminal.print_exact(link.address)
    elif open_browser(link.address, os.environ):
        terminal.note(f"opened {link.url}/ui in the browser")
    else:
        terminal.note("no browser could be started; open this within a minute:")
        terminal.print_exact(link.address)
    return OK


def open_browser(address: str, env: Mapping[str, str]) -> bool:
    """Return whether a browser with windows was started for `address`."""
    has_windows = sys.platform in ("win32", "darwin") or any(
        env.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME", "BROWSER")
    )
    if not has_windows:
        return False
    import webbrowser

    try:
        return webbrowser.open(address)
    except webbrowser.Error:
        return False
