"""The files of a sharded checkpoint, written and read by a single process."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from vlamon.guard.checkpoint.sharded import Shards
from vlamon.guard.checkpoint.writer import Durable, DurableError
from vlamon.guard.state.sharding import named


def write_alone(store: Durable, step: int, value: float = 1.0, size: int = 4) -> Path:
    """A checkpoint of shards of a single rank."""
    layer = nn.Linear(size, 3)
    nn.init.constant_(layer.weight, value)
    state = {
        "parts": {"model": dict(layer.named_parameters()), "sampler": {"cursor": 5}},
        "rng": torch.full((3,), value),
    }
    shards = Shards(0, 1, list(named(state, {}, 0)))
    written = store.write_shards(step, state, shards, f"{os.getpid()}-test.{step}", {"of": step})
    assert written is not None
    return written.path


def test_a_checkpoint_that_does_not_fit_is_not_begun_on_any_rank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Durable(tmp_path)
    write_alone(store, 3)
    nearly = SimpleNamespace(f_bavail=4097, f_frsize=4096, f_blocks=10**6)
    monkeypatch.setattr(os, "statvfs", lambda path: nearly)
    with pytest.raises(DurableError, match=r"No space left.*step-000000003 is still in force"):
        write_alone(store, 4, size=4096)
    assert {path.name for path in tmp_path.iterdir()} == {"latest", "step-000000003"}


def test_any_tool_for_dcp_reads_the_checkpoint(tmp_path: Path) -> None:
    path = write_alone(Durable(tmp_path), 3)
    dcp_to_torch_save(path, tmp_path / "whole.pt")
    whole = torch.load(tmp_path / "whole.pt")
    assert torch.equal(whole["model"]["weight"], torch.ones(3, 4))
    assert whole["model"].keys() == {"weight", "bias"}


def test_a_checkpoint_of_shards_comes_back_whole_without_any_ranks(tmp_path: Path) -> None:
    write_alone(Durable(tmp_path), 3)
    loaded = Durable(tmp_path).load()
    assert loaded is not None
    assert (loaded.step, loaded.meta, loaded.ranks) == (3, {"of": 3}, 1)
    assert loaded.state["parts"]["sampler"] == {"cursor": 5}
    assert torch.equal(loaded.state["parts"]["model"]["weight"], torch.ones(3, 4))
    assert torch.equal(loaded.state["rng"], torch.ones(3))


@pytest.mark.parametrize("name", ["__0_0.distcp", ".metadata", "rank-00000.json", "manifest.json"])
@pytest.mark.parametrize("harm", ["flip", "cut", "gone"])
def test_a_damaged_file_is_named_and_the_checkpoint_before_is_used(
    tmp_path: Path, name: str, harm: str
) -> None:
    store = Durable(tmp_path)
    write_alone(store, 3)
    newest = write_alone(store, 4)
    data = bytearray((newest / name).read_bytes())
    data[len(data) // 2] ^= 0x10
    match harm:
        case "flip":
            (newest / name).write_bytes(data)
        case "cut":
            os.truncate(newest / name, 50)
        case "gone":
            (newest / name).unlink()
    loaded = store.load()
    assert loaded is not None
    assert loaded.step == 3
    assert str(newest) in loaded.passed_over[0]


class Code:
    """Runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('it ran')",))


def test_metadata_that_somebody_else_wrote_runs_no_code(tmp_path: Path) -> None:
    store = Durable(tmp_path)
    path = write_alone(store, 3)
    hostile = pickle.dumps(Code())
    (path / ".metadata").write_bytes(hostile)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"][".metadata"] = {
        "bytes": len(hostile),
        "sha256": hashlib.sha256(hostile).hexdigest(),
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DurableError, match=r"builtins\.exec has no place in a checkpoint"):
        store.load()
