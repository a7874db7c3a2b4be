"""The one table of guard modes: what a guard does about an explosion in each.

The guard and its policy, `vlamon ctl set guard`, the dialogs, the trainer's configuration and the
monitors, which judge or roll back only where the training does not, read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class GuardMode:
    """One mode."""

    name: str
    """`vlamon ctl set guard NAME`."""
    help: str
    """One clause for docs and dialogs."""
    detects: bool
    """Whether the training reports its own explosions."""
    response: Literal["rollback", "ask", "report"]
    """What the shipped policy does about one."""

    @property
    def acts(self) -> bool:
        """Whether the training answers an explosion itself, so that no monitor needs to."""
        return self.response != "report"


GUARD_MODES: Mapping[str, GuardMode] = {
    mode.name: mode
    for mode in (
        GuardMode("auto", "rolls back by itself", True, "rollback"),
        GuardMode("ask", "pauses and waits for the operator", True, "ask"),
        GuardMode("watch", "reports", True, "report"),
        GuardMode("off", "does not detect; snapshots and commands stay", False, "report"),
    )
}
"""Every mode, by name, the default first."""


def mode_detects(name: str | None) -> bool:
    """Whether a training in this mode reports its own explosions; False for an unknown one."""
    mode = GUARD_MODES.get(name or "")
    return mode is not None and mode.detects


def mode_acts(name: str | None) -> bool:
    """Whether a training in this mode answers its own explosions; False for an unknown one."""
    mode = GUARD_MODES.get(name or "")
    return mode is not None and mode.acts
