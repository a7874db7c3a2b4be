"""`trainer_state.json` of Hugging Face's Trainer: one JSON document with a `log_history`."""

from __future__ import annotations

import json

from vlamon.records import Record, RunInfo
from vlamon.sources.formats import Format, UnknownLines
from vlamon.sources.formats.hf_trainer import rows_of
from vlamon.sources.formats.json_lines import numbers_of, object_of
from vlamon.sources.formats.means import of_means
from vlamon.sources.formats.rows import MOST_STEPS, LogRow, RowBlocks, number


class TrainerStateParser:
    """Waits for the whole document; a Trainer rewrites the file at every checkpoint."""

    def __init__(self, path: str = "") -> None:
        self.unknown = UnknownLines()
        self.path = path
        self._text = b""

    def feed(self, data: bytes) -> list[Record]:
        """Records once the document is whole."""
        self._text += data
        return self._document() if self._text.rstrip().endswith(b"}") else []

    def finish(self) -> list[Record]:
        """Count what never became a document."""
        if self._text.strip():
            self.unknown.add(1, self._text)
        return []

    def _document(self) -> list[Record]:
        try:
            state = json.loads(self._text)
        except (ValueError, RecursionError):
            return []
        self._text = b""
        history = state.get("log_history") if isinstance(state, dict) else None
        if not isinstance(history, list):
            self.unknown.add(1, b"no log_history in this JSON document")
            return []
        rows: list[LogRow] = []
        for entry in history:
            read = _read(entry)
            rows += read
            if not read and not (isinstance(entry, dict) and "train_runtime" in entry):
                self.unknown.add(1, str(entry).encode())
        total = number(state.get("max_steps")) or 0.0
        info = RunInfo(
            self.path,
            "",
            total_steps=int(total) if 0 < total < MOST_STEPS else None,
            source=self.path,
        )
        return [info, *RowBlocks().records(rows)]


def _read(entry: object) -> tuple[LogRow, ...]:
    if not isinstance(entry, dict) or "train_runtime" in entry:
        return ()
    return rows_of(numbers_of(entry), None)


def _is_lines(head: bytes) -> bool:
    """Whether each line is an object: ms-swift ends its own with one that holds the history."""
    first = object_of(head.lstrip().partition(b"\n")[0].decode("utf-8", "replace"))
    return first is not None and "log_history" not in first


def recognises(head: bytes, path: str) -> int:
    """The document's own key, wherever in the head it stands."""
    if not head.lstrip().startswith(b"{"):
        return 0
    if b'"log_history"' in head and not _is_lines(head):
        return 96
    return 60 if path.endswith("trainer_state.json") else 0


FORMAT = Format(
    name="hf-trainer-state",
    title="trainer_state.json of Hugging Face's Trainer",
    example='{"log_history": [{"epoch": 0.02, "loss": 1.23, "step": 10}, …], …}',
    recognises=recognises,
    open=of_means(TrainerStateParser),
)
