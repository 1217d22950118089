"""What a person types."""

from a2py.cli.main import main

__all__ = ["main"]
