"""Lightning: `Trainer(callbacks=[VlamonCallback()])`, automatic and manual optimisation alike.

Sees what `training_step` returns and every number that the module logs while it trains, for each
batch, whatever `log_every_n_steps` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

try:
    from lightning.pytorch import Callback
except ImportError:  # the older name of the same library
    from pytorch_lightning import Callback  # type: ignore[assignment]

from vlamon.emitter import Emitter
from vlamon.integrations.ambient import take_notes
from vlamon.integrations.components import components, read
from vlamon.integrations.micro_batches import MicroBatches
from vlamon.integrations.sink import OwnEmitter, Sink


class Hooks:
    """What the callback does, apart from which of Lightning's two packages it is for."""

    def __init__(
        self,
        path: str | None = "auto",
        run_dir: str | None = None,
        weights: Mapping[str, float] | None = None,
        *,
        run: str = "",
        sink: Sink | None = None,
    ) -> None:
        super().__init__()
        self._options: dict[str, Any] = {"run_dir": run_dir, "weights": weights, "run": run}
        self._path = path
        self._sink = sink
        self._own: Emitter | None = None
        self._micro = MicroBatches()
        self._logged: set[str] = set()
        """Names that the module logs itself while it trains."""
        self._step = 0
        self._module: Any = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start serving, and listen to `self.log` of the module."""
        if self._sink is None:
            total = trainer.max_steps if trainer.max_steps and trainer.max_steps > 0 else None
            self._own = Emitter(self._path, total_steps=total, **self._options)
        self._step = trainer.global_step
        self._module = pl_module
        original = pl_module.log

        def log(name: str, value: Any, *args: Any, **given: Any) -> Any:
            if trainer.training and not trainer.sanity_checking:
                number = read(getattr(value, "_forward_cache", value))
                if number is not None:
                    self._logged.add(name)
                    self._micro.add({name: number})
            return original(name, value, *args, **given)

        pl_module.log = log

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A row, once the optimizer has stepped."""
        if outputs is not None:
            returned = components(outputs)
            loss = returned.pop("loss", None)
            self._micro.add(returned)
            if loss is not None and "loss" not in self._logged:
                # Automatic optimisation has divided it by `accumulate_grad_batches`.
                self._micro.add({"loss": loss}, shares=pl_module.automatic_optimization)
        if trainer.global_step == self._step:
            return  # gradients are still being accumulated
        self._step = trainer.global_step
        row = {**self._micro.take(), **take_notes(), "epoch": self._epoch(trainer, batch_idx)}
        if trainer.optimizers:
            row["lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        sink = self._sink if self._own is None else OwnEmitter(self._own)
        if sink is not None:
            sink.add("lightning", row, self._step)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Averages of a validation."""
        emitter = self._own or (None if self._sink is None else self._sink.emitter)
        if emitter is None or trainer.sanity_checking:
            return
        numbers = {
            name.removeprefix("val_").removeprefix("val/"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith(("val_", "val/"))
        }
        if numbers:
            emitter.log_epoch(float(trainer.current_epoch), "val", numbers, trainer.global_step)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Let go of the module, and say goodbye where the emitter is this callback's own."""
        if self._module is not None:
            del self._module.log  # the class's own is behind it
            self._module = None
        if self._own is not None:
            self._own.close()
            self._own = None
        elif self._sink is not None:
            self._sink.flush()

    @staticmethod
    def _epoch(trainer: Any, batch_idx: int) -> float:
        batches = trainer.num_training_batches
        part = (batch_idx + 1) / batches if batches and batches != float("inf") else 0.0
        return float(trainer.current_epoch + part)


class VlamonCallback(Hooks, Callback):
    """Sends a row per optimizer step; its micro-batches are averaged (docs/integrations)."""


def callback_class(package: str) -> type[Hooks]:
    """The callback for `lightning` or for `pytorch_lightning`, which do not accept each other's."""
    base = Callback if package == "lightning" else import_module(package).Callback
    if issubclass(VlamonCallback, base):
        return VlamonCallback
    return type("VlamonCallback", (Hooks, base), {})
