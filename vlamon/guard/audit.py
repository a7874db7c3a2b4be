"""What the guard did and why, one JSON line each in `guard.jsonl`, and the samples it blames."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


class Audit:
    """Appends to the audit files of a run directory; a full disk costs lines, not the training."""

    def __init__(self, run_dir: Path | None) -> None:
        self.run_dir = run_dir
        self.lost = 0
        """Lines that could not be written."""

    def write(self, kind: str, step: int, attempt: int, **data: Any) -> None:
        """One decision, order or finding."""
        line = {"time": time.time(), "kind": kind, "step": step, "attempt": attempt, **data}
        self._append("guard.jsonl", [line])

    def blame(self, samples: Iterable[Mapping[str, Any]]) -> None:
        """Samples that broke a batch, for whoever filters the data set."""
        self._append("bad_batches.jsonl", samples)

    def _append(self, name: str, lines: Iterable[Mapping[str, Any]]) -> None:
        if self.run_dir is None:
            return
        text = "".join(json.dumps(finite(line)) + "\n" for line in lines)
        try:
            self.run_dir.mkdir(parents=True, exist_ok=True)
            with open(self.run_dir / name, "a", encoding="utf-8") as file:
                file.write(text)
        except OSError:
            self.lost += 1


def finite(value: Any) -> Any:
    """The value as JSON proper: non-finite numbers as words, unknown objects as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if value != value else "inf" if value > 0 else "-inf"
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
