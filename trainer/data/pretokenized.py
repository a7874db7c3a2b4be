"""Records that the reference project tokenised beforehand.

A record file (`record.json`, a list, or `*.jsonl`, an object a line) names one pickle a sample:
`{"file": …, "len": …, "id": …}`; each pickle holds `{"token": [...], "label": [...], "id": …}`.
A pickle can run any code, so these are read by an unpickler that builds plain containers of numbers
and strings and refuses everything else.
"""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from trainer.model import tokens
from trainer.model.batch import Sample

LONGEST_FILE = 64 * 2**20
"""Bytes of one sample's pickle; a row of 4096 tokens takes 40 kB."""


class RecordError(ValueError):
    """A record that cannot be used; the sentence names the file."""


class _PlainUnpickler(pickle.Unpickler):
    """Lists, dicts, numbers and strings only: a pickle that asks for a class or function ends."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: object) -> NoReturn:
        raise pickle.UnpicklingError("it refers to something outside of the file")


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a record file."""

    file: Path
    """The sample's pickle."""
    length: int
    """Its number of tokens, as recorded."""


def read_records(path: Path) -> list[Record]:
    """The samples that a record file names; relative names are looked for beside it."""
    try:
        text = path.read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if line.strip()]
        rows = [json.loads(line) for line in lines] if path.suffix == ".jsonl" else json.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} cannot be read: {error}") from None
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(rows, list) or not rows:
        raise RecordError(f"{path} names no samples: it should be a list of objects with a `file`")
    records = []
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or not isinstance(row.get("file"), str):
            raise RecordError(f"{path}, entry {number}: there is no `file` in it")
        length = row.get("len", 0)
        records.append(Record(path.parent / row["file"], length if isinstance(length, int) else 0))
    return records


def read_sample(path: Path, sample_id: int, vocab: int) -> Sample:
    """The token row of one pickle, checked against the vocabulary."""
    content = _load(path)
    if not isinstance(content, dict):
        raise RecordError(f"{path} holds no dictionary with `token` and `label`")
    ids, labels = (_numbers(path, content, key) for key in ("token", "label"))
    if len(ids) != len(labels):
        raise RecordError(f"{path} has {len(ids)} tokens but {len(labels)} labels")
    if max(ids) >= vocab or min(ids) < 0:
        raise RecordError(
            f"{path} has token {max(ids)}, the model's vocabulary ends at {vocab - 1}:"
            " choose a preset with 65536, or --set model.vocab"
        )
    if any(label != tokens.IGNORE and not 0 <= label < vocab for label in labels):
        raise RecordError(f"{path} has a label that is neither a token nor {tokens.IGNORE}")
    kind = "policy" if tokens.ACTION_BEGIN in labels else "world"
    return Sample(ids, labels, sample_id, "policy" if kind == "policy" else "world", str(path))


class PretokenizedData:
    """A record file as training data, with the face of the tabletop's."""

    def __init__(self, path: Path, vocab: int) -> None:
        self._records = read_records(path)
        self._vocab = vocab
        self.frames = np.arange(len(self._records))
        """Every sample; its kind is in the record, not drawn."""

    def sample(self, sample_id: int) -> Sample:
        """The sample of that name (twice its place, as the sampler counts)."""
        record = self._records[sample_id // 2]
        return read_sample(record.file, sample_id, self._vocab)


def _load(path: Path) -> Any:
    try:
        if path.stat().st_size > LONGEST_FILE:
            raise RecordError(f"{path} is larger than {LONGEST_FILE // 2**20} MiB: no sample is")
        return _PlainUnpickler(io.BytesIO(path.read_bytes())).load()
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error}") from None
    except (pickle.UnpicklingError, EOFError, IndexError, ValueError, KeyError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(
            f"{path} is not a plain pickle of numbers and was not loaded: {error}"
        ) from None
    except Exception as error:
        # A damaged pickle can fail in many ways (AttributeError, MemoryError); all mean the same.
        raise RecordError(f"{path} is damaged: {type(error).__name__}: {error}") from None


def _numbers(path: Path, content: dict[Any, Any], key: str) -> list[int]:
    values = content.get(key)
    if not isinstance(values, list) or not values:
        raise RecordError(f"{path} has no list called `{key}`")
    if not all(type(value) is int for value in values):
        raise RecordError(f"{path}: `{key}` holds something that is not a whole number")
    return values
