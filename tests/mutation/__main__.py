"""`python -m tests.mutation [--sample N] [--seed S] [AREA …]`: which mutants no test notices.

A random sample of the mutants of `protocol`, `detect`, `guard` and `objectives`. The tests of a
module are those of its area that name it; they run in a fork of a process that has imported what
takes long, with one mutant in the place of the module. Exit code 1 where some survive.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.mutation.mutants import Mutant, count, mutant

TOP = Path(__file__).parents[2]
PATIENCE = 400.0
"""Seconds for tests without a mutant; one counts as noticed when it takes three times as long."""


@dataclass(frozen=True, slots=True)
class Area:
    """Code and the tests that ought to notice its mutants."""

    name: str
    code: str
    tests: str
    also: tuple[str, ...]
    """Tests of the whole area, for a mutant that those of its module do not notice."""


AREAS = (
    Area(
        "protocol",
        "vlamon/protocol",
        "tests/vlamon/protocol",
        (
            "tests/vlamon/protocol",
            "tests/vlamon/emitter/test_journal.py",
            "tests/vlamon/emitter/test_blocklog.py",
            "tests/vlamon/emitter/test_commands.py",
        ),
    ),
    Area("detect", "vlamon/detect", "tests/vlamon/detect", ("tests/vlamon/detect",)),
    Area(
        "guard",
        "vlamon/guard",
        "tests/vlamon/guard",
        (
            "tests/vlamon/guard/test_guard.py",
            "tests/vlamon/guard/test_rollback.py",
            "tests/vlamon/guard/test_verdicts.py",
            "tests/vlamon/guard/test_orders.py",
        ),
    ),
    Area(
        "objectives",
        "trainer/objectives",
        "tests/trainer/objectives",
        ("tests/trainer/objectives", "tests/trainer/test_totals.py"),
    ),
)
MOST = 4
"""Test files that a module is tried with first, those that name it most often."""
PASSED_OVER = ("sharded", "fsdp1", "ranks", "torchrun", "two_ranks", "gpu", "slow", "kill")
"""Parts of names of test files that start processes: too slow to run some hundred times."""


class OneMutant(MetaPathFinder, Loader):
    """Puts a mutant in the place of its module."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self.name, self.path, self.source = name, path, source

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.source, str(self.path), "exec"), module.__dict__)


def chosen_tests(area: Area, module: Path) -> list[str]:
    """The test files of an area that name a module, those that do most first."""
    dotted = ".".join(module.relative_to(TOP).with_suffix("").parts)
    by_use: list[tuple[int, str]] = []
    for path in sorted((TOP / area.tests).rglob("test_*.py")):
        if any(part in path.name for part in PASSED_OVER):
            continue
        text = path.read_text()
        named = text.count(dotted) * 10 + text.count(module.stem)
        parent = f"from {dotted.rpartition('.')[0]} import"
        named += 5 * any(parent in line and module.stem in line for line in text.splitlines())
        if path.stem == f"test_{module.stem}":
            named += 100
        if named:
            by_use.append((-named, str(path)))
    return [path for _, path in sorted(by_use)[:MOST]]


def survives(
    module: Path, changed: Mutant | None, tests: list[str], patience: float = PATIENCE
) -> bool:
    """Whether all tests pass with the mutant; without one, whether they pass at all."""
    child = os.fork()
    if child == 0:
        os._exit(_run(module, changed, tests))
    end = time.monotonic() + patience
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _run(module: Path, changed: Mutant | None, tests: list[str]) -> int:
    import pytest

    os.setpgid(0, 0)
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(quiet, stream)
    if changed is not None:
        name = ".".join(module.relative_to(TOP).with_suffix("").parts)
        sys.meta_path.insert(0, OneMutant(name, module, changed.source))
        for loaded in [each for each in sys.modules if each.split(".")[0] in ("vlamon", "trainer")]:
            del sys.modules[loaded]
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not gpu and not slow"]
    return int(pytest.main([*options, *tests]))


def modules_of(area: Area) -> list[Path]:
    """The modules of an area."""
    found = sorted((TOP / area.code).rglob("*.py"))
    return [path for path in found if not path.name.startswith("__")]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    names = [area.name for area in AREAS]
    parser.add_argument("areas", nargs="*", metavar="AREA", help=", ".join(names))
    parser.add_argument("--sample", type=int, default=50, help="mutants an area")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="at most, an area")
    args = parser.parse_args()
    for name in ("hypothesis", "numpy", "torch"):  # in every fork, and none is mutated
        importlib.import_module(name)
    survivors = 0
    for area in AREAS:
        if not args.areas or area.name in args.areas:
            survivors += _try(area, args)
    return 1 if survivors else 0


def _try(area: Area, args: argparse.Namespace) -> int:
    rng = random.Random(args.seed)
    sources = {path: path.read_text() for path in modules_of(area)}
    sites = [(path, number) for path in sources for number in range(count(sources[path]))]
    whole = [str(TOP / path) for path in area.also]
    begun = time.monotonic()
    if not survives(sites[0][0], None, whole):
        print(f"{area.name}: its tests do not pass without a mutant", flush=True)
        return 1
    patience = 3 * (time.monotonic() - begun) + 10
    tried = survivors = 0
    end = time.monotonic() + args.seconds
    for path, number in rng.sample(sites, min(args.sample, len(sites))):
        if time.monotonic() > end:
            break
        tried += 1
        changed = mutant(sources[path], number)
        own = chosen_tests(area, path)
        if (not own or survives(path, changed, own, patience)) and survives(
            path, changed, whole, patience
        ):
            survivors += 1
            print(f"{path.relative_to(TOP)}:{changed.line}: {changed.change}", flush=True)
    print(f"{area.name}: {tried} of {len(sites)} mutants, {survivors} survive", flush=True)
    return survivors


if __name__ == "__main__":
    sys.exit(main())
