"""Coverage-guided fuzzing with atheris: `make fuzz`, or

    .venv-fuzz/bin/python -m tests.fuzz --seconds 60              # every target in turn, a table at the end
    .venv-fuzz/bin/python -m tests.fuzz decode-chat -runs=10000   # one, with libFuzzer's own options
    .venv-fuzz/bin/python -m tests.fuzz http crash-0a1b           # what once failed, again

Corpora grow in .venv-fuzz/corpus/TARGET and are used again; a failing input is written there as crash-…, and makes the
exit code 1."""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / ".venv-fuzz" / "corpus"
#: Bytes of one input; most streams of the goldens are shorter.
LENGTH = 16_000
#: Megabytes of resident memory, and seconds of one execution, that are a failure.
MEMORY, HANG = 2048, 20


def fuzz(name: str, options: list[str]) -> None:
    """One target in this process; libFuzzer ends it."""
    import atheris  # type: ignore[import-untyped,unused-ignore]

    with atheris.instrument_imports(include=["a2py"]):
        from tests.fuzz.targets import TARGETS
    from tests.wires.test_fuzz import mutate_lines

    target = TARGETS[name]
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    if target.words:
        words = folder.with_suffix(".dict")
        words.write_text("".join(f'"{word}"\n' for word in target.words))
        options = [*options, f"-dict={words}"]

    def mutate(data: bytes, size: int, seed: int) -> bytes:
        dice = random.Random(seed)
        if dice.random() < 0.5:
            return bytes(atheris.Mutate(data, size))
        return (data[:2] + mutate_lines(data[2:], dice))[:size]

    folders = [option for option in options if not option.startswith("-")]
    options = [
        *options,
        f"-rss_limit_mb={MEMORY}",
        f"-timeout={HANG}",
        f"-max_len={LENGTH}",
        f"-artifact_prefix={folder}-",
    ]
    more = {"custom_mutator": mutate} if target.lines else {}
    atheris.Setup([sys.argv[0], *options, *([] if folders else [str(folder)])], target.run, **more)
    atheris.Fuzz()


def every(names: list[str], seconds: int) -> int:
    rows, failures = [], []
    for name in names:
        began = time.monotonic()
        command = [sys.executable, "-m", "tests.fuzz", name, f"-max_total_time={seconds}", "-print_final_stats=1"]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace")
        output = result.stdout + result.stderr
        runs = re.findall(r"stat::number_of_executed_units:\s+(\d+)", output) or re.findall(r"#(\d+)\t", output)
        coverage = re.findall(r"cov: (\d+) ft: (\d+)", output) or [("0", "0")]
        rows.append((name, int(runs[-1]) if runs else 0, time.monotonic() - began, *coverage[-1]))
        print("{:18} {:>10,} executions in {:4.0f} s, {} edges, {} features".format(*rows[-1]), flush=True)
        if result.returncode:
            failures.append(name)
            print(output[-4000:], flush=True)
    print(
        f"{sum(row[1] for row in rows):,} executions, {len(failures)} of {len(rows)} targets failed {' '.join(failures)}".rstrip()
    )
    return 1 if failures else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", nargs="?", help="one target (default: all)")
    parser.add_argument("--seconds", type=int, default=30, help="for each target")
    args, rest = parser.parse_known_args()
    if args.target:
        fuzz(args.target, rest)
    else:
        from tests.fuzz.targets import TARGETS

        sys.exit(every(list(TARGETS), args.seconds))
