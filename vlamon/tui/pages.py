"""Pages to read, lists to choose from, and files to save: what keys open that gives no command."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vlamon.tui.frame_context import run_name
from vlamon.tui.notices import Notice

if TYPE_CHECKING:
    from vlamon.tui.frame_context import FrameContext
    from vlamon.tui.host import Host
    from vlamon.tui.placement import Placement


class Pages:
    """Opens dialogs that only read; their modules are imported when they are opened."""

    def __init__(
        self, host: Host, placement: Placement, frame: Callable[[], FrameContext | None]
    ) -> None:
        self._host = host
        self._placement = placement
        self._frame = frame

    def show_help(self) -> None:
        """Show every key."""
        from vlamon.tui.dialogs.help import help_page

        self._host.show(help_page(self._host))

    def explain(self) -> None:
        """Explain the leading chart's metric."""
        from vlamon.tui.dialogs.explanation import explanation_page

        chart = self._placement.leading_chart()
        name = chart.picture.metrics[0] if chart is not None else "closs"
        self._host.show(explanation_page(self._host, name))

    def show_batch(self) -> None:
        """Show the cursor's batch, or the newest, in full."""
        from vlamon.tui.dialogs.batch import batch_page

        frame = self._frame()
        if frame is None or frame.row is None:
            self._host.say(Notice("no batch yet", "muted"))
            return
        with self._host.data_lock:
            page = batch_page(self._host, frame.row)
        self._host.show(page)

    def find_metrics(self) -> None:
        """Find, pin and hide metrics."""
        from vlamon.tui.dialogs.metrics import metrics_dialog

        self._host.show(metrics_dialog(self._host, self._placement), lambda _: self._host.repaint())

    def show_runs(self) -> None:
        """Choose one of the runs that are watched."""
        from vlamon.tui.dialogs.runs import runs_dialog

        def chosen(key: str | None) -> None:
            if key is not None:
                self._host.shell.open_run(int(key))

        if len(self._host.shell.feeds) < 2:
            self._host.say(Notice("this is the only run: name more, as in `vlamon watch A B`"))
            return
        self._host.show(runs_dialog(self._host), chosen)

    def offer_runs(self) -> None:
        """Show the runs at the start, where there are several."""
        if len(self._host.shell.feeds) > 1 and not self._host.shell.chosen:
            self.show_runs()

    def choose_theme(self) -> None:
        """Choose a theme, previewed live."""
        from vlamon.tui.dialogs.theme_choice import theme_dialog

        shell = self._host.shell
        before = shell.rendering.palette.theme.name

        def chosen(name: str | None) -> None:
            if name is None:
                shell.choose_theme(before)
            else:
                self.keep_theme(name)

        self._host.show(theme_dialog(self._host), chosen)

    def keep_theme(self, name: str) -> None:
        """Use a theme from now on, and say where it cannot be remembered."""
        problem = self._host.shell.keep_theme(name)
        if problem:
            self._host.say(Notice(f"theme {name}, for this time only: {problem}", "warn"))
        self._host.repaint()

    def export(self) -> None:
        """Save the batches as CSV, on a thread: a long run takes seconds."""
        self._host.say(Notice("writing the run as CSV", "accent"))
        self._host.work(self._export, "export")

    def _export(self, cancelled: Callable[[], bool]) -> Callable[[], None]:
        from vlamon.tui.export import new_path, save_rows

        shell, store = self._host.shell, self._host.store
        path = new_path(shell.folder, run_name(store), "csv", shell.clock())
        said = save_rows(store, self._host.data_lock, path, cancelled)

        def saved() -> None:
            self._host.say(said)
            shell.hand_over(path)

        return saved
