"""Accelerate's tracker in a real loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

accelerate = pytest.importorskip("accelerate", reason="needs the extra integrations")

import torch  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

import vlamon  # noqa: E402
from tests.vlamon.emitter.emitted import journal_of, of_type, rows_of  # noqa: E402
from tests.vlamon.integrations.toy import Policy, Rows, digest, means  # noqa: E402
from vlamon.guard import GuardSettings  # noqa: E402
from vlamon.integrations.accelerate import VlamonTracker, guard_for  # noqa: E402
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


def test_a_step_among_the_values_that_are_logged_ends_no_training(tmp_path: Path) -> None:
    accelerator = accelerate.Accelerator(
        cpu=True, log_with=[VlamonTracker(None, str(tmp_path / "run"))]
    )
    accelerator.init_trackers("toy")
    accelerator.log({"loss": 2.0, "step": 7, "epoch": "first"}, step=7)
    accelerator.log({"loss": 1.0, "step": 8})
    accelerator.end_training()
    assert rows_of(journal_of(tmp_path / "run")) == [(7, {"loss": 2.0}), (8, {"loss": 1.0})]


STEPS = 260


class TwoLosses:
    """starVLA's shape: two losses with a backward each, an optimizer a part, accumulation."""

    def __init__(self, tmp_path: Path, hot: bool, micro: int = 2) -> None:
        torch.manual_seed(9)
        self.hot = {150, 151} if hot else set()
        """Updates at a thousand times the planned rate, each once."""
        tracker = VlamonTracker(None, str(tmp_path / "run"), {"closs": 1.0, "loss_ct": 10.0})
        self.accelerator = accelerate.Accelerator(
            cpu=True, gradient_accumulation_steps=micro, log_with=[tracker]
        )
        self.accelerator.init_trackers("toy")
        self.policy = Policy()
        first, *rest = self.policy.trunk.children()
        others = [parameter for module in rest for parameter in module.parameters()]
        both = [torch.optim.AdamW(each, 3e-3) for each in (first.parameters(), others)]
        falling = [torch.optim.lr_scheduler.LinearLR(each, 1.0, 0.1, STEPS) for each in both]
        loader = DataLoader(Rows(), 4, shuffle=True)
        self.model, self.loader, *prepared = self.accelerator.prepare(
            self.policy, loader, *both, *falling
        )
        self.optimizers, self.schedulers = prepared[:2], prepared[2:]
        self.micro = micro
        self.trained: dict[int, list[bytes]] = {}
        """Batches of every step, the last time that it was trained."""
        self.guard = guard_for(
            self.accelerator, self.model, self.optimizers, schedulers=self.schedulers,
            run_dir=tmp_path, settings=GuardSettings(data="replay"),
        )  # fmt: skip

    def step(self, step: int, batches: list[Any]) -> dict[str, float]:
        self.trained[step] = [batch["x"].numpy().tobytes() for batch in batches]
        sums = {"closs": 0.0, "loss_ct": 0.0}
        for batch in batches:
            with self.accelerator.accumulate(self.model):
                output = self.model(**batch)
                self.accelerator.backward(output["closs"], retain_graph=True)
                self.accelerator.backward(10 * output["loss_ct"])
                for name in sums:
                    sums[name] += float(output[name].detach()) / len(batches)
                if self.accelerator.sync_gradients and not self.guard.check(step, **sums):
                    continue
                for optimizer in self.optimizers:
                    if step in self.hot:
                        optimizer.param_groups[0]["lr"] *= 1000
                    optimizer.step()
                for each in (*self.schedulers, *self.optimizers):
                    each.step() if each in self.schedulers else each.zero_grad()
        self.hot.discard(step)
        return sums

    def run(self) -> list[bytes]:
        for step, batches in self.guard.batches(self.loader, accumulate=self.micro, steps=STEPS):
            values = self.step(step, batches if self.micro > 1 else [batches])
            self.accelerator.log(values, step=step)
            self.guard.after_step(step)
        self.guard.close()
        self.accelerator.end_training()
        return digest(self.policy)


@pytest.mark.parametrize("micro", [1, 2])
def test_a_run_that_was_taken_back_ends_bit_for_bit_like_one_without_an_explosion(
    tmp_path: Path, micro: int
) -> None:
    calm = TwoLosses(tmp_path / "calm", hot=False, micro=micro)
    expected = calm.run()
    hurt = TwoLosses(tmp_path / "hurt", hot=True, micro=micro)
    assert hurt.run() == expected
    assert hurt.trained == calm.trained
    events = of_type(journal_of(tmp_path / "hurt" / "run"), Event)
    assert [event.data["ok"] for event in events if event.kind == "rollback"] == [True]
    rows = rows_of(journal_of(tmp_path / "hurt" / "run"))
    assert len(rows) > STEPS


def test_a_training_that_skipped_its_first_batches_goes_back_within_the_rest(
    tmp_path: Path,
) -> None:
    accelerator = accelerate.Accelerator(cpu=True)
    policy = Policy()
    model, optimizer, loader = accelerator.prepare(
        policy, torch.optim.AdamW(policy.parameters(), 1e-3), DataLoader(Rows(), 2, shuffle=True)
    )
    rest = accelerate.skip_first_batches(loader, 10)
    guard = guard_for(accelerator, model, optimizer, settings=GuardSettings(data="replay"))
    rest = guard.loader(rest)
    step, seen, broken = guard.start(step=10), {}, True
    repeated = 0
    for batch in rest:
        key = batch["x"].numpy().tobytes()
        repeated += seen.setdefault(step, key) == key
        output = model(**batch)
        loss = output["loss"] * (float("nan") if step == 90 and broken else 1.0)
        broken = broken and step != 90
        accelerator.backward(loss)
        if guard.check(step, loss=loss):
            optimizer.step()
        optimizer.zero_grad()
        step = guard.after_step(step)
    assert guard.ledger.attempt == 1
    assert list(seen) == list(range(10, 120))
    assert repeated > 110  # every batch that came twice was the same
