"""The decoder against Hugging Face's, and the mask between action blocks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainer.rows import mixed_batch, policy_sample, world_sample
from trainer.model import tokens
from trainer.model.batch import collate
from trainer.model.chameleon import ChameleonModel, action_mask
from trainer.model.config import ActionHeadConfig, ModelConfig
from trainer.model.vla import VLA

SMALL = ModelConfig(
    vocab=384,
    hidden=48,
    layers=3,
    heads=4,
    kv_heads=2,
    ffn=80,
    head=ActionHeadConfig(width=16, ffn=32),
)


def their_chameleon(config: ModelConfig) -> Any:
    transformers = pytest.importorskip("transformers", reason="the oracle is the hf extra")
    hf_config = transformers.ChameleonConfig(
        vocab_size=config.vocab,
        hidden_size=config.hidden,
        intermediate_size=config.ffn,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads or config.heads,
        vq_config={"base_channels": 32, "embed_dim": 8, "latent_channels": 8, "resolution": 32},
        vocabulary_map={"<image>": 300, "IMGIMGA": 10, "IMGIMGB": 11},
        attn_implementation="eager",
    )
    return transformers.ChameleonForConditionalGeneration(hf_config).float().eval()


def test_logits_equal_those_of_transformers_with_the_same_weights() -> None:
    torch.manual_seed(0)
    theirs = their_chameleon(SMALL)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if name.endswith(("_norm.weight", "_norm.bias", "layernorm.weight", "norm.weight")):
                parameter.add_(0.3 * torch.randn_like(parameter))
    ours = VLA(SMALL).eval()
    shared = {k: v for k, v in theirs.state_dict().items() if "vqmodel" not in k}
    missing = ours.load_state_dict(shared, strict=False)
    assert not missing.unexpected_keys
    assert all(name.startswith("action_head.") for name in missing.missing_keys)

    ids = torch.randint(20, 290, (2, 37))
    with torch.no_grad():
        expected: Tensor = theirs(input_ids=ids).logits
        logits = ours.lm_head(ours.model(ids).hidden)
    masked = expected[0, 0] == torch.finfo(expected.dtype).min
    assert 0 < masked.sum() < 10  # Hugging Face's forward masks image logits; ours must not.
    torch.testing.assert_close(logits[..., ~masked], expected[..., ~masked], rtol=0, atol=1e-4)


def test_a_position_never_sees_what_comes_after_it() -> None:
    torch.manual_seed(0)
    model = ChameleonModel(SMALL).eval()
    ids = torch.randint(20, 290, (1, 24))
    changed = ids.clone()
    changed[0, 12:] = torch.randint(20, 290, (12,))
    torch.testing.assert_close(model(ids).hidden[:, :12], model(changed).hidden[:, :12])


def test_an_action_block_after_the_last_image_does_not_see_earlier_blocks() -> None:
    batch = collate([policy_sample(0, actions=3)])
    layout = batch.layout
    sees = action_mask(layout.action_block, layout.after_images)[0]
    first, second, third = (
        torch.nonzero(layout.action_block[0] == number).flatten() for number in (1, 2, 3)
    )
    assert not sees[third][:, first].any()
    assert not sees[third][:, second].any()
    assert not sees[second][:, first].any()
    assert torch.equal(sees[second][:, second], torch.ones(9, 9, dtype=torch.bool).tril())
    assert sees[third][:, : first[0]].all()
    closing = int(third[-1]) + 1
    assert sees[closing, : closing + 1].all()  # The turn token after the blocks sees all of them.


def test_an_action_before_the_last_image_is_seen_by_everything_after_it() -> None:
    layout = collate([world_sample(0)]).layout
    assert not layout.masks_actions
    sees = action_mask(layout.action_block, layout.after_images)[0]
    assert torch.equal(sees, torch.ones_like(sees).tril())


def test_a_block_s_predictions_do_not_depend_on_the_block_before_it() -> None:
    torch.manual_seed(0)
    model = VLA(ModelConfig(vocab=16640, hidden=32, layers=2, heads=2, ffn=64, head=SMALL.head))
    model.eval()
    batch = collate([policy_sample(0, actions=2)])
    first = torch.nonzero(batch.layout.action_block[0] == 1).flatten()
    second = torch.nonzero(batch.layout.action_block[0] == 2).flatten()
    ids = batch.input_ids.clone()
    ids[0, first[1:8]] = tokens.ACTION_BIN_FIRST + 7
    mask = action_mask(batch.layout.action_block, batch.layout.after_images)
    before = model.model(batch.input_ids, mask).hidden
    after = model.model(ids, mask).hidden
    torch.testing.assert_close(before[0, second], after[0, second])
    assert not torch.allclose(before[0, first[2:]], after[0, first[2:]])


def test_padding_changes_nothing_for_the_row_that_is_padded() -> None:
    torch.manual_seed(0)
    model = VLA(ModelConfig(vocab=16640, hidden=32, layers=2, heads=2, ffn=64, head=SMALL.head))
    model.eval()
    short = policy_sample(0, words=2)
    alone = model(collate([short]))
    padded = model(collate([short, policy_sample(1, words=30)]))
    assert alone.actions is not None
    assert padded.actions is not None
    torch.testing.assert_close(padded.actions[:1], alone.actions, rtol=1e-4, atol=1e-5)
    length = len(short.input_ids)
    torch.testing.assert_close(padded.hidden[:1, :length], alone.hidden, rtol=1e-4, atol=1e-5)


def test_residual_dropout_is_drawn_in_training_only() -> None:
    torch.manual_seed(0)
    config = ModelConfig(
        vocab=16640, hidden=32, layers=1, heads=2, ffn=64, head=SMALL.head, dropout=0.5
    )
    model = VLA(config)
    batch = mixed_batch()
    first, second = model(batch).hidden, model(batch).hidden
    assert not torch.equal(first, second)
    model.eval()
    assert torch.equal(model(batch).hidden, model(batch).hidden)
