"""Hugging Face's Trainer, really training: every micro-batch's components, and nothing changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="needs the extra integrations")
pytest.importorskip("accelerate", reason="needs the extra integrations")

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

import vlamon
from tests.vlamon.emitter.emitted import journal_of, of_type, rows_of
from tests.vlamon.integrations.toy import Policy, Rows, digest, means
from vlamon.guard import Guard, GuardSettings
from vlamon.integrations.transformers import VlamonCallback
from vlamon.records import EpochRow, RunInfo
from vlamon.taps.collector import Collector
from vlamon.taps.options import TapOptions


def trained(tmp_path: Path, callbacks: list[Any], **settings: Any) -> Policy:
    model = Policy()
    given: dict[str, Any] = {
        "per_device_train_batch_size": 4,
        "max_steps": 60,
        "logging_steps": 10,
        "report_to": "none",
        "seed": 5,
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "no",
        "remove_unused_columns": False,
        **settings,
    }
    arguments = TrainingArguments(str(tmp_path / "out"), **given)
    rows = Rows()
    Trainer(model, arguments, train_dataset=rows, eval_dataset=rows, callbacks=callbacks).train()
    return model


def test_every_step_has_the_components_of_its_batch(tmp_path: Path) -> None:
    weights = {"closs": 1.0, "loss_ct": 10.0}
    callback = VlamonCallback(None, str(tmp_path / "run"), weights)
    model = trained(tmp_path, [callback])
    records = journal_of(tmp_path / "run")
    rows = rows_of(records)
    assert [step for step, _ in rows] == list(range(1, 61))
    for name in ("closs", "loss_ct", "loss"):
        assert [values[name] for _, values in rows] == means(model.seen, name, 1)
    assert [step for step, values in rows if "grad_norm" in values] == [10, 20, 30, 40, 50, 60]
    assert of_type(records, RunInfo)[0].total_steps == 60


def test_micro_batches_of_a_step_are_one_row_with_their_mean(tmp_path: Path) -> None:
    callback = VlamonCallback(None, str(tmp_path / "run"))
    model = trained(tmp_path, [callback], gradient_accumulation_steps=3, max_steps=40)
    rows = rows_of(journal_of(tmp_path / "run"))
    assert [step for step, _ in rows] == list(range(1, 41))
    for name in ("closs", "loss"):
        expected = means(model.seen, name, 3)
        assert [values[name] for _, values in rows] == pytest.approx(expected, rel=1e-12)


def test_a_model_that_divides_by_the_steps_tokens_is_summed(tmp_path: Path) -> None:
    class Tokens(Policy):
        def forward(  # type: ignore[override]
            self, x: Any, labels: Any, num_items_in_batch: Any = None, **_: Any
        ) -> dict[str, Any]:
            output = super().forward(x, labels)
            error = output["logits"]
            output["loss"] = error.square().sum() / num_items_in_batch
            self.seen[-1]["loss"] = float(output["loss"].detach())
            return output

    model = Tokens()
    arguments = TrainingArguments(
        str(tmp_path / "out"), per_device_train_batch_size=4, max_steps=20, use_cpu=True,
        gradient_accumulation_steps=2, report_to="none", save_strategy="no", disable_tqdm=True,
        remove_unused_columns=False,
    )  # fmt: skip
    callback = VlamonCallback(None, str(tmp_path / "run"))
    Trainer(model, arguments, train_dataset=Rows(), callbacks=[callback]).train()
    rows = rows_of(journal_of(tmp_path / "run"))
    doubled = [2 * value for value in means(model.seen, "loss", 2)]
    assert [values["loss"] for _, values in rows] == pytest.approx(doubled, rel=1e-12)


def test_the_training_is_bit_identical_to_one_without(tmp_path: Path) -> None:
    without = trained(tmp_path / "a", [], gradient_accumulation_steps=2)
    callback = VlamonCallback(None, str(tmp_path / "run"))
    watched = trained(tmp_path / "b", [callback], gradient_accumulation_steps=2)
    assert digest(watched) == digest(without)


def test_a_tap_knows_how_many_steps_the_trainer_will_take(tmp_path: Path) -> None:
    collector = Collector(TapOptions(None, "run", str(tmp_path / "run")))
    trained(tmp_path, [VlamonCallback(sink=collector)])
    collector.end("")

    (planned,) = {record.total_steps for record in of_type(journal_of(tmp_path / "run"), RunInfo)}
    assert planned == 60


def test_a_nan_that_the_trainer_hides_is_seen(tmp_path: Path) -> None:
    class Breaks(Policy):
        def forward(self, x: Any, labels: Any) -> dict[str, Any]:
            output = super().forward(x, labels)
            if len(self.seen) == 30:
                output["closs"] = output["closs"] * float("nan")
            return output

    arguments = TrainingArguments(
        str(tmp_path / "out"), max_steps=60, use_cpu=True, report_to="none", save_strategy="no",
        disable_tqdm=True, remove_unused_columns=False,
    )  # fmt: skip
    callback = VlamonCallback(None, str(tmp_path / "run"))
    Trainer(Breaks(), arguments, train_dataset=Rows(), callbacks=[callback]).train()
    rows = rows_of(journal_of(tmp_path / "run"))
    assert [step for step, values in rows if values["closs"] != values["closs"]] == [30]


def test_evaluations_are_epochs_of_their_own_and_never_batches(tmp_path: Path) -> None:
    callback = VlamonCallback(None, str(tmp_path / "run"))
    trained(tmp_path, [callback], eval_strategy="steps", eval_steps=20)
    records = journal_of(tmp_path / "run")
    evaluations = of_type(records, EpochRow)
    assert [(row.split, row.step) for row in evaluations] == [("val", 20), ("val", 40), ("val", 60)]
    assert all("loss" in row.metrics for row in evaluations)
    assert len(rows_of(records)) == 60


def test_what_a_forward_notes_is_in_the_row_of_its_step(tmp_path: Path) -> None:
    class Notes(Policy):
        def forward(self, x: Any, labels: Any) -> dict[str, Any]:
            output = super().forward(x, labels)
            if self.training:
                vlamon.note(z_loss=output["closs"] * 2)
            return {"loss": output["loss"]}

    arguments = TrainingArguments(
        str(tmp_path / "out"), max_steps=10, gradient_accumulation_steps=2, use_cpu=True,
        report_to="none", save_strategy="no", disable_tqdm=True, remove_unused_columns=False,
    )  # fmt: skip
    model = Notes()
    callback = VlamonCallback(None, str(tmp_path / "run"))
    Trainer(model, arguments, train_dataset=Rows(), callbacks=[callback]).train()
    rows = rows_of(journal_of(tmp_path / "run"))
    expected = [2 * value for value in means(model.seen, "closs", 2)]
    assert [values["z_loss"] for _, values in rows] == pytest.approx(expected, rel=1e-6)


class Guarded(TrainerCallback):
    """The callback of docs/guard.md: the Trainer owns its counter, so only the state goes back."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        model, optimizer = kwargs["model"], kwargs["optimizer"]
        settings = GuardSettings(every=10, near_every=5)
        schedulers = [kwargs["lr_scheduler"]]
        self.guard = Guard(model, optimizer, schedulers=schedulers, settings=settings)
        self.guard.start(resume=False)
        self.blocked: list[int] = []
        self.rates: list[float] = []
        model.register_forward_hook(self.returned)

    def returned(self, module: Any, args: Any, output: Any) -> None:
        self.loss = output["loss"]

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.guard.check(state.global_step, loss=self.loss):
            self.blocked.append(state.global_step)
            kwargs["optimizer"].zero_grad(set_to_none=True)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.rates.append(kwargs["optimizer"].param_groups[0]["lr"])
        self.guard.after_step(state.global_step - 1, goes_back=False)
        control.should_training_stop |= self.guard.stopped


