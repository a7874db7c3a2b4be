"""Hugging Face's Trainer and everything built on it (SFTTrainer, GR00T, SpatialVLA).

    trainer = Trainer(..., callbacks=[VlamonCallback(weights={"closs": 1, "loss_ct": 10})])

The Trainer can log no components of a loss, averages over `logging_steps` and replaces NaN. This
callback looks at what the model returns: every scalar of every micro-batch, as it is. With a guard
it keeps non-finite updates from the weights and takes an explosion back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from vlamon.emitter import Emitter
from vlamon.integrations.ambient import take_notes
from vlamon.integrations.components import components
from vlamon.integrations.hooked_guard import HookedGuard, begin, checked_mode
from vlamon.integrations.micro_batches import MicroBatches
from vlamon.integrations.sink import OwnEmitter, Sink

if TYPE_CHECKING:
    from vlamon.guard import GuardSettings


class VlamonCallback(TrainerCallback):
    """Sends a row per optimizer step; its micro-batches are joined (docs/integrations)."""

    def __init__(
        self,
        path: str | None = "auto",
        run_dir: str | None = None,
        weights: Mapping[str, float] | None = None,
        *,
        guard: str | GuardSettings = "off",
        run: str = "",
        sink: Sink | None = None,
    ) -> None:
        """`guard` is a mode (`off`, `watch`, `ask`, `auto`), or `GuardSettings` with one."""
        self._guard_setting = checked_mode(guard)
        self._guard: HookedGuard | None = None
        self._path = path
        self._run_dir = run_dir
        self._weights = weights
        self._run = run
        self._sink = sink
        self._own: Emitter | None = None
        self._micro = MicroBatches()
        self._row: dict[str, Any] = {}
        self._hook: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start serving, and look at what the model returns from now on."""
        total_steps = state.max_steps if state.max_steps > 0 else None
        if self._sink is None:
            self._own = Emitter(
                self._path,
                run=self._run or getattr(args, "run_name", None) or "",
                run_dir=self._run_dir,
                weights=self._weights,
                total_steps=total_steps,
            )
        else:
            self._sink.plan(total_steps)
        model = kwargs["model"]
        self._hook = model.register_forward_hook(self._returned, with_kwargs=True)
        optimizer, scheduler = kwargs.get("optimizer"), kwargs.get("lr_scheduler")
        self._guard = begin(
            self._guard_setting,
            model,
            [optimizer],
            schedulers=[] if scheduler is None else [scheduler],
            scaler=getattr(optimizer, "scaler", None),
            emitter=self._emitter(),
            run_dir=self._run_dir,
            weights=self._weights,
            finished=state.global_step,
            takes_engines=True,
        )

    def _returned(
        self, module: torch.nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any
    ) -> None:
        if not (module.training and torch.is_grad_enabled()):
            return
        try:
            # With a count of the step's tokens the model divides by it: a share of the step's loss.
            shares = kwargs.get("num_items_in_batch") is not None
            values = components(output)
            loss = values.pop("loss", None)
            self._micro.add(values)
            if loss is not None:
                self._micro.add({"loss": loss}, shares)
        except Exception as error:  # a model's output is anybody's; the training goes on
            self._complain(f"the model's output cannot be read: {error}")

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """All micro-batches of the step are there; its update is not."""
        self._row = {**self._micro.take(), **take_notes()}
        if self._guard is not None:
            self._guard.before_update(state.global_step + 1, self._row)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """One row, at once, unless the Trainer is about to log: then with its grad norm."""
        scheduler = kwargs.get("lr_scheduler")
        self._row["epoch"] = state.epoch
        if scheduler is not None:
            self._row["lr"] = float(scheduler.get_last_lr()[0])
        if not control.should_log:
            self._close_step(state, control)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """The grad norm is in the Trainer's own logs only; the loss there is a mean."""
        if self._row:
            norm = (logs or {}).get("grad_norm")
            if norm is not None:
                self._row["grad_norm"] = float(norm)
            self._close_step(state, control)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Averages of an evaluation."""
        emitter = self._emitter()
        if emitter is not None and metrics:
            numbers = {
                name.removeprefix("eval_"): value
                for name, value in metrics.items()
                if isinstance(value, int | float) and name != "epoch"
            }
            emitter.log_epoch(state.epoch or 0.0, "val", numbers, state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Let go of the model, and say goodbye where the emitter is this callback's own."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        if self._row:
            self._close_step(state, control)
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        if self._own is not None:
            self._own.close()
            self._own = None
        elif self._sink is not None:
            self._sink.flush()

    def _close_step(self, state: TrainerState, control: TrainerControl) -> None:
        """Send the row, and let the guard answer; the Trainer evaluates and saves after that."""
        sink = self._sink if self._own is None else OwnEmitter(self._own)
        if sink is not None:
            sink.add("transformers", self._row, state.global_step)
        self._row = {}
        if self._guard is not None:
            self._guard.after_update(state.global_step)
            if self._guard.stopped:
                control.should_training_stop = True

    def _emitter(self) -> Emitter | None:
        return self._own or (None if self._sink is None else self._sink.emitter)

    def _complain(self, reason: str) -> None:
        emitter = self._emitter()
        if emitter is not None:
            emitter.swallow(reason[:200])
