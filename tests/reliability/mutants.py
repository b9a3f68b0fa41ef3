"""Tests that bite: ``python -m tests.reliability.mutants [--seed N] [--count N] [--only MODULE] [--survivors]``.

Makes small mistakes in modules on which much depends, one at a time and in a copy of the checkout, and runs the tests of the
module's own room: those that enter the changed function first, the fastest before the others. A mutant survives only if all
tests of the room pass: it is listed, and the status is 1 if more than one of twenty did.
"""

from __future__ import annotations

import argparse
import ast
import json
import multiprocessing
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import pytest

from tests.harness import CHECKOUT

_CLIENT = ["tests/cloud/test_client.py", "tests/cloud/test_lost_request.py", "tests/cloud/test_resource_lookup.py"]
ROOMS = {
    "cloud/client": _CLIENT,
    "cloud/instance_actions": _CLIENT,
    "cloud/lost_request": ["tests/cloud/test_lost_request.py", "tests/cloud/test_client.py"],
    "cloud/machine_request": ["tests/cloud/test_template_writer.py", "tests/cloud/test_client.py"],
    "cloud/reply": ["tests/cloud/test_reply.py", "tests/cloud/test_client.py"],
    "cloud/template_writer": ["tests/cloud/test_template_writer.py", "tests/cloud/test_client.py"],
    "diagnosis/explanation": ["tests/diagnosis"],
    "local/engine/lifecycle": [
        "tests/local/engine",
        "tests/local/api/test_methods.py",
        "tests/local/api/test_server_profiles.py",
    ],
    "local/engine/template_reader": ["tests/local/engine", "tests/local/api/test_methods.py"],
    "opennebula/instance": ["tests/opennebula"],
    "opennebula/template_grammar": ["tests/opennebula"],
    "output/redaction": ["tests/output/test_redaction.py"],
    "configuration_file": ["tests/test_settings.py", "tests/test_settings_warnings.py"],
    "settings": ["tests/test_settings.py", "tests/test_settings_warnings.py"],
    "ssh/known_hosts": ["tests/ssh/test_known_hosts.py"],
}
"""The modules, and the tests that must notice a mistake in each, the most telling first."""

MOST_SURVIVORS = 0.05
_WORKERS = 2
_CPU = 20  # seconds of processor time for the tests of one mutant, which may loop for ever, besides twice what they take
_WALL = 600  # seconds; tests run slowly on a busy computer
_PRELOADED = ("hypothesis", "lxml.etree", "requests", "paramiko", "cryptography.x509", "_pytest.assertion.rewrite")

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
}


class Mutant(NamedTuple):
    """A mistake: a piece of a module's source (bytes from ``begin`` to ``end``) is replaced."""

    line: int
    begin: int
    end: int
    was: str
    becomes: str


