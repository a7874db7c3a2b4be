"""Which progress bar tells a Trainer's step, and what does where none can be trusted."""

from __future__ import annotations

from tests.vlamon.sources.formats.reading import evaluations, rows
from vlamon.sources.formats.hf_trainer import recognises

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


def dicts(count: int, of: int, epochs: int, begin: int = 1) -> list[str]:
    return [
        f"{{'loss': {n / 8}, 'epoch': {round(epochs * n / of, 2)}}}"
        for n in range(begin, begin + count)
    ]


def test_dicts_that_come_at_once_are_spread_over_the_steps_of_the_bar() -> None:
    first, second = dicts(47, 150, 3), dicts(60, 150, 3, begin=48)
    rest = dicts(43, 150, 3, begin=108)
    lines = [bar(n, 1500) for n in range(0, 480, 40)]
    lines += [f"\r{bar(480, 1500)}{first[0]}", *first[1:], bar(481, 1500), bar(1090, 1500), *second]
    lines += [bar(1500, 1500), *rest]
    assert steps(*lines) == list(range(10, 1501, 10))


def test_an_announced_length_gives_the_steps_without_a_look_at_the_bar() -> None:
    planned = ("  Num Epochs = 3", "  Total optimization steps = 1,500")
    assert steps(*planned, bar(700, 1500), *dicts(30, 60, 3)) == list(range(25, 751, 25))


def test_a_counter_in_the_dict_is_the_step() -> None:
    lines = [
        f"{{'loss': 2.5, 'epoch': 0.1, 'global_step/max_steps': '{n}/2353', 'percentage': '0.4%'}}"
        for n in (10, 20, 30)
    ]
    assert steps(bar(31), *lines) == [10, 20, 30]


def test_a_dict_that_is_a_settings_value_is_no_row() -> None:
    for line in (
        "config: {'weights': 'a.pt', 'hyp': {'lr0': 0.01, 'loss_ota': 1}, 'epochs': 9}",
        "INFO config set hyp = {'lr0': 0.01, 'box': 0.05, 'loss_ota': 1}",
        "INFO [wandb_run.py:_config_callback()] config_cb hyp {'lr0': 0.01, 'loss_ota': 1}",
    ):
        assert rows("hf-trainer", line + "\n") == []
        assert recognises(line.encode() + b"\n", "x") == 0


def test_a_bar_of_a_narrow_terminal_that_kept_its_last_drawing_alone() -> None:
    lines = [
        line
        for n, loss in enumerate(LOSSES, 1)
        for line in (
            f"  4% {10 * n - 1}/300 [05:00<2:09]went",
            loss,
            f"  4% {10 * n}/300 [05:02<2]",
        )
    ]
    assert steps(*lines) == [10, 20, 30]
    others = [
        line
        for n, loss in enumerate(LOSSES, 1)
        for line in (f" 4% {7 * n}/300 [05:00<2:09]", loss, f" 4% {7 * n + 1}/300 [05:02<2]")
    ]
    assert steps(*others) == [7, 14, 21]


def test_rows_in_front_of_the_first_bar_are_spread_over_it() -> None:
    losses = [f"{{'loss': 2.5, 'epoch': {n / 100:.2f}}}" for n in range(1, 27)]
    assert steps(bar(31, 31), *losses, bar(266, 1330), bar(2, 31)) == [10 * n for n in range(1, 27)]
