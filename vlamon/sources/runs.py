"""What a person means by a run: a log, several logs joined by commas, a journal, a directory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from vlamon.sources import Source, SourceError
from vlamon.sources.read_all import Drained, drained, drained_source

_JOURNAL = "run.vlaj"
_MAIN = ("log_train.txt", "output.log")
_LOGS = (*_MAIN, "log_eval_*.txt", "metrics.csv")
"""In the order in which they are opened."""


def logs_in(directory: str, *, follow: bool) -> list[str]:
    """The logs of a run's directory; to be followed, the main ones even before they are there."""
    place = Path(directory)
    found = [str(path) for name in _LOGS for path in sorted(place.glob(name))]
    if not found:
        expected = ", ".join(_LOGS)
        hint = ""
        if (place / _JOURNAL).exists():
            hint = f" Its journal is opened with `vlamon watch {directory}`."
        raise SourceError(
            f"{directory}: no log of a run in this directory (looked for {expected}).{hint}"
        )
    to_come = [str(place / name) for name in _MAIN] if follow else []
    return list(dict.fromkeys([*to_come, *found]))


def run_files(given: str) -> list[str]:
    """The files of a run: what was named, or what lies in a run's directory."""
    found: list[str] = []
    for name in given.split(",") if not Path(given).exists() else [given]:
        path = Path(name)
        if not path.is_dir():
            found.append(name)
            continue
        journal = path / _JOURNAL
        found += [str(journal)] if journal.exists() else logs_in(name, follow=False)
    return found


def each_once(paths: Iterable[str]) -> list[str]:
    """Without files that were named before, in whatever way: their rows would count twice."""
    first: dict[str, str] = {}
    for path in paths:
        first.setdefault(path if path == "-" else os.path.realpath(path), path)
    return list(first.values())


def drained_file(path: str, format_name: str | None = None) -> Drained:
    """Everything that a log or a journal says."""
    if path.endswith(".vlaj") and Path(path).exists():
        from vlamon.sources.journal import JournalSource

        source: Source = JournalSource(path, follow=False)
        return drained_source(path, "journal", source)
    return drained(path, format_name)
