"""Progress bars: the last state of each step, at a step that goes on through the epochs."""

from __future__ import annotations

from tests.vlamon.sources.formats.reading import evaluations, parsed, rows
from vlamon.records import BatchBlock
from vlamon.sources.formats import sniff

Losses = list[tuple[int, float]]


def bar(place: int, of: int, inside: str, before: str = "Epoch 0: ") -> str:
    percent = 100 * place // of
    return f"{before}{percent:4d}%|{'█' * (percent // 10):10}| {place}/{of} [00:05<02:30{inside}]"


def lightning(epochs: int = 2, steps: int = 3) -> list[list[str]]:
    """Segments as Lightning draws them: a step is shown with the old values first."""
    lines, old = [], ""
    for epoch in range(epochs):
        drawn = [bar(0, steps, old, f"Epoch {epoch}: ")]
        for step in range(1, steps + 1):
            new = f", 0.17it/s, v_num=0, train/loss={epoch + step / 8}, train/reward=-6e+3"
            drawn += [bar(step, steps, v, f"Epoch {epoch}: ") for v in (old, new)]
            old = new
        held_out = (bar(n, 2, ", 5.1it/s", "Validation DataLoader 0: ") for n in (1, 2))
        drawn += [*held_out, bar(steps, steps, f"{old}, val_loss=0.5", f"Epoch {epoch}: ")]
        lines.append(drawn)
    return lines


EXPECTED = [(1, 0.125), (2, 0.25), (3, 0.375), (4, 1.125), (5, 1.25), (6, 1.375)]


def losses(text: str, name: str = "train/loss") -> Losses:
    found = sniff(text.encode())
    assert found is not None
    assert found.name == "progress-bar"
    blocks = [r for r in parsed("progress-bar", text)[1] if isinstance(r, BatchBlock)]
    assert {block.attempt for block in blocks} == {0}
    return [(step, row[name]) for step, row in rows("progress-bar", text)]


def test_the_last_state_of_each_step_is_its_row() -> None:
    assert losses("\r".join(s for drawn in lightning() for s in drawn) + "\n") == EXPECTED


def test_one_drawing_a_line_says_the_same() -> None:
    assert losses("\n".join(s for drawn in lightning() for s in drawn) + "\n") == EXPECTED


def test_names_keep_their_parts_and_a_version_is_no_metric() -> None:
    ((_, first), *_) = rows("progress-bar", "\r".join(lightning()[0]) + "\n")
    assert first == {"train/loss": 0.125, "train/reward": -6000.0}


def test_a_bar_without_an_epoch_goes_on_where_it_was_complete() -> None:
    drawn = [bar(n, 4, f", loss={e + n / 8}", "") for e in (0, 1) for n in range(5)]
    assert [step for step, _ in losses("\r".join(drawn) + "\n", "loss")] == list(range(1, 9))


def test_a_bar_over_epochs_counts_epochs() -> None:
    text = "\r".join(bar(n, 9, f", loss={n / 8}", "Epochs: ") for n in range(3)) + "\n"
    blocks = [r for r in parsed("progress-bar", text)[1] if isinstance(r, BatchBlock)]
    assert [epoch for block in blocks for epoch in block.epoch.tolist()] == [1, 2]


def test_values_may_stand_in_the_description_and_behind_the_bar() -> None:
    text = bar(7, 9, "", "Epoch 2, loss: 0.5: ") + "\n" + bar(8, 9, "", "") + " loss=0.25\n"
    assert [row["loss"] for _, row in rows("progress-bar", text)] == [0.5, 0.25]


def test_keras_bars_are_read_below_their_heading() -> None:
    line = "{}/469 [====>.......] - 3s 6ms/step - loss: {} - accuracy: 0.5\n"
    text = "".join(
        f"Epoch {e}/2\n" + line.format(1, e + 0.25) + line.format(469, e + 0.5) for e in (1, 2)
    )
    assert losses(text, "loss") == [(1, 1.25), (469, 1.5), (470, 2.25), (938, 2.5)]


def test_a_held_out_line_between_bars_is_an_evaluation() -> None:
    text = bar(9, 9, ", loss=0.5", "") + "\nVal loss: 0.25, acc: 0.5\n"
    ((split, _, metrics),) = evaluations("progress-bar", text)
    assert (split, metrics) == ("val", {"loss": 0.25, "acc": 0.5})


def test_a_bar_without_a_metric_is_no_log() -> None:
    text = "\r".join(bar(n, 9, ", 5.1it/s", "Map: ") for n in range(9))
    assert sniff(text.encode()) is None


def test_a_count_in_a_bars_description_is_the_epoch() -> None:
    text = "".join(
        f"[fold_0] {epoch:03d}/200:  25%|##  | {n}/4 [00:14<00:42, 14s/it, loss={epoch}.{n}]\n"
        for epoch in (1, 2)
        for n in range(1, 5)
    )
    assert [step for step, _ in rows("progress-bar", text)] == list(range(1, 9))
