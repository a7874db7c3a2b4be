"""`skip_batches.json`, which Lightning's SpikeDetection leaves behind: batches to leave out.

It holds the numbers of the batches before and at a spike, counted within their epoch, as a list.
Lightning itself writes it and reads it nowhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from vlamon.whole_file import put_whole


class SkipBatches:
    """The file, read and added to."""

    NAME = "skip_batches.json"

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._path = Path(folder) / self.NAME

    def read(self) -> frozenset[int]:
        """The batches to skip, none without a file; ValueError where it holds something else."""
        try:
            numbers = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return frozenset()
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{self._path} is not JSON: {error}") from error
        if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
            raise ValueError(f"{self._path} holds no list of batch numbers")
        return frozenset(numbers)

    def add(self, batches: Iterable[int]) -> None:
        """Batches that a later training is to skip as well; OSError where they cannot be kept."""
        try:
            known = self.read()
        except ValueError:
            known = frozenset()
        numbers = sorted({*known, *(number for number in batches if number >= 0)})
        document = json.dumps(numbers, indent=4).encode()
        put_whole(self._path, document, self._path.with_name(f"{self.NAME}.part"))
