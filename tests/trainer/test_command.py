"""`python -m trainer` as it is typed: alone, with commands to it, under torchrun."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trainer.trainings import SMALL
from tests.vlamon.emitter.emitted import journal_of
from vlamon.guard.checkpoint.writer import Durable
from vlamon.records import BatchBlock, Event
from vlamon.sources.journal import JournalSource

SETTINGS = [part for override in SMALL for part in ("--set", override)]
TRAINER = (sys.executable, "-m", "trainer", "--preset", "micro")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def trainer(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TRAINER, *arguments],
        capture_output=True,
        text=True,
        timeout=400,
        env=ENVIRONMENT,
        check=False,
        **options,  # type: ignore[call-overload]
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--set", "lrr=1"], "no setting is called 'lrr'; did you mean lr?"),
        (["--induce", "boom@3"], "write KIND@SAMPLE"),
        (["--set", "data.records=/nowhere.json"], "/nowhere.json cannot be read"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, tmp_path: Path
) -> None:
    done = trainer("--run-dir", str(tmp_path), *SETTINGS, *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_resuming_without_a_checkpoint_begins(tmp_path: Path) -> None:
    done = trainer("--run-dir", str(tmp_path), "--steps", "2", "--resume", *SETTINGS)
    assert done.returncode == 0, done.stderr


def test_a_checkpoint_that_lacks_something_is_named_in_one_sentence(tmp_path: Path) -> None:
    assert trainer("--run-dir", str(tmp_path), "--steps", "2", *SETTINGS).returncode == 0
    store = Durable(tmp_path / "checkpoints")
    loaded = store.load()
    assert loaded is not None
    del loaded.state["parts"]["clipping"]["limit"]
    lacking = store.write(2, loaded.state, loaded.meta)
    done = trainer("--run-dir", str(tmp_path), "--steps", "4", "--resume", *SETTINGS)
    assert done.returncode == 2
    assert f"{lacking.path} does not fit this training: clipping" in done.stderr
    assert "lacks 'limit'; resume with the version" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_resume_from_damaged_checkpoints_alone_is_one_sentence_and_deletes_nothing(
    tmp_path: Path,
) -> None:
    assert trainer("--run-dir", str(tmp_path), "--steps", "2", *SETTINGS).returncode == 0
    (damaged,) = (tmp_path / "checkpoints").glob("step-*/tensors.bin")
    data = bytearray(damaged.read_bytes())
    data[100] ^= 1
    damaged.write_bytes(data)
    done = trainer("--run-dir", str(tmp_path), "--steps", "4", "--resume", *SETTINGS)
    assert done.returncode == 2
    assert f"no checkpoint can be loaded: {damaged} is corrupt: its sha256 is" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert damaged.read_bytes() == data


def test_a_resume_with_another_seed_is_one_sentence(tmp_path: Path) -> None:
    assert trainer("--run-dir", str(tmp_path), "--steps", "2", *SETTINGS).returncode == 0
    again = ("--run-dir", str(tmp_path), "--steps", "4", "--resume", "--seed", "5", *SETTINGS)
    done = trainer(*again)
    assert done.returncode == 2
    assert "start it with --seed 0" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_scheduler_s_signal_ends_at_the_next_step_with_a_checkpoint(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [*TRAINER, *SETTINGS, "--run-dir", str(tmp_path), "--steps", "100000"],
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    process.communicate(timeout=300)
    assert process.returncode == 0
    assert (tmp_path / "checkpoints" / "latest").is_file()


def test_two_ranks_share_the_samples_and_rank_0_reports_both_losses(tmp_path: Path) -> None:
    done = subprocess.run(
        [*TORCHRUN, *TRAINER[1:], *SETTINGS, "--run-dir", str(tmp_path), "--steps", "20"],
        capture_output=True,
        text=True,
        timeout=400,
        env=ENVIRONMENT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    source = JournalSource(tmp_path / "run.vlaj")
    rows: dict[str, list[float]] = {"closs": [], "closs_rank1": []}
    while not source.finished:
        for block in source.read(0.1):
            if isinstance(block, BatchBlock):
                for name, values in rows.items():
                    values += block.columns[name].values.tolist()
    source.close()
    assert len(rows["closs"]) == len(rows["closs_rank1"]) == 20
    # The reported closs is the mean of both; rank 1 sees other samples than rank 0.
    assert all(a != b for a, b in zip(rows["closs"], rows["closs_rank1"], strict=True))
    assert json.loads((tmp_path / "run.json").read_text())["ranks"] == 2
    assert (tmp_path / "log_train.txt").read_text().count("\n") == 1


def test_a_signal_to_rank_1_alone_ends_both_ranks_with_a_checkpoint(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = [
        subprocess.Popen(
            [*TRAINER, *SETTINGS, "--run-dir", str(tmp_path), "--steps", "100000"],
            stdout=subprocess.PIPE,
            env={**ENVIRONMENT, **meeting, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            text=True,
        )
        for rank in range(2)
    ]
    try:
        assert ranks[0].stdout is not None
        while "Epoch" not in ranks[0].stdout.readline():  # then both are amid their steps
            assert ranks[0].poll() is None
        ranks[1].send_signal(signal.SIGTERM)
        for process in ranks:
            process.communicate(timeout=300)
    finally:
        for process in ranks:
            process.kill()
    assert [process.returncode for process in ranks] == [0, 0]
    (told,) = [r for r in journal_of(tmp_path) if isinstance(r, Event) and "told to end" in r.text]
    assert "on rank 1" in told.text
    assert (tmp_path / "checkpoints" / "latest").is_file()
