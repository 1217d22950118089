"""The command line: `a2py` and its commands."""

from a2py.cli.main import main

__all__ = ["main"]
