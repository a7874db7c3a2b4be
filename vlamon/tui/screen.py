"""The dashboard's one screen: it owns the controllers and passes keys and clicks on to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar, cast

from textual import events
from textual.actions import parse
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen, Screen
from textual.worker import get_current_worker

from vlamon.charts.ticks import Axis
from vlamon.charts.viewport import View, Viewport
from vlamon.key_bindings import KEYS, Key, keys_for
from vlamon.tui.acting import Acting
from vlamon.tui.alerts import WatchAlerts
from vlamon.tui.chart_styling import ChartStyling
from vlamon.tui.findings import Findings
from vlamon.tui.frame_context import FrameContext, run_name, takes_commands
from vlamon.tui.host import RunFeed, Shell
from vlamon.tui.navigation import Navigation
from vlamon.tui.notices import Notice, Notices
from vlamon.tui.pages import Pages
from vlamon.tui.painter import Painter
from vlamon.tui.placement import Placement
from vlamon.tui.textual_internals import DirectRows
from vlamon.tui.widgets.chart import Chart
from vlamon.tui.widgets.diagnoses import DiagnosesPanel
from vlamon.tui.widgets.events import EventsPanel
from vlamon.tui.widgets.keys import Hint, KeysLine
from vlamon.tui.widgets.row_panel import RowPanel
from vlamon.tui.widgets.status_line import newest_step, pulse_words

Result = TypeVar("Result")


def bindings(keys: tuple[Key, ...]) -> list[Binding]:
    """Bind every key to the controller's method that it names."""
    return [
        Binding(key.keys, f"perform({key.action!r})", key.words, show=False, id=key.name)
        for key in keys
    ]


