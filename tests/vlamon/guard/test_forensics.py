"""The exploded state is kept, and a process of its own reproduces the explosion."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from tests.vlamon.guard.toy import Toy
from vlamon.guard import ProbeResult, Rebuild
from vlamon.guard.__main__ import main
from vlamon.guard.checkpoint import disk
from vlamon.guard.forensics import load_kept, pack, reproduce

REBUILD = "tests.vlamon.guard.test_forensics:rebuild"


def rebuild(config: Mapping[str, Any]) -> tuple[nn.Module, Any]:
    """What a user's own module offers to `replay`."""
    toy = Toy(seed=int(config["seed"]))
    toy.model.train()

    def probe(batch: Any) -> ProbeResult:
        _, x, y = batch
        return ProbeResult(values={"closs": float(toy.loss((x, y)).detach())})

    return toy.model, probe


def explode(run_dir: Path, how: str, name: str = "rebuild") -> Toy:
    def far_off(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        return y * math.nan if how == "nan" else y + 300.0

    toy = Toy(run_dir, faults={4 * 160: far_off})
    place = f"tests.vlamon.guard.test_forensics:{name}"
    toy.guard.evidence._rebuild = Rebuild(place, {"seed": 3})
    toy.run(175)
    return toy


def test_the_failing_batch_is_measured_again_on_the_weights_of_that_moment(tmp_path: Path) -> None:
    explode(tmp_path, "finite")
    loaded = load_kept(tmp_path)
    rows = reproduce(loaded, rebuild)
    assert loaded.meta["step"] == 160
    assert [row.metric for row in rows] == ["closs"]
    assert rows[0].same
    assert rows[0].recorded > 10_000


@pytest.mark.parametrize("how", ["finite", "nan"])
def test_the_command_says_whether_it_explodes_again(tmp_path: Path, how: str) -> None:
    explode(tmp_path, how)
    result = CliRunner().invoke(main, ["replay", str(tmp_path), "--rebuild", REBUILD])
    assert result.exit_code == 0, result.output
    assert "explosion at step 160, attempt 0" in result.output
    assert "reproduced" in result.output


def test_an_explosion_that_was_in_neither_weights_nor_batch_is_not_reproduced(
    tmp_path: Path,
) -> None:
    toy = Toy(tmp_path)
    toy.guard.evidence._rebuild = Rebuild("tests.vlamon.guard.test_forensics:rebuild", {"seed": 3})
    step = toy.guard.start()
    for _ in range(161):
        batch, loss = toy.train_step()
        wrong = 1e9 if step == 160 else loss
        step = toy.guard.after_step(step, batch=batch, closs=wrong)
    toy.guard.close()
    result = CliRunner().invoke(main, ["replay", str(tmp_path), "--rebuild", REBUILD])
    assert result.exit_code == 1
    assert "not reproduced" in result.output


def test_only_the_newest_explosion_is_kept(tmp_path: Path) -> None:
    def far_off(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        toy.guard.evidence.close()  # while one is being written, another is not kept
        return y + 300.0

    Toy(tmp_path, mode="watch", faults={4 * 160: far_off, 4 * 200: far_off}).run(220)
    kept = [path.name for path in (tmp_path / "explosion").iterdir() if path.is_dir()]
    assert kept == ["step-000000200"]


def test_an_explosion_that_cannot_be_kept_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Batch:
        """Of the script's own kind: no checkpoint can hold it."""

    def own_batch(toy: Toy) -> Toy:
        step = toy.guard.start()
        while step < 20:
            _, loss = toy.train_step()
            wrong = math.nan if step == 10 and not toy.guard.ledger.attempt else loss
            step = toy.guard.after_step(step, batch=Batch(), closs=wrong)
        toy.guard.close()
        return toy

    (told,) = (data for _, data in own_batch(Toy(tmp_path / "a")).emitter.kinds("note"))
    assert "the explosion of step 10 is not kept on disk" in told["text"]
    assert "state.batch is a Batch, which a checkpoint cannot hold" in told["text"]

    def full(handle: int, piece: memoryview) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "_write_all", full)
    toy = explode(tmp_path / "b", "finite")
    notes = [data["text"] for _, data in toy.emitter.kinds("note")]
    assert any("is not kept" in text and "No space left on device" in text for text in notes)


def test_what_cannot_be_replayed_is_said_in_a_sentence(tmp_path: Path) -> None:
    empty = CliRunner().invoke(main, ["replay", str(tmp_path)])
    assert empty.exit_code == 2
    assert "holds no kept explosion" in empty.output
    explode(tmp_path, "finite")
    unnamed = CliRunner().invoke(main, ["replay", str(tmp_path)])
    assert unnamed.exit_code == 2
    assert "--rebuild MODULE:FUNCTION is needed" in unnamed.output
    assert f"its training named {REBUILD}" in unnamed.output
    lost = CliRunner().invoke(main, ["replay", str(tmp_path), "--rebuild", REBUILD + "s"])
    assert lost.exit_code == 2
    assert "cannot be imported" in lost.output


def test_a_directory_runs_nothing_that_it_names_and_nothing_that_lies_beside_it(
    tmp_path: Path,
) -> None:
    mark = tmp_path / "ran"
    toy = Toy(tmp_path, faults={4 * 160: lambda toy, y: y * math.nan})
    toy.guard.evidence._rebuild = Rebuild("hostile:run", {"path": str(mark)})
    toy.run(175)
    hostile = f"open({str(mark)!r}, 'w')\ndef run(config): open(config['path'], 'w')\n"
    (tmp_path / "hostile.py").write_text(hostile)
    for arguments in ([], ["--rebuild", "hostile:run"]):
        done = subprocess.run(
            [sys.executable, "-m", "vlamon.guard", "replay", ".", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, done.stdout
        assert not mark.exists()
    named = ["--rebuild", "hostile:run", "--import-from", "."]
    subprocess.run(
        [sys.executable, "-m", "vlamon.guard", "replay", ".", *named],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert mark.exists(), "the caller's own word"


def test_a_batch_of_dataclasses_is_packed_as_plain_containers() -> None:
    packed = pack([ProbeResult(values={"closs": 1.0}, samples=({"id": 4},))])
    assert packed == [
        {"values": {"closs": 1.0}, "per_sample": (), "samples": ({"id": 4},), "non_finite": ()}
    ]
