"""Commands to the training process: the keys that give them, and the dialogs that ask first."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from vlamon.charts.marks import came_about
from vlamon.charts.numbers import count
from vlamon.tui.frame_context import has_ended, seconds_left, takes_commands
from vlamon.tui.headline import SETTLES
from vlamon.tui.notices import Notice
from vlamon.tui.pending_commands import PendingCommands

if TYPE_CHECKING:
    from vlamon.detect.auto_rollback import RollbackRequest
    from vlamon.records import Event, Record
    from vlamon.tui.dialogs.choice import Choice
    from vlamon.tui.frame_context import FrameContext
    from vlamon.tui.host import Host


class Acting:
    """Sends commands and follows them; asks where the guard waits for a person."""

    def __init__(self, host: Host, live: Collection[str]) -> None:
        self._host = host
        self._live = live
        """Ids of the explosions that happened while one watched."""
        self._pending = PendingCommands(host.feed)
        self._asked: set[str] = set()
        self._dialog: Choice | None = None
        self._requested: deque[RollbackRequest] = deque()
        self._asking = False

    def start(self) -> None:
        """Listen for explosions to answer, where `--auto-rollback` is on."""
        if not self._host.shell.options.auto_rollback:
            return
        from vlamon.detect.auto_rollback import AutoRollback

        monitor = AutoRollback(self._host.shell.options.rules)

        def observe(records: Sequence[Record]) -> None:
            """Run on the feed's thread, in the order of the records."""
            for record in records:
                request = monitor.observe(record)
                if request is not None:
                    self._requested.append(request)

        self._host.feed.on_records = observe

    def stop(self) -> None:
        """Stop listening."""
        self._host.feed.on_records = None

    # What is new

    def update(self, frame: FrameContext, *, dialog_open: bool) -> Notice | None:
        """Read replies, answer explosions, ask; return what there is to say."""
        now = self._host.shell.monotonic()
        said = None
        while self._requested:
            said = self._roll_back(self._requested.popleft(), now)
        said = self._pending.take_replies(self._host.store.replies, now) or said
        if not dialog_open:
            self._ask(frame)
        self._keep_dialog(frame)
        return said

    def _roll_back(self, request: RollbackRequest, now: float) -> Notice:
        """Send a rollback for an explosion; it carries the explosion's id, so it is done once."""
        if not takes_commands(self._host.store):
            text = f"{request.text}: this run takes no commands, nothing rolled back"
            return Notice(text, "warn")
        return self._pending.send("rollback", now, event=request.event)

    def _ask(self, frame: FrameContext) -> None:
        """Open the rollback dialog when the guard waits for a person, once an explosion."""
        store = self._host.store
        if frame.deadline is None or frame.read_only or not takes_commands(store):
            return
        key = f"{store.status.deadline}" if store.status is not None else ""
        if key not in self._asked:
            self._asked.add(key)
            self._asking = True
            self._host.later(self.choose_rollback)

    def _keep_dialog(self, frame: FrameContext) -> None:
        """Count down in the open rollback dialog; close it when the guard no longer asks."""
        dialog = self._dialog
        if dialog is None or not dialog.is_mounted or not dialog.is_current:
            return
        if self._asking and frame.deadline is None:
            self._asking = False
            dialog.dismiss(None)
        else:
            dialog.update()

    # Keys

    def refusal(self) -> str:
        """Say why no command can be given, empty where one can."""
        if self._host.shell.options.read_only:
            return "read-only: this dashboard gives no commands"
        if has_ended(self._host.store):
            return "this run has ended: it takes no commands any more"
        if not takes_commands(self._host.store):
            return "this run takes no commands"
        return ""

    def send(self, name: str, /, **args: object) -> None:
        """Send a command and say so; where none can be given, say why: no key does nothing."""
        refusal = self.refusal()
        if refusal:
            self._host.say(Notice(refusal, "warn"))
        else:
            self._host.say(self._pending.send(name, self._host.shell.monotonic(), **args))

    def pause(self) -> None:
        """Pause the training, or resume it."""
        status = self._host.store.status
        self.send("resume" if status is not None and status.state == "paused" else "pause")

    def choose_rollback(self) -> None:
        """Open the dialog with the snapshots."""
        refusal = self.refusal()
        if refusal:
            self._host.say(Notice(refusal, "warn"))
            return
        from vlamon.tui.dialogs.rollback import rollback_dialog

        event = self._asked_about()

        def chosen(answer: str | None) -> None:
            self._dialog, self._asking = None, False
            if answer == "resume":
                self.send("resume")
            elif answer is not None:
                args: dict[str, object] = {}
                if answer != "newest":
                    args = {"to": int(answer), "exact": True}
                if event is not None:
                    args["event"] = event.id
                self.send("rollback", **args)

        self._dialog = rollback_dialog(self._host, event)
        self._dialog.takes_typed_ahead = not self._asking
        self._host.show(self._dialog, chosen)

    def _asked_about(self) -> Event | None:
        """Return the explosion that a rollback answers: the newest one, while it is unsettled."""
        store = self._host.store
        for event in reversed(store.events):
            if event.kind in SETTLES and came_about(event):
                return None
            if event.kind == "explode":
                waited = seconds_left(store.status, self._host.shell.clock()) is not None
                return event if waited or event.id in self._live else None
        return None

    def ask_note(self) -> None:
        """Ask for a note and send it."""
        from vlamon.tui.dialogs.prompt import Prompt

        def typed(text: str | None) -> None:
            if text:
                self.send("note", text=text)

        status = self._host.store.status
        at = f" at step {count(status.step)}" if status is not None else ""
        lines = ("Everyone who watches sees it; it stays in the journal.",)
        check = lambda text: "" if text else "a note needs a text"  # noqa: E731
        prompt = Prompt(self._host, f"note{at}", lines, check, refusal=self.refusal())
        self._host.show(prompt, typed)

    def ask_setting(self) -> None:
        """Ask for a name and a value and send them."""
        from vlamon.tui.dialogs.prompt import Prompt
        from vlamon.tui.settings import parse_setting, settable, what_is_wrong

        names = settable(self._host.store)

        def typed(text: str | None) -> None:
            if text:
                name, value = parse_setting(text)
                self.send("set", name=name, value=value)

        lines = ("name value, such as: loss_ct 5", f"names: {', '.join(names)}")
        check = lambda text: what_is_wrong(text, names)  # noqa: E731
        self._host.show(Prompt(self._host, "set", lines, check, refusal=self.refusal()), typed)