def mutants(source: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    encoded = source.encode()
    starts = [0]
    for line in encoded.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node, becomes in _mistakes(ast.parse(source)):
        assert isinstance(node, (ast.expr, ast.stmt))
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        begin, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        found.append(Mutant(node.lineno, begin, end, encoded[begin:end].decode(), becomes))
    return sorted(set(found))


def applied(source: str, mutant: Mutant) -> str:
    """The source with the mistake."""
    encoded = source.encode()
    return (encoded[: mutant.begin] + mutant.becomes.encode() + encoded[mutant.end :]).decode()


def _mistakes(node: ast.AST, in_function: bool = False) -> Iterator[tuple[ast.AST, str]]:
    """What is replaced, and by what, below the node. Only what is executed, no texts of messages, no annotations."""
    if isinstance(node, (ast.JoinedStr, ast.arguments)):
        return  # the nodes in an f-string have no positions of their own before Python 3.12
    if in_function and (isinstance(node, (ast.Assign, ast.AugAssign, ast.Raise, ast.Delete)) or _is_call(node)):
        yield node, "pass"
    elif isinstance(node, ast.Return) and not (node.value is None or isinstance(node.value, ast.Constant)):
        yield node, "return None"
    elif isinstance(node, ast.Continue):
        yield node, "break"
    elif isinstance(node, ast.Compare):
        for number, operator in enumerate(node.ops):
            others = [*node.ops[:number], _COMPARISONS[type(operator)](), *node.ops[number + 1 :]]
            yield node, f"({ast.unparse(ast.Compare(node.left, others, node.comparators))})"
    elif isinstance(node, ast.BoolOp):
        swapped = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield node, f"({ast.unparse(ast.BoolOp(swapped, node.values))})"
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS and not _has_text(node):
        yield node, f"({ast.unparse(ast.BinOp(node.left, _OPERATORS[type(node.op)](), node.right))})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node, f"({ast.unparse(node.operand)})"
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield node, str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield from ((node, str(node.value + 1)), (node, f"({node.value - 1})"))
    if isinstance(node, (ast.If, ast.While, ast.IfExp)) and ast.unparse(node.test) != "TYPE_CHECKING":
        yield node.test, f"(not ({ast.unparse(node.test)}))"
    within = in_function or isinstance(node, (ast.FunctionDef, ast.Lambda))
    for name, field in ast.iter_fields(node):
        if name not in ("annotation", "returns", "decorator_list"):
            for child in field if isinstance(field, list) else [field]:
                if isinstance(child, ast.AST):
                    yield from _mistakes(child, within)


def _is_call(node: ast.AST) -> bool:
    """Whether the node is a statement that calls something: no docstring, and no yield."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


def _has_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(side, ast.JoinedStr) or getattr(side, "value", 0).__class__ in (str, bytes) for side in (node.left, node.right)
    )


def chosen(count: int, seed: int, modules: list[str]) -> list[tuple[str, Mutant]]:
    """That many mutants of the modules, at random, the same for the same seed and source."""
    every = [(name, mutant) for name in modules for mutant in mutants((CHECKOUT / "stratuslab" / f"{name}.py").read_text())]
    return sorted(random.Random(seed).sample(every, min(count, len(every))))


class _Entered:
    """A plugin of pytest that notes which functions of a module each test enters, and how long each test takes."""

    def __init__(self, module: Path) -> None:
        self.tests: dict[str, list[int]] = {}
        self.seconds: dict[str, float] = {}
        self._module = str(module)
        self._now: set[int] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._now = set()
        begin = time.monotonic()
        threading.settrace(self._trace)
        sys.settrace(self._trace)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            self.tests[item.nodeid] = sorted(self._now)
            self.seconds[item.nodeid] = time.monotonic() - begin

    def _trace(self, frame: FrameType, _event: str, _arg: object) -> None:
        if frame.f_code.co_filename == self._module:
            self._now.add(frame.f_code.co_firstlineno)


class _Order:
    """A plugin of pytest that runs these tests only, in this order."""

    def __init__(self, tests: list[str]) -> None:
        self._place = {test: place for place, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self._place), key=lambda item: self._place[item.nodeid])


class Copy:
    """A copy of the checkout, in which one module at a time is changed and tests are run."""

    def __init__(self, place: Path) -> None:
        self.place = place
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listing, cwd=CHECKOUT, capture_output=True, check=True, text=True).stdout
        for name in filter(lambda name: (CHECKOUT / name).is_file(), names.split("\0")):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, place / name)
        self._changes = 0

    def write(self, name: str, source: str) -> None:
        """Give a module this source."""
        path = self.place / "stratuslab" / f"{name}.py"
        path.write_text(source)
        # Python takes a module compiled before for the same one if its time, in seconds, and its size are.
        self._changes += 10
        os.utime(path, (time.time() + self._changes,) * 2)

    def measured(self, name: str) -> tuple[dict[str, list[int]], dict[str, float]]:
        """The functions that each test of a module's room enters, by their first lines, and the seconds that it takes."""
        notes = self.place / "notes"
        found = self._failing(ROOMS[name], _Entered(self.place / "stratuslab" / f"{name}.py"), 10 * _CPU)
        if found:
            raise SystemExit(f"the tests of {name} fail without a mutant: {found}")
        tests, seconds = json.loads(notes.read_text())
        found = self._tests(sorted(seconds, key=seconds.__getitem__), seconds)
        if found:
            raise SystemExit(f"the tests of {name} fail without a mutant, fastest first: {found}")
        return tests, seconds

    def noticed(self, name: str, mutant: Mutant, entered: dict[str, list[int]], seconds: dict[str, float]) -> str:
        """The first test of the module's room that fails with the mutant; empty if all pass."""
        source = (CHECKOUT / "stratuslab" / f"{name}.py").read_text()
        function = _function(source, mutant.line)
        order = sorted(seconds, key=seconds.__getitem__)
        near = [test for test in order if function in entered[test]]
        self.write(name, applied(source, mutant))
        try:
            return self._tests(near, seconds) or self._tests(order, seconds)
        finally:
            self.write(name, source)

    def _tests(self, order: list[str], seconds: dict[str, float]) -> str:
        if not order:
            return ""
        files = sorted({test.split("::")[0] for test in order})
        return self._failing(files, _Order(order), _CPU + int(2 * sum(seconds[test] for test in order)))

    def _failing(self, tests: list[str], plugin: _Entered | _Order, cpu: int) -> str:
        report = self.place / "report"
        process = os.fork()
        if not process:
            try:
                self._test(tests, report, plugin, cpu)
            finally:
                os._exit(99)
        end = time.monotonic() + _WALL
        while time.monotonic() < end:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                break
            time.sleep(0.05)
        else:
            os.killpg(process, 9)
            os.waitpid(process, 0)
            return "too slow"
        code = os.waitstatus_to_exitcode(status)
        assert code != pytest.ExitCode.NO_TESTS_COLLECTED, tests
        lines = report.read_text(errors="replace").splitlines()
        found = [line.split(" - ")[0] for line in lines if line.startswith(("FAILED ", "ERROR "))]
        return "" if code == 0 else (found or [f"ended with {code}"])[0]

    def _test(self, tests: list[str], report: Path, plugin: _Entered | _Order, cpu: int) -> None:
        """Run the tests in this process, which is a child that begins with what costs time to load."""
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
        output = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.chdir(self.place)
        for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "stratuslab")]:
            del sys.modules[name]
        sys.path[:0] = [str(self.place)]
        argv = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not qemu and not foreign", *tests]
        status = pytest.main(argv, plugins=[plugin])
        if isinstance(plugin, _Entered):
            (self.place / "notes").write_text(json.dumps([plugin.tests, plugin.seconds]))
        sys.stdout.flush()
        os._exit(status)


