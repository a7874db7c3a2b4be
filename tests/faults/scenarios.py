"""Scenarios as a command: each is tried, and what went otherwise than it must is printed."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

Tried = Callable[[Path, Sequence[str]], Iterator[tuple[str, str]]]
"""Tries the named scenarios in a directory, all without names: name, and what was wrong."""


def report(tried: Tried) -> int:
    """Try what the command line names; returns the exit code, 2 where nothing has such a name."""
    wrong = count = 0
    with tempfile.TemporaryDirectory() as root:
        for name, why in tried(Path(root), sys.argv[1:]):
            print(f"{name}: {why or 'as it must be'}", flush=True)
            wrong, count = wrong + bool(why), count + 1
    if not count:
        print(f"no scenario is called {' or '.join(sys.argv[1:])}", file=sys.stderr)
        return 2
    return 1 if wrong else 0
