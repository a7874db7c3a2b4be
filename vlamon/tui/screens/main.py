"""The dashboard's screen: what is new calls, orders and answers; keys open the dialogs."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from textual import events
from textual.binding import Binding
from textual.worker import get_current_worker

from vlamon.analysis.liveness import Alive
from vlamon.charts.marks import came_about
from vlamon.charts.numbers import count
from vlamon.records import Event, Record
from vlamon.tui.alerts import Alerts
from vlamon.tui.bindings import KEYS, keys_for
from vlamon.tui.frame_context import Moment, seconds_left
from vlamon.tui.orders import Notice, Orders
from vlamon.tui.screens.diagnosing import DiagnosingScreen
from vlamon.tui.widgets.diagnoses import DiagnosesPanel
from vlamon.tui.widgets.events import EventsPanel, sentence
from vlamon.tui.widgets.keys import Hint, KeysLine
from vlamon.tui.widgets.status_line import newest_step, pulse_words

if TYPE_CHECKING:
    from vlamon.detect.auto_rollback import WantedRollback
    from vlamon.tui.dialogs.choice import Choice

SETTLES = ("rollback", "recovered", "resumed")
"""Events after which an explosion needs no answer any more."""


class MainScreen(DiagnosingScreen):
    """Everything that a person sees and does."""

    BINDINGS = [Binding(key.keys, key.action, key.words, show=False) for key in KEYS]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        options = self.dashboard.options
        self.orders = Orders(self.feed, options.read_only)
        self.alerts = Alerts()
        self._was_live = False
        self._alarmed = False
        self._asked: set[str] = set()
        self._live: set[str] = set()
        """Ids of the explosions that happened while one watched."""
        self._dialog: Choice | None = None
        self._wanted: deque[WantedRollback] = deque()
        self._asking = False
        self._opened = self.dashboard.monotonic()
        self._hints = {
            served: [
                Hint(key.label.replace("→", "←→"), key.words, key.action)
                for key in sorted(keys_for(not served), key=lambda key: key.footer)
                if key.footer
            ]
            for served in (False, True)
        }

    # What is new

    def react(self, moment: Moment) -> None:
        """Hear events and replies; alert, order and ask where that is due."""
        now = self.dashboard.monotonic()
        fresh = self.alerts.hear(
            self.store.events, self._heart.newest, moment.now, self._caught_up(moment)
        )
        for event in fresh:
            if event.kind in ("explode", "trainer_error"):
                self._live.add(event.id)
                self.dashboard.alert(self._run_name(), f"{event.kind}: {sentence(event)}")
        while self._wanted:
            self.say(self._roll_back(self._wanted.popleft(), now))
        heard = self.orders.hear(self.store.replies, now)
        if heard is not None:
            self.say(heard)
        self._watch_pulse(moment.alive)
        self._ask(moment)
        self._keep_dialog(moment)
        self.dashboard.set_terminal_title(self._title(moment))

    def on_mount(self) -> None:
        """Listen to what the automatic rollback has to say, where it was asked for."""
        super().on_mount()
        if self.dashboard.options.auto_rollback:
            from vlamon.detect.auto_rollback import AutoRollback

            monitor = AutoRollback()

            def hear(records: Sequence[Record]) -> None:
                """Run on the feed's thread, in the order of the records."""
                for record in records:
                    wanted = monitor.hear(record)
                    if wanted is not None:
                        self._wanted.append(wanted)

            self.feed.on_records = hear

    def on_unmount(self) -> None:
        """Stop listening."""
        super().on_unmount()
        self.feed.on_records = None

    def _roll_back(self, wanted: WantedRollback, now: float) -> Notice:
        """Order a rollback for an explosion; the order carries its id, so it is done once."""
        if not self._served():
            return Notice(f"{wanted.text}: this run takes no orders, nothing rolled back", "warn")
        return self.orders.give("rollback", now, event=wanted.event)

    def _caught_up(self, moment: Moment) -> bool:
        """Say whether what arrives now is news: the link lives and history has been read."""
        if moment.alive.pulse in ("waiting", "replay", "reconnecting", "failed", "ended"):
            return False
        if self.store.status is None:
            return self.dashboard.monotonic() - self._opened > 1.0
        return not self.reading()

    def _watch_pulse(self, alive: Alive) -> None:
        """Alert once when a run that was seen alive falls silent or its source fails."""
        if alive.pulse == "live":
            self._was_live, self._alarmed = True, False
        elif alive.alarming and self._was_live and not self._alarmed:
            self._alarmed = True
            self.alerts.unseen += 1
            self.dashboard.alert(self._run_name(), pulse_words(alive)[1])

    def _ask(self, moment: Moment) -> None:
        """Open the rollback dialog when the guard waits for a person, once an explosion."""
        if moment.deadline is None or moment.read_only or not self._served():
            return
        status = self.store.status
        key = f"{status.deadline}" if status is not None else ""
        if key in self._asked or len(self.app.screen_stack) > 1:
            return
        self._asked.add(key)
        self._asking = True
        self.app.call_later(self.action_rollback)

    def _keep_dialog(self, moment: Moment) -> None:
        """Count down in the open rollback dialog; close it when the guard no longer asks."""
        dialog = self._dialog
        if dialog is None or not dialog.is_current:
            return
        if self._asking and moment.deadline is None:
            self._asking = False
            dialog.dismiss(None)
        elif dialog.is_mounted:
            dialog.update()

    def retouch(self, moment: Moment) -> Moment:
        """Add notice, alerts and findings; the footer has orders only where they are taken."""
        notice = self.current_notice()
        footer = self.panels["footer"]
        assert isinstance(footer, KeysLine)
        footer.hints = self._hints[self._served() and not moment.read_only]
        return replace(
            moment,
            unseen=self.alerts.unseen,
            notice=notice.text,
            notice_role=notice.role,
            diagnoses=self.findings(),
        )

    def _title(self, moment: Moment) -> str:
        """Write the terminal's title: pulse, progress in whole percent, name, alerts."""
        word = pulse_words(replace(moment.alive, text=""))[1]
        if moment.alive.pulse == "silent":
            word = "SILENT"
        step, info = newest_step(moment), self.store.info
        done = ""
        if step is not None and info is not None and info.total_steps:
            done = f" {step * 100 // info.total_steps} %"
        alerts = f"({self.alerts.unseen}) " if self.alerts.unseen else ""
        return f"{alerts}{word}{done} · {self._run_name()}"

    def _run_name(self) -> str:
        info = self.store.info
        return info.name if info is not None and info.name else "vlamon"

    def _served(self) -> bool:
        info = self.store.info
        return info is not None and info.control

    # Acting

    def may_order(self) -> bool:
        """Say whether orders can be given; where not, tell why: no key does nothing silently."""
        if self.dashboard.options.read_only:
            self.say(Notice("read-only: this dashboard gives no orders", "warn"))
        elif not self._served():
            self.say(Notice("this run takes no orders", "warn"))
        else:
            return True
        self.paint(force=True)
        return False

    def order(self, name: str, /, **args: object) -> None:
        """Give an order and say so."""
        if self.may_order():
            self._told(self.orders.give(name, self.dashboard.monotonic(), **args))

    def action_checkpoint(self) -> None:
        """Order a checkpoint."""
        self.order("checkpoint")

    def action_pause(self) -> None:
        """Order a pause, or to go on."""
        status = self.store.status
        self.order("resume" if status is not None and status.state == "paused" else "pause")

    def action_rollback(self) -> None:
        """Open the dialog with the snapshots."""
        if not self.may_order():
            return
        from vlamon.tui.dialogs.rollback import rollback_dialog

        event = self._asked_about()

        def chosen(answer: str | None) -> None:
            self._dialog, self._asking = None, False
            if answer == "resume":
                self.order("resume")
            elif answer is not None:
                args: dict[str, object] = {}
                if answer != "newest":
                    args = {"to": int(answer), "exact": True}
                if event is not None:
                    args["event"] = event.id
                self.order("rollback", **args)

        self._dialog = rollback_dialog(self, event)
        self._dialog.takes_typed_ahead = not self._asking
        self.app.push_screen(self._dialog, chosen)

    def _asked_about(self) -> Event | None:
        """Give the explosion that a rollback answers: the newest one, while it is unsettled."""
        for event in reversed(self.store.events):
            if event.kind in SETTLES and came_about(event):
                return None
            if event.kind == "explode":
                waited = seconds_left(self.store.status, self.clock()) is not None
                return event if waited or event.id in self._live else None
        return None

    def action_note(self) -> None:
        """Ask for a note and send it."""
        if not self.may_order():
            return
        from vlamon.tui.dialogs.prompt import Prompt

        def typed(text: str | None) -> None:
            if text:
                self.order("note", text=text)

        status = self.store.status
        at = f" at step {count(status.step)}" if status is not None else ""
        lines = ("Everyone who watches sees it; it stays in the journal.",)
        check = lambda text: "" if text else "a note needs a text"  # noqa: E731
        self.app.push_screen(Prompt(f"note{at}", lines, check), typed)

    def action_set(self) -> None:
        """Ask for a name and a value and send them."""
        if not self.may_order():
            return
        from vlamon.tui.dialogs.prompt import Prompt
        from vlamon.tui.settings import parse_setting, settable, what_is_wrong

        names = settable(self.store)

        def typed(text: str | None) -> None:
            if text:
                name, value = parse_setting(text)
                self.order("set", name=name, value=value)

        lines = ("name value, such as: loss_ct 5", f"names: {', '.join(names)}")
        prompt = Prompt("set", lines, lambda text: what_is_wrong(text, names))
        self.app.push_screen(prompt, typed)

    def action_acknowledge(self) -> None:
        """Take the alerts as seen."""
        seen = self.alerts.acknowledge()
        words = f"{seen} alert{'s' * (seen != 1)} acknowledged" if seen else "no alerts"
        self._told(Notice(words, "muted"))

    # Dialogs and files

    def action_help(self) -> None:
        """Show every key."""
        from vlamon.tui.dialogs.help import help_page

        self.app.push_screen(help_page(self.dashboard))

    def action_explain(self) -> None:
        """Explain the leading chart's metric."""
        from vlamon.tui.dialogs.explanation import explanation_page

        chart = self.leading_chart()
        name = chart.picture.metrics[0] if chart is not None else "closs"
        self.app.push_screen(explanation_page(name, self.store))

    def action_values(self) -> None:
        """Show the cursor's batch, or the newest, in full."""
        from vlamon.tui.dialogs.batch import batch_page

        if self.moment is None or self.moment.row is None:
            self._told(Notice("no batch yet", "muted"))
            return
        with self.feed.lock:
            page = batch_page(self.store, self.moment.row, self.moment.glyphs)
        self.app.push_screen(page)

    def action_metrics(self) -> None:
        """Find, pin and hide metrics."""
        from vlamon.tui.dialogs.metrics import metrics_dialog

        self.app.push_screen(metrics_dialog(self), lambda _: self.paint(force=True))

    def action_themes(self) -> None:
        """Choose a theme, previewed live."""
        from vlamon.tui.dialogs.theme_choice import theme_dialog

        before = self.dashboard.palette.theme.name

        def chosen(name: str | None) -> None:
            if name is None:
                self.dashboard.choose_theme(before)
            else:
                self.keep_theme(name)

        self.app.push_screen(theme_dialog(self.dashboard), chosen)

    def action_palette(self) -> None:
        """Open the command palette."""
        self.app.action_command_palette()

    def action_snapshot(self) -> None:
        """Save the screen as SVG."""
        from vlamon.tui.export import save_screen

        self._told(save_screen(self.dashboard, self._run_name()))

    def action_export(self) -> None:
        """Save the batches as CSV, on a thread: a long run takes seconds."""
        self._told(Notice("writing the run as CSV", "accent"))
        self.run_worker(self._export, thread=True, exclusive=True, group="export")

    def _export(self) -> None:
        from vlamon.tui.export import save_rows

        worker = get_current_worker()
        said = save_rows(self.store, self.feed.lock, self._run_name(), lambda: worker.is_cancelled)
        self.app.call_from_thread(self._told, said)

    def _told(self, said: Notice) -> None:
        self.say(said)
        self.paint(force=True)

    def action_leave(self) -> None:
        """Leave; the training goes on."""
        self.app.exit(0)

    # Mouse

    async def on_click(self, event: events.Click) -> None:
        """Run the clicked hint, or jump to the clicked event."""
        panel = event.widget
        if isinstance(panel, KeysLine):
            action = panel.action_at(event.x)
            if action:
                await self.run_action(action)
        elif isinstance(panel, EventsPanel) and self.moment is not None:
            with self.feed.lock:
                chosen = panel.event_at(self.moment, event.y)
                if chosen is not None:
                    self.choose_event(chosen.id)
        elif isinstance(panel, DiagnosesPanel):
            self.action_diagnoses()
