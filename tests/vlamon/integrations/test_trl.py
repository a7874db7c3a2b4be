"""TRL's SFTTrainer, really fine-tuning a language model of a few thousand parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="needs the extra integrations")

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from tests.vlamon.emitter.emitted import journal_of, of_type, rows_of
from tests.vlamon.integrations.test_transformers_guard import HotSteps
from vlamon.integrations.transformers import VlamonCallback
from vlamon.records import Event

SENTENCE = "pick up the red green blue block and put it on plate"
WORDS = ["<pad>", "<eos>", "<unk>", *SENTENCE.split()]


class Remembering(SFTTrainer):
    """Keeps the mean loss of every micro-batch, which is trained on as a share of the step's."""

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **given: Any) -> Any:
        tokens = int((inputs["labels"][:, 1:] != -100).sum())
        loss = super().compute_loss(model, inputs, *args, **given)
        mean = float(loss.detach()) * float(given["num_items_in_batch"]) / tokens
        self.losses = [*getattr(self, "losses", []), mean]
        return loss


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )


def trained(tmp_path: Path, callbacks: list[Any], steps: int) -> list[float]:
    torch.manual_seed(1)
    shape = GPT2Config(
        vocab_size=len(WORDS), n_positions=32, n_embd=16, n_layer=1, n_head=2,
        bos_token_id=1, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    model = GPT2LMHeadModel(shape)
    colours = ("red", "green", "blue")
    texts = [f"pick up the {a} block and put it on the {b} plate" for a in colours for b in colours]
    settings = SFTConfig(
        str(tmp_path / "out"), per_device_train_batch_size=2, max_steps=steps, learning_rate=3e-3,
        gradient_accumulation_steps=2, use_cpu=True, bf16=False, report_to="none",
        save_strategy="no", disable_tqdm=True, logging_steps=10, seed=3,
    )  # fmt: skip
    rows = Dataset.from_dict({"text": texts * 4})
    trainer = Remembering(
        model, settings, train_dataset=rows, processing_class=tokenizer(), callbacks=callbacks
    )
    trainer.train()
    return trainer.losses


def test_every_step_has_the_mean_loss_of_its_micro_batches(tmp_path: Path) -> None:
    micro = trained(tmp_path, [VlamonCallback(None, str(tmp_path / "run"))], 60)
    rows = rows_of(journal_of(tmp_path / "run"))
    assert [step for step, _ in rows] == list(range(1, 61))
    expected = [(a + b) / 2 for a, b in zip(micro[::2], micro[1::2], strict=True)]
    assert [values["loss"] for _, values in rows] == pytest.approx(expected, rel=1e-6)


def test_an_explosion_of_a_fine_tuning_is_taken_back(tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained(tmp_path, [HotSteps(), VlamonCallback(None, str(run), guard="auto")], 260)
    records = journal_of(run)
    rollbacks = [e for e in of_type(records, Event) if e.kind == "rollback"]
    assert len(rollbacks) == 1
    losses = [values["loss"] for _, values in rows_of(records)]
    assert max(losses[149:152]) > 2 * max(losses[129:149])
    assert max(losses[-20:]) < 1.2 * max(losses[129:149])
