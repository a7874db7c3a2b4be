"""What the command line decides about the dashboard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vlamon.detect.rules import SpikeRules


@dataclass(frozen=True, slots=True)
class Options:
    """Choices of one dashboard; every field has the default of a plain `vlamon watch`."""

    theme: str | None = None
    """Name of a theme; None chooses by what the terminal can show."""
    read_only: bool = False
    """Hide every command to the training process."""
    auto_rollback: bool = False
    """Order a rollback by itself when a live explosion is reported."""
    ascii: bool = False
    """Draw with ASCII alone."""
    low_bandwidth: bool = False
    """Charts at 2 frames a second, numbers at 1, sixteen colours."""
    every: float = 0.0
    """Plain lines: at most one batch in so many seconds; 0 for every batch."""
    gpu: bool = True
    """Show the panel of accelerators and process."""
    bell: bool = False
    """Ring the terminal's bell on alerts."""
    notify: bool = True
    """Send desktop notifications (OSC 9 and 777) on alerts."""
    title: bool = True
    """Write the run's pulse into the terminal's title."""
    mouse: bool = True
    """Ask the terminal for mouse events."""
    axis: str = "step"
    """X axis to start with: step, epoch, time or since."""
    log: bool = False
    """Start with logarithmic y axes."""
    smoothing: str = "auto"
    """Smoothing of the lines to start with: off, auto or strong."""
    panel: str = "auto"
    """Panel below the charts to start with, by its name in `tui/panels.py`; auto for the usual."""
    pinned: tuple[str, ...] = ()
    """Metrics whose charts come first, in this order."""
    hidden: tuple[str, ...] = ()
    """Metrics whose charts are hidden."""
    rules: SpikeRules = SpikeRules()  # noqa: RUF009 - frozen
    """Thresholds of what warns and explodes where the training does not judge itself."""
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Keys of one's own by the action's name."""
