"""Watch a training that was written for other trackers, without an edit or with one line.

`vlamon.tap()` in a script, or `vlamon run -- python train.py` around it, reads what the script
already hands to its trackers (wandb, TensorBoard, SwanLab, Trackio, MLflow, Accelerate) or to its
framework (Hugging Face's Trainer, Lightning) and sends it on through a `vlamon.Emitter`. Nothing is
tapped before the library is imported, and a fault in here never reaches the script.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from vlamon.emitter.arguments import checked_choice
from vlamon.emitter.exit_code import remember, why_it_ended
from vlamon.taps.collector import Collector
from vlamon.taps.imports import install
from vlamon.taps.options import TapOptions
from vlamon.taps.patches import PATCHES, patch_meters


def tap(
    path: str | None = "auto",
    *,
    run: str = "",
    run_dir: str | None = None,
    weights: Mapping[str, float] | None = None,
    guard: Literal["off", "watch"] = "off",
) -> None:
    """Send what this process logs to its trackers to vlamon too; call it once, before training.

    `weights` says which losses are trained and how much each weighs in the total. `guard="watch"`
    reports explosions as events; to answer them takes the guard of a framework or of the loop.
    """
    watch = checked_choice("guard", guard, ("off", "watch")) == "watch"
    start(TapOptions(path, run, run_dir, dict(weights or {}), watch=watch))


def start(options: TapOptions) -> Collector:
    """Install the import hooks for `options`; the emitter is made by the first value."""
    remember()
    collector = Collector(options, why_it_ended)
    install(PATCHES, patch_meters, collector)
    return collector
