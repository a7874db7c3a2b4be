"""Sharded trainings over gloo: exact return, durable parts, and what happens when a rank fails."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.checkpoint.filesystem import FileSystemReader

CHECKPOINT = ["checkpoint", {}]
BACK = ["rollback", {"data": "replay"}]
DOOMED = {"name": "doomed", "dir": "a", "total": 60, "orders": {20: CHECKPOINT}}
Results = dict[str, list[dict[str, Any]]]


def ranks(count: int, root: Path, plans: list[dict[str, Any]], dies: int | None = None) -> Results:
    """Run plans on so many ranks; results by plan and rank."""
    # Ranks meet in a file: a free port may be another test's before they have it.
    meeting = f"file://{root}/meeting-{uuid.uuid4().hex}"
    command = [
        sys.executable,
        "-m",
        "tests.vlamon.guard.checkpoint.sharded_training",
        str(root),
        json.dumps(plans),
    ]
    shared = {"WORLD_SIZE": str(count), "MEETING": meeting}
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, **shared, "RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    results: Results = {}
    for rank, process in enumerate(processes):
        out, errors = process.communicate(timeout=240)
        if rank == dies:
            assert process.returncode == -9, (process.returncode, errors[-3000:])
            continue
        assert process.returncode == 0, (process.returncode, out[-500:], errors[-3000:])
        for name, result in json.loads(out.split("RESULT")[1]).items():
            results.setdefault(name, []).append(result)
    return results


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sharded")


@pytest.fixture(scope="module")
def killed(root: Path) -> Results:
    """Two ranks: an uninterrupted run, one to a checkpoint, one whose rank 1 dies in the next."""
    plans = [
        {"name": "whole", "dir": "w", "total": 40},
        {"name": "first", "dir": "a", "total": 13, "orders": {12: CHECKPOINT}},
        {**DOOMED, "breaks_at": 20, "how": "dies", "settings": {"stall": 1.0}},
    ]
    return ranks(2, root, plans, dies=1)


@pytest.fixture(scope="module")
def again(root: Path, killed: Results) -> Results:
    """Two new processes on what was left, and the ways back to a snapshot."""
    kept = {"settings": {"slots": 0}, "settle_after": [12, 30]}
    to_disk = ["rollback", {"to": 12, "data": "replay"}]
    orders = {12: CHECKPOINT, 20: to_disk, 30: CHECKPOINT}
    slow = {"breaks_at": 1, "how": "slow", "settings": {"durable_every": 2}}
    three_times = {12: CHECKPOINT, 20: CHECKPOINT, 30: CHECKPOINT}
    once = {"orders": three_times, "settle_after": [12, 20, 30]}
    full = {"orders": {12: CHECKPOINT, 20: CHECKPOINT}, "settle_after": [12, 20]}
    plans = [
        {"name": "whole", "dir": "v", "total": 40},
        {"name": "resumed", "dir": "a", "total": 40, "seed": 7},
        {"name": "ring", "dir": "r", "total": 40, "orders": {20: BACK}},
        {"name": "durable", "dir": "d", "total": 40, "orders": orders, **kept},
        {"name": "corrupt", "dir": "d", "total": 15, "corrupt": "step-000000030/__1_0.distcp"},
        {"name": "full", "dir": "f", "total": 40, "breaks_at": 15, "how": "full", **full},
        {"name": "once", "dir": "o", "total": 40, "breaks_at": 15, "how": "full once", **once},
        {"name": "copies", "dir": "c", "total": 13, "orders": {12: CHECKPOINT}, "mesh": [2, 1]},
        {"name": "of copies", "dir": "c", "total": 13, "seed": 7},
        {"name": "poison", "dir": "n", "total": 20, "poison": 15},
        {"name": "slow 0", "dir": "s0", "total": 40, "shard": False, "breaks_on": 0, **slow},
        {"name": "slow 1", "dir": "s1", "total": 40, **slow},
    ]
    return ranks(2, root, plans)


@pytest.fixture(scope="module")
def three(root: Path, killed: Results) -> Results:
    """Three ranks on what two have written."""
    plans = [
        {"name": "sharded", "dir": "a", "total": 13, "seed": 7, "dcp": "step-000000012"},
        {"name": "plain", "dir": "a", "total": 13, "seed": 7, "shard": False},
        {"name": "replicas", "dir": "p", "total": 13, "orders": {12: CHECKPOINT}, "shard": False},
        {"name": "cut", "dir": "p", "total": 13, "seed": 7},
        {"name": "goes on", "dir": "a", "total": 16, "seed": 7},
        {"name": "flat", "dir": "a", "total": 13, "seed": 7, "shard": "fsdp1"},
    ]
    return ranks(3, root, plans)


@pytest.fixture(scope="module")
def flat(root: Path, killed: Results) -> Results:
    """Two ranks under FSDP1: an uninterrupted run, one that is resumed, and ways back."""
    fsdp1: dict[str, Any] = {"shard": "fsdp1"}
    zero: dict[str, Any] = {"shard": False, "zero": True}
    old = {**fsdp1, "use_orig_params": False}
    kept = {"settings": {"slots": 0}, "settle_after": [12]}
    to_disk = ["rollback", {"to": 12, "data": "replay"}]
    plans = [
        {"name": "whole", "dir": "f0", "total": 40, **fsdp1},
        {"name": "first", "dir": "f1", "total": 13, "orders": {12: CHECKPOINT}, **fsdp1},
        {"name": "resumed", "dir": "f1", "total": 40, "seed": 7, **fsdp1},
        {"name": "durable", "dir": "f2", "total": 40, "orders": {12: CHECKPOINT, 20: to_disk},
         **kept, **fsdp1},
        {"name": "ring", "dir": "f3", "total": 40, "orders": {20: BACK}, **fsdp1},
        {"name": "as fsdp2", "dir": "f1", "total": 13, "seed": 7},
        {"name": "without orig params", "dir": "f1", "total": 13, "seed": 7, **old},
        {"name": "zero whole", "dir": "z0", "total": 40, **zero},
        {"name": "zero first", "dir": "z1", "total": 13, "orders": {12: CHECKPOINT}, **zero},
        {"name": "zero resumed", "dir": "z1", "total": 40, "seed": 7, **zero},
        {"name": "zero ring", "dir": "z2", "total": 40, "orders": {20: BACK}, **zero},
        {"name": "of fsdp2", "dir": "a", "total": 13, "seed": 7, **fsdp1},
    ]  # fmt: skip
    return ranks(2, root, plans)


@pytest.mark.parametrize("place", ["resumed", "durable", "ring"])
def test_fsdp1_goes_back_and_resumes_bit_for_bit(flat: Results, place: str) -> None:
    for whole, back in zip(flat["whole"], flat[place], strict=True):
        assert back["trail"][0] == (13 if place == "resumed" else 0)
        assert back["trail"].count(18) == (1 if place == "resumed" else 2)
        assert exact(back) == exact(whole)


@pytest.mark.parametrize("place", ["resumed", "ring"])
def test_zero_1_goes_back_and_resumes_with_every_ranks_share_of_the_optimizer(
    flat: Results, place: str
) -> None:
    for whole, back in zip(flat["zero whole"], flat[f"zero {place}"], strict=True):
        assert back["trail"].count(18) == (1 if place == "resumed" else 2)
        assert exact(back) == exact(whole)


def test_fsdp1_and_fully_shard_take_up_what_the_other_wrote(killed: Results, flat: Results) -> None:
    for name in ("as fsdp2", "without orig params"):
        assert all(result["shared"] == flat["first"][0]["shared"] for result in flat[name])
    (of_fsdp2,) = killed["first"]  # its rank 1 was killed later on
    for result in flat["of fsdp2"]:
        assert result["shared"] == of_fsdp2["shared"], (result["trail"], result["events"])


def exact(result: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(result[key] for key in ("shared", "own", "cursor"))


def texts(result: dict[str, Any], kind: str) -> list[str]:
    return [text for name, _, text in result["events"] if name == kind]


def test_a_rank_killed_in_the_middle_of_its_part_leaves_the_previous_checkpoint_in_force(
    root: Path, killed: Results
) -> None:
    (doomed,) = killed["doomed"]
    assert "lost" in doomed
    told = texts(doomed, "checkpoint")
    assert "a rank is gone, or did not answer in time" in told[-1]
    assert "step-000000012 is still in force" in told[-1]
    names = sorted(path.name for path in (root / "a" / "checkpoints").iterdir())
    assert names[0] == "latest"
    assert "step-000000020" not in names
    assert not [name for name in names if name.startswith(".writing")]


def test_a_killed_training_resumes_bit_for_bit_on_as_many_ranks(again: Results) -> None:
    for whole, resumed in zip(again["whole"], again["resumed"], strict=True):
        assert resumed["sharded"]
        assert resumed["trail"][0] == 13
        assert exact(resumed) == exact(whole)
    one, two = again["resumed"]
    assert one["shared"] == two["shared"]
    assert one["own"] != two["own"]


@pytest.mark.parametrize("place", ["ring", "durable"])
def test_a_rollback_puts_every_ranks_shards_back_in_place(again: Results, place: str) -> None:
    for whole, back in zip(again["whole"], again[place], strict=True):
        assert back["trail"].count(18) == 2
        assert back["sharded"]
        assert exact(back) == exact(whole)
    where = "(ring)" if place == "ring" else "step-000000012)"
    assert where in texts(again[place][0], "rollback")[0]


def test_a_corrupt_shard_is_named_and_all_ranks_use_the_checkpoint_before(again: Results) -> None:
    # Of step 13, the first of the branch that the rollback began.
    assert [result["trail"] for result in again["corrupt"]] == [[14], [14]]
    told = texts(again["corrupt"][0], "checkpoint")[0]
    assert "step-000000030/__1_0.distcp is corrupt: its sha256 is" in told


def test_a_full_disk_of_one_rank_is_reported_and_the_training_goes_on(
    root: Path, again: Results
) -> None:
    for whole, full in zip(again["whole"], again["full"], strict=True):
        assert exact(full) == exact(whole)
    told = texts(again["full"][0], "checkpoint")
    assert any("rank 1: No space left on device; step-000000012 is still" in text for text in told)
    names = {path.name for path in (root / "f" / "checkpoints").iterdir()}
    assert names == {"latest", "step-000000012"}


def test_the_checkpoint_after_one_that_failed_is_written(root: Path, again: Results) -> None:
    for whole, once in zip(again["whole"], again["once"], strict=True):
        assert exact(once) == exact(whole)
    assert any("No space left" in text for text in texts(again["once"][0], "checkpoint"))
    names = {path.name for path in (root / "o" / "checkpoints").iterdir()}
    assert names == {"latest", "step-000000012", "step-000000030"}


@pytest.mark.parametrize("count", [1, 4])
def test_any_number_of_ranks_takes_up_what_two_have_written(
    root: Path, killed: Results, count: int
) -> None:
    plan = {"name": "sharded", "dir": "a", "total": 13, "seed": 7}
    found = ranks(count, root, [plan])["sharded"]
    assert len(found) == count
    for result in found:
        assert result["sharded"]
        assert result["shared"] == killed["first"][0]["shared"]


def test_a_shard_that_has_copies_is_written_once(root: Path, again: Results) -> None:
    folder = root / "c" / "checkpoints" / "step-000000012"
    metadata = FileSystemReader(folder).read_metadata()
    for name, described in metadata.state_dict_metadata.items():
        held = sum(math.prod(chunk.sizes) for chunk in described.chunks)
        assert held == math.prod(described.size), name
    assert len(metadata.storage_data) == sum(
        len(described.chunks) for described in metadata.state_dict_metadata.values()
    )
    for copied, resumed in zip(again["copies"], again["of copies"], strict=True):
        assert resumed["shared"] == copied["shared"]


def test_a_shard_that_is_not_finite_keeps_all_ranks_from_stepping(again: Results) -> None:
    for whole, poisoned in zip(again["whole"], again["poison"], strict=True):
        assert poisoned["steps"] == 19
        assert poisoned["finite"]
        assert whole["steps"] == 40


@pytest.mark.parametrize("plan", ["slow 0", "slow 1"])
def test_no_rank_waits_in_vain_for_one_that_still_writes(again: Results, plan: str) -> None:
    assert [result["trail"] for result in again[plan]] == [list(range(40))] * 2
    assert len(texts(again[plan][0], "checkpoint")) >= 1
    assert {at for kind, at, _ in again[plan][0]["events"] if kind == "checkpoint"} != {-1}


def test_three_ranks_under_fsdp1_take_up_what_two_have_written(
    killed: Results, three: Results
) -> None:
    for result in three["flat"]:
        assert result["shared"] == killed["first"][0]["shared"]


def test_three_ranks_take_up_what_two_have_written(killed: Results, three: Results) -> None:
    for result in three["sharded"]:
        assert result["sharded"]
        assert result["shared"] == killed["first"][0]["shared"]
        assert result["cursor"] == 4 * 13
    said = texts(three["sharded"][0], "note")[0]
    assert "was written by 2 ranks and resumed by 3" in said
    assert "the sampler goes on where it was" in said
    assert [result["trail"] for result in three["goes on"]] == [[13, 14, 15]] * 3


def test_ranks_without_shards_take_up_a_sharded_checkpoint(killed: Results, three: Results) -> None:
    for result in three["plain"]:
        assert not result["sharded"]
        assert result["shared"] == killed["first"][0]["shared"]


def test_a_checkpoint_of_replicas_is_cut_for_a_sharded_training(three: Results) -> None:
    for result in three["cut"]:
        assert result["sharded"]
        assert result["shared"] == three["replicas"][0]["shared"]


def test_torch_distributed_checkpoint_reads_the_same(three: Results) -> None:
    for result in three["sharded"]:
        count = len(result["dcp"]) // 2
        moments = [result["shared"][count + 3 * i] for i in range(count)]
        assert result["dcp"] == result["shared"][:count] + moments
