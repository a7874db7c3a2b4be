"""What stands in the charts' place before the first batch: what is awaited, and how to send it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vlamon.charts.rows import Row, shorten
from vlamon.tui.frame_context import FrameContext
from vlamon.tui.widgets.row_panel import RowPanel, framed
from vlamon.tui.widgets.status_line import pulse_words

_HOW = (
    "A training script sends its losses with three lines:",
    "",
    "    from vlamon import Emitter",
    '    with Emitter("PLACE", run="my run") as emitter:',
    "        emitter.log(step, closs=closs, loss_ct=loss_ct)",
    "",
    "or without an edit:  vlamon run -- python train.py",
)
_SOCKET = re.compile(r"waiting for (/\S+\.sock)\b")


def awaited(text: str) -> str:
    """The socket that the source waits for; `auto`, a place where it looks, where it names none."""
    found = _SOCKET.match(text)
    return found[1] if found else "auto"


class WelcomePanel(RowPanel):
    """A sentence about the source, and the three lines."""

    def rows(self, frame: FrameContext, width: int, height: int) -> Sequence[Row]:
        """Return the sentence in the middle of the panel."""
        role, word = pulse_words(frame.alive)
        text = frame.alive.text or "no batch has come yet"
        said: Row = ((f"  {word}: ", role), (shorten(text, width - 20), "foreground"))
        if text.startswith(word):
            said = ((f"  {shorten(text, width - 6)}", role),)
        lines: list[Row] = [said, ()]
        if height >= len(_HOW) + 6:
            place = awaited(text)
            lines += [((f"  {line.replace('PLACE', place)}", "muted"),) for line in _HOW]
        above = max(0, (height - 2 - len(lines)) // 2)
        body: list[Row] = [()] * above + lines
        return framed((("vlamon", "title"),), (), body, width, height, frame.glyphs)
