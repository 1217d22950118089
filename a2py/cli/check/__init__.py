"""`a2py check`: find out what each model's server really does."""

from a2py.cli.check.command import Choice, parser, run, run_probes

__all__ = ["Choice", "parser", "run", "run_probes"]
