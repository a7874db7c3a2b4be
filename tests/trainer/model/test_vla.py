"""The whole model: sizes, prompts, and the tokens that it writes."""

from __future__ import annotations

import torch

from tests.trainer.rows import mixed_batch, policy_sample
from trainer.model import tokens
from trainer.model.batch import Batch, Sample, collate
from trainer.model.config import SIZES
from trainer.model.vla import VLA


def prompts(*seeds: int) -> tuple[Batch, Batch]:
    """The prompts alone, and the whole rows."""
    whole = [policy_sample(seed, words=2 + 3 * seed, actions=2) for seed in seeds]
    cut = []
    for sample in whole:
        end = list(sample.labels).index(tokens.ACTION_BEGIN)
        cut.append(Sample(sample.input_ids[:end], sample.labels[:end], sample.sample_id))
    return collate(cut), collate(whole)


def test_the_7b_size_has_the_reference_s_parameters() -> None:
    with torch.device("meta"):
        model = VLA(SIZES["7b"])
    counts = {
        name: sum(p.numel() for p in part.parameters())
        for name, part in (
            ("decoder", model.model),
            ("head", model.lm_head),
            ("action", model.action_head),
        )
    }
    assert round(counts["action"] / 1e6, 1) == 39.0
    assert counts["head"] == 65536 * 4096
    assert round((counts["decoder"] + counts["head"]) / 1e9, 2) == 7.01
    assert all(p.device.type == "meta" for p in model.parameters())


def test_the_tiny_size_has_5_million_parameters() -> None:
    total = sum(p.numel() for p in VLA(SIZES["tiny"]).parameters())
    assert round(total / 1e6, 1) == 5.2


def test_the_head_acts_on_prompts_as_it_is_trained_on_whole_rows() -> None:
    torch.manual_seed(0)
    model = VLA(SIZES["micro"]).eval()
    cut, whole = prompts(0, 2)
    trained = model(whole).actions
    assert trained is not None
    torch.testing.assert_close(model.act_head(cut), trained, rtol=1e-4, atol=1e-5)


def test_greedy_tokens_are_what_the_trained_mask_predicts() -> None:
    # Not a seed that draws the highest bin: it decodes like the one below, and reads back as that.
    torch.manual_seed(1)
    model = VLA(SIZES["micro"]).eval()
    cut, _ = prompts(0, 1)
    acted = model.act_tokens(cut, actions=2)
    assert acted.shape == (2, 2, 7)
    for row in range(2):
        length = int(cut.lengths[row])
        ids = cut.input_ids[row, :length].tolist()
        for action in acted[row]:
            ids += tokens.action_block(action.numpy())
        labels = [tokens.IGNORE] * length + ids[length:]
        again = collate([Sample(ids, labels, 0)])
        hidden = model(again).hidden[0]
        bins = slice(tokens.ACTION_BIN_FIRST, tokens.ACTION_BIN_FIRST + tokens.BINS)
        best = (hidden @ model.lm_head.weight[bins].t()).argmax(-1)
        for index in range(2):
            start = length + 9 * index
            expected = tokens.decode_action_ids(best[start : start + 7] + tokens.ACTION_BIN_FIRST)
            torch.testing.assert_close(acted[row, index], expected)


def test_a_batch_of_world_rows_has_no_actions_and_trains_the_rest() -> None:
    torch.manual_seed(0)
    model = VLA(SIZES["micro"])
    outputs = model(mixed_batch(policy=0, world=2))
    assert outputs.actions is None
    outputs.tokens.logsumexp.sum().backward()
    assert model.action_head.action_token_embeddings.weight.grad is None
    assert model.model.embed_tokens.weight.grad is not None
