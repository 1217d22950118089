"""The doctor: what each model's server really does."""

from a2py.cli.check.command import run, run_probes

__all__ = ["run", "run_probes"]
