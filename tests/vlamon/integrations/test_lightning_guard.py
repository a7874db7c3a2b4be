"""The guard in Lightning's Trainer: induced explosions, really trained through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

L = pytest.importorskip("lightning", reason="needs the extra integrations")

import torch  # noqa: E402
from lightning.fabric.utilities.spike import TrainingSpikeException  # noqa: E402
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, SpikeDetection  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from tests.vlamon.emitter.emitted import journal_of, of_type, rows_of  # noqa: E402
from tests.vlamon.integrations.test_lightning import Module  # noqa: E402
from tests.vlamon.integrations.toy import Policy, Rows, digest  # noqa: E402
from vlamon.guard import Guard, GuardSettings  # noqa: E402
from vlamon.integrations.lightning import VlamonCallback  # noqa: E402
from vlamon.records import Event  # noqa: E402

STEPS = 300
HOT = range(150, 152)
"""Steps that are trained with a thousand times the planned lr."""


def falling(optimizer: torch.optim.Optimizer) -> Any:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / STEPS)


class Scheduled(Module):
    """With a rate that falls to 0."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), 3e-3)
        return [optimizer], [{"scheduler": falling(optimizer), "interval": "step"}]


class TwoOptimizers(Module):
    """One for the trunk's first layer, another for the rest, both stepped by hand."""

    def __init__(self) -> None:
        super().__init__(manual=True)

    def training_step(self, batch: Any, index: int) -> Any:
        output = self.policy(**batch)
        optimizers = self.optimizers()
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(output["loss"])
        for optimizer in optimizers:
            optimizer.step()
        for schedule in self.lr_schedulers():
            schedule.step()
        return {name: output[name].detach() for name in ("loss", "closs", "loss_ct")}

    def configure_optimizers(self) -> Any:
        first, *rest = self.policy.trunk.children()
        others = [parameter for module in rest for parameter in module.parameters()]
        both = [torch.optim.AdamW(each, 3e-3) for each in (first.parameters(), others)]
        return both, [falling(optimizer) for optimizer in both]


class Hot(Callback):
    """Some steps at a thousand times the planned rate, which the schedule sets again."""

    def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step // len(trainer.optimizers) + 1 in HOT:
            for optimizer in trainer.optimizers:
                optimizer.param_groups[0]["lr"] *= 1000


def trained(
    tmp_path: Path, callbacks: list[Any], module: Module | None = None, **settings: Any
) -> Policy:
    L.seed_everything(1, verbose=False)
    module = module or Scheduled()
    resume, rows = settings.pop("resume", None), settings.pop("rows", Rows())
    given: dict[str, Any] = {"max_steps": STEPS, "enable_checkpointing": False, **settings}
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=tmp_path, callbacks=callbacks, **given,
    )  # fmt: skip
    trainer.fit(module, DataLoader(rows, 4), ckpt_path=resume)
    return module.policy


def guarded(tmp_path: Path, guard: Any) -> VlamonCallback:
    weights = {"closs": 1.0, "loss_ct": 10.0}
    return VlamonCallback(None, str(tmp_path / "run"), weights, guard=guard)


def told(tmp_path: Path, *kinds: str) -> list[Event]:
    return [e for e in of_type(journal_of(tmp_path / "run"), Event) if e.kind in kinds]


def level(policy: Policy) -> float:
    """The loss at the end."""
    return sum(row["loss"] for row in policy.seen[-20:]) / 20


@pytest.mark.parametrize("kind", [Scheduled, TwoOptimizers])
def test_an_explosion_is_taken_back_and_the_run_ends_at_its_usual_level(
    tmp_path: Path, kind: type[Module]
) -> None:
    steps = STEPS * (2 if kind is TwoOptimizers else 1)  # Lightning counts every optimizer's
    usual = trained(tmp_path / "usual", [], kind(), max_steps=steps)
    lost = trained(tmp_path / "lost", [Hot()], kind(), max_steps=steps)
    saved = trained(tmp_path, [Hot(), guarded(tmp_path, "auto")], kind(), max_steps=steps)
    assert level(lost) > 1.5 * level(usual)
    assert level(saved) < 1.3 * level(usual)
    (rollback,) = told(tmp_path, "rollback")
    assert rollback.data["to"] < HOT.start <= rollback.step
    assert told(tmp_path, "recovered")
    assert [step for step, _ in rows_of(journal_of(tmp_path / "run"))] == list(range(1, STEPS + 1))


def test_the_schedule_goes_on_after_a_rollback(tmp_path: Path) -> None:
    trained(tmp_path, [Hot(), guarded(tmp_path, "auto")])
    rows = rows_of(journal_of(tmp_path / "run"))
    planned = [3e-3 * (1 - step / STEPS) for step in range(1, STEPS + 1)]
    assert [values["lr"] for _, values in rows] == pytest.approx(planned, abs=1e-12)


