"""Durable checkpoints: exact, checked, and intact whatever happens to the writer."""

from __future__ import annotations

import io
import json
import math
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from vlamon.guard.checkpoint import disk, writer
from vlamon.guard.checkpoint.writer import Durable, DurableError, Writer


def state(step: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(step)
    return {
        "model": {
            "weight": torch.randn(200, 300, generator=generator),
            "half": torch.randn(7, generator=generator).bfloat16(),
            "mask": torch.tensor([True, False]),
            "empty": torch.empty(0, 3),
        },
        "optimizer": {
            "state": {0: {"step": torch.tensor(float(step))}, 1: {"step": 5}},
            "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.95), "params": [0, 1]}],
        },
        "rng": {"python": random.getstate(), "numpy": np.random.get_state()},
        "odd": [math.inf, None, b"\x00\xff", {1, 2}, torch.float32, np.float64(0.1)],
        "step": step,
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return bool(a == b)


def test_a_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    store = Durable(tmp_path)
    store.write(7, state(7), {"attempt": 2})
    loaded = store.load()
    assert loaded is not None
    assert same(loaded.state, state(7))
    assert (loaded.step, loaded.meta, loaded.passed_over) == (7, {"attempt": 2}, ())


def test_nothing_written_is_nothing_loaded(tmp_path: Path) -> None:
    assert Durable(tmp_path / "none").load() is None


def test_retention_keeps_the_newest_and_latest_names_the_last(tmp_path: Path) -> None:
    store = Durable(tmp_path, keep=2)
    for step in (10, 20, 30, 20):
        store.write(step, state(step))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["latest", "step-000000020.1", "step-000000030"]
    assert (tmp_path / "latest").read_text().strip() == "step-000000020.1"


def test_a_clock_that_was_set_back_retires_no_newer_checkpoint(tmp_path: Path) -> None:
    store = Durable(tmp_path, keep=2)
    for step in (10, 20, 30):
        path = store.write(step, state(step)).path
        os.utime(path / "manifest.json", (1e9 - step, 1e9 - step))
    (tmp_path / "latest").unlink()
    assert [path.name for path in store.candidates()] == ["step-000000030", "step-000000020"]


def test_the_left_overs_of_a_killed_process_are_cleared_before_space_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Durable(tmp_path)
    store.write(1, state(1))
    stale = tmp_path / ".writing-000000002-999999-7"
    stale.mkdir()
    (stale / "tensors.bin").write_bytes(bytes(1000))
    (tmp_path / ".latest-999999").write_text("step-000000002")
    real = disk.make_room

    def told(root: Path, size: int) -> None:
        assert not stale.exists()
        real(root, size)

    monkeypatch.setattr(writer, "make_room", told)
    store.write(3, state(3))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"latest", "step-000000001", "step-000000003"}


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    with disk.hidden_directory(tmp_path / ".writing-000000002-999999-7") as living:
        (living / "tensors.bin").write_bytes(bytes(1000))
        Durable(tmp_path).write(1, state(1))
        assert (living / "tensors.bin").exists()
    assert not living.exists()


def test_a_checkpoint_that_does_not_fit_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that failed half-way would leave the journal beside it without space."""
    store = Durable(tmp_path)
    store.write(1, state(1))
    found, opened = os.statvfs(tmp_path), []
    nearly = SimpleNamespace(f_bavail=4100, f_frsize=4096, f_blocks=found.f_blocks)
    real = os.open

    def watched(path: Any, *arguments: Any, **options: Any) -> int:
        opened.append(str(path))
        return real(path, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, "statvfs", lambda path: nearly)
        patched.setattr(os, "open", watched)
        with pytest.raises(DurableError, match=r"it takes 0 MB, 17 MB are free, and 17 MB stay"):
            store.write(2, state(2))
    assert not [path for path in opened if path.endswith("tensors.bin")]
    assert store.write(2, state(2)).step == 2, "space came back"


def test_the_directories_above_the_first_checkpoint_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = set()
    real = os.fsync

    def fsync(handle: int) -> None:
        synced.add(os.readlink(f"/proc/self/fd/{handle}"))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    root = tmp_path / "run" / "checkpoints"
    Durable(root).write(1, state(1))
    assert {str(tmp_path), str(tmp_path / "run"), str(root)} <= synced


@pytest.mark.parametrize("name", ["tensors.bin", "state.json", "manifest.json"])
def test_a_flipped_bit_is_named_and_the_checkpoint_before_is_used(
    tmp_path: Path, name: str
) -> None:
    store = Durable(tmp_path)
    store.write(1, state(1))
    newest = store.write(2, state(2)).path
    data = bytearray((newest / name).read_bytes())
    data[len(data) // 2] ^= 0x10
    (newest / name).write_bytes(data)
    loaded = store.load()
    assert loaded is not None
    assert loaded.step == 1
    assert str(newest) in loaded.passed_over[0]
    if name == "tensors.bin":
        assert "tensors.bin is corrupt: its sha256 is" in loaded.passed_over[0]


@pytest.mark.parametrize("name", ["tensors.bin", "state.json", "manifest.json"])
def test_a_truncated_file_is_named_and_the_checkpoint_before_is_used(
    tmp_path: Path, name: str
) -> None:
    store = Durable(tmp_path)
    store.write(1, state(1))
    newest = store.write(2, state(2)).path
    os.truncate(newest / name, 100)
    loaded = store.load()
    assert loaded is not None
    assert loaded.step == 1


def test_what_is_said_about_a_state_may_hold_tensors_and_files(tmp_path: Path) -> None:
    store, stream = Durable(tmp_path), torch.Generator().manual_seed(3).get_state()
    for tensor in (
        stream,
        torch.tensor(2.5),
        torch.zeros(0, 3),
        torch.ones(2, dtype=torch.bfloat16),
    ):
        store.write(1, state(1), {"place": [tensor], "file": io.BytesIO(b"kept")})
        loaded = store.load()
        assert loaded is not None
        (again,) = loaded.meta["place"]
        assert again.dtype == tensor.dtype
        assert again.shape == tensor.shape
        assert torch.equal(again, tensor)
        assert loaded.meta["file"].getvalue() == b"kept"


def test_when_every_checkpoint_is_damaged_each_is_named(tmp_path: Path) -> None:
    store = Durable(tmp_path)
    for step in (1, 2):
        os.truncate(store.write(step, state(step)).path / "tensors.bin", 5)
    with pytest.raises(DurableError, match=r"step-000000002.*step-000000001"):
        store.load()


def test_a_value_that_no_checkpoint_can_hold_is_named_by_its_place(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"state\.sampler\.stream is a SimpleNamespace"):
        Durable(tmp_path).write(1, {"sampler": {"stream": SimpleNamespace()}})
    assert Durable(tmp_path).load() is None


def test_a_full_disk_leaves_the_previous_checkpoint_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Durable(tmp_path)
    store.write(1, state(1))
    real = os.write

    def full(handle: int, data: Any) -> int:
        if len(data) > 50_000:
            raise OSError(28, "No space left on device")
        return real(handle, data)

    monkeypatch.setattr(writer.os, "write", full)
    with pytest.raises(DurableError, match=r"No space left.*step-000000001 is still in force"):
        store.write(2, state(2))
    monkeypatch.undo()
    loaded = store.load()
    assert loaded is not None
    assert loaded.step == 1
    assert not list(tmp_path.glob(".writing-*"))


def test_a_writer_thread_reports_success_and_failure_with_its_token(tmp_path: Path) -> None:
    writer = Writer(Durable(tmp_path))
    writer.start(1, state(1), {}, token="first")
    writer.start(2, {"bad": object()}, {}, token="second")
    writer.wait()
    outcomes = dict(writer.outcomes())
    assert outcomes["first"].step == 1
    assert "state.bad is a object" in str(outcomes["second"])


VICTIMS = """
import os, signal, sys
from pathlib import Path
import torch
import torch.distributed as dist
from vlamon.guard.checkpoint.sharded import Shards
from vlamon.guard.checkpoint.writer import Durable
from vlamon.guard.state.sharding import named

def mortal(function, deadline, calls=[0]):
    def wrapped(*args, **options):
        calls[0] += 1
        if calls[0] == deadline:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **options)
    return wrapped

