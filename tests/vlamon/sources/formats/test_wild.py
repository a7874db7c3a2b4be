"""Logs of strangers, where there is a folder of them: `VLAMON_WILD=DIR pytest …`.

The losses and steps of a kind whose line says both are found a second way, by one plain expression.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.vlamon.sources.formats.reading import rows_of
from vlamon.sources import SourceError
from vlamon.sources.formats.settings import is_code
from vlamon.sources.read_all import drained

WILD = Path(os.environ.get("VLAMON_WILD", "/nonexistent"))
FILES = sorted(p for p in WILD.glob("*") if p.suffix != ".md") if WILD.is_dir() else []
ORACLES = {
    "torchtitan": (r"step: +(\d+) .*?loss: +([\d.]+)", "loss"),
    "llmc": (r"^s:(\d+) trl:([\d.]+)", "train_loss"),
    "buildnanogpt": (r"^step +(\d+) \| loss: ([\d.]+)", "loss"),
    "swift_logging": (r'"loss": ([\d.]+).*"global_step/max_steps": "(\d+)/', "loss"),
    "sb3_progress": (r"^(?:[^,]*,){2}(\d+),(?:[^,]*,){4}([\d.]+),", "train/loss"),
    "fairseq": (r'train_inner.*"loss": "([\d.]+)".*"num_updates": "(\d+)"', "loss"),
    "megatron": (r"iteration +(\d+)/.*lm loss: ([\d.E+-]+)", "lm loss"),
    "verl": (r"step:(\d+) - .*actor/pg_loss:(-?[\d.e-]+)", "actor/pg_loss"),
}
pytestmark = pytest.mark.skipif(not FILES, reason="VLAMON_WILD is not set")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_strangers_log_is_read_without_a_setting_or_a_false_restart(path: Path) -> None:
    try:
        found = drained(str(path))
    except SourceError:
        return
    rows = rows_of(list(found.records))
    assert not [name for _, metrics in rows for name in metrics if is_code(name)]
    attempts = {getattr(record, "attempt", 0) for record in found.records}
    assert len(attempts) <= 3
    kind = next((kind for kind in ORACLES if path.name.startswith(kind)), None)
    if kind is None:
        return
    pattern, name = ORACLES[kind]
    text = re.sub(r"\x1b\[[0-9;]*m", "", path.read_text("utf-8", "replace"))
    expected = [match.groups() for match in re.finditer(pattern, text, re.MULTILINE)]
    if kind in ("swift_logging", "fairseq"):
        expected = [(step, loss) for loss, step in expected]
    read = [(step, metrics[name]) for step, metrics in rows if name in metrics]
    assert read == [(int(step), float(loss)) for step, loss in expected]
