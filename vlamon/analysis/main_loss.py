"""Which of a log's metrics is the loss that matters most: one rule for `tail` and `analyze`."""

from __future__ import annotations

from collections.abc import Iterable

MAIN_LOSSES = ("closs", "loss", "total_loss", "train_loss", "train_loss_step", "total", "Loss")
"""Names under which a log may hold it, best first."""


def main_loss(names: Iterable[str]) -> str | None:
    """The first of MAIN_LOSSES that is there; failing these, the first that is called a loss."""
    present = list(names)
    for name in MAIN_LOSSES:
        if name in present:
            return name
    return next((name for name in present if "loss" in name.lower()), None)