def write(root, rank, ranks, deadline):
    if ranks > 1:
        place = {"rank": rank, "world_size": ranks}
        dist.init_process_group("gloo", init_method="file://" + root + ".met", **place)
    if deadline:
        for name in ("open", "write", "fsync", "rename", "mkdir", "close", "unlink", "rmdir"):
            setattr(os, name, mortal(getattr(os, name), deadline))
    store, state = Durable(Path(root), keep=1), {"w": torch.full((3_000_000,), 2.0), "step": 2}
    if ranks == 1:
        store.write(2, state)
    else:
        shards = Shards(rank, ranks, list(named(state, {}, rank)), dist.group.WORLD)
        store.write_shards(2, state, shards, f"{os.getppid()}-shared", {})

def victim(root, rank, ranks, deadline):
    code = 3
    try:
        write(root, rank, ranks, deadline)
        code = 0
    except Exception as error:
        code = 4 if "a rank is gone" in str(error) else 5
    finally:
        os._exit(code)

for line in sys.stdin:
    deadline, ranks, dying, root = line.rstrip().split(" ", 3)
    children = []
    for rank in range(int(ranks)):
        child = os.fork()
        if child == 0:
            mine = int(deadline) if rank == int(dying) else 0
            victim(root, rank, int(ranks), mine)
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    print(*statuses, flush=True)
"""


@pytest.fixture
def victims() -> Iterator[subprocess.Popen[str]]:
    """A process that forks the victims of a line: torch is imported once, and no thread pool that
    a fork would tear is ever running in it."""
    with subprocess.Popen(
        [sys.executable, "-c", VICTIMS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        yield process
        process.kill()


def _dies_at(victims: subprocess.Popen[str], root: Path, call: int, ranks: int, dying: int) -> bool:
    assert victims.stdin is not None
    assert victims.stdout is not None
    victims.stdin.write(f"{call} {ranks} {dying} {root}\n")
    victims.stdin.flush()
    statuses = [int(word) for word in victims.stdout.readline().split()]
    died = statuses.pop(dying)
    assert died in (0, signal.SIGKILL), died
    # The other rank was done before, or is told that one is gone.
    assert all(os.waitstatus_to_exitcode(status) in (0, 4) for status in statuses), statuses
    return died == signal.SIGKILL


def _intact(root: Path) -> int:
    loaded = Durable(root).load()
    assert loaded is not None
    assert loaded.passed_over == ()
    assert bool((loaded.state["w"] == float(loaded.step)).all())
    return loaded.step


@pytest.mark.parametrize(("ranks", "dying"), [(1, 0), (2, 0), (2, 1)])
def test_death_at_every_system_call_of_a_write_leaves_a_loadable_latest(
    tmp_path: Path, victims: subprocess.Popen[str], ranks: int, dying: int
) -> None:
    """Rank 0 puts the checkpoint of both ranks in force; rank 1 only writes its pieces."""
    seen, call = [], 0
    while True:
        call += 1
        root = tmp_path / str(call)
        Durable(root).write(1, {"w": torch.full((1000,), 1.0), "step": 1})
        died = _dies_at(victims, root, call, ranks, dying)
        seen.append(_intact(root))
        Durable(root, keep=1).write(3, {"w": torch.full((10,), 3.0), "step": 3})
        assert {path.name for path in root.iterdir()} == {"latest", "step-000000003"}
        if not died:
            break
    assert call > (8 if dying else 20)
    assert seen == sorted(seen)
    assert set(seen) == {1, 2}


@pytest.mark.slow
def test_kill_9_at_random_moments_leaves_a_loadable_latest(tmp_path: Path) -> None:
    script = (
        "import sys, torch; from pathlib import Path\n"
        "from vlamon.guard.checkpoint.writer import Durable\n"
        "store = Durable(Path(sys.argv[1]), keep=2)\n"
        "print('go', flush=True)\n"
        "for step in range(2, 100000):\n"
        "    store.write(step, {'w': torch.full((2_000_000,), float(step)), 'step': step})\n"
    )
    rng = random.Random(4)
    Durable(tmp_path).write(1, {"w": torch.full((1000,), 1.0), "step": 1})
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE
        ) as victim:
            assert victim.stdout is not None
            victim.stdout.readline()
            try:
                victim.wait(timeout=rng.uniform(0.02, 0.5))
            except subprocess.TimeoutExpired:
                victim.send_signal(signal.SIGKILL)
        assert _intact(tmp_path) >= 1


def test_the_manifest_holds_size_and_digest_of_every_file(tmp_path: Path) -> None:
    path = Durable(tmp_path).write(1, state(1)).path
    files = json.loads((path / "manifest.json").read_text())["files"]
    assert {name: entry["bytes"] for name, entry in files.items()} == {
        name: (path / name).stat().st_size for name in ("tensors.bin", "state.json")
    }
    assert all(len(entry["sha256"]) == 64 for entry in files.values())
