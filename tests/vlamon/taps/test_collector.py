"""What a tapped process sends, from which of its sources, and that it never gets in the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.vlamon.emitter.emitted import journal_of, of_type, rows_of
from vlamon.records import Event
from vlamon.taps.collector import Collector, flatten, short
from vlamon.taps.options import TapOptions


def collector(tmp_path: Path) -> Collector:
    return Collector(TapOptions(None, "run", str(tmp_path)))


def test_a_tracker_called_by_a_framework_repeats_nothing(tmp_path: Path) -> None:
    tap = collector(tmp_path)
    for step in range(1, 6):
        tap.add("transformers", {"loss": float(step), "closs": 2.0}, step)
        tap.add("wandb", {"train/loss": -1.0, "train/closs": -1.0, "mine": 7.0})
    tap.end("")
    rows = rows_of(journal_of(tmp_path))
    assert [step for step, _ in rows] == [1, 2, 3, 4, 5]
    assert [values["loss"] for _, values in rows] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert all(values["mine"] == 7.0 for _, values in rows)
    assert all(values.keys() == {"loss", "closs", "mine"} for _, values in rows)


def test_texts_images_and_histograms_are_not_metrics() -> None:
    values = {
        "loss": np.float32(1.5),
        "nested": {"a": 1, "b": {"c": 2.0}},
        "image": np.zeros((3, 4)),
        "text": "hello",
        "none": None,
        "phase": 1 + 2j,
    }
    assert flatten(values) == {"loss": np.float32(1.5), "nested/a": 1, "nested/b/c": 2.0}


def test_a_step_among_the_values_is_the_step(tmp_path: Path) -> None:
    tap = collector(tmp_path)
    for step in (10, 20, 30):
        tap.add("wandb", {"train/loss": 1.0, "train/global_step": step})
    tap.end("")
    assert rows_of(journal_of(tmp_path)) == [(step, {"loss": 1.0}) for step in (10, 20, 30)]


def test_a_step_that_is_logged_beside_the_step_named_costs_no_row(tmp_path: Path) -> None:
    tap = collector(tmp_path)
    for step in (100, 200):  # as openpi's train_pytorch.py does
        tap.add("wandb", {"loss": 1.0, "step": step, "grad_norm": 0.5}, step)
    for step in (300, 400):
        tap.add("wandb", {"loss": 1.0, "step": step, "grad_norm": 0.5})
    tap.end("")
    expected = {"loss": 1.0, "grad_norm": 0.5}
    assert rows_of(journal_of(tmp_path)) == [(n, expected) for n in (100, 200, 300, 400)]


def test_a_script_that_logs_every_tenth_step_is_reported_as_such_once(tmp_path: Path) -> None:
    tap = collector(tmp_path)
    for step in range(0, 200, 10):
        tap.add("tensorboard", {"loss": 1.0}, step)
    tap.end("")
    texts = [event.text for event in of_type(journal_of(tmp_path), Event)]
    assert sum("logs every 10 steps" in text for text in texts) == 1


def test_uncommitted_values_wait_for_the_rest_of_their_row(tmp_path: Path) -> None:
    tap = collector(tmp_path)
    for value in (1.0, 2.0):
        tap.add("wandb", {"loss": value}, more_to_come=True)
        tap.add("wandb", {"lr": value / 10})
    tap.end("")
    assert rows_of(journal_of(tmp_path)) == [
        (0, {"loss": 1.0, "lr": 0.1}),
        (1, {"loss": 2.0, "lr": 0.2}),
    ]


def test_values_that_cannot_be_read_never_reach_the_script(tmp_path: Path) -> None:
    class Broken(dict[str, float]):
        def items(self) -> object:  # type: ignore[override]
            raise RuntimeError("broken")

    tap = collector(tmp_path)
    tap.add("wandb", {"loss": 1.0}, 1)
    tap.add("wandb", Broken(loss=2.0), 2)
    tap.add("wandb", {"loss": 3.0}, 3)
    tap.end("")
    assert rows_of(journal_of(tmp_path)) == [(1, {"loss": 1.0}), (3, {"loss": 3.0})]
    texts = [event.text for event in of_type(journal_of(tmp_path), Event)]
    assert any("broken" in text for text in texts)


def test_a_run_directory_that_cannot_be_made_is_a_line_and_no_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    tap = Collector(TapOptions(None, "run", str(tmp_path / "file" / "run")))
    tap.add("wandb", {"loss": 1.0}, 1)
    tap.add("wandb", {"loss": 1.0}, 2)
    assert capsys.readouterr().err.count("no journal is kept") == 1


def test_names_lose_only_the_prefix_that_says_trained() -> None:
    assert [short(name) for name in ("train/loss", "train_loss", "val/loss", "train/")] == [
        "loss",
        "loss",
        "val/loss",
        "train/",
    ]


def test_openvlas_names_are_written_like_all_others() -> None:
    names = ("VLA Train/Loss", "VLA Train/Loss (Raw)", "VLA Train/Curr Action L1 Loss")
    assert [short(name) for name in names] == ["loss", "loss_raw", "curr_action_l1_loss"]
