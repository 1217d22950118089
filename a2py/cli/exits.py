"""Exit codes and what they mean.

The documentation is tested against the table. The systemd units do not restart a2py after 2, 77 and 78.

Knows: the numbers of sysexits.h that fit. Must not know: which command uses them.
"""

from __future__ import annotations

OK, FAILED, USAGE, NOT_RUNNING, UNAVAILABLE, REFUSED, CONFIG, NOT_RUNNABLE, NOT_FOUND, INTERRUPTED = (
    0,
    1,
    2,
    3,
    69,
    77,
    78,
    126,
    127,
    130,
)

EXITS: dict[int, str] = {
    OK: "done",
    FAILED: "the command failed, or a check found something wrong",
    USAGE: "the command line can't be understood",
    NOT_RUNNING: "`status`: no proxy runs in the background",
    UNAVAILABLE: "the port is taken, or no proxy answers where one was expected",
    REFUSED: "refused: a public address without a master key",
    CONFIG: "the configuration can't be used",
    NOT_RUNNABLE: "the program to be started can't be executed",
    NOT_FOUND: "the program to be started was not found",
    INTERRUPTED: "ended by Ctrl-C (128 + the signal's number for other signals)",
}


class Stop(Exception):
    """End a command with a message for standard error and an exit code."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code
