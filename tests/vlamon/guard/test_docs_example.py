"""The example of docs/guard.md runs as it is printed, around a plain PyTorch loop."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import nn

GUIDE = Path(__file__).parents[3] / "docs" / "guard.md"


class Counting:
    """A sampler of one's own: an iterator with `state_dict`."""

    def __init__(self) -> None:
        self.at = 0

    def __next__(self) -> int:
        self.at += 1
        return self.at

    def state_dict(self) -> dict[str, int]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.at = state["at"]


def test_the_printed_example_trains_and_survives_a_broken_batch(tmp_path: Path) -> None:
    found = re.search(r"```python\n(.*?)```", GUIDE.read_text(), re.S)
    assert found is not None
    example = found[1].replace("/tmp/vla.sock", str(tmp_path / "vla.sock"))
    example = example.replace("runs/mine", str(tmp_path / "mine"))
    guard_lines = [line for line in example.splitlines() if "guard" in line.lower()]
    assert len(guard_lines) < 10
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    broken = {130}

    def loss_of(model: nn.Module, batch: int) -> torch.Tensor:
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(batch))
        y = x.sum(1, keepdim=True) + (1e4 if batch in broken else 0.0)
        loss: torch.Tensor = (model(x) - y).pow(2).mean() + 1.0
        return loss

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    names = {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1000),
        "sampler": Counting(),
        "loss_of": loss_of,
        "total": 160,
    }
    exec(compile(example, str(GUIDE), "exec"), names)
    told = (tmp_path / "mine" / "guard.jsonl").read_text()
    assert '"kind": "rollback"' in told
    assert float(loss_of(model, 7).detach()) < 20
