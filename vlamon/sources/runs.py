"""What a person means by a run: a log, several logs joined by commas, a journal, a directory."""

from __future__ import annotations

import os
from collections.abc import Iterable

from vlamon.sources.run_directory import JOURNAL, FoundLogs, find_logs


def run_files(given: str) -> FoundLogs:
    """The files of a run: what was named, or the journal or logs in a run's directory."""
    if os.path.exists(given) or "," not in given:
        return _files_at(given)
    parts = [_files_at(name) for name in given.split(",")]
    return FoundLogs(tuple(path for part in parts for path in part.paths), "")


def log_files(given: str, *, follow: bool) -> FoundLogs:
    """The log that was named, or the logs in a run's directory."""
    return find_logs(given, follow=follow) if os.path.isdir(given) else FoundLogs((given,), "")


def _files_at(given: str) -> FoundLogs:
    journal = os.path.join(given, JOURNAL)
    if os.path.exists(journal):
        return FoundLogs((journal,), "the run's journal")
    return log_files(given, follow=False)


def each_once(paths: Iterable[str]) -> list[str]:
    """Without files that were named before, in whatever way: their rows would count twice."""
    first: dict[str, str] = {}
    for path in paths:
        first.setdefault(path if path == "-" else os.path.realpath(path), path)
    return list(first.values())
