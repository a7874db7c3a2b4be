"""What a person means by a run: a log, several logs joined by commas, a journal, a directory."""

from __future__ import annotations

from pathlib import Path

from vlamon.sources import Source, SourceError
from vlamon.sources.drained import Drained, drained, drained_source

_JOURNAL = "run.vlaj"
_LOGS = ("log_train.txt", "output.log", "log_eval_ind.txt", "log_eval_ood.txt", "metrics.csv")


def run_files(given: str) -> list[str]:
    """The files of a run: what was named, or what lies in a run's directory."""
    found: list[str] = []
    for name in given.split(",") if not Path(given).exists() else [given]:
        path = Path(name)
        if not path.is_dir():
            found.append(name)
            continue
        journal = path / _JOURNAL
        here = [journal] if journal.exists() else [path / n for n in _LOGS if (path / n).exists()]
        if not here:
            expected = ", ".join((_JOURNAL, *_LOGS))
            raise SourceError(f"{name}: no log of a run in this directory (looked for {expected}).")
        found += map(str, here)
    return found


def drained_file(path: str, format_name: str | None = None) -> Drained:
    """Everything that a log or a journal says."""
    if path.endswith(".vlaj") and Path(path).exists():
        from vlamon.sources.journal import JournalSource

        source: Source = JournalSource(path, follow=False)
        return drained_source(path, "journal", source)
    return drained(path, format_name)
