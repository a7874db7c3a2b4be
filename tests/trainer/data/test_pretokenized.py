"""Records of the reference project, and pickles that are something else."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.pretokenized import PretokenizedData, RecordError, read_records, read_sample
from trainer.model import tokens

POLICY = {
    "token": [0, 20, tokens.ACTION_BEGIN],
    "label": [-100, -100, tokens.ACTION_BEGIN],
    "id": 5,
}


def written(folder: Path, content: object, name: str = "0.pkl") -> Path:
    path = folder / name
    path.write_bytes(pickle.dumps(content))
    return path


def test_a_record_becomes_a_row(tmp_path: Path) -> None:
    row = read_sample(written(tmp_path, POLICY), 8, 16640)
    assert (row.input_ids, row.labels) == (POLICY["token"], POLICY["label"])
    assert (row.kind, row.sample_id) == ("policy", 8)


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_both_kinds_of_record_files_are_read(tmp_path: Path, suffix: str) -> None:
    rows = []
    for i in range(3):
        written(tmp_path, POLICY, f"{i}.pkl")
        rows.append({"file": f"{i}.pkl", "len": 3, "id": i})
    path = tmp_path / f"record.{suffix}"
    lines = "\n".join(json.dumps(row) for row in rows)
    path.write_text(lines if suffix == "jsonl" else json.dumps(rows))
    data = PretokenizedData(path, 16640)
    assert len(data.frames) == 3
    assert data.sample(4).source.endswith("2.pkl")


class Attack:
    """Unpickled in the usual way, this runs a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "was-here"
    path = written(tmp_path, {**POLICY, "id": Attack(trace)})
    with pytest.raises(RecordError, match=r"was not loaded: it asks for posix\.system"):
        read_sample(path, 0, 16640)
    assert not trace.exists()


def test_arrays_are_refused_because_they_need_code_to_be_built(tmp_path: Path) -> None:
    path = written(tmp_path, {"token": np.arange(3), "label": [1, 2, 3]})
    with pytest.raises(RecordError, match="asks for numpy"):
        read_sample(path, 0, 16640)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([1, 2], "no dictionary"),
        ({"token": [1, 2], "label": [1]}, "2 tokens but 1 labels"),
        ({"token": [], "label": []}, "no list called `token`"),
        ({"token": [1.5], "label": [1]}, "not a whole number"),
        ({"token": [70000], "label": [1]}, "vocabulary ends at 16639"),
        ({"token": [1], "label": [-5]}, "neither a token nor -100"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(
    tmp_path: Path, content: object, sentence: str
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(RecordError, match=sentence) as caught:
        read_sample(path, 0, 16640)
    assert str(path) in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_sample_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.pkl"
    path.write_bytes(raw)
    with pytest.raises(RecordError):
        read_sample(path, 0, 16640)


def test_a_missing_or_empty_record_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be read"):
        read_records(tmp_path / "none.json")
    (tmp_path / "record.json").write_text("[]")
    with pytest.raises(RecordError, match="names no samples"):
        read_records(tmp_path / "record.json")
