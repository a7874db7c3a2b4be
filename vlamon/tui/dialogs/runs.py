"""The runs that are watched, to choose from: they live on in the list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlamon.tui.dialogs.choice import Choice, Choosing, Item
from vlamon.tui.pulse import Pulse
from vlamon.tui.runs import run_row

if TYPE_CHECKING:
    from vlamon.tui.host import Host


class RunsChoice(Choice):
    """A list that is written again each second."""

    WIDTH = 116

    def on_mount(self) -> None:
        """Paint, and go on painting."""
        super().on_mount()
        self.set_interval(1.0, self.update)


def runs_dialog(host: Host) -> RunsChoice:
    """List the runs with their states; Enter opens one."""
    shell = host.shell
    pulses = [Pulse(feed.store) for feed in shell.feeds]

    def items(_: str) -> Sequence[Item]:
        found = []
        for number, (feed, pulse) in enumerate(zip(shell.feeds, pulses, strict=True)):
            with feed.lock:
                alive = pulse.judge(shell.monotonic(), shell.clock())
                row = run_row(feed.store, alive, shell.rendering.glyphs)
            found.append(Item(str(number), row))
        return found

    choosing = Choosing("runs", items, "Enter opens, Esc cancels, R comes back here")
    return RunsChoice(host, choosing, str(shell.feeds.index(host.feed)))
