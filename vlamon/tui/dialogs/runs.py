"""The runs that are watched, to choose from: they live on in the list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlamon.charts.cells import BASELINE
from vlamon.charts.rows import Row
from vlamon.tui.dialogs.choice import Choice, Choosing, Item
from vlamon.tui.pulse import Pulse
from vlamon.tui.runs import labels, run_row

if TYPE_CHECKING:
    from vlamon.tui.host import Host


class RunsChoice(Choice):
    """A list that is written again each second."""

    WIDTH = 116
    BINDINGS = [("space", "second", "under the charts")]  # noqa: RUF012

    def on_mount(self) -> None:
        """Paint, and go on painting."""
        super().on_mount()
        self.set_interval(1.0, self.update)


def runs_dialog(host: Host) -> RunsChoice:
    """List the runs with their states; Enter opens one, Space lays one under the charts."""
    shell = host.shell
    pulses = [Pulse(feed.store) for feed in shell.feeds]

    def items(_: str) -> Sequence[Item]:
        found = []
        named = labels(shell.feeds)
        for number, (feed, pulse) in enumerate(zip(shell.feeds, pulses, strict=True)):
            with feed.lock:
                alive = pulse.judge(shell.monotonic(), shell.clock())
                under = feed is shell.baseline
                row = run_row(named[number], feed.store, alive, shell.rendering.glyphs, under)
            found.append(Item(str(number), row))
        return found

    def lay_under(key: str) -> None:
        shell.lay_under(int(key))
        host.repaint()

    def below() -> Sequence[Row]:
        if shell.baseline is None:
            said: Row = (
                (" Space lays a run under the charts of the others, with the Δ of means", "muted"),
            )
        else:
            name = labels(shell.feeds)[shell.feeds.index(shell.baseline)]
            said = ((" Δ ", BASELINE), (f"{name} lies under the charts of the others", "muted"))
        return (), said

    choosing = Choosing(
        "runs",
        items,
        "Enter opens, Space: Δ, Esc cancels, R comes back here",
        below=below,
        on_tab=lay_under,
    )
    return RunsChoice(host, choosing, str(shell.feeds.index(host.feed)))
