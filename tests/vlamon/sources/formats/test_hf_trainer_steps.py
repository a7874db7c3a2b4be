"""Which progress bar tells a Trainer's step, and what does where none can be trusted."""

from __future__ import annotations

from tests.vlamon.sources.formats.reading import evaluations, rows

LOSSES = [f"{{'loss': {loss}, 'epoch': 0.{n}}}" for n, loss in enumerate((2.5, 2.4, 2.3), 1)]


def bar(place: int, total: int = 300, description: str = "") -> str:
    return (
        f"{description}{100 * place // total:3d}%|###   | {place}/{total} [00:05<02:30,  1.9it/s]"
    )


def steps(*lines: str) -> list[int]:
    return [step for step, _ in rows("hf-trainer", "\n".join(lines) + "\n")]


def test_bars_of_loading_are_no_steps() -> None:
    loading = (bar(2, 2, "Loading checkpoint shards: "), bar(1000, 1000, "Map: "))
    assert steps(*loading, *LOSSES) == [0, 1, 2]


def test_a_complete_bar_before_the_first_row_is_no_step() -> None:
    assert steps(bar(2, 2), *LOSSES) == [0, 1, 2]


def test_a_bar_that_stands_still_is_no_step() -> None:
    assert steps(bar(0), *LOSSES) == [0, 1, 2]


def test_a_bar_on_lines_of_its_own_that_moves_is_the_step() -> None:
    lines = [line for n, loss in enumerate(LOSSES, 1) for line in (bar(10 * n), loss)]
    assert steps(bar(2, 2, "Map: "), *lines) == [10, 20, 30]


def test_an_evaluations_bar_in_between_is_no_step() -> None:
    first, second = (f"\r{bar(10 * n)}\r{LOSSES[n - 1]}" for n in (1, 2))
    evaluation = (bar(13, 50), "{'eval_loss': 2.2, 'epoch': 0.1}")
    assert steps(first, *evaluation, second) == [10, 20]
    text = "\n".join((first, *evaluation, second, ""))
    assert evaluations("hf-trainer", text) == [("eval", 10, {"loss": 2.2})]


def test_a_bar_that_begins_again_is_a_new_attempt() -> None:
    lines = (bar(10), LOSSES[0], bar(20), LOSSES[1], bar(0), bar(10), LOSSES[2])
    assert steps(*lines) == [10, 20, 10]


def test_a_bar_that_falls_behind_the_numbered_rows_moves_none_back() -> None:
    first = (bar(1), LOSSES[0], LOSSES[1], LOSSES[2], bar(2), LOSSES[2])
    assert steps(*first) == [1, 2, 3, 4]


def test_a_step_in_the_dict_is_the_step() -> None:
    text = "{'loss': 2.5, 'epoch': 0.1, 'step': 10}\n{'eval_loss': 2.2, 'step': 12}\n"
    assert rows("hf-trainer", text) == [(10, {"loss": 2.5})]
    assert evaluations("hf-trainer", text) == [("eval", 12, {"loss": 2.2})]
