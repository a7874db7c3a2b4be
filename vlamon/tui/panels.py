"""Every panel of the dashboard, once: a new one is a file in widgets/ and a line here."""

from __future__ import annotations

from dataclasses import dataclass

from vlamon.tui.rendering import Rendering
from vlamon.tui.widgets.contribution import ContributionPanel
from vlamon.tui.widgets.diagnoses import DiagnosesPanel, SnapshotsPanel
from vlamon.tui.widgets.events import EventsPanel
from vlamon.tui.widgets.gpu import GpuLine, GpuPanel
from vlamon.tui.widgets.headline import HeadlinePanel
from vlamon.tui.widgets.inspector import InspectorPanel
from vlamon.tui.widgets.keys import KeysLine
from vlamon.tui.widgets.numbers import NumbersPanel
from vlamon.tui.widgets.row_panel import RowPanel
from vlamon.tui.widgets.slots import SlotsPanel
from vlamon.tui.widgets.status_line import StatusLine
from vlamon.tui.widgets.welcome import WelcomePanel


@dataclass(frozen=True, slots=True)
class PanelKind:
    """A panel and where it can stand."""

    name: str
    kind: type[RowPanel]
    lower: bool = False
    """Whether it takes its turn in the lower place, by the key `b`."""


PANELS: tuple[PanelKind, ...] = (
    PanelKind("status", StatusLine),
    PanelKind("headline", HeadlinePanel),
    PanelKind("welcome", WelcomePanel),
    PanelKind("numbers", NumbersPanel),
    PanelKind("contribution", ContributionPanel),
    PanelKind("gpu-line", GpuLine),
    PanelKind("gpu", GpuPanel, lower=True),
    PanelKind("slots", SlotsPanel, lower=True),
    PanelKind("inspector", InspectorPanel, lower=True),
    PanelKind("diagnoses", DiagnosesPanel, lower=True),
    PanelKind("snapshots", SnapshotsPanel, lower=True),
    PanelKind("events", EventsPanel),
    PanelKind("footer", KeysLine),
)


def make_panels(rendering: Rendering) -> dict[str, RowPanel]:
    """Make one of each."""
    return {panel.name: panel.kind(panel.name, rendering) for panel in PANELS}


def lower_panels() -> tuple[str, ...]:
    """Return the panels that take turns in the lower place."""
    return tuple(panel.name for panel in PANELS if panel.lower)
