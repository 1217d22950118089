"""Proves the goldens: each quirk field is set back to its default, each branch of the translation is switched off, and
a golden that names the field or the rule must notice.

    python -m tests.mutate                       # all (some minutes); prints the survivors
    python -m tests.mutate max_tokens_field      # one field
    python -m tests.mutate openai/media.py       # one file
    python -m tests.mutate --goldens             # without the unit tests: a minute

How: a mutant is a function compiled again with one condition replaced by True or False; only the goldens that run
through that line are run, each whole and byte by byte. A golden that fails, or hangs, has noticed. A condition that
only guards against values of a wrong type or size is not counted: the unit tests and the fuzz tests own those. What no
golden notices is given to the unit tests of its module, in a process of its own. What survives both stands in SURVIVORS
with its reason, or is printed."""

from __future__ import annotations

import ast
import importlib
import os
import re
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from a2py.deployment import Deployment
from a2py.quirks import Quirks
from tests import golden, streams

ROOT = Path(__file__).resolve().parents[1]
#: File → the rules (docs/translation.md) that its branches implement. A golden counts if it names one of them, or a
#: quirk field.
RULES = {
    "a2py/wires/chat/messages.py": "A1|A2|A3|A4|A5|A7|A14|A17|B15",
    "a2py/wires/openai/turns.py": "A1|A2|A3|A4|A5|A7|A14|A17|B15",
    "a2py/wires/openai/media.py": "A5|A6",
    "a2py/wires/openai/tools.py": "A8|A9|A10|A11",
    "a2py/wires/openai/fields.py": "A12|A15|A16|A18|A[0-9]+",
    "a2py/wires/openai/thinking.py": "A10|A12|A13|A15",
    "a2py/wires/chat/request.py": "A12|A15|A16|A18|A[0-9]+",
    "a2py/wires/chat/tools.py": "A8|A9|A10|A11",
    "a2py/wires/chat/search_results.py": "A11",
    "a2py/wires/common/schema.py": "A8|A15",
    "a2py/wires/chat/reasoning.py": "A12|A13|A14",
    "a2py/wires/chat/stream.py": "A12|B[0-9]+",
    "a2py/wires/chat/output.py": "A12|A14|B[0-9]+",
    "a2py/wires/chat/calls.py": "A14|B1|B2|B15",
    "a2py/wires/chat/choices.py": "B1",
    "a2py/wires/chat/finish.py": "B1|B4",
    "a2py/wires/chat/pieces.py": "B2|B3|B4",
    "a2py/wires/common/usage.py": "B5",
    "a2py/wires/common/intake.py": "B6|B[0-9]+",
    "a2py/wires/common/tools.py": "A8|A9|A11",
    "a2py/wires/common/typed.py": "A8",
    "a2py/wires/common/text.py": "A1|A2|A5|A6|A7|A11|A17",
    "a2py/wires/common/effort.py": "A13",
    "a2py/wires/common/filters.py": "A12|B3",
    "a2py/wires/common/names.py": "A8|B1",
    "a2py/messages/blocks.py": "B1|B2|B3|B4|B15",
    "a2py/messages/sequence.py": "B1|B2|B3|B4|B15",
    "a2py/messages/items.py": "B1|B2",
    "a2py/messages/arguments.py": "B1|B2",
    "a2py/messages/ids.py": "B15",
    "a2py/wires/responses/request.py": "A[0-9]+|C[0-9]",
    "a2py/wires/responses/items.py": "A[0-9]+|C[0-9]",
    "a2py/wires/responses/tools.py": "A[0-9]+|C[0-9]",
    "a2py/wires/responses/stream.py": "A11|B[0-9]+|C[0-9]",
    "a2py/wires/native/request.py": "A10|A12|A14|C[0-9]",
    "a2py/wires/native/history.py": "A7|A14|B15|C[0-9]",
    "a2py/wires/native/tools.py": "A9|A10|A11|C[0-9]",
    "a2py/wires/native/strip.py": "A14|C[0-9]",
    "a2py/wires/native/stream.py": "B[0-9]+|C[0-9]",
    "a2py/wires/native/repairs.py": "B[0-9]+|C[0-9]",
    "a2py/wires/native/mend.py": "B[0-9]+|C[0-9]",
    "a2py/wires/native/ending.py": "B[0-9]+|C[0-9]",
}
#: Fields that no golden can show, because no wire reads them: what tests them instead.
ELSEWHERE: dict[str, str] = {
    "context_probe": "proxy/context.py asks the server: tests of the proxy",
    "tokenizer": "proxy/tokenizers.py asks the server: tests of the proxy",
    "native_count": "the proxy asks the upstream's count_tokens: tests of the proxy",
}
#: (file, condition, value) → why nothing notices.
SURVIVORS: dict[tuple[str, str, bool], str] = {
    ("a2py/messages/blocks.py", "s and key == self._open_key", False): "the short way; the long one gives the same",
    ("a2py/messages/sequence.py", "item is not self._current", True): "the block opens later, its bytes are the same",
    ("a2py/messages/sequence.py", "not item.is_started", False): "the block opens later, its bytes are the same",
    (
        "a2py/messages/blocks.py",
        "item is self._current",
        False,
    ): "a whole block is closed later, its bytes are the same",
    ("a2py/messages/sequence.py", "item.kind == WHOLE", False): "a whole block is closed later, its bytes are the same",
    **{
        ("a2py/messages/sequence.py", "item.block", value): "how much a waiting block counts for"
        for value in (True, False)
    },
    (
        "a2py/messages/sequence.py",
        "item.is_closed",
        False,
    ): "what is kept of a closed call is never given out, it only counts",
    **{
        ("a2py/messages/sequence.py", "self._queue.items", value): "the next block opens later, its bytes are the same"
        for value in (True, False)
    },
    ("a2py/messages/sequence.py", "item.size > SCAN_SIZE", True): "only slower",
    **{
        (
            "a2py/messages/sequence.py",
            "item.kind == TOOL",
            value,
        ): "of `_open_call`, the short way of `args`: messages/test_writer.py"
        for value in (True, False)
    },
    ("a2py/messages/items.py", "self.items[0].kind == TOOL", True): "the loop behind it asks again",
    ("a2py/messages/sequence.py", "self._is_hidden(item)", True): "how much is kept",
    ("a2py/messages/arguments.py", "c in '}]'", True): "else it is a backslash outside a string, which is no JSON",
    (
        "a2py/wires/openai/tools.py",
        "message['role'] == 'system'",
        True,
    ): "only slower: no other message holds such a block",
    ("a2py/wires/chat/messages.py", "self._marks", True): "the short way; nothing is marked",
    **{
        ("a2py/wires/common/schema.py", condition, True): "identity: an equal schema is built anew"
        for condition in (
            "any((new[name] is not table[name] for name in table))",
            "one is not node[key]",
            "many is not node[key]",
            "table is not node[key]",
            "changes",
            "schema.get('type') != 'object'",
        )
    },
    ("a2py/wires/common/schema.py", "not level", True): "only a schema nested deeper than DEPTH tells: fuzz tests",
    ("a2py/wires/common/intake.py", "parser.overflow", False): "32 MiB in one event",
    ("a2py/wires/common/intake.py", "not self.is_finished", True): "the events behind the end are not looked at",
    ("a2py/wires/common/intake.py", "self.is_finished", False): "the events behind the end are not looked at either",
    (
        "a2py/wires/chat/stream.py",
        "self.is_finished and self._error is not None and (not delta)",
        False,
    ): "the error stands already",
    ("a2py/wires/chat/output.py", "not self.has_filters", False): "the short way; the long one gives the same",
    ("a2py/wires/chat/stream.py", "not content or len(delta) > 2", True): "the short way; such a delta has no state",
    **{
        ("a2py/wires/chat/output.py", condition, True): "the sink takes no empty text; nothing is kept"
        for condition in ("self.has_state", "text", "rest")
    },
    **{("a2py/wires/common/typed.py", "enum", value): "runs at import" for value in (True, False)},
    ("a2py/wires/common/tools.py", "kind == 'custom'", False): "the short way; the long one gives the same",
    (
        "a2py/messages/session.py",
        "text.startswith(BILLING)",
        True,
    ): "its caller has asked already, or the function behind it asks again",
    ("a2py/wires/common/text.py", "kind in SILENT", False): "such a block holds no text",
    ("a2py/wires/common/effort.py", "kind", True): "`on` and `default` with an effort are told alike",
    ("a2py/wires/common/filters.py", "at < 0", True): "what it computes is only used where it was true",
}
#: Seconds after which a mutant hangs: in a golden, in the unit tests.
LIMIT = 5
UNIT_LIMIT = 60
#: How a process of unit tests learns its mutant: `file:number:value`.
VARIABLE = "A2PY_MUTANT"
#: A condition made of these alone guards against hostile or odd values.
GUARD = re.compile(r"isinstance|__class__|LIMIT|DEPTH|REFS")


