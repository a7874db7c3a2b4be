"""Some formats print the mean over the steps since the last line, others the batch of that step."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlamon.records import BatchBlock
from vlamon.sources.formats import sniff

LOGS = Path(__file__).parents[3] / "fixtures" / "logs"


@pytest.mark.parametrize(
    ("name", "averaged"),
    [
        ("hf_trainer.log", True),
        ("trainer_state.json", True),
        ("lerobot.log", True),
        ("openpi_jax.log", True),
        ("openpi_torch.log", True),
        ("metrics.csv", False),
        ("nanogpt.log", False),
        ("modded_nanogpt.log", False),
        ("prismatic.jsonl", False),
        ("train_log.jsonl", False),
        ("key_values.log", False),
    ],
)
def test_a_format_says_what_its_rows_are(name: str, averaged: bool) -> None:
    data = (LOGS / name).read_bytes()
    known = sniff(data, name)
    assert known is not None
    openers = [known.open] + ([known.open_middle] if known.open_middle else [])
    for opener in openers:
        parser = opener(name)
        blocks = [r for r in parser.feed(data) + parser.finish() if isinstance(r, BatchBlock)]
        assert blocks
        assert {block.averaged for block in blocks} == {averaged}


def test_lines_that_are_not_understood_are_still_counted() -> None:
    known = sniff((LOGS / "lerobot.log").read_bytes(), "lerobot.log")
    assert known is not None
    parser = known.open("lerobot.log")
    parser.feed(b"a warning\n")
    assert parser.unknown.count == 1
