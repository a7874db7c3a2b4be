"""What is on the screen is the run: characters and colours decode back into its curves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.vlamon.tui.fake_feed import NOW, info
from tests.vlamon.tui.reading import DUSK, Read, colours_of, column_means, off_by, read
from vlamon.charts.cells import BASELINE
from vlamon.detect.monitor import ExplosionMonitor
from vlamon.records import BatchBlock, Column, EpochRow, Event, Link, Record, Status

ROWS = 20_000
F64 = np.ndarray
OTHERS = {"closs": 8.5, "loss_ct": 0.1, "z_loss": 30.0, "grad_norm": 3.0}


def blocks(
    columns: dict[str, F64], first: int = 0, attempt: int = 0, rows: int = 8192
) -> list[BatchBlock]:
    """Batches as a trainer sends them: with other metrics, so that a chart is one of several."""
    count = len(next(iter(columns.values())))
    others = {name: noise(count, 9) / 10 + level for name, level in OTHERS.items()}
    if len(columns) > 1:
        del others["grad_norm"]  # a family has its place on the first page
    columns = {**others, **columns}
    found = []
    for start in range(0, count, rows):
        step = np.arange(first + start, first + min(start + rows, count))
        part = {name: Column(values[start : start + rows]) for name, values in columns.items()}
        time = NOW - 20_000 + step * 0.3
        found.append(BatchBlock(first + start, attempt, step, step / 1312, time, part))
    return found


def judged(records: list[Record]) -> list[Record]:
    """The records with the events that the monitor's detector makes of them."""
    monitor = ExplosionMonitor()
    found: list[Record] = []
    for record in (*records, Status("training", 0, time=NOW), Link("ended")):
        found += [record, *monitor.observe(record)]
    return found


def noise(rows: int = ROWS, seed: int = 0) -> F64:
    return np.random.default_rng(seed).normal(0, 0.25, rows)


def means_within_a_dot(found: Read, values: F64, first: int = 0, role: str = "closs") -> None:
    steps = np.arange(first, first + len(values))
    seen = 0
    for column, mean in column_means(found, steps, values):
        wanted = found.dot_of(mean)
        if 0 <= wanted <= 4 * len(found.cells) - 1:
            assert off_by(found, column, mean, role) <= 1.0, (column, mean)
            seen += 1
        else:
            assert not found.dots(column, role) or off_by(found, column, mean, role) <= 2
    assert seen >= 0.75 * found.columns * 0.8


SHARE = np.linspace(0, 1, ROWS)
SHAPES: dict[str, tuple[F64, str]] = {
    "flat": (8.5 + 0 * SHARE, ""),
    "five per cent down": (8.5 * (1 - 0.05 * SHARE), "▾"),
    "five per cent up": (8.5 * (1 + 0.05 * SHARE), "▴"),
    "slow divergence": (8.5 * (1 + 0.6 * np.clip(SHARE - 0.6, 0, 1) ** 2), "▴"),
    "early transient": (8.5 * (1 + 19 * np.exp(-np.arange(ROWS) / 150)), ""),
}


@pytest.mark.parametrize("name", SHAPES)
async def test_the_line_is_the_mean_of_each_column_and_the_trend_has_the_right_sign(
    name: str,
) -> None:
    shape, sign = SHAPES[name]
    values = shape + noise()
    found, *_ = await read(Link("live"), info(), *blocks({"closs": values}))
    means_within_a_dot(found, values)
    wrong = {"▾": "▴", "▴": "▾", "": "▴▾"}[sign]
    coloured = {DUSK["ok"].lstrip("#"), DUSK["explode"].lstrip("#")}
    for word, ink in found.title_colours.items():
        assert not (word[0] in wrong and ink in coloured), found.title
    assert sign in found.title or "flat" in found.title


async def test_a_start_of_twenty_times_the_rest_leaves_through_the_top_with_a_mark() -> None:
    values = SHAPES["early transient"][0] + noise()
    found, *_ = await read(Link("live"), info(), *blocks({"closs": values}))
    assert max(found.labels.values()) < 15
    assert "↑" in "".join(char for char, _, _ in found.cells[0][:8])


async def test_one_bad_batch_in_a_million_is_lit_in_its_column_in_the_colour_of_an_explosion() -> (
    None
):
    values = 8.5 + noise(1_000_000)
    values[613_377] = 95.2
    records = judged([info(), *blocks({"closs": values})])
    found, *_ = await read(*records)
    column = found.column_of(613_377)
    assert set("↑●") & set(found.in_colour(column, "explode"))
    elsewhere = [c for c in range(0, found.columns, 2) if abs(c - column) > 12]
    assert not any(set("↑●") & set(found.in_colour(c, "explode")) for c in elsewhere)
    spared = values.copy()
    spared[613_377] = 8.5
    means_within_a_dot(found, spared)