@dataclass(frozen=True)
class Mutant:
    file: str
    function: str  #: qualified name of the outermost function or method
    line: int
    condition: str
    value: bool
    number: int  #: of the condition in the file

    @property
    def key(self) -> tuple[str, str, bool]:
        return self.file, self.condition, self.value

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.function}: `{self.condition}` -> {self.value}"


# -- the mutants of a file ---------------------------------------------------------------------------------------------


@cache
def source(file: str) -> str:
    """As it was when this process began: others may be editing."""
    return (ROOT / file).read_text("utf-8")


def conditions(tree: ast.Module) -> Iterator[tuple[str, ast.AST, str]]:
    """(function, node, attribute) of each condition inside a function, in source order."""

    def inside(node: ast.AST, function: str) -> Iterator[tuple[str, ast.AST, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.Lambda)):
                continue  # made at import: its code is out of reach
            if isinstance(child, (ast.If, ast.IfExp)):
                yield function, child, "test"
            elif isinstance(child, ast.comprehension) and child.ifs:
                yield function, child, "ifs"
            yield from inside(child, function)

    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield from inside(node, node.name)
        elif isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef):
                    yield from inside(method, f"{node.name}.{method.name}")


def mutants(file: str) -> list[Mutant]:
    out = []
    for number, (function, node, attribute) in enumerate(conditions(ast.parse(source(file)))):
        test = getattr(node, attribute)
        text = ast.unparse(test) if attribute == "test" else " and ".join(map(ast.unparse, test))
        line = (test if attribute == "test" else test[0]).lineno
        if not GUARD.search(text):
            out += [Mutant(file, function, line, text, value, number) for value in (True, False)]
    return out


