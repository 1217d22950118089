"""Flags of LiteLLM's `litellm` command that have nothing to do here: accepted with a warning, so that command lines of
charts and compose files work as they are.

Knows: their names and whether they take a value (LiteLLM 1.110.2, 2026-11). Must not know: what `serve` does.
Invariants: a flag that takes a value takes exactly one, so nothing after it is misread; no help lists these flags.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

#: Consequence → flags that take a value, and flags that take none.
_FLAGS: tuple[tuple[str, str, str], ...] = (
    ("a2py sends no telemetry", "telemetry", ""),
    ("a2py enforces no budget", "max-budget", ""),
    (
        "a2py has a server of its own, and `a2py: max_connections`",
        "granian-threads ciphers max-request-header-size timeout-worker-healthcheck max-requests-before-restart "
        "max-requests-before-restart-jitter limit-concurrency",
        "run-gunicorn run-hypercorn run-granian reload",
    ),
    (
        "a2py has no database",
        "",
        "use-prisma-db-push iam-token-db-auth azure-postgresql-auth check-migrations-against-existing-data "
        "enforce-prisma-migration-check use-v2-migration-resolver use-legacy-migration-resolver",
    ),
    ("write headers and keys into the configuration", "headers add-key", "save"),
    ("use --log-format json", "log-config", ""),
    ("metrics are at /metrics of the same port", "prometheus-metrics-port", ""),
    ("use `a2py config validate`", "", "validate-config"),
    ("use `a2py config init`", "", "setup"),
    ("it has no effect", "num-requests", "use-queue test-async local add-function-to-prompt"),
)
#: A flag for containers that only prepare LiteLLM's database, and that must end.
SKIP = "--skip-server-startup"


class _Ignore(argparse.Action):
    """Note the flag in `ignored_flags`, with what to know instead."""

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        namespace.ignored_flags = [
            *(getattr(namespace, "ignored_flags", None) or ()),
            (str(option_string), str(self.metavar)),
        ]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Let `parser` accept LiteLLM's flags; `describe_ignored` says what it has ignored."""
    for consequence, with_value, without in _FLAGS:
        for names, nargs in ((with_value, None), (without, 0)):
            for name in names.split():
                parser.add_argument(
                    f"--{name}",
                    action=_Ignore,
                    nargs=nargs,
                    help=argparse.SUPPRESS,
                    metavar=consequence,
                    default=argparse.SUPPRESS,
                )
    parser.add_argument(SKIP, action="store_true", help=argparse.SUPPRESS)


def describe_ignored(args: argparse.Namespace) -> Sequence[str]:
    """Return a warning for each ignored flag."""
    flags = dict(getattr(args, "ignored_flags", ()))
    return [f"{flag} is a flag of LiteLLM and ignored: {consequence}" for flag, consequence in flags.items()]