class MainScreen(DirectRows, Screen[None]):
    """Everything that a person sees and does, each part in its controller.

    `placement` has the widgets, `painter` draws them, `navigation` has cursor and window, `styling`
    the charts' looks, `alerting` calls a person, `acting` commands the trainer, `findings` says
    what is wrong, `pages` opens what is read.
    """

    DEFAULT_CSS = """
    MainScreen { layers: base; background: $background; overflow: hidden hidden; }
    MainScreen Chart { position: absolute; min-height: 1; }
    """
    AUTO_FOCUS = ""
    BINDINGS = bindings(KEYS)  # type: ignore[assignment]

    def __init__(self, shell: Shell, feed: RunFeed | None = None) -> None:
        super().__init__()
        self.shell = shell
        self.feed = feed or shell.feed
        self.store = self.feed.store
        self.data_lock = self.feed.lock
        self.notices = Notices()
        viewport = Viewport(View(axis=cast(Axis, shell.options.axis)))
        self.styling = ChartStyling(self, lambda: self.placement.made)
        self.placement = Placement(self, viewport, self.styling, self.mount)
        self.navigation = Navigation(self, viewport, self.placement)
        self.painter = Painter(
            self,
            self.placement,
            self.navigation,
            self._complete,
            lambda: self.outer_size,
            lambda notice: self.notices.say(notice, shell.monotonic()),
        )
        self.alerting = WatchAlerts(self, self._reading)
        self.acting = Acting(self, self.alerting.live)
        self.findings = Findings(
            self, lambda: self.placement.arrangement.has("diagnoses"), self._reading
        )
        self.pages = Pages(self, self.placement, lambda: self.painter.frame)
        self._hints = {
            served: _hints(keys_for(not served, shell.options.keys)) for served in (False, True)
        }

    def compose(self) -> ComposeResult:
        """All panels but the charts, which come with the run's metrics."""
        yield from self.placement.panels.values()

    def on_mount(self) -> None:
        """Begin to listen to the feed."""
        self.painter.start()
        self.acting.start()
        self.call_after_refresh(self.pages.offer_runs)

    def on_screen_resume(self) -> None:
        """Show what came while another run was on screen."""
        self.repaint()

    def on_unmount(self) -> None:
        """Stop listening."""
        self.painter.stop()
        self.acting.stop()

    # What controllers and dialogs ask for

    def say(self, notice: Notice) -> None:
        """Show a notice in the status line, now."""
        self.notices.say(notice, self.shell.monotonic())
        self.repaint()

    def repaint(self) -> None:
        """Bring everything on screen up to date, now."""
        self.painter.paint(force=True)

    def show(
        self,
        dialog: ModalScreen[Result],
        then: Callable[[Result | None], None] | None = None,
    ) -> None:
        """Open a dialog and pass on what it returns."""
        self.app.push_screen(dialog, then)

    def later(self, call: Callable[[], None]) -> None:
        """Call when what runs now has ended."""
        self.app.call_later(call)

    def work(self, job: Callable[[Callable[[], bool]], Callable[[], None]], group: str) -> None:
        """Run a job on a thread, then what it returns on this one."""

        def run() -> None:
            worker = get_current_worker()
            then = job(lambda: worker.is_cancelled)
            if not worker.is_cancelled:
                self.app.call_from_thread(then)

        self.run_worker(run, thread=True, exclusive=True, group=group)

    # One frame

    def _complete(self, frame: FrameContext) -> FrameContext:
        """Have the controllers take what is new, and add what they know to the frame."""
        self.alerting.update(frame, self.painter.pulse.heartbeat.newest)
        said = self.acting.update(frame, dialog_open=len(self.app.screen_stack) > 1)
        if said is not None:
            self.notices.say(said, self.shell.monotonic())
        self.shell.set_terminal_title(self._title(frame))
        footer = self.placement.panels["footer"]
        assert isinstance(footer, KeysLine)
        footer.hints = self._hints[takes_commands(self.store) and not frame.read_only]
        notice = self.notices.current(self.shell.monotonic())
        return replace(
            frame,
            unseen=self.alerting.alerts.unseen,
            notice=notice.text,
            notice_role=notice.role,
            diagnoses=self.findings.all(),
            broken=self.alerting.broken(),
            events=self.navigation.filter,
        )

    def _reading(self) -> bool:
        return bool(self.painter.pulse.reading())

    def _title(self, frame: FrameContext) -> str:
        """Write the terminal's title: pulse, progress in whole percent, name, alerts."""
        word = pulse_words(replace(frame.alive, text=""))[1]
        if frame.alive.pulse == "silent":
            word = "SILENT"
        step, info = newest_step(frame), self.store.info
        done = ""
        if step is not None and info is not None and info.total_steps:
            done = f" {min(100, (step + 1) * 100 // info.total_steps)} %"
        unseen = self.alerting.alerts.unseen
        return f"{f'({unseen}) ' if unseen else ''}{word}{done} · {run_name(self.store)}"

    # Keys

    async def action_perform(self, action: str) -> None:
        """Run a key's action: `controller.method(arguments)`, or an action of the screen's own."""
        controller, name, arguments = parse(action)
        if controller:
            getattr(getattr(self, controller), name)(*arguments)
        else:
            await self.run_action(action)

    def action_focus_chart(self, by: int) -> None:
        """Focus the next chart on screen; where one has the whole screen, the next one has it."""
        if self.placement.maximised:
            self.placement.turn_page(by)
        elif by > 0:
            self.focus_next(Chart)
        else:
            self.focus_previous(Chart)

    def action_palette(self) -> None:
        """Open the command palette."""
        self.app.action_command_palette()

    def action_picture(self) -> None:
        """Save the screen as SVG."""
        from vlamon.tui.export import new_path, save_screen

        name = run_name(self.store)
        path = new_path(self.shell.folder, name, "svg", self.shell.clock())
        svg = self.app.export_screenshot(title=f"vlamon: {name}")
        self.say(save_screen(svg, path))
        self.shell.hand_over(path)

    def action_leave(self) -> None:
        """Quit; the training continues."""
        self.app.exit(0)

    # Mouse and messages

    async def on_click(self, event: events.Click) -> None:
        """Run the clicked hint, or go to the clicked event."""
        panel, frame = event.widget, self.painter.frame
        if isinstance(panel, KeysLine):
            action = panel.action_at(event.x)
            if action:
                await self.action_perform(action)
        elif isinstance(panel, EventsPanel) and frame is not None:
            with self.data_lock:
                chosen = panel.event_at(frame, event.y)
                if chosen is not None:
                    self.navigation.choose_event(chosen.id)
        elif isinstance(panel, DiagnosesPanel):
            self.findings.show_page()

    def on_resize(self) -> None:
        """Arrange the panels for the new size."""
        self.repaint()

    def repaint_all(self) -> None:
        """Paint everything again after the palette changed."""
        self.painter.repaint_all()

    def on_chart_stale(self, message: Chart.Stale) -> None:
        """Draw a chart that changed its size or focus."""
        with self.data_lock:
            self.painter.draw_chart(message.chart)

    def on_chart_moved(self) -> None:
        """Draw everything that the mouse moved."""
        self.repaint()

    def on_chart_pointed(self, message: Chart.Pointed) -> None:
        """Put the cursor where the mouse was clicked."""
        self.navigation.point(message.chart, message.position)

    def on_row_panel_stale(self, message: RowPanel.Stale) -> None:
        """Draw a panel that changed its size."""
        if self.painter.frame is not None:
            with self.data_lock:
                message.panel.draw(self.painter.frame)


def _hints(keys: Sequence[Key]) -> list[Hint]:
    """Return the footer's hints, the most important first."""
    keys = sorted((key for key in keys if key.footer), key=lambda key: key.footer)
    return [Hint(key.label.replace("→", "←→"), key.words, key.action) for key in keys]
