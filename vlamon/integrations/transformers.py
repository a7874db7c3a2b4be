"""Hugging Face's Trainer and everything built on it (SFTTrainer, GR00T, SpatialVLA).

    trainer = Trainer(..., callbacks=[VlamonCallback(weights={"closs": 1, "loss_ct": 10})])

The Trainer can log no components of a loss, averages over `logging_steps` and replaces NaN. This
callback looks at what the model returns: every scalar of every micro-batch, as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from vlamon.emitter import Emitter
from vlamon.integrations.ambient import take_notes
from vlamon.integrations.components import components
from vlamon.integrations.micro_batches import MicroBatches
from vlamon.integrations.sink import OwnEmitter, Sink


class VlamonCallback(TrainerCallback):
    """Sends a row per optimizer step; its micro-batches are joined (docs/integrations)."""

    def __init__(
        self,
        path: str | None = "auto",
        run_dir: str | None = None,
        weights: Mapping[str, float] | None = None,
        *,
        run: str = "",
        sink: Sink | None = None,
    ) -> None:
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
        if self._sink is None:
            self._own = Emitter(
                self._path,
                run=self._run or getattr(args, "run_name", None) or "",
                run_dir=self._run_dir,
                weights=self._weights,
                total_steps=state.max_steps if state.max_steps > 0 else None,
            )
        model = kwargs["model"]
        self._hook = model.register_forward_hook(self._returned, with_kwargs=True)

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

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """One row, at once, unless the Trainer is about to log: then with its grad norm."""
        scheduler = kwargs.get("lr_scheduler")
        self._row = {**self._micro.take(), **take_notes(), "epoch": state.epoch}
        if scheduler is not None:
            self._row["lr"] = float(scheduler.get_last_lr()[0])
        if not control.should_log:
            self._send(state.global_step)

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
            self._send(state.global_step)

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
            self._send(state.global_step)
        if self._own is not None:
            self._own.close()
            self._own = None
        elif self._sink is not None:
            self._sink.flush()

    def _send(self, step: int) -> None:
        sink = self._sink if self._own is None else OwnEmitter(self._own)
        if sink is not None:
            sink.add("transformers", self._row, step)
        self._row = {}

    def _emitter(self) -> Emitter | None:
        return self._own or (None if self._sink is None else self._sink.emitter)

    def _complain(self, reason: str) -> None:
        emitter = self._emitter()
        if emitter is not None:
            emitter.swallow(reason[:200])
