"""Where the dashboard's panels and charts are: made once, moved as the run and the terminal ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from vlamon.analysis.contributions import assumed_weights
from vlamon.charts.chart import plot_columns
from vlamon.charts.glyphs import plain
from vlamon.charts.panels import Group, groups
from vlamon.charts.rows import shorten_name, shorten_names
from vlamon.charts.track import AxisData
from vlamon.tui.event_list import fold
from vlamon.tui.headline import headline
from vlamon.tui.layout import Arrangement, ContentNeeds, PanelRect, arrange, is_below, side_width
from vlamon.tui.notices import Notice
from vlamon.tui.options import Options
from vlamon.tui.panels import lower_panels, make_panels
from vlamon.tui.widgets.chart import Chart
from vlamon.tui.widgets.diagnoses import diagnoses_rows

if TYPE_CHECKING:
    from textual.widget import Widget

    from vlamon.charts.viewport import Viewport
    from vlamon.store import RunStore
    from vlamon.tui.chart_styling import ChartStyling
    from vlamon.tui.frame_context import FrameContext
    from vlamon.tui.host import Host
    from vlamon.tui.widgets.row_panel import RowPanel


SIDE_GROWS = 4
"""Rows by which the diagnoses of the side panel grow."""
RECENT = 64
"""Batches whose values are counted: some are logged with every fiftieth alone."""
BESIDE_NAME = 22
"""Cells of a chart's title that its first value, its weight and the corners take."""