class Breaking(Policy):
    """Its loss is not a number once, and explodes for good unless its weights go back."""

    def forward(self, x: Any, labels: Any) -> dict[str, Any]:
        if len(self.seen) == 150:
            with torch.no_grad():
                for parameter in self.trunk.parameters():
                    parameter.mul_(1e4)
        output = super().forward(x, labels)
        if len(self.seen) == 100:
            output["loss"] = output["loss"] * float("nan")
        return output


def test_the_guard_rolls_a_trainer_back_while_its_counter_runs_on(tmp_path: Path) -> None:
    calm, hurt = Guarded(), Guarded()
    arguments: dict[str, Any] = {"max_steps": 200, "learning_rate": 1e-3}
    trained(tmp_path / "calm", [calm], **arguments)
    model = Breaking()
    given = TrainingArguments(
        str(tmp_path / "out"), per_device_train_batch_size=4, use_cpu=True, report_to="none",
        save_strategy="no", disable_tqdm=True, remove_unused_columns=False, logging_steps=10,
        seed=5, **arguments,
    )  # fmt: skip
    trainer = Trainer(model, given, train_dataset=Rows(), callbacks=[hurt])
    trainer.train()
    assert trainer.state.global_step == 200
    assert hurt.blocked == [99]
    assert hurt.guard.ledger.attempt == 2
    assert hurt.rates == calm.rates
    assert len(model.seen) == 200
    assert model.seen[150]["loss"] > 1000
    assert all(row["loss"] < 100 for row in model.seen[160:])


def test_a_lower_lr_reaches_the_optimizer_that_accelerate_wraps(tmp_path: Path) -> None:
    class Halved(Guarded):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            model = kwargs["model"]
            self.before = [p.detach().clone() for p in model.parameters()]

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            after = kwargs["model"].parameters()
            moved = [(a - b).abs().max() for a, b in zip(after, self.before, strict=True)]
            self.moved = [*getattr(self, "moved", []), float(max(moved).detach())]
            self.guard.rollback._lr_scale.set(0.5 if state.global_step >= 2 else 1.0)
            super().on_step_end(args, state, control, **kwargs)

    callback = Halved()
    trained(tmp_path, [callback], max_steps=4, learning_rate=1e-2, lr_scheduler_type="constant")
    whole, half = callback.moved[0], callback.moved[2]
    assert type(callback.guard.optimizers[0]).__name__ == "AcceleratedOptimizer"
    assert half < 0.7 * whole
