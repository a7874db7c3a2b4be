"""A verdict is never given on what was not read, nor on what is not a loss."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from vlamon.cli import run


def analyze(capfdbinary: pytest.CaptureFixture[bytes], *files: Path) -> tuple[int, str]:
    code = run(["analyze", *map(str, files)])
    return code, capfdbinary.readouterr()[0].decode()


def written(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def falling(row: int) -> float:
    return 2 + 3 * 0.9**row


def test_a_log_without_a_loss_is_not_judged(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    rows = [{"step": i, "lr": 1e-4, "initial_loss_scale": 65536} for i in range(20)]
    code, out = analyze(capfdbinary, written(tmp_path / "x.jsonl", rows))
    assert code == 30
    assert out.splitlines()[1].startswith("NOT JUDGED")
    assert "initial_loss_scale" in out
    assert "HEALTHY" not in out


def test_a_log_whose_losses_are_mostly_not_understood_is_not_judged(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    log = tmp_path / "x.log"
    lines = [f"step {i}: loss {falling(i):.4f}" for i in range(20)]
    others = [f"~~ epoch <{i}> has a loss of 7.25 ~~" for i in range(60)]
    log.write_text("\n".join(lines + others) + "\n")
    code, out = analyze(capfdbinary, log)
    assert code == 30
    assert "60 lines" in " ".join(out.split())
    log.write_text("\n".join([*lines, *["a warning"] * 60]) + "\n")
    assert analyze(capfdbinary, log)[0] != 30


def test_one_loss_is_no_course(capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> None:
    rows = [{"step": 10 * i, "loss": falling(i)} for i in range(2)]
    code, out = analyze(capfdbinary, written(tmp_path / "x.jsonl", rows[:1]))
    assert code == 30
    assert "one value of loss was read" in " ".join(out.split())
    assert analyze(capfdbinary, written(tmp_path / "x.jsonl", rows))[0] == 0
    stray = tmp_path / "x.log"
    stray.write_text("step 3: loss 0.5\n" + "a line of a diary\n" * 20)
    assert "the format is probably another one" in " ".join(analyze(capfdbinary, stray)[1].split())


def test_a_few_rows_among_unknown_lines_are_not_judged(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    log = tmp_path / "x.log"
    lines = [f"step {i}: loss {falling(i):.4f}" for i in range(3)] + ["a line of a diary"] * 60
    log.write_text("\n".join(lines) + "\n")
    code, out = analyze(capfdbinary, log)
    assert (code, out.split(" ·")[0].splitlines()[-1]) == (30, "NOT JUDGED")
    assert "60 lines" in " ".join(out.split())


@pytest.mark.parametrize("name", ["AP/empty_class", "data_time", "threshold"])
def test_a_metric_that_is_not_a_loss_may_be_non_finite(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path, name: str
) -> None:
    rows = [{"step": i, "loss": falling(i), name: float("nan")} for i in range(40)]
    assert analyze(capfdbinary, written(tmp_path / "x.jsonl", rows))[0] == 0


def test_an_infinite_gradient_beside_a_loss_scale_is_a_skipped_step(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    rows = [
        {
            "train_loss": falling(i),
            "train_grad_norm": float("inf") if i % 9 == 8 else 0.5,
            "train_loss_scale": 65536.0,
            "epoch": i,
        }
        for i in range(40)
    ]
    assert analyze(capfdbinary, written(tmp_path / "log.txt", rows))[0] == 0
    bare = [{k: v for k, v in row.items() if k != "train_loss_scale"} for row in rows]
    code, out = analyze(capfdbinary, written(tmp_path / "log.txt", bare))
    assert (code, out.split(" ·")[0].splitlines()[-1]) == (10, "WARNINGS")


def test_a_non_finite_trained_loss_is_an_error(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    rows = [
        {"step": i, "loss": falling(i), "aux_loss": float("nan") if i == 20 else 1.0}
        for i in range(40)
    ]
    assert analyze(capfdbinary, written(tmp_path / "x.jsonl", rows))[0] == 20


def test_an_epoch_that_lacks_the_main_loss_is_not_called_non_finite(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    rows: list[dict[str, object]] = [
        {"train_closs": falling(i), "train_loss_ct": 0.1, "epoch": i} for i in range(12)
    ]
    del rows[6]["train_closs"]
    log = written(tmp_path / "log_train.txt", rows)
    run(["analyze", str(log), "--format", "json"])
    report = json.loads(capfdbinary.readouterr()[0])
    statuses = [line["status"] for line in report["epochs"]]
    assert statuses[6] == "absent"
    assert "non-finite" not in statuses
    assert statuses[7] in ("falling", "steady")


def test_a_spike_that_only_warns_is_not_healthy(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    rows = [
        {"train_loss": falling(i), "train_grad_norm": 50.0 if i == 20 else 0.5, "epoch": i}
        for i in range(40)
    ]
    code, out = analyze(capfdbinary, written(tmp_path / "log.txt", rows))
    assert (code, out.split(" ·")[0].splitlines()[-1]) == (10, "WARNINGS")


def test_rows_that_are_no_batches_are_not_called_every_batch(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    each = [{"step": i, "loss": falling(i)} for i in range(40)]
    assert "every batch" in analyze(capfdbinary, written(tmp_path / "x.jsonl", each))[1]
    tenth = [{"step": 10 * i, "loss": falling(i)} for i in range(40)]
    assert "every batch" not in analyze(capfdbinary, written(tmp_path / "x.jsonl", tenth))[1]


@pytest.mark.parametrize(
    ("end", "expected", "said"),
    [
        ("Loss is nan, stopping training", 20, "stopped: the loss became NaN or infinite after"),
        ("torch.OutOfMemoryError: CUDA out of memory.", 10, "the run crashed after"),
        (
            "slurmstepd: error: *** JOB 7 CANCELLED AT 12:00 DUE TO TIME LIMIT ***",
            10,
            "the run was killed after",
        ),
    ],
)
def test_a_log_that_ends_in_a_crash_says_so_first_with_its_last_step(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path, end: str, expected: int, said: str
) -> None:
    log = tmp_path / "train.log"
    rows = [f"step {i}: loss {falling(i):.4f}" for i in range(40)]
    log.write_text("\n".join([*rows, end]) + "\n")
    code, out = analyze(capfdbinary, log)
    assert code == expected
    assert f"{said} step 39: {end}" in " ".join(out.split())
    log.write_text("\n".join([*rows[:20], end, *rows[20:]]) + "\n")
    assert analyze(capfdbinary, log)[0] == 0


def test_a_short_log_in_a_format_of_its_own_is_judged(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    log = tmp_path / "log.txt"
    block = 'Train Epoch {n}\n{{\n    "Loss": {loss},\n    "Time_Epoch": 0.1\n}}\n'
    rows = "".join(block.format(n=n, loss=falling(n)) for n in range(1, 5))
    log.write_text("a module of the model\n" * 300 + rows)
    assert analyze(capfdbinary, log)[0] == 0


def test_terms_on_lines_of_their_own_do_not_hide_the_loss(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    log = tmp_path / "train.log"
    log.write_text(
        "".join(
            f"epoch:0 || iter:{10 * i} || Loss:{falling(i):.4f}\n"
            f"->> conf loss:{falling(i) / 3:.4f} || loc loss:{falling(i) / 4:.4f}\n"
            f"->> conf2 loss:{falling(i) / 3:.4f} || loc2 loss:{falling(i) / 4:.4f}\n"
            for i in range(40)
        )
    )
    code, out = analyze(capfdbinary, log)
    assert code == 0
    assert "steps 0–390" in out


def test_a_loss_that_is_the_same_in_every_row_is_not_judged(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    code, out = analyze(
        capfdbinary, written(tmp_path / "x.jsonl", [{"step": i, "loss": 1.0} for i in range(20)])
    )
    assert code == 30
    assert "loss is the same in every row" in " ".join(out.split())


def test_a_crash_on_stderr_is_the_end_of_the_run_on_stdout(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    out, err = tmp_path / "slurm-1.out", tmp_path / "slurm-1.err"
    out.write_text("".join(f"step {i}: loss {falling(i):.4f}\n" for i in range(40)))
    crash = "Traceback (most recent call last):\n  File x\nRuntimeError: the disk is full\n"
    err.write_text("a warning\n" + crash)
    code, said = analyze(capfdbinary, tmp_path)
    assert code == 10
    assert "crashed after step 39: RuntimeError: the disk is full" in " ".join(said.split())
    err.write_text(crash.replace("  File x\n", "  File x\n" * 200))
    assert "RuntimeError: the disk is full" in " ".join(analyze(capfdbinary, out, err)[1].split())
    err.write_text(crash + "a warning\n" * 100)
    assert analyze(capfdbinary, tmp_path)[0] == 0


def test_a_log_without_a_row_says_the_error_that_it_ends_in(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    log = tmp_path / "train.log"
    log.write_text(
        "[rank0]: Traceback (most recent call last):\n[rank0]:   File x\n"
        "[rank0]: RuntimeError: Cannot send a request\n"
    )
    assert run(["analyze", str(log)]) == 30
    said = capfdbinary.readouterr()[1].decode()
    assert "the log ends in an error: 'RuntimeError: Cannot send a request'" in said
