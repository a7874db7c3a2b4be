"""Which lines each test runs, and how long it takes: what a mutant is tried with."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

Lines = Mapping[str, frozenset[int]]
"""Of each file the lines."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One test, run without a mutant."""

    name: str
    passed: bool
    seconds: float
    lines: Lines


class Tracer:
    """Notes the lines of some files that any thread of this process runs."""

    def __init__(self, files: Iterable[str]) -> None:
        self._lines: dict[str, set[int]] = {file: set() for file in files}
        self._local = {file: self._noting(found) for file, found in self._lines.items()}

    def __enter__(self) -> Tracer:
        threading.settrace(self._called)
        sys.settrace(self._called)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(None)
        threading.settrace(None)

    def take(self) -> Lines:
        """What was run since the last call."""
        found = {file: frozenset(lines) for file, lines in self._lines.items() if lines}
        for lines in self._lines.values():
            lines.clear()
        return found

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        local = self._local.get(frame.f_code.co_filename)
        if local is None:
            return None
        return local(frame, event, argument)

    def _noting(self, found: set[int]) -> Any:
        note = found.add

        def local(frame: FrameType, event: str, argument: Any) -> Any:
            note(frame.f_lineno)
            return local

        return local


def chosen(tests: Sequence[Measured], wanted: Lines, seconds: float) -> list[Measured]:
    """The tests that run one of these lines, the fastest first, as many as fit into a time."""
    found = [
        test
        for test in tests
        if any(test.lines.get(file, frozenset()) & lines for file, lines in wanted.items())
    ]
    return fastest(found, seconds)


def fastest(tests: Sequence[Measured], seconds: float) -> list[Measured]:
    """The fastest of these that pass, at least one, as many as fit into a time."""
    taken: list[Measured] = []
    left = seconds
    for test in sorted(tests, key=lambda test: test.seconds):
        if not test.passed:
            continue
        if taken and test.seconds > left:
            break
        taken.append(test)
        left -= test.seconds
    return taken