def compile_mutant(mutant: Mutant) -> types.CodeType:
    """The code of the mutant's function."""
    tree = ast.parse(source(mutant.file))
    _, node, attribute = list(conditions(tree))[mutant.number]
    constant = ast.copy_location(ast.Constant(mutant.value), node if attribute == "test" else node.ifs[0])  # type: ignore[attr-defined]
    setattr(node, attribute, constant if attribute == "test" else [constant])
    code = compile(tree, str(ROOT / mutant.file), "exec")
    for name in mutant.function.split("."):
        code = next(c for c in code.co_consts if isinstance(c, types.CodeType) and c.co_name == name)
    return code


@contextmanager
def apply_mutant(mutant: Mutant) -> Iterator[None]:
    module = importlib.import_module(mutant.file.removesuffix(".py").replace("/", "."))
    target: Any = module
    for name in mutant.function.split("."):
        target = target.__dict__[name] if isinstance(target, type) else getattr(target, name)
    while not isinstance(target, types.FunctionType):  # property, classmethod, cached …
        target = getattr(target, "fget", None) or getattr(target, "__wrapped__", None) or target.__func__
    old = target.__code__
    target.__code__ = compile_mutant(mutant)
    try:
        yield
    finally:
        target.__code__ = old


# -- the goldens -------------------------------------------------------------------------------------------------------


def quick(data: bytes) -> Iterator[list[bytes]]:
    yield [data]
    yield [data[n : n + 1] for n in range(len(data))]