class Placement:
    """All panels, and the charts that the run's metrics make, each at its place."""

    def __init__(
        self,
        host: Host,
        viewport: Viewport,
        styling: ChartStyling,
        mount: Callable[[Widget], object],
    ) -> None:
        self.panels = make_panels(host.shell.rendering)
        self.charts: list[Chart] = []
        """The charts on screen, in reading order."""
        self.arrangement = Arrangement("numbers", ())
        self.pinned = list(host.shell.options.pinned)
        self.hidden = set(host.shell.options.hidden)
        self.page = 0
        self.lower = _first_lower_panel(host.shell.options)
        """Panel that was chosen for the lower place; empty for the usual one."""
        self.maximised = ""
        """Name of the chart that has the whole screen; empty for none."""
        self._host = host
        self._viewport = viewport
        self._axis_data = AxisData()
        self._styling = styling
        self._mount = mount
        self._made: dict[Group, Chart] = {}
        self._grouped: tuple[object, list[Group]] = ((), [])
        self._folded: tuple[object, int] = ((), 0)
        self._logged: tuple[object, int] = ((), 0)
        """Values of the newest batches, and when they were counted."""
        self._wrapped: tuple[object, int] = ((), 0)
        """Rows of the diagnoses, and what they were wrapped for."""
        self._placed: tuple[object, ...] = ()
        """What the present arrangement was made for: most frames change nothing of it."""
        self._weights: Mapping[str, float] = {}
        """Those that the titles tell."""

    @property
    def made(self) -> list[Chart]:
        """Every chart that was made, on screen or not."""
        return list(self._made.values())

    def leading_chart(self) -> Chart | None:
        """Return the focused chart, else the first one that was drawn."""
        for chart in self.charts:
            if chart.has_focus:
                return chart
        return next((chart for chart in self.charts if chart.shown is not None), None)

    def groups(self) -> list[Group]:
        """Return the charts that the run's metrics make."""
        store = self._host.store
        metrics = store.metrics
        key = (metrics, len(store.specs), tuple(self.pinned), frozenset(self.hidden))
        if self._grouped[0] != key:
            trained = {name for name, spec in store.specs.items() if spec.kind == "trained"}
            self._grouped = (key, groups(metrics, trained, self.pinned, self.hidden))
        return self._grouped[1]

    def place(self, width: int, height: int, frame: FrameContext) -> None:
        """Arrange panels and charts where size, metrics or choices changed."""
        found = self.groups()
        if self.maximised:
            found = [group for group in found if group.name == self.maximised] or found
        needs = self._needs(len(found), width, frame)
        weights = self._host.store.weights_at()
        if (width, height, needs, self.page, found) == self._placed:
            if weights is not self._weights:
                self._retitle()
                self._weights = weights
            return
        arrangement = arrange(width, height, needs)
        slots = arrangement.charts
        pages = max(1, -(-len(found) // max(1, slots)))
        self.page = min(self.page, pages - 1)
        first = min(self.page * slots, max(0, len(found) - slots))
        wanted = found[first : first + slots]
        self._place_charts(arrangement, wanted)
        self._placed, self._weights = (width, height, needs, self.page, found), weights
        if arrangement == self.arrangement:
            return
        self.arrangement = arrangement
        for name, panel in self.panels.items():
            if name == "welcome":
                continue  # it takes the place of charts, and goes with them
            place = next((place for place in arrangement.places if place.name == name), None)
            _put(panel, place)

    def _needs(self, charts: int, width: int, frame: FrameContext) -> ContentNeeds:
        store = self._host.store
        weights = store.weights_at() or assumed_weights(store.metrics)
        terms = len([name for name in weights if name in store.metrics])
        sample = store.gpu.latest if self._host.shell.options.gpu else None
        devices = len(sample.devices) if sample is not None else 0
        lines = headline(frame.broken, frame.deadline, width, frame.glyphs) if frame.broken else ()
        values, findings = self._side_rows(width, frame)
        return ContentNeeds(
            charts,
            terms,
            self.lower,
            frame.at_cursor,
            gpu=sample is not None,
            maximised=bool(self.maximised),
            headline=len(lines),
            events=self._event_lines(frame),
            devices=devices,
            values=values,
            findings=findings,
        )

    def _side_rows(self, width: int, frame: FrameContext) -> tuple[int, int]:
        """Return the rows that the side panel's two panels would fill: about, so that one line
        more or less moves nothing."""
        side = side_width(width)
        if not side:
            return 0, 0
        status = frame.store.status
        key = (side, frame.diagnoses, None if status is None else len(status.snapshots))
        if self._wrapped[0] != key:
            lines = diagnoses_rows(frame, side)
            self._wrapped = (key, 2 + -(-lines // SIDE_GROWS) * SIDE_GROWS)
        head = 5  # frame, epoch and attempt, what happened there
        return self._values(frame.store) + head, self._wrapped[1]

    def _values(self, store: RunStore) -> int:
        """Return how many metrics the newest batches have values of: averages of epochs are not
        among them."""
        key = (len(store.metrics), store.rows // RECENT)
        if self._logged[0] != key:
            first = max(0, store.rows - RECENT)
            held = (store.present(name, first, store.rows).any() for name in store.metrics)
            self._logged = (key, sum(map(bool, held)))
        return self._logged[1]

    def _event_lines(self, frame: FrameContext) -> int:
        key = (len(frame.store.events), frame.events)
        if self._folded[0] != key:
            self._folded = (key, len(fold(frame.store.events, frame.events)))
        return self._folded[1]

    def _place_charts(self, arrangement: Arrangement, wanted: list[Group]) -> None:
        shown: list[Chart] = []
        places = [place for place in arrangement.places if place.name.startswith("chart-")]
        for place, group in zip(places, wanted, strict=False):
            chart = self._chart(group, place.width)
            _put(chart, place)
            below = any(is_below(other, place) for other in places[: len(wanted)])
            if chart.look.marks == below:
                chart.set_look(marks=not below)
            shown.append(chart)
        for chart in self._made.values():
            if chart not in shown:
                _put(chart, None)
        self.charts = shown
        self._viewport.lay_out(plot_columns(place.width) for place in places[: len(shown)])
        _put(self.panels["welcome"], places[0] if places and not wanted else None)

    def _chart(self, group: Group, width: int) -> Chart:
        shell = self._host.shell
        made = self._made.get(group)
        if made is None:
            for other in [other for other in self._made if other.name == group.name]:
                self._made.pop(other).remove()
            made = Chart(
                group.metrics,
                self._title(group, width),
                viewport=self._viewport,
                axis_data=self._axis_data,
                palette=shell.rendering.palette,
                look=self._styling.look,
                guides=self._styling.guides(group),
                rules=shell.options.rules,
            )
            self._made[group] = made
            self._mount(made)
        made.picture.title = self._title(group, width)
        return made

    def _title(self, group: Group, width: int) -> str:
        """Name a chart of this width; where names that are cut would be alike, by what differs."""
        rendering = self._host.shell.rendering
        room = max(8, width - BESIDE_NAME)
        names = tuple(one.name for one in self.groups())
        short = shorten_names(names, room, rendering.glyphs.ellipsis)[group.name]
        alike = short != shorten_name(group.name, room, rendering.glyphs.ellipsis)
        title = self._styling.title(group, short if alike else group.name)
        return plain(title) if rendering.ascii_only else title

    def _retitle(self) -> None:
        """Give the charts their titles with the weights of now."""
        for group, chart in self._made.items():
            chart.picture.title = self._title(group, chart.size.width)

    # Keys

    def maximise(self) -> None:
        """Give the leading chart the whole screen, or give it back."""
        chart = self.leading_chart()
        group = next((group for group, made in self._made.items() if made is chart), None)
        self.show_alone("" if self.maximised or group is None else group.name)

    def show_alone(self, name: str) -> None:
        """Give a chart the whole screen by its name."""
        self.maximised = name
        self._host.repaint()

    def turn_page(self, by: int) -> None:
        """Show the charts that come next; the next one alone where one has the whole screen."""
        if self.maximised:
            names = [group.name for group in self.groups()]
            at = names.index(self.maximised) if self.maximised in names else 0
            self.show_alone(names[(at + by) % len(names)])
            return
        slots = max(1, self.arrangement.charts)
        pages = max(1, -(-len(self.groups()) // slots))
        self.page = (self.page + by) % pages
        if pages > 1:
            self._host.repaint()
        else:
            self._host.say(Notice("all charts are on screen", "muted"))

    def paging(self) -> str:
        """Say which charts of how many are on screen; empty where all are."""
        found = self.groups()
        if not self.charts or len(self.charts) >= len(found):
            return ""
        at = (at for at, group in enumerate(found) if self._made.get(group) in self.charts)
        first = 1 + next(at, 0)
        last = first + len(self.charts) - 1
        span = f"chart {first}" if last == first else f"charts {first}–{last}"
        return f"{span} of {len(found)}"

    def next_lower_panel(self) -> None:
        """Show the next panel below the charts."""
        choices = ("", *lower_panels())
        if not self._host.shell.options.gpu:
            choices = tuple(name for name in choices if name != "gpu")
        now = choices.index(self.lower) if self.lower in choices else 0
        self.lower = choices[(now + 1) % len(choices)]
        self._host.repaint()


def _first_lower_panel(options: Options) -> str:
    """The panel that the settings ask for, where it is to be had."""
    if options.panel not in lower_panels() or (options.panel == "gpu" and not options.gpu):
        return ""
    return options.panel


def _put(widget: Chart | RowPanel, place: PanelRect | None) -> None:
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