async def test_two_attempts_are_two_curves_and_the_abandoned_one_is_grey() -> None:
    first = 8.5 + noise(12_000)
    first[8000:] += np.linspace(0, 3, 4000)
    second = 8.4 + noise(12_000, seed=1)
    back = Event("r", "rollback", 8000, 1, NOW - 5, "info", "to 8,000")
    found, *others = await read(
        Link("live"),
        info(),
        *blocks({"closs": first}),
        back,
        *blocks({"closs": second}, first=8000, attempt=1),
    )
    means_within_a_dot(found, np.concatenate([first[:8000], second]))
    steps = np.arange(8000, 12_000)
    grey = [
        off_by(found, column, mean, "abandoned")
        for column, mean in column_means(found, steps, first[8000:])
        if column > found.column_of(8000) + 6
    ]
    assert max(grey) <= 1.0
    assert "↶" in others[-1].axis
    assert "↶" not in found.axis


async def test_twelve_epochs_are_twelve_dots_on_level_steps() -> None:
    values = [14.0, 12.1, 11.0, 10.2, 9.7, 9.3, 9.0, 8.8, 8.7, 8.6, 8.55, 8.5]
    rows = [EpochRow(float(n), "train", {"closs": v}) for n, v in enumerate(values)]
    (found,) = await read(Link("ended"), *rows)
    ink = DUSK["closs"].lstrip("#")
    for epoch, value in enumerate(values):
        column = found.column_of(epoch)
        points = [
            row for row, cells in enumerate(found.cells) if cells[column // 2][:2] == ("●", ink)
        ]
        assert len(points) == 1
        assert abs(points[0] * 4 + 1.5 - found.dot_of(value)) <= 2.5
        beside = column + (4 if epoch == 0 else -4)
        assert off_by(found, beside, value, "closs") <= 1.0
    assert found.axis.count("┴") + sum(map(str.isdigit, found.axis)) >= 12


def families() -> dict[str, tuple[dict[str, F64], Callable[[str], str]]]:
    slots = {
        f"l1_loss_action_{slot}": 0.4 + 0.03 * slot + noise(seed=slot) / 20 for slot in range(5, 10)
    }
    ranks = {f"closs_rank{r}": 8.5 + 0.3 * r + noise(seed=r) / 4 for r in range(8)}
    ranks["closs_rank5"] += 6.0
    return {
        "five slots": (slots, lambda name: name[-1]),
        "eight ranks": (ranks, lambda name: f"r{name[-1]}"),
    }


@pytest.mark.parametrize("family", ["five slots", "eight ranks"])
async def test_every_series_is_told_apart_by_its_colour_and_by_the_label_at_its_end(
    family: str,
) -> None:
    columns, label = families()[family]
    found = next(
        one for one in await read(Link("live"), info(), *blocks(columns)) if any(one.ends[0])
    )
    steps = np.arange(ROWS)
    roles = colours_of(list(columns))
    assert len({DUSK[role] for role in roles.values()}) == len(columns)
    for name, values in columns.items():
        means = column_means(found, steps, values)
        off = np.array([off_by(found, column, mean, roles[name]) for column, mean in means])
        # Lines that share a cell take turns: each is seen every few columns, in its own place.
        assert np.isfinite(off).mean() >= 1 / 6, name
        assert np.mean(off[np.isfinite(off)] <= 1.0) >= 0.9, name
        ink = DUSK[roles[name]].lstrip("#")
        texts = ["".join(char for char, own in row if own == ink) for row in found.ends]
        assert any(text.split()[:1] == [label(name)] for text in texts), name
    order = sorted(columns, key=lambda name: -float(columns[name].mean()))
    shown = ["".join(char for char, _ in row).split()[:1] for row in found.ends]
    assert [words[0] for words in shown if words] == [label(name) for name in order]


async def test_a_run_over_its_baseline_reads_as_both_and_as_how_far_they_are_apart() -> None:
    values, theirs = 8.5 + noise(), 7.0 + noise(seed=1)
    other = (Link("ended"), info(name="lr_half"), *blocks({"closs": theirs}))
    found, *_ = await read(Link("live"), info(), *blocks({"closs": values}), baseline=other)
    means_within_a_dot(found, values)
    means_within_a_dot(found, theirs, role=BASELINE)
    assert "Δ +21 %" in found.title
    assert found.title_colours["+21"] == DUSK["explode"].lstrip("#")


async def test_the_band_behind_the_line_is_the_range_of_each_column() -> None:
    values = 8.5 + noise()
    found, *_ = await read(Link("live"), info(), *blocks({"closs": values}))
    steps = np.arange(ROWS)
    columns = np.floor(steps / found.window.bin).astype(int) - found.window.first
    paper = DUSK["background"].lstrip("#")
    for cell in range(2, columns.max() // 2 - 1):
        held = values[(columns == 2 * cell) | (columns == 2 * cell + 1)]
        tinted = [row for row, cells in enumerate(found.cells) if cells[cell][2] != paper]
        top, bottom = found.dot_of(held.max()), found.dot_of(held.min())
        assert abs(4 * tinted[0] - top) <= 4
        assert abs(4 * tinted[-1] + 3 - bottom) <= 4