def fails(case: golden.Case) -> bool:
    def late(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    try:
        golden.run(case)
    except Exception:
        return True
    finally:
        signal.alarm(0)
    return False


def coverage(cases: list[golden.Case]) -> dict[tuple[str, int], list[golden.Case]]:
    """(file, line) → the goldens that run through it."""
    files = {str(ROOT / file): file for file in RULES}
    out: dict[tuple[str, int], list[golden.Case]] = {}
    places: set[tuple[str, int]] = set()

    def trace(frame: types.FrameType, event: str, arg: object) -> Any:
        file = files.get(frame.f_code.co_filename)
        if file is None:
            return None
        if event == "line":
            places.add((file, frame.f_lineno))
        return trace

    for case in cases:
        places.clear()
        sys.settrace(trace)
        try:
            broken = fails(case)
        finally:
            sys.settrace(None)
        if broken:
            print(f"{case.id}: fails by itself, left out")
            continue
        for place in places:
            out.setdefault(place, []).append(case)
    return out


def names(case: golden.Case, pattern: str) -> bool:
    return re.search(rf"\b({pattern})\b", case.text) is not None


# -- the two proofs ----------------------------------------------------------------------------------------------------


def field_survivors(cases: list[golden.Case], is_wanted: Callable[[str], bool]) -> list[str]:
    """Fields whose default breaks no golden that names them."""
    out = []
    real = golden.deployment
    for f in fields(Quirks):
        if f.name in ELSEWHERE or not is_wanted(f.name):
            continue
        default = getattr(Quirks(), f.name)

        def plain(config: Any, name: str = f.name, value: Any = default) -> Deployment:
            to = real(config)
            return replace(to, quirks=replace(to.quirks, **{name: value}))

        about = [case for case in cases if names(case, f.name)]
        golden.deployment = plain
        try:
            if not any(map(fails, about)):
                out.append(
                    f"{f.name}: " + (f"{len(about)} goldens name it, none notices" if about else "no golden names it")
                )
        finally:
            golden.deployment = real
    return out


#: Keeps the mutant of this process alive.
STACK = ExitStack()


def pytest_configure(config: object) -> None:
    """With `-p tests.mutate` pytest runs on the mutant that the environment names."""
    file, number, value = os.environ[VARIABLE].split(":")
    mutant = next(m for m in mutants(file) if m.number == int(number) and m.value == (value == "True"))
    STACK.enter_context(apply_mutant(mutant))


def unit_tests(file: str) -> list[str]:
    """The unit tests of a module, by name; those that read recordings are left out."""
    module = Path(file)
    folder = ROOT / "tests" / module.parent.relative_to("a2py")
    paths = {path for stem in (module.stem, module.parent.name) for path in folder.glob(f"test_{stem}.py")}
    return sorted(str(path) for path in paths if "recordings" not in path.name)


def unit_tests_notice(mutant: Mutant) -> bool:
    tests = unit_tests(mutant.file)
    if not tests:
        return False
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.mutate",
        "-x",
        "-q",
        "--no-header",
        "-p",
        "no:cacheprovider",
        *tests,
    ]
    environment = {**os.environ, VARIABLE: f"{mutant.file}:{mutant.number}:{mutant.value}"}
    try:
        return (
            subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=UNIT_LIMIT).returncode == 1
        )
    except subprocess.TimeoutExpired:
        return True


def branch_survivors(cases: list[golden.Case], candidates: list[Mutant], units: bool) -> tuple[list[str], int]:
    """The mutants that nothing notices; how many only the unit tests notice."""
    cases_by_line = coverage(cases)
    quirk_names = "|".join(f.name for f in fields(Quirks))
    out, by_units = [], 0
    used_keys: set[tuple[str, str, bool]] = set()
    for mutant in candidates:
        through = cases_by_line.get((mutant.file, mutant.line), [])
        about = [case for case in through if names(case, f"{RULES[mutant.file]}|{quirk_names}")]
        with apply_mutant(mutant):
            is_noticed = any(map(fails, about))
        is_explained = mutant.key in SURVIVORS
        if not is_noticed and not is_explained and units and unit_tests_notice(mutant):
            by_units += 1
        elif not is_noticed and not is_explained:
            out.append(f"{mutant}: {len(about)} goldens run through it" + (", none notices" if about else ""))
        elif not is_noticed:
            used_keys.add(mutant.key)
    files = {mutant.file for mutant in candidates}
    out += [
        f"{key}: noticed now: take it out of SURVIVORS" for key in SURVIVORS if key[0] in files and key not in used_keys
    ]
    return out, by_units


def main(args: list[str]) -> int:
    units = "--goldens" not in args
    args = [arg for arg in args if arg != "--goldens"]
    streams.splits = quick  # a mutant that only some splits notice would break the contract, not a rule
    cases = golden.cases()
    is_file = [arg for arg in args if arg.endswith(".py")]
    wanted_fields = [arg for arg in args if not arg.endswith(".py")]
    bad = (
        []
        if is_file and not wanted_fields
        else field_survivors(cases, lambda name: not wanted_fields or name in wanted_fields)
    )
    print(f"quirk fields: {len(bad)} survive", *bad, sep="\n  ")
    candidates = [m for file in RULES if not args or any(file.endswith(arg) for arg in is_file) for m in mutants(file)]
    survivors, by_units = branch_survivors(cases, candidates, units) if candidates else ([], 0)
    summary = f"{len(candidates)} mutants, {by_units} noticed by unit tests alone, {len(SURVIVORS)} explained, {len(survivors)} survive"
    print(f"branches: {summary}", *survivors, sep="\n  ")
    return 1 if bad or survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
