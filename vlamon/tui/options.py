"""How a person wants to see a run; handed from the command line to the dashboard."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of one dashboard; what is None is chosen by looking at the terminal."""

    theme: str | None = None
    """Name of a shipped theme or of one in the user's directory; None for the default."""
    ascii: bool = False
    """Draw with ASCII alone."""
    low_bandwidth: bool = False
    """Charts at 2 fps, numbers at 1 Hz, 16 colours."""
    read_only: bool = False
    """Hide everything that orders something from the trainer."""
    auto_rollback: bool = False
    """Order a rollback when an explosion is announced and no guard acts by itself."""
    gpu: bool = True
    """Show the panel of accelerators and process."""
