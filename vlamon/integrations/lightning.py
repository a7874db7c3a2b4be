"""Lightning: `Trainer(callbacks=[VlamonCallback()])`, automatic and manual optimisation alike.

Sees what `training_step` returns and every number that the module logs while it trains, for each
batch, whatever `log_every_n_steps` says. With a guard it keeps non-finite updates from the weights,
takes an explosion back, and shares `skip_batches.json` with Lightning's SpikeDetection.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

try:
    from lightning.pytorch import Callback
except ImportError:  # the older name of the same library
    from pytorch_lightning import Callback  # type: ignore[assignment]

from vlamon.emitter import Emitter
from vlamon.integrations.ambient import take_notes
from vlamon.integrations.components import components, read
from vlamon.integrations.hooked_guard import HookedGuard, begin, checked_mode
from vlamon.integrations.micro_batches import MicroBatches
from vlamon.integrations.sink import OwnEmitter, Sink
from vlamon.integrations.skip_batches import SkipBatches

if TYPE_CHECKING:
    from vlamon.guard import GuardSettings


class Hooks:
    """What the callback does, apart from which of Lightning's two packages it is for."""

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
        super().__init__()
        self._guard_setting = checked_mode(guard)
        self._guard: HookedGuard | None = None
        self._skip_file: SkipBatches | None = None
        self._skipped: frozenset[int] = frozenset()
        """Batches to leave out in the epoch that the training begins with."""
        self._batch = 0
        self._options: dict[str, Any] = {"run_dir": run_dir, "weights": weights, "run": run}
        self._path = path
        self._sink = sink
        self._own: Emitter | None = None
        self._micro = MicroBatches()
        self._logged: set[str] = set()
        """Names that the module logs itself while it trains."""
        self._step = 0
        """Batches that ended in an update, several optimizers' or one's."""
        self._updates = 0
        """Lightning's own count, to which every optimizer adds."""
        self._module: Any = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start serving, and listen to `self.log` of the module."""
        each = max(1, len(trainer.optimizers))
        total = trainer.max_steps // each if trainer.max_steps and trainer.max_steps > 0 else None
        if self._sink is None:
            self._own = Emitter(self._path, total_steps=total, **self._options)
        else:
            self._sink.plan(total)
        self._updates = trainer.global_step
        self._step = self._updates // each
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
        self._begin_guard(trainer, pl_module)

    def _begin_guard(self, trainer: Any, pl_module: Any) -> None:
        self._guard = begin(
            self._guard_setting,
            trainer.model or pl_module,
            trainer.optimizers,
            schedulers=[config.scheduler for config in trainer.lr_scheduler_configs],
            scaler=getattr(trainer.precision_plugin, "scaler", None),
            emitter=self._emitter(),
            run_dir=self._options["run_dir"],
            weights=self._options["weights"],
            finished=self._step,
        )
        if self._guard is None:
            return
        self._skip_file = SkipBatches(trainer.default_root_dir)
        try:
            self._skipped = self._skip_file.read()
        except (OSError, ValueError) as error:
            self._note(f"no batch is skipped: {error}", "warn")
        if not self._skipped:
            return
        first = trainer.current_epoch
        self._note(f"epoch {first} leaves out batches {sorted(self._skipped)}: {SkipBatches.NAME}")
        original = pl_module.training_step

        @functools.wraps(original)
        def training_step(*args: Any, **given: Any) -> Any:
            if trainer.current_epoch == first and self._batch in self._skipped:
                return None
            return original(*args, **given)

        pl_module.training_step = training_step

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Which batch of the epoch it is; `training_step` need not know."""
        self._batch = batch_idx

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """The gradients are there; what `training_step` returns is known only after the update."""
        if self._guard is not None:
            self._guard.before_update(self._step + 1, {})

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
        if trainer.global_step == self._updates:
            return  # gradients are still being accumulated
        self._updates = trainer.global_step
        self._step += 1
        row = {**self._micro.take(), **take_notes(), "epoch": self._epoch(trainer, batch_idx)}
        if trainer.optimizers:
            row["lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        sink = self._sink if self._own is None else OwnEmitter(self._own)
        if sink is not None:
            sink.add("lightning", row, self._step)
        if self._guard is not None:
            went_back = self._guard.after_update(self._step, row)
            if went_back and trainer.is_global_zero:
                self._keep_for_later(batch_idx)
            trainer.should_stop = trainer.should_stop or self._guard.stopped

    def _keep_for_later(self, batch_idx: int) -> None:
        """A training that starts again from a checkpoint is to leave out what exploded here."""
        assert self._skip_file is not None
        try:
            self._skip_file.add([batch_idx - 1, batch_idx])
        except OSError as error:
            self._note(f"{SkipBatches.NAME} is not written: {error}", "warn")

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Averages of a validation."""
        emitter = self._emitter()
        if emitter is None or trainer.sanity_checking:
            return
        numbers = {
            name.removeprefix("val_").removeprefix("val/"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith(("val_", "val/"))
        }
        if numbers:
            emitter.log_epoch(float(trainer.current_epoch), "val", numbers, self._step)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Let go of the module, and say goodbye where the emitter is this callback's own."""
        self._let_go()
        if self._own is not None:
            self._own.close()
            self._own = None
        elif self._sink is not None:
            self._sink.flush()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """The training broke off; the interpreter's end tells why it ended."""
        self._let_go()

    def _let_go(self) -> None:
        for name in ("log", "training_step"):  # the class's own is behind it
            if self._module is not None and name in vars(self._module):
                delattr(self._module, name)
        self._module = None
        if self._guard is not None:
            self._guard.close()
            self._guard = None

    def _emitter(self) -> Emitter | None:
        return self._own or (None if self._sink is None else self._sink.emitter)

    def _note(self, text: str, severity: Literal["info", "warn"] = "info") -> None:
        emitter = self._emitter()
        if emitter is not None:
            emitter.event("note", step=self._step, text=text, severity=severity)

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
