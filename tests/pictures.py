"""`make pictures`: the dashboard on made-up runs of every kind, and on a real training.

The scenes (tests/scenes.py) are drawn in seconds. For the rest, the smallest preset is trained with
a fault in it (about two minutes on two cores), unless a recorded run is named, and its journal is
drawn at three sizes and in every theme. `--only NAME` draws single scenes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from textual.app import App

from tests.cells import cells_of, save_png
from tests.scenes import FEW_COLOURS, SCENES, TERMINAL, Scene
from tests.vlamon.tui.fake_feed import FrozenDashboard, fed
from vlamon.sources.feed import Feed
from vlamon.sources.journal import JournalSource
from vlamon.tui.app import Dashboard
from vlamon.tui.options import Options
from vlamon.tui.themes import load_themes

SIZES = ((80, 24), (120, 40), (200, 60))
HERE = Path(__file__).resolve().parent.parent
SETTLE = 0.3
"""Seconds for what is worked out on threads and painted when its turn comes."""


def main() -> None:
    """Write all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("journal", nargs="?", help="a recorded run; without one, a run is made")
    parser.add_argument("-o", "--out", type=Path, default=HERE / "docs" / "pictures")
    parser.add_argument("--keys", default="", help="keys to press first, space-separated")
    parser.add_argument("--steps", type=int, default=1200, help="length of the run that is made")
    parser.add_argument("--only", choices=SCENES, action="append", help="draw this scene alone")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    os.environ["TZ"] = "UTC"
    time.tzset()
    for name in given.only or SCENES:
        asyncio.run(draw_scene(SCENES[name](), given.out / f"{name}.png"))
    if given.only:
        return
    with tempfile.TemporaryDirectory() as scratch:
        journal = Path(given.journal) if given.journal else record(Path(scratch), given.steps)
        asyncio.run(pictures(journal, given.out, given.keys.split()))


async def draw_scene(scene: Scene, path: Path) -> None:
    """Write the picture of a made-up run, on a clock that stands."""
    first, *others = (fed(*records) for records in scene.runs)
    environ = FEW_COLOURS if scene.few_colours else TERMINAL
    app = FrozenDashboard(first, Options(theme=scene.theme), others=others, environ=environ)  # type: ignore[arg-type]
    async with app.run_test(size=scene.size) as pilot:
        await app.workers.wait_for_complete()
        await pilot.pause(SETTLE)
        for key in scene.keys:
            await pilot.press(key)
            await pilot.pause(SETTLE)
        save(app, path)


def save(app: App[int], path: Path) -> None:
    """Write what is on screen."""
    save_png(cells_of(app.screen._compositor.render_strips()), path)
    print(path, path.stat().st_size)


def record(scratch: Path, steps: int) -> Path:
    """Train for a while, with a fault on the way."""
    command = [sys.executable, "-m", "trainer", "--preset", "micro"]
    command += ["--run-dir", "run", "--steps", str(steps)]
    command += ["--set", "guard.every=10", "--set", "guard.slots=6", "--set", "guard.cooldown=40"]
    command += ["--set", "loop.steps_per_epoch=200"]
    command += ["--induce", f"lr_jump@{steps * 4 * 2 // 3}"]
    environ = {**os.environ, "PYTHONPATH": str(HERE)}
    subprocess.run(command, check=True, cwd=scratch, env=environ, stdout=subprocess.DEVNULL)
    return scratch / "run" / "run.vlaj"


async def pictures(journal: Path, out: Path, keys: list[str]) -> None:
    """Open the journal once a picture, as a person would."""
    for width, height in SIZES:
        await picture(journal, out / f"dashboard-{width}x{height}", (width, height), "dusk", keys)
    for name in load_themes().themes:
        await picture(journal, out / f"theme-{name}", (120, 40), name, keys)
    await picture(journal, out / "help", (100, 56), "dusk", ["question_mark"])
    await picture(journal, out / "cursor", (120, 40), "dusk", ["z", "n", "N", "left"])


async def picture(
    journal: Path, stem: Path, size: tuple[int, int], theme: str, keys: list[str]
) -> None:
    """Write one picture of a journal."""
    feed = Feed(JournalSource(journal, follow=False))
    app = Dashboard(feed, Options(theme=theme), environ=TERMINAL)
    async with app.run_test(size=size) as pilot:
        while not feed.finished:
            await asyncio.sleep(0.05)
        await pilot.pause(SETTLE)
        await pilot.press(*keys)
        await pilot.pause(SETTLE)
        save(app, stem.with_suffix(".png"))
    feed.close()


if __name__ == "__main__":
    main()
