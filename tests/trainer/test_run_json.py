"""A run.json that a disk or somebody else changed is a sentence, whatever is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.trainings import config
from trainer.config import ConfigError
from trainer.run_json import read_description, refuse_another_run, write_description
from trainer.trained_run import Untrained, load_run


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 200_000,
        b"[]",
        b"{}",
        b'{"config": 3}',
        b'{"config": {"model": 3, "data": {}}}',
        b"1" + b"0" * 5000,
    ],
    ids=["empty", "cut", "not text", "nested", "list", "nothing", "number", "table", "long number"],
)
def test_a_damaged_run_json_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"run\.json"):
        refuse_another_run(config(), tmp_path)
    with pytest.raises(Untrained, match=r"run\.json"):
        load_run(tmp_path)


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    write_description(config(), tmp_path, seed=3, ranks=2)
    described = read_description(tmp_path / "run.json")
    assert (described["seed"], described["ranks"]) == (3, 2)
    refuse_another_run(config(), tmp_path)