def test_a_guard_that_only_watches_or_has_nothing_to_do_changes_no_bit(tmp_path: Path) -> None:
    for mode, fault in (("watch", [Hot]), ("auto", [])):
        folder = tmp_path / mode
        settings = {"accumulate_grad_batches": 1 if fault else 2}
        alone = trained(folder / "alone", [each() for each in fault], **settings)
        callbacks = [*(each() for each in fault), guarded(folder, mode)]
        assert digest(trained(folder, callbacks, **settings)) == digest(alone)
        assert bool(told(folder, "explode")) == bool(fault)
        assert not told(folder, "rollback")


class Breaks(Policy):
    """Its loss is not a number in one batch."""

    def forward(self, x: Any, labels: Any) -> dict[str, Any]:
        output = super().forward(x, labels)
        if len(self.seen) == 170:
            output["loss"] = output["loss"] * float("nan")
        return output


@pytest.mark.parametrize("kind", [Scheduled, TwoOptimizers])
def test_a_nan_never_reaches_the_weights(tmp_path: Path, kind: type[Module]) -> None:
    module = kind()
    module.policy = Breaks()
    policy = trained(tmp_path, [guarded(tmp_path, "auto")], module)
    assert all(bool(p.isfinite().all()) for p in policy.parameters())


def test_a_resumed_run_is_bit_for_bit_the_one_without_a_guard(tmp_path: Path) -> None:
    # Lightning's own resume is not the uninterrupted run: 2.6 repeats the first batch.
    keep = ModelCheckpoint(tmp_path / "kept", every_n_epochs=1, save_top_k=-1)
    settings = {"max_steps": 70, "enable_checkpointing": True}
    trained(tmp_path, [guarded(tmp_path, "auto"), keep], **settings)
    (saved,) = (tmp_path / "kept").glob("*step=60.ckpt")
    alone = trained(tmp_path / "alone", [], max_steps=100, resume=str(saved))
    again = tmp_path / "again"
    resumed = trained(again, [guarded(again, "auto")], max_steps=100, resume=str(saved))
    assert digest(resumed) == digest(alone)
    assert [step for step, _ in rows_of(journal_of(again / "run"))] == list(range(61, 101))


def test_fabrics_optimizer_is_guarded_in_a_loop_of_ones_own(tmp_path: Path) -> None:
    fabric = L.Fabric(accelerator="cpu", devices=1)
    policy = Policy()
    model, optimizer = fabric.setup(policy, torch.optim.AdamW(policy.parameters(), 3e-3))
    loader = fabric.setup_dataloaders(DataLoader(Rows(), 4))
    guard = Guard(model, optimizer, run_dir=tmp_path)
    for step, batch in guard.batches(loader, steps=STEPS):
        output = model(**batch)
        fabric.backward(output["loss"])
        optimizer.param_groups[0]["lr"] = 3.0 if len(policy.seen) in HOT else 3e-3
        if guard.check(step, closs=output["closs"], loss_ct=output["loss_ct"]):
            optimizer.step()
        optimizer.zero_grad()
        guard.after_step(step)
    guard.close()
    assert guard.ledger.attempt >= 1
    assert len(policy.seen) > STEPS  # it went back, counter and data included
    assert level(policy) < 30


def test_a_guard_that_has_nothing_left_to_try_ends_the_training(tmp_path: Path) -> None:
    settings = GuardSettings(mode="auto", budget=0, backoffs=0, last_deadline=0.0)
    policy = trained(tmp_path, [Hot(), guarded(tmp_path, settings)])
    assert HOT.start <= len(policy.seen) < STEPS


def test_what_spike_detection_wrote_is_skipped_in_the_epoch_that_begins(tmp_path: Path) -> None:
    rows = Rows()
    rows.y[4 * 40 : 4 * 41] += 500.0
    with pytest.raises(TrainingSpikeException):
        trained(tmp_path, [SpikeDetection(warmup=20, rtol=20.0)], rows=rows)
    assert json.loads((tmp_path / "skip_batches.json").read_text()) == [39, 40]
    policy = trained(tmp_path, [guarded(tmp_path, "auto")], rows=rows, max_steps=60)
    assert len(policy.seen) == 58
    assert max(row["loss"] for row in policy.seen) < 500


def test_what_exploded_here_is_written_for_a_training_that_starts_again(tmp_path: Path) -> None:
    (tmp_path / "skip_batches.json").write_text("[3]")
    trained(tmp_path, [Hot(), guarded(tmp_path, "auto")])
    (rollback,) = told(tmp_path, "rollback")
    batch = (rollback.step - 1) % 60
    written = json.loads((tmp_path / "skip_batches.json").read_text())
    assert written == [3, batch - 1, batch]


def test_a_skip_file_that_cannot_be_read_is_reported_and_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "skip_batches.json").write_text('{"batches": 3}')
    policy = trained(tmp_path, [guarded(tmp_path, "auto")], max_steps=10)
    assert len(policy.seen) == 10
    assert any("holds no list of batch numbers" in event.text for event in told(tmp_path, "note"))
