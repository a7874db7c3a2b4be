"""Accelerate: `Accelerator(log_with=[VlamonTracker(), "tensorboard"])`.

`accelerator.log(values, step)` reaches the tracker with what the loop hands it. Components that the
loop does not log come by `vlamon.note(...)` from wherever they are computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelerate.tracking import GeneralTracker, on_main_process

from vlamon.emitter import Emitter
from vlamon.integrations.ambient import take_notes


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
        metrics = {**take_notes(), **values}
        epoch = metrics.pop("epoch", None)
        self._emitter.log(step, epoch, **metrics)

    @on_main_process
    def finish(self) -> None:
        """Called by `accelerator.end_training()`."""
        self._emitter.close()
