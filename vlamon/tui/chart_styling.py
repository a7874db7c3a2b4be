"""How all charts are drawn: scale, smoothing, range; the keys that change it, and the titles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from vlamon.catalogue import DEFAULT_VOCAB, entry
from vlamon.charts.cells import Guide
from vlamon.charts.chart_style import ChartStyle
from vlamon.charts.glyphs import plain
from vlamon.charts.panels import Group
from vlamon.charts.smoothing import Smoothing
from vlamon.tui.notices import Notice
from vlamon.tui.widgets.contribution import short_weight

if TYPE_CHECKING:
    from vlamon.tui.host import Host
    from vlamon.tui.widgets.chart import Chart

SMOOTHING: dict[Smoothing, str] = {
    "off": "off: means of the columns",
    "auto": "auto: about 60 points over the width",
    "strong": "strong: about 15 points over the width",
}
"""How much the lines of means are smoothed, in the order of the key, and in words."""


class ChartStyling:
    """The style that new charts get, and the keys that change it for all of them."""

    def __init__(self, host: Host, charts: Callable[[], Sequence[Chart]]) -> None:
        options, rendering = host.shell.options, host.shell.rendering
        self._host = host
        self._charts = charts
        self.look = ChartStyle(
            log=options.log,
            smooth=cast(Smoothing, options.smoothing),
            ascii_only=rendering.ascii_only,
            utc_offset=host.shell.utc_offset,
        )

    def title(self, group: Group, name: str) -> str:
        """Add the weight that its term has now to the name of a chart."""
        weight = self._host.store.weights_at().get(group.metrics[0], 1.0)
        if weight == 1.0 or len(group.metrics) > 1:
            return name
        return f"{name} ×{short_weight(weight)}"

    def guides(self, group: Group) -> tuple[Guide, ...]:
        """Return the lines that a chart is read against."""
        info = self._host.store.info
        found = guides_of(group, info.vocab if info is not None else None)
        if not self.look.ascii_only:
            return found
        return tuple(replace(guide, label=plain(guide.label)) for guide in found)

    # Keys

    def toggle_log(self) -> None:
        """Make the focused chart's y logarithmic, else all charts'."""
        focused = next((chart for chart in self._charts() if chart.has_focus), None)
        if focused is not None:
            focused.set_look(log=not focused.look.log)
            self._host.say(Notice(f"{focused.picture.title}: {_scale(focused.look.log)}", "muted"))
        else:
            self._restyle(log=not self.look.log)
            self._host.say(Notice(f"all charts: {_scale(self.look.log)}", "muted"))

    def next_smoothing(self) -> None:
        """Choose how much the lines are smoothed."""
        choices = tuple(SMOOTHING)
        smooth = choices[(choices.index(self.look.smooth) + 1) % len(choices)]
        self._restyle(smooth=smooth)
        self._host.say(Notice(f"smoothing {SMOOTHING[smooth]}", "muted"))

    def toggle_outliers(self) -> None:
        """Clip short excursions (marked), or let them set the y range."""
        self._restyle(robust=not self.look.robust)
        words = "short excursions clipped and marked" if self.look.robust else "everything fits"
        self._host.say(Notice(f"y range: {words}", "muted"))

    def _restyle(self, **changes: Any) -> None:
        self.look = replace(self.look, **changes)
        for chart in self._charts():
            chart.set_look(**changes)


def guides_of(group: Group, vocab: int | None) -> tuple[Guide, ...]:
    """Return the random-guess line of a chart, for the run's own vocabulary.

    A run that does not say how large its vocabulary is gets the line of the full model in closs
    alone, with that vocabulary in its label: a line must not claim more than is known.
    """
    known = entry(group.metrics[0], vocab or DEFAULT_VOCAB)
    if known.guess is None or known.split or known.family.startswith("acc"):
        return ()
    label = f"{known.guess_label} {known.guess:.4g}"
    if known.guess_needs_vocab:
        label = f"chance {known.guess:.4g}"
        if vocab is None:
            if known.family != "closs":
                return ()
            label = f"chance at V {DEFAULT_VOCAB:,}: {known.guess:.4g}"
    return (Guide(known.guess, "guess", label),)


def _scale(log: bool) -> str:
    return "logarithmic y" if log else "linear y"
