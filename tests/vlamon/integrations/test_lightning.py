"""Lightning, really training, with automatic and with manual optimisation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

L = pytest.importorskip("lightning", reason="needs the extra integrations")

import torch  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from tests.vlamon.emitter.emitted import journal_of, of_type, rows_of  # noqa: E402
from tests.vlamon.integrations.toy import Policy, Rows, digest, means  # noqa: E402
from vlamon.integrations.lightning import VlamonCallback  # noqa: E402
from vlamon.records import EpochRow  # noqa: E402


class Module(L.LightningModule):  # type: ignore[name-defined, misc]
    def __init__(self, manual: bool = False) -> None:
        super().__init__()
        self.policy = Policy()
        self.automatic_optimization = not manual

    def training_step(self, batch: Any, index: int) -> Any:
        output = self.policy(**batch)
        self.log("closs", output["closs"])
        if not self.automatic_optimization:
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(output["loss"])
            optimizer.step()
        return {"loss": output["loss"], "loss_ct": output["loss_ct"].detach()}

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", self.policy(**batch)["loss"])

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), 1e-3)


def trained(tmp_path: Path, callbacks: list[Any], manual: bool = False, **settings: Any) -> Policy:
    L.seed_everything(1, verbose=False)
    module = Module(manual)
    given: dict[str, Any] = {"max_steps": 60, "num_sanity_val_steps": 1, **settings}
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, callbacks=callbacks, **given,
    )  # fmt: skip
    loader = DataLoader(Rows(), 4, shuffle=True)
    trainer.fit(module, loader, DataLoader(Rows(8), 4))
    return module.policy


@pytest.mark.parametrize("manual", [False, True])
def test_every_step_has_the_components_of_its_batch(tmp_path: Path, manual: bool) -> None:
    callback = VlamonCallback(None, str(tmp_path / "run"))
    policy = trained(tmp_path, [callback], manual)
    rows = rows_of(journal_of(tmp_path / "run"))
    assert [step for step, _ in rows] == list(range(1, 61))
    for name in ("closs", "loss_ct", "loss"):
        assert [values[name] for _, values in rows] == means(policy.seen, name, 1)
    assert rows[0][1]["lr"] == 1e-3


def test_micro_batches_of_a_step_are_one_row_with_their_mean(tmp_path: Path) -> None:
    callback = VlamonCallback(None, str(tmp_path / "run"))
    policy = trained(tmp_path, [callback], accumulate_grad_batches=3, max_steps=20)
    rows = rows_of(journal_of(tmp_path / "run"))
    assert [step for step, _ in rows] == list(range(1, 21))
    for name in ("closs", "loss_ct", "loss"):
        expected = means(policy.seen, name, 3)
        assert [values[name] for _, values in rows] == pytest.approx(expected, rel=1e-6)


def test_the_training_is_bit_identical_to_one_without(tmp_path: Path) -> None:
    without = trained(tmp_path, [], accumulate_grad_batches=2)
    watched = trained(
        tmp_path, [VlamonCallback(None, str(tmp_path / "run"))], accumulate_grad_batches=2
    )
    assert digest(watched) == digest(without)


def test_validations_are_epochs_of_their_own(tmp_path: Path) -> None:
    trained(tmp_path, [VlamonCallback(None, str(tmp_path / "run"))], max_steps=120)
    evaluations = of_type(journal_of(tmp_path / "run"), EpochRow)
    assert [(row.split, row.step) for row in evaluations] == [("val", 60), ("val", 120)]
    assert all("loss" in row.metrics for row in evaluations)