def _function(source: str, line: int) -> int:
    """The first line, as Python notes it, of the innermost function with this line; 0 if it is in none."""
    found = 0
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or 0):
            found = max(found, min([node.lineno, *(one.lineno for one in node.decorator_list)]))
    return found


_copy: Copy  # of each worker


def _begin(place: str) -> None:
    global _copy  # noqa: PLW0603
    os.nice(10)
    _copy = Copy(Path(place) / str(os.getpid()))


def _measured(name: str) -> tuple[dict[str, list[int]], dict[str, float]]:
    return _copy.measured(name)


def _noticed(task: tuple[str, Mutant, dict[str, list[int]], dict[str, float]]) -> tuple[str, Mutant, str]:
    return task[0], task[1], _copy.noticed(*task)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100, help="how many mutants (default 100)")
    parser.add_argument("--only", action="append", choices=ROOMS, help="mutants of this module only", metavar="MODULE")
    parser.add_argument("--survivors", action="store_true", help="list the survivors only")
    options = parser.parse_args()
    for name in _PRELOADED:
        import_module(name)
    begin = time.monotonic()
    survived = count = 0
    mistakes = chosen(options.count, options.seed, options.only or list(ROOMS))
    names = sorted({name for name, _ in mistakes})
    with (
        tempfile.TemporaryDirectory() as place,
        multiprocessing.get_context("fork").Pool(_WORKERS, _begin, (place,)) as workers,
    ):
        room = dict(zip(names, workers.map(_measured, names, 1), strict=True))
        for name, mutant, found in workers.imap(_noticed, ((name, mutant, *room[name]) for name, mutant in mistakes)):
            count += 1
            survived += not found
            change = f"{' '.join(mutant.was.split())[:90]} -> {mutant.becomes[:90]}"
            if not (found and options.survivors):
                print(f"{'killed' if found else 'SURVIVED'} stratuslab/{name}.py:{mutant.line}: {change} [{found}]", flush=True)
    print(
        f"mutants: seed {options.seed}, {time.monotonic() - begin:.0f} s: {count - survived} of {count} killed, "
        f"{(count - survived) / max(count, 1):.0%}"
    )
    return 1 if survived > MOST_SURVIVORS * count else 0


if __name__ == "__main__":
    sys.exit(main())
