"""Where the dashboard's panels and charts are: made once, moved as the run and the terminal ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from textual.app import ComposeResult
from textual.screen import Screen

from vlamon.analysis.contributions import assumed_weights
from vlamon.charts.chart import plot_columns
from vlamon.charts.glyphs import plain
from vlamon.charts.panels import Group, groups
from vlamon.charts.ticks import Axis
from vlamon.charts.viewport import View, Viewport
from vlamon.tui.direct import DirectRows
from vlamon.tui.layout import Arrangement, Needs, Place, arrange
from vlamon.tui.widgets.chart import Chart
from vlamon.tui.widgets.contribution import ContributionPanel
from vlamon.tui.widgets.diagnoses import DiagnosesPanel, SnapshotsPanel
from vlamon.tui.widgets.events import EventsPanel
from vlamon.tui.widgets.gpu import GpuPanel
from vlamon.tui.widgets.inspector import InspectorPanel
from vlamon.tui.widgets.keys import KeysLine
from vlamon.tui.widgets.numbers import NumbersPanel
from vlamon.tui.widgets.row_panel import RowPanel
from vlamon.tui.widgets.slots import SlotsPanel
from vlamon.tui.widgets.status_line import StatusLine
from vlamon.tui.widgets.welcome import WelcomePanel

if TYPE_CHECKING:
    from vlamon.tui.app import Dashboard

PANELS: dict[str, type[RowPanel]] = {
    "status": StatusLine,
    "welcome": WelcomePanel,
    "numbers": NumbersPanel,
    "contribution": ContributionPanel,
    "gpu": GpuPanel,
    "slots": SlotsPanel,
    "inspector": InspectorPanel,
    "diagnoses": DiagnosesPanel,
    "snapshots": SnapshotsPanel,
    "events": EventsPanel,
    "footer": KeysLine,
}


class PlacingScreen(DirectRows, Screen[None]):
    """All panels, and the charts that the run's metrics make, each at its place."""

    DEFAULT_CSS = """
    PlacingScreen { layers: base; background: $background; overflow: hidden hidden; }
    PlacingScreen Chart { position: absolute; min-height: 1; }
    """
    AUTO_FOCUS = None

    def __init__(self) -> None:
        super().__init__()
        options = self.dashboard.options
        self.feed = self.dashboard.feed
        self.store = self.feed.store
        self.viewport = Viewport(View(axis=cast(Axis, options.axis)))
        self.panels = {name: kind(name) for name, kind in PANELS.items()}
        self.charts: list[Chart] = []
        self.arrangement = Arrangement("numbers", ())
        self.pinned: list[str] = []
        self.hidden: set[str] = set()
        self.page = 0
        self.lower = ""
        self.maximised = ""
        self._made: dict[Group, Chart] = {}
        self._grouped: tuple[object, list[Group]] = ((), [])

    @property
    def dashboard(self) -> Dashboard:
        """The application, typed."""
        return cast("Dashboard", self.app)

    def compose(self) -> ComposeResult:
        """All panels but the charts, which come with the run's metrics."""
        yield from self.panels.values()

    def cursor_row(self) -> int | None:
        """Give the row under the cursor; None where there is no cursor."""
        return None

    def groups(self) -> list[Group]:
        """Give the charts that the run's metrics make."""
        metrics = self.store.metrics
        key = (metrics, len(self.store.specs), tuple(self.pinned), frozenset(self.hidden))
        if self._grouped[0] != key:
            trained = {name for name, spec in self.store.specs.items() if spec.kind == "trained"}
            self._grouped = (key, groups(metrics, trained, self.pinned, self.hidden))
        return self._grouped[1]

    def needs(self, charts: int) -> Needs:
        """Say what there is to show."""
        store = self.store
        devices = len(store.gpu.latest.devices) if store.gpu.latest is not None else 0
        weights = store.weights_at() or assumed_weights(store.metrics)
        terms = len([name for name in weights if name in store.metrics])
        gpu = self.dashboard.options.gpu
        lower = self.lower
        if not lower and self.cursor_row() is not None:
            lower = "inspector"
        elif not lower and store.rows and store.gpu.latest is None:
            lower = "diagnoses" if self.arrangement.form == "grid" else ""
        return Needs(charts, terms, devices, lower, gpu, bool(self.maximised))

    def place_panels(self) -> None:
        """Arrange panels and charts where size, metrics or choices changed."""
        found = self.groups()
        if self.maximised:
            found = [group for group in found if group.name == self.maximised] or found
        arrangement = arrange(self.size.width, self.size.height, self.needs(len(found)))
        slots = arrangement.charts
        pages = max(1, -(-len(found) // max(1, slots)))
        self.page = min(self.page, pages - 1)
        first = min(self.page * slots, max(0, len(found) - slots))
        wanted = found[first : first + slots]
        self._place_charts(arrangement, wanted)
        if arrangement == self.arrangement:
            return
        self.arrangement = arrangement
        for name, panel in self.panels.items():
            if name == "welcome":
                continue  # it takes the place of charts, and goes with them
            place = next((place for place in arrangement.places if place.name == name), None)
            _put(panel, place)

    def _place_charts(self, arrangement: Arrangement, wanted: list[Group]) -> None:
        shown: list[Chart] = []
        places = [place for place in arrangement.places if place.name.startswith("chart-")]
        for place, group in zip(places, wanted, strict=False):
            chart = self._chart(group)
            _put(chart, place)
            shown.append(chart)
        for chart in self._made.values():
            if chart not in shown:
                _put(chart, None)
        self.charts = shown
        self.viewport.lay_out(plot_columns(place.width) for place in places[: len(shown)])
        _put(self.panels["welcome"], places[0] if places and not wanted else None)

    def _chart(self, group: Group) -> Chart:
        title = self.chart_title(group)
        made = self._made.get(group)
        if made is None:
            for other in [other for other in self._made if other.name == group.name]:
                self._made.pop(other).remove()
            made = Chart(
                group.metrics,
                title,
                viewport=self.viewport,
                palette=self.dashboard.palette,
                clock=self.dashboard.monotonic,
                **self.chart_extras(group),
            )
            self._made[group] = made
            self.mount(made)
        made.picture.title = plain(title) if self.dashboard.ascii_only else title
        return made

    def chart_title(self, group: Group) -> str:
        """Name a chart, with the weight of a trained term."""
        return group.name

    def chart_extras(self, group: Group) -> dict[str, Any]:
        """Give guides and look of a new chart."""
        return {}

    def group_of(self, chart: Chart) -> Group | None:
        """Give the group that a chart draws."""
        return next((group for group, made in self._made.items() if made is chart), None)


def _put(widget: Chart | RowPanel, place: Place | None) -> None:
    """Move a widget to its place, or off the screen; costs nothing where nothing changes."""
    if place is None:
        if widget.display:
            widget.display = False
        return
    styles = widget.styles
    spot = (place.x, place.y, place.width, place.height)
    if getattr(widget, "spot", None) == spot and widget.display:
        return
    widget.spot = spot  # type: ignore[union-attr]
    styles.position = "absolute"
    styles.offset = (place.x, place.y)
    styles.width = place.width
    styles.height = place.height
    widget.display = True
