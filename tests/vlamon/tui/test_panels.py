"""Charts out of a run's metrics, and what panels make of awkward values."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.vlamon.tui.driving import rendering, running
from tests.vlamon.tui.fake_feed import NOW, block, fed, gpu, info
from vlamon.analysis.liveness import Alive
from vlamon.charts.numbers import (
    age,
    count,
    duration,
    number,
    percent,
    short_count,
    time_left,
)
from vlamon.charts.panels import Group, distinctions, groups, matching
from vlamon.charts.rows import (
    cells,
    column,
    crop,
    fit,
    shorten,
    shorten_name,
    spread,
    text_of,
)
from vlamon.charts.sparkline import sparkline
from vlamon.records import Column, Event, Link, Record
from vlamon.tui.alerts import Alerts
from vlamon.tui.chart_styling import guides_of
from vlamon.tui.frame_context import FrameContext
from vlamon.tui.settings import parse_setting, what_is_wrong
from vlamon.tui.widgets.events import sentence
from vlamon.tui.widgets.gpu import GpuLine

TRAINED = ("closs", "loss_ct", "z_loss")


def names(metrics: list[str], **given: object) -> list[str]:
    return [group.name for group in groups(metrics, TRAINED, **given)]  # type: ignore[arg-type]


def test_losses_come_first_in_any_order_of_arrival() -> None:
    arrived = ["lr", "z_loss", "grad_norm", "loss_ct", "closs", "l1_loss_action_5"]
    assert names(arrived)[:4] == ["closs", "loss_ct", "z_loss", "l1_loss_action"]


def test_slots_share_a_chart_in_their_order() -> None:
    metrics = [f"l1_loss_action_{slot}" for slot in (9, 10, 5)]
    (group,) = groups(metrics)
    assert group.metrics == ("l1_loss_action_5", "l1_loss_action_9", "l1_loss_action_10")


def test_an_unknown_metric_gets_a_chart_without_any_code() -> None:
    assert names(["closs", "wobble"]) == ["closs", "wobble"]


def test_pulls_share_a_chart_and_so_do_validation_splits() -> None:
    found = groups(["pull_closs", "pull_loss_ct", "val_ind_closs", "val_ood_closs"])
    assert [len(group.metrics) for group in found] == [2, 2]


def test_an_epochs_average_has_no_chart_beside_that_of_its_batches() -> None:
    assert names(["closs", "train_closs"]) == ["closs"]
    assert names(["train_closs"]) == ["train_closs"]


def test_pinned_metrics_stand_in_front_and_hidden_ones_are_gone() -> None:
    metrics = ["closs", "loss_ct", "grad_norm"]
    assert names(metrics, pinned=["grad_norm"], hidden={"loss_ct"}) == ["grad_norm", "closs"]


def test_a_filter_wants_every_word() -> None:
    assert matching(["l1_loss_action_5", "loss_ct"], "loss 5") == ["l1_loss_action_5"]
    assert matching(["a", "b"], "") == ["a", "b"]


def test_a_word_of_the_filter_may_be_a_regular_expression() -> None:
    names = ["l1_loss_action_5", "l1_loss_action_6", "val_l1_loss_action_5", "a(b"]
    assert matching(names, "^l1.*_[56]$") == names[:2]
    assert matching(names, "^VAL 5") == [names[2]]
    assert matching(names, "a(b") == ["a(b"], "what is no expression is looked for as it is"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (8.5123, "8.512"),
        (0.129, "0.1290"),
        (95.2, "95.20"),
        (2e-6, "2.00e−6"),
        (1.5e7, "1.50e7"),
        (-0.31, "−0.3100"),
        (0.0, "0"),
        (math.nan, "NaN"),
        (math.inf, "inf"),
        (-math.inf, "−inf"),
        (None, "–"),
    ],
)
def test_numbers_have_four_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_small_shares_are_not_rounded_to_nothing() -> None:
    assert percent(0.0000408) == "0.004 %"
    assert percent(0.867) == "86.7 %"
    assert percent(0.0) == "0.0 %"
    assert percent(math.nan) == "NaN"


def test_times_and_counts_are_written_as_people_say_them() -> None:
    assert [duration(s) for s in (41, 725, 75130, 3 * 86400 + 4 * 3600)] == [
        "41 s", "12:05", "20:52:10", "3 d 04 h",
    ]  # fmt: skip
    assert [age(s) for s in (2, 44, 400, 90_000, 400_000)] == [
        "now", "40 s", "6 min", "25 h", "4 d",
    ]  # fmt: skip
    assert [time_left(s) for s in (41, 1252, 3.4 * 3600, 20.0 * 3600, 3 * 86400 + 4 * 3600)] == [
        "40 s", "21 min", "3 h 20 min", "20 h", "3 d 4 h",
    ]  # fmt: skip
    assert count(48210) == "48,210"
    assert [short_count(v) for v in (950, 39_200, 1_500_000)] == ["950", "39.2k", "1.5M"]


def test_a_lone_peak_in_a_long_history_stays_in_the_sparkline() -> None:
    values = np.zeros(100_000)
    values[31_234] = 1.0
    drawn = sparkline(values, 40, "▁▂▃▄▅▆▇█")
    assert drawn.count("█") == 1
    assert len(drawn) == 40


def test_a_sparkline_survives_nan_inf_and_nothing() -> None:
    assert sparkline(np.array([np.nan, np.inf, 1.0, 0.0, -np.inf]), 5, "ab") == " bbaa"
    assert sparkline(np.array([]), 4, "ab") == "    "
    assert sparkline(np.full(3, np.nan), 3, "ab") == "   "


def test_rows_are_cut_between_wide_characters_only() -> None:
    row = (("模型训练", "title"), ("x", "muted"))
    assert cells(row) == 9
    for width in range(10):
        assert cells(crop(row, width)) <= width
        assert cells(fit(row, width)) == width
        assert cells(spread(row, (("end", ""),), width)) <= max(width, 0)
    assert text_of(fit((("ab", ""),), 4)) == "ab  "


def test_a_long_name_keeps_its_two_ends() -> None:
    name = "model/decoder/layers/31/self_attention/gain"
    assert shorten_name(name, 24) == "model/deco…ttention/gain"
    assert shorten_name(name, 80) == name
    for width in range(50):
        assert cells(((shorten_name("指标_损失" * 4, width), ""),)) <= width


def test_a_column_is_as_wide_for_wide_characters() -> None:
    assert cells(((column("指标_损失", 12), ""),)) == 12
    assert column("closs", 8) == "closs   "
    assert column("closs", 3) == "closs"


def test_the_lines_of_a_chart_are_named_by_what_differs() -> None:
    assert distinctions(["l1_loss_action_5", "l1_loss_action_6"]) == ("5", "6")
    assert distinctions(["pull_closs", "pull_loss_ct"]) == ("closs", "loss_ct")
    assert distinctions(["val_ind_closs", "val_ood_closs"]) == ("ind", "ood")
    assert distinctions(["closs"]) == ("",)


def test_one_line_a_rank_stands_behind_what_all_ranks_make() -> None:
    ranks = [f"closs_rank{rank}" for rank in range(3)]
    assert names(["closs", *ranks, "z_loss", "lr", "mine"]) == [
        "closs",
        "z_loss",
        "lr",
        "closs by rank",
        "mine",
    ]


def test_many_parts_of_one_metric_share_a_chart_and_few_or_mixed_ones_do_not() -> None:
    parts = [f"grad_norm/{part}" for part in "abcdefghi"]
    mixed = [f"debug/{name}" for name in "abcdefghi"]
    terms = [f"loss/{name}" for name in "abcdefghi"]
    assert names(["grad_norm", *parts]) == ["grad_norm", "grad_norm by part"]
    assert [group.metrics for group in groups(parts)] == [tuple(parts)]
    assert set(names(parts[1:])) == set(parts[1:])
    assert set(names(mixed)) == set(mixed)
    assert set(names(terms)) == set(terms)
    deep = [f"grad_norm/vision/{part}" for part in "abcdefghi"]
    assert names(deep) == ["grad_norm by part"]


def test_text_that_is_cut_says_so() -> None:
    assert shorten("checkpoint", 6) == "check…"
    assert shorten("ok", 6) == "ok"


def test_an_event_without_text_is_told_from_its_data() -> None:
    data = {"metric": "closs", "value": 95.2, "z": 41.0}
    event = Event("e", "explode", 39_210, 0, 0.0, "error", "", data)
    assert sentence(event) == "closs 95.20 at 39,210 (z 41.0)"
    assert sentence(Event("e", "strange", 7, 0, 0.0)) == "at 7"


def test_an_event_is_heard_once_even_if_it_is_sent_again() -> None:
    alerts, event = Alerts(), Event("e", "explode", 1, 0, 100.0, "error")
    assert alerts.new_events([event], 100.0, 100.0, True) == [event]
    assert alerts.new_events([event, event], 100.0, 100.0, True) == []
    assert alerts.acknowledge() == 1
    assert alerts.unseen == 0


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("loss_ct 5", ""),
        ("loss_ct=5", ""),
        ("guard ask", ""),
        ("guard sometimes", "choose one of auto, ask"),
        ("loss_ct", "write a name and a value"),
        ("loss_ct many", "must be a number from 0"),
        ("loss_ct nan", "must be a number from 0"),
        ("loss_ct -1", "must be a number from 0"),
        ("momentum 0.9", "cannot be set"),
    ],
)
def test_a_setting_is_checked_before_it_is_sent(text: str, wrong: str) -> None:
    found = what_is_wrong(text, ["loss_ct", "lr_scale", "guard"])
    assert found == wrong or (wrong and wrong in found)


def test_a_setting_is_a_name_and_a_number_or_a_word() -> None:
    assert parse_setting("lr_scale 0.5") == ("lr_scale", 0.5)
    assert parse_setting(" guard = watch ") == ("guard", "watch")


async def test_where_shares_are_tight_the_smallest_term_makes_room_for_the_others_bars() -> None:
    async with running(size=(80, 24)) as (_, screen, feed):
        batch = block(48_210, 1, attempt=1)
        pulls = {f"pull_{name}": Column(np.array([0.3])) for name in TRAINED}
        feed.push(replace(batch, columns={**batch.columns, **pulls}))
        screen.repaint()
        (row,) = screen.placement.panels["contribution"].role_rows()
        assert "closs █" in text_of(row)
        assert "loss_ct █" in text_of(row)
        assert "z_loss" not in text_of(row)


def test_the_line_of_a_random_guess_says_what_it_is() -> None:
    def label(metric: str, vocab: int | None) -> list[str]:
        return [one.label for one in guides_of(Group(metric, (metric,)), vocab)]

    assert label("closs", 65_536) == ["chance 11.09"]
    assert label("z_loss", 65_536) == ["chance 123"]
    assert label("closs", None) == ["chance at V 65,536: 11.09"]
    assert label("z_loss", None) == [], "it depends on a vocabulary that nobody told"


def gpu_line(*records: Record) -> str:
    feed = fed(Link("live"), info(), *records)
    frame = FrameContext(feed.store, NOW, Alive("live"))
    return text_of(GpuLine("gpu-line", rendering()).rows(frame, 120, 1)[0])


def test_the_line_of_accelerators_says_how_much_of_the_time_waits_for_data() -> None:
    plain = block(0, 100)
    times = {"time": Column(np.full(100, 0.5)), "data": Column(np.full(100, 0.2))}
    run = replace(plain, columns={**plain.columns, **times})
    assert "data wait 40.0 %" in gpu_line(run, gpu())
    assert "data wait" not in gpu_line(plain, gpu())


def test_a_process_without_an_accelerator_stands_apart_from_that_word() -> None:
    assert "no accelerator   cpu" in gpu_line(block(0, 100), gpu(devices=0))
