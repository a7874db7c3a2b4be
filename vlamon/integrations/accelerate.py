"""Accelerate: `Accelerator(log_with=[VlamonTracker(), "tensorboard"])`.

`accelerator.log(values, step)` reaches the tracker with what the loop hands it. Components that the
loop does not log come by `vlamon.note(...)` from wherever they are computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from accelerate.tracking import GeneralTracker, on_main_process

from vlamon.emitter import Emitter
from vlamon.integrations.ambient import take_notes
from vlamon.integrations.sink import log_row

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn

    from vlamon.guard import Guard


class VlamonTracker(GeneralTracker):
    """Serves what `accelerator.log` is given, one row a call."""

    name = "vlamon"
    requires_logging_directory = False
    main_process_only = True

    @on_main_process
    def __init__(
        self,
        path: str | None = "auto",
        run_dir: str | None = None,
        weights: Mapping[str, float] | None = None,
        *,
        run: str = "",
        **options: Any,
    ) -> None:
        super().__init__()
        self._emitter = Emitter(path, run=run, run_dir=run_dir, weights=weights, **options)
        self._next = 0

    @property
    def tracker(self) -> Emitter:
        """The emitter, for events and epochs of one's own."""
        return self._emitter

    @on_main_process
    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Keep the configuration that `init_trackers` was given, as an event of the run."""
        self._emitter.event("note", text="configuration", config=values)

    @on_main_process
    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """One row; without a step, the one after the last."""
        step = self._next if step is None else step
        self._next = step + 1
        log_row(self._emitter, step, {**take_notes(), **values})

    @on_main_process
    def finish(self) -> None:
        """Called by `accelerator.end_training()`."""
        self._emitter.close()


def guard_for(
    accelerator: Accelerator,
    model: nn.Module,
    optimizers: Any,
    *,
    schedulers: Any = (),
    **options: Any,
) -> Guard:
    """A guard for a loop of one's own over what `accelerator.prepare` returned.

    It puts the gradient scaler back too, and reports through the `VlamonTracker` of
    `init_trackers` where there is one. `options` are those of `vlamon.guard.Guard`. Iterate
    `guard.loader(loader)` or `guard.batches(loader)`, so that the order of the data goes back.
    """
    from vlamon.guard import Guard

    extras = dict(options.pop("extras", None) or {})
    if accelerator.scaler is not None:
        extras["scaler"] = accelerator.scaler
    for tracker in accelerator.trackers:
        if isinstance(tracker, VlamonTracker) and accelerator.is_main_process:
            options.setdefault("emitter", tracker.tracker)
    several = isinstance(schedulers, Sequence)
    return Guard(
        model,
        optimizers,
        schedulers=schedulers if several else [schedulers],
        extras=extras,
        **options,
    )
