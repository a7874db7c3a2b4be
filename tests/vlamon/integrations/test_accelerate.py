"""Accelerate's tracker in a real loop."""

from __future__ import annotations

from pathlib import Path

import pytest

accelerate = pytest.importorskip("accelerate", reason="needs the extra integrations")

import torch  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

import vlamon  # noqa: E402
from tests.vlamon.emitter.emitted import journal_of, of_type, rows_of  # noqa: E402
from tests.vlamon.integrations.toy import Policy, Rows, means  # noqa: E402
from vlamon.integrations.accelerate import VlamonTracker  # noqa: E402
from vlamon.records import Event  # noqa: E402


def test_what_the_loop_logs_and_the_model_notes_is_a_row_a_step(tmp_path: Path) -> None:
    tracker = VlamonTracker(None, str(tmp_path / "run"), {"closs": 1.0, "loss_ct": 10.0})
    accelerator = accelerate.Accelerator(cpu=True, log_with=[tracker])
    accelerator.init_trackers("toy", {"lr": 1e-3})
    model = Policy()
    prepared, optimizer, loader = accelerator.prepare(
        model, torch.optim.AdamW(model.parameters(), 1e-3), DataLoader(Rows(), 4)
    )
    for step, batch in enumerate(loader):
        output = prepared(**batch)
        vlamon.note(closs=output["closs"], loss_ct=output["loss_ct"])
        accelerator.backward(output["loss"])
        optimizer.step()
        optimizer.zero_grad()
        accelerator.log({"loss": output["loss"].detach()}, step=step)
    accelerator.end_training()
    records = journal_of(tmp_path / "run")
    rows = rows_of(records)
    assert [step for step, _ in rows] == list(range(60))
    for name in ("closs", "loss_ct", "loss"):
        assert [values[name] for _, values in rows] == means(model.seen, name, 1)
    configurations = [e.data["config"] for e in of_type(records, Event) if "config" in e.data]
    assert configurations == [{"lr": 1e-3}]
