"""The guard in Hugging Face's Trainer: induced explosions, really trained through."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers", reason="needs the extra integrations")
pytest.importorskip("accelerate", reason="needs the extra integrations")

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from tests.vlamon.emitter.emitted import journal_of, of_type, rows_of
from tests.vlamon.integrations.toy import Policy, Rows, digest, means
from vlamon.guard import GuardSettings
from vlamon.integrations.transformers import VlamonCallback
from vlamon.records import Event

STEPS = 300
HOT = range(150, 152)
"""Steps that are trained with a thousand times the planned lr."""


class HotSteps(TrainerCallback):
    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        if state.global_step + 1 in HOT:
            for group in given["optimizer"].param_groups:
                group["lr"] *= 1000


def trained(
    tmp_path: Path, callbacks: list[Any], model: Policy | None = None, **settings: Any
) -> Policy:
    model = model or Policy()
    resume = settings.pop("resume", None)
    given: dict[str, Any] = {
        "per_device_train_batch_size": 4,
        "learning_rate": 3e-3,
        "max_steps": STEPS,
        "report_to": "none",
        "seed": 5,
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "no",
        "remove_unused_columns": False,
        **settings,
    }
    arguments = TrainingArguments(str(tmp_path / "out"), **given)
    trainer = Trainer(model, arguments, train_dataset=Rows(), callbacks=callbacks)
    trainer.train(resume_from_checkpoint=resume)
    return model


def guarded(tmp_path: Path, guard: Any) -> VlamonCallback:
    weights = {"closs": 1.0, "loss_ct": 10.0}
    return VlamonCallback(None, str(tmp_path / "run"), weights, guard=guard)


def told(tmp_path: Path, *kinds: str) -> list[Event]:
    return [e for e in of_type(journal_of(tmp_path / "run"), Event) if e.kind in kinds]


def level(model: Policy) -> float:
    """The loss at the end."""
    return sum(row["loss"] for row in model.seen[-20:]) / 20


def test_an_explosion_is_taken_back_and_the_run_ends_at_its_usual_level(tmp_path: Path) -> None:
    usual = trained(tmp_path / "usual", [])
    lost = trained(tmp_path / "lost", [HotSteps()])
    saved = trained(tmp_path, [HotSteps(), guarded(tmp_path, "auto")])
    assert level(lost) > 1.5 * level(usual)
    assert level(saved) < 1.2 * level(usual)
    (rollback,) = told(tmp_path, "rollback")
    assert rollback.data["to"] < HOT.start <= rollback.step
    assert told(tmp_path, "recovered")


def test_the_trainers_counter_and_schedule_go_on_after_a_rollback(tmp_path: Path) -> None:
    trained(tmp_path, [HotSteps(), guarded(tmp_path, "auto")])
    rows = rows_of(journal_of(tmp_path / "run"))
    assert [step for step, _ in rows] == list(range(1, STEPS + 1))
    planned = [3e-3 * (STEPS - step) / STEPS for step in range(1, STEPS + 1)]
    assert [values["lr"] for _, values in rows] == pytest.approx(planned, abs=1e-12)


def test_a_guard_is_off_unless_it_is_asked_for(tmp_path: Path) -> None:
    alone = trained(tmp_path / "alone", [HotSteps()])
    callback = VlamonCallback(None, str(tmp_path / "run"))
    watched = trained(tmp_path, [HotSteps(), callback])
    assert digest(watched) == digest(alone)
    assert not told(tmp_path, "explode", "rollback")


def test_a_watching_guard_reports_and_changes_no_bit(tmp_path: Path) -> None:
    alone = trained(tmp_path / "alone", [HotSteps()])
    watched = trained(tmp_path, [HotSteps(), guarded(tmp_path, "watch")])
    assert digest(watched) == digest(alone)
    assert told(tmp_path, "explode")
    assert not told(tmp_path, "rollback")


def test_a_guard_that_has_nothing_to_do_changes_no_bit(tmp_path: Path) -> None:
    alone = trained(tmp_path / "alone", [], gradient_accumulation_steps=2)
    watched = trained(tmp_path, [guarded(tmp_path, "auto")], gradient_accumulation_steps=2)
    assert digest(watched) == digest(alone)
    assert not told(tmp_path, "explode")


class Breaks(Policy):
    """Its loss is not a number in one micro-batch."""

    at = 300

    def forward(self, x: Any, labels: Any) -> dict[str, Any]:
        output = super().forward(x, labels)
        if len(self.seen) == self.at:
            output["loss"] = output["loss"] * float("nan")
        return output


def test_a_nan_in_one_micro_batch_of_a_step_never_reaches_the_weights(tmp_path: Path) -> None:
    lost = trained(tmp_path / "lost", [], Breaks(), gradient_accumulation_steps=3)
    saved = trained(tmp_path, [guarded(tmp_path, "auto")], Breaks(), gradient_accumulation_steps=3)
    assert not all(bool(p.isfinite().all()) for p in lost.parameters())
    assert all(bool(p.isfinite().all()) for p in saved.parameters())
    assert level(saved) < 1.2 * level(
        trained(tmp_path / "usual", [], gradient_accumulation_steps=3)
    )
    rows = rows_of(journal_of(tmp_path / "run"))
    assert [values["closs"] for _, values in rows] == pytest.approx(
        means(saved.seen, "closs", 3), rel=1e-12
    )
    assert [step for step, values in rows if math.isnan(values["loss"])] == [100]


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    settings = {"save_strategy": "steps", "save_steps": 70, "max_steps": 100}
    whole = trained(tmp_path, [guarded(tmp_path, "auto")], **settings)
    again = tmp_path / "again"
    resumed = trained(
        again, [guarded(again, "auto")], **settings, resume=str(tmp_path / "out" / "checkpoint-70")
    )
    assert digest(resumed) == digest(whole)
    assert [step for step, _ in rows_of(journal_of(again / "run"))] == list(range(71, 101))


def test_a_rollback_after_a_resume_never_goes_to_before_it(tmp_path: Path) -> None:
    settings = {"save_strategy": "steps", "save_steps": 145, "max_steps": 160}
    trained(tmp_path / "first", [], **settings)
    callbacks = [HotSteps(), guarded(tmp_path, "auto")]
    resume = str(tmp_path / "first" / "out" / "checkpoint-145")
    trained(tmp_path, callbacks, **{**settings, "max_steps": STEPS}, resume=resume)
    assert all(event.data["to"] >= 145 for event in told(tmp_path, "rollback"))


def test_a_guard_that_has_nothing_left_to_try_ends_the_training(tmp_path: Path) -> None:
    settings = GuardSettings(mode="auto", budget=0, backoffs=0, last_deadline=0.0)
    model = trained(tmp_path, [HotSteps(), guarded(tmp_path, settings)])
    assert HOT.start <= len(model.seen) < STEPS


def test_an_optimizer_that_owns_its_state_leaves_the_training_unguarded_and_says_so(
    tmp_path: Path,
) -> None:
    class DeepSpeedZeroOptimizer:
        pass

    callback = guarded(tmp_path, "auto")
    state = SimpleNamespace(max_steps=10, global_step=0, epoch=0.0)
    control = SimpleNamespace(should_log=False)
    callback.on_train_begin(
        SimpleNamespace(), state, control, model=Policy(), optimizer=DeepSpeedZeroOptimizer()
    )
    callback.on_pre_optimizer_step(None, state, control)
    callback.on_step_end(None, state, control)
    callback.on_train_end(None, state, control)
    (event,) = told(tmp_path, "warn")
    assert "no guard" in event.text
    assert "DeepSpeed" in event.text


def test_a_guard_of_an_unknown_mode_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="guard 'sometimes': choose one of auto, ask, watch, off"):
        VlamonCallback(None, guard="sometimes")


def test_an_update_is_withheld_where_a_scaler_scales_its_gradients() -> None:
    from vlamon.integrations.hooked_guard import withhold

    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight], 0.1)
    scaler = torch.amp.GradScaler("cpu")
    for unscaled in (False, True):
        scaler.scale((weight * 2).sum()).backward()
        if unscaled:
            scaler.unscale_(optimizer)
        withhold(optimizer, scaler)
        scaler.step(optimizer)
        scaler.update()
        assert weight.tolist() == [1.0, 1.0, 1.0]
