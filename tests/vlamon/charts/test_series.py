"""What is drawn of several series in one chart."""

from __future__ import annotations

import pytest

from vlamon.charts.rows import text_of
from vlamon.charts.scale import Scale
from vlamon.charts.series import End, end_rows, end_width

SLOTS = [str(slot) for slot in range(5, 10)]
RANKS = [f"r{rank}" for rank in range(8)]


@pytest.mark.parametrize("names", [SLOTS, RANKS, ["ind", "ood"]])
@pytest.mark.parametrize("width", [34, 40, 60, 120])
def test_lines_with_short_names_are_labelled_in_every_chart_of_a_dashboard(
    names: list[str], width: int
) -> None:
    taken = end_width(names, width)
    assert taken >= max(map(len, names)) + len(" 12.3")
    assert width - taken >= 24


def test_long_names_are_labelled_where_they_leave_the_lines_room() -> None:
    names = ["position_error", "rotation_error"]
    assert end_width(names, 40) == 0
    assert 0 < end_width(names, 60) <= 14


def test_one_line_and_many_need_no_labels() -> None:
    assert end_width(["closs"], 80) == end_width([f"r{rank}" for rank in range(64)], 80) == 0


def test_a_value_below_a_tenth_stands_beside_its_line_with_fewer_digits() -> None:
    ends = [End("8", 0.0997, "closs"), End("9", 0.11, "loss_ct")]
    rows = end_rows(ends, Scale(0.0, 1.0), 8, end_width(["8", "9"], 36))
    assert {text_of(row).strip() for row in rows} - {""} == {"8 .100", "9 .110"}
