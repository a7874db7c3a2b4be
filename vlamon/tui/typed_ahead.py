"""Keys reach what they were meant for, in order, however fast they come.

Textual passes a key on from queue to queue, and reads the next one meanwhile: of `:guard auto`,
sent in one write, all letters would reach the dashboard before `:` has opened the dialog. Here a
key of the dashboard has acted before the next one is read, and a dialog that is being opened gets
what was typed meanwhile as soon as it can take it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual import events

from vlamon.tui.dialogs.dialog import Dialog
from vlamon.tui.textual_internals import act_on_key

if TYPE_CHECKING:
    from textual.app import App

    _Base = App[int]
else:
    _Base = object


class TypedAhead(_Base):
    """Mixin for an App, before it in the bases."""

    async def on_event(self, event: events.Event) -> None:
        """Act on a key at once, or keep it for the dialog that is being opened."""
        if isinstance(event, events.Key) and not event.is_forwarded:
            screen: Any = self.screen
            if isinstance(screen, Dialog):
                if not screen.ready:
                    screen.typed_ahead.append(event)
                    return
            elif screen is self.screen_stack[0] and await act_on_key(self, event.key):
                return
        await super().on_event(event)

    async def on_dialog_opened(self, message: Dialog.Opened) -> None:
        """Hand over what was typed while a dialog was being opened."""
        dialog = message.dialog
        dialog.ready = True
        for event in dialog.typed_ahead if dialog.takes_typed_ahead else ():
            await super().on_event(event)
        dialog.typed_ahead.clear()
