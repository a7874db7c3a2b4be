"""`make pictures`: the film of the README, `vlamon demo` in a terminal from start to recovery.

Runs the real command in a pseudo-terminal and writes what its screen showed as an animated GIF,
several times as fast as it happened; a new headline stays long enough to be read. On a machine too
slow for the demo, a run that `vlamon demo --keep` recorded elsewhere is replayed instead.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench._terminal import Terminal
from tests.cells import Cell, cell_of, image_of

COLUMNS, ROWS = 110, 32
EVERY = 0.8
"""Seconds between two frames while the demo runs."""
SHOWN = 200
"""Milliseconds that a frame is shown."""
READ = 1800
"""Milliseconds for one with a headline that was not there before, and for the last."""
LONGEST = 150.0
"""Seconds after which the demo is over on any machine."""
HERE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Frame:
    """What the screen showed, and what its headline said."""

    cells: list[list[Cell]]
    headline: str


def main() -> None:
    """Record and write the film."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=HERE / "docs" / "pictures" / "demo.gif")
    parser.add_argument("journal", nargs="?", help="a demo that was kept; without one, it is run")
    given = parser.parse_args()
    command = [sys.executable, "-m", "vlamon"]
    command += ["replay", given.journal] if given.journal else ["demo"]
    frames = record(command, is_over)
    save_gif(frames, given.out)
    print(given.out, given.out.stat().st_size, f"{len(frames)} frames")


def is_over(lines: Sequence[str]) -> bool:
    """Whether the demo's training has ended."""
    return any("the training is over" in line or " end " in line for line in lines)


def record(command: Sequence[str], until: Callable[[Sequence[str]], bool]) -> list[Frame]:
    """Run a program in a terminal and keep its screen from the first curve on."""
    environ = {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "2"}
    terminal = Terminal(command, columns=COLUMNS, rows=ROWS, environ=environ)
    frames: list[Frame] = []
    end = time.monotonic() + LONGEST
    try:
        while time.monotonic() < end:
            terminal.pump_for(EVERY)
            if terminal.has_curve():
                frames.append(Frame(cells_on(terminal), headline_of(terminal.lines())))
            if frames and until(terminal.lines()):
                terminal.pump_for(EVERY)  # the last picture stays: not one that is half drawn
                frames.append(Frame(cells_on(terminal), headline_of(terminal.lines())))
                break
    finally:
        terminal.close()
    return frames


def headline_of(lines: Sequence[str]) -> str:
    """What the dashboard says between its status line and the charts; nothing while all is well."""
    charts = next((y for y, line in enumerate(lines) if line.lstrip().startswith("╭")), 1)
    # Figures change with every batch: only other words are another headline.
    return " ".join(word for line in lines[1:charts] for word in line.split() if word.isalpha())


def cells_on(terminal: Terminal) -> list[list[Cell]]:
    """The terminal's screen, cell by cell."""
    return [
        [cell_of(terminal.cell(x, y)) for x in range(terminal.columns)]
        for y in range(terminal.rows)
    ]


def durations(headlines: Iterable[str]) -> list[int]:
    """How long each frame is shown, in milliseconds."""
    seen: set[str] = set()
    found = []
    for headline in headlines:
        is_new = bool(headline) and headline not in seen
        seen.add(headline)
        found.append(READ if is_new else SHOWN)
    return [*found[:-1], READ] if found else found


def save_gif(frames: Sequence[Frame], path: Path) -> None:
    """Write frames with one palette, so that what does not change is not stored again."""
    images = [image_of(frame.cells) for frame in frames]
    palette = images[len(images) * 2 // 3].quantize(64)
    first, *rest = [image.quantize(palette=palette, dither=0) for image in images]
    first.save(
        path,
        save_all=True,
        append_images=rest,
        duration=durations(frame.headline for frame in frames),
        loop=0,
        optimize=True,
    )


if __name__ == "__main__":
    main()
