"""A pytest session that runs no test itself: its copies do, each with one mutant in place."""

from __future__ import annotations

import itertools
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from tests.mutation.accepted import Accepted, Entry, Site, name_of
from tests.mutation.areas import Area
from tests.mutation.forked import TookTooLong, forked
from tests.mutation.in_place import (
    Codes,
    Functions,
    changed_functions,
    forget_modules,
    functions_of,
    put_into,
    put_where_imported,
)
from tests.mutation.mutants import Mutant, mutant, places
from tests.mutation.touched import Measured, Tracer, chosen, fastest

LONGEST = 240.0
"""Seconds that the tests of one file may take without a mutant."""
ENOUGH = 20.0
"""Seconds of tests that a mutant is tried with, as they take while lines are noted."""
REST = 4.0
"""Seconds of any other tests, for a mutant of what is used at import."""
SLACK = 15.0
"""Seconds beyond three times that, after which a mutant counts as noticed: it hangs."""
EVERY_LINE = frozenset(range(1, 10_000))
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which mutants are tried."""

    sample: int = 50
    seed: int = 1
    seconds: float = float("inf")
    at: Sequence[str] = ()
    """`FILE` or `FILE:LINE`: those alone."""
    accepted: Sequence[Entry] = ()
    """What may survive."""


@dataclass(slots=True)
class Result:
    """What came of an area."""

    sites: int = 0
    tried: int = 0
    survived: int = 0
    accepted: int = 0
    """Of those that survived: they are on the list."""
    noticed: list[str] = field(default_factory=list)
    """What is on the list and need not be."""
    missing: list[str] = field(default_factory=list)
    """What is on the list and is no mutant any more."""
    broken: str = ""
    """Why nothing could be tried."""


class Trial:
    """The plugin: the session's loop is replaced."""

    def __init__(self, area: Area, wanted: Wanted, options: list[str], say: Say) -> None:
        self.area, self.wanted, self.say = area, wanted, say
        self._options = options
        self.result = Result()
        self._failed = False
        self._items: dict[str, pytest.Item] = {}
        self._tests: list[Measured] = []
        self._functions: Functions = {}
        self._accepted = Accepted((), ())

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            return True
        self._items = {item.nodeid: item for item in session.items}
        self._measure(session.items)
        sources = {path: path.read_text() for path in self.area.modules()}
        self._functions = functions_of(sources)
        found = {path: places(source) for path, source in sources.items()}
        sites = [(path, n) for path in sources for n in range(len(found[path]))]
        told = {path: str(path.relative_to(self.area.top)) for path in sources}
        named = [(told[path], found[path][n]) for path, n in sites]
        self._accepted = Accepted(self.wanted.accepted, named)
        self.result.sites = len(sites)
        rng = random.Random(self.wanted.seed)
        picked = rng.sample(sites, len(sites))
        if not self.wanted.at:
            picked = picked[: self.wanted.sample]
        end = time.monotonic() + self.wanted.seconds
        for path, number in picked:
            if time.monotonic() > end:
                break
            self._try(path, mutant(sources[path], number), (told[path], found[path][number]))
        self.result.missing = [entry.text for entry in self._accepted.missing(self.area.code)]
        self.result.noticed = [entry.text for entry in self._accepted.noticed()]
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed |= report.failed

    # ---- without a mutant ----

    def _measure(self, items: Sequence[pytest.Item]) -> None:
        files = [str(path) for path in self.area.modules()]
        for name, group in itertools.groupby(items, key=lambda item: item.path):
            each = list(group)
            try:
                found = forked(partial(self._run_noting, each, files), LONGEST)
            except TookTooLong:
                found = None
            if found is None:
                self.say(f"{name}: left out, it takes too long or ends the process")
                continue
            for test in found:
                if not test.passed:
                    self.say(f"{test.name}: left out, it fails without a mutant")
            self._tests += found

    def _run_noting(self, items: Sequence[pytest.Item], files: Sequence[str]) -> list[Measured]:
        found, tracer = [], Tracer(files)
        for item, following in itertools.zip_longest(items, items[1:]):
            self._failed, begun = False, time.monotonic()
            with tracer:
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            seconds = time.monotonic() - begun
            found.append(Measured(item.nodeid, not self._failed, seconds, tracer.take()))
        return found

    # ---- with one ----

    def _try(self, path: Path, changed: Mutant, site: Site) -> None:
        place = f"{site[0]}:{changed.line}"
        if self.wanted.at and not {place, site[0]} & {*self.wanted.at}:
            return
        self.result.tried += 1
        codes, lines = changed_functions(path, changed), {str(path): changed.lines}
        if codes is None:  # used at import: whatever runs anything of its users may notice
            lines = {str(each): EVERY_LINE for each in self._users(path)}
        tests = chosen(self._tests, lines, ENOUGH)
        if codes is None:  # and what only reads a constant runs no line of the area
            tests += fastest([test for test in self._tests if test not in tests], REST)
        if not tests:
            self._survived(site, changed.line, "no test runs it")
            return
        patience = 3 * sum(test.seconds for test in tests) + SLACK
        names = [test.name for test in tests]
        try:
            passed = forked(lambda: self._pass(path, changed, codes, names), patience)
        except TookTooLong:
            passed = False
        if passed:
            self._survived(site, changed.line, f"{len(tests)} tests run it")
        else:
            self._accepted.note(site, survived=False)

    def _users(self, path: Path) -> list[Path]:
        """The module and those of the area that import from it."""
        imports = f"from {self.area.dotted(path)} import "
        modules = self.area.modules()
        return [path, *(each for each in modules if imports in each.read_text())]

    def _survived(self, site: Site, line: int, tests: str) -> None:
        self.result.survived += 1
        if self._accepted.note(site, survived=True):
            self.result.accepted += 1
        else:
            self.say(f"{name_of(site)}\n    line {line}, {tests}")

    def _pass(self, path: Path, changed: Mutant, codes: Codes | None, names: list[str]) -> bool:
        """Whether all these tests pass with the mutant."""
        put_where_imported(self.area.dotted(path), path, changed)
        if codes is None:
            return self._pass_anew(names)
        put_into(self._functions[str(path)], codes)
        items = [self._items[name] for name in names]
        for item, following in itertools.zip_longest(items, items[1:]):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._failed:
                return False
        return True

    def _pass_anew(self, names: list[str]) -> bool:
        """The same with everything imported once more."""
        tops = (name.partition("/")[0] for name in (self.area.code, *self.area.tests))
        forget_modules(("vlamon", "trainer", *tops))
        tests = [str(self.area.top / name) for name in names]
        return not pytest.main([*self._options, "-x", *tests], plugins=[Quick()])


class Quick:
    """The plugin that keeps Hypothesis from looking for the smallest input that fails."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        phases = (Phase.explicit, Phase.generate)
        settings.register_profile(
            "mutation", database=None, phases=phases, deadline=None, derandomize=True
        )
        settings.load_profile("mutation")


def try_area(area: Area, wanted: Wanted, say: Say, base: Path, files: Sequence[Path]) -> Result:
    """Try the mutants of an area; in a process of its own, for it keeps what it has imported.

    Temporary files go to `base`, which is emptied for each mutant.
    """
    options = ["-q", "-s", "-p", "no:xdist", "-m", "not gpu and not slow"]
    options += ["--rootdir", str(area.top), "--basetemp", str(base / "t")]
    tempfile.tempdir = os.environ["TMPDIR"] = str(base)
    sys.path.insert(0, str(area.top))
    plugin = Trial(area, wanted, options, say)
    pytest.main([*options, *map(str, files or area.test_files())], plugins=[plugin, Quick()])
    if not plugin.result.sites:
        plugin.result.broken = "its tests cannot be collected"
    return plugin.result
