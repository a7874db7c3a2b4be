"""The ActionHead reads each row's own prefix and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer.model.action_head import ActionHead, EncoderLayer
from trainer.model.config import SIZES, ActionHeadConfig


def test_the_reference_head_has_39_million_parameters_at_horizon_5() -> None:
    config = SIZES["7b"]
    with torch.device("meta"):
        head = ActionHead(config.hidden, config.head)
    total = sum(parameter.numel() for parameter in head.parameters())
    assert total == 39_001_095


def test_ragged_prefixes_are_not_attended_to() -> None:
    torch.manual_seed(0)
    head = ActionHead(24, ActionHeadConfig(width=16, ffn=32, horizon=3)).eval()
    prefix = torch.randn(2, 10, 24)
    lengths = torch.tensor([10, 4])
    spoiled = prefix.clone()
    spoiled[1, 4:] = 1e4
    with torch.no_grad():
        torch.testing.assert_close(head(spoiled, lengths), head(prefix, lengths))
        torch.testing.assert_close(
            head(prefix, lengths)[1:], head(prefix[1:, :4], lengths[1:]), rtol=1e-4, atol=1e-5
        )


def test_horizon_and_widths_are_free() -> None:
    for horizon in (1, 10, 20):
        head = ActionHead(8, ActionHeadConfig(width=8, ffn=16, heads=2, horizon=horizon))
        assert head(torch.randn(2, 5, 8), torch.tensor([5, 3])).shape == (2, horizon, 7)


def test_the_encoder_layer_is_torch_s_transformer_encoder_layer() -> None:
    torch.manual_seed(0)
    theirs = nn.TransformerEncoderLayer(16, 4, 32, 0.0, batch_first=True)
    ours = EncoderLayer(16, 4, 32, 0.0)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 9, 16)
    padding = torch.arange(9) >= torch.tensor([[9], [5]])
    expected = theirs(x, src_key_padding_mask=padding)
    mask = ~padding[:, None, None, :]
    torch.testing.assert_close(ours(x, mask)[0], expected[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours(x, mask)[1, :5], expected[1, :5], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours(x, mask, 3)[1], expected[1, :3], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("horizon", [1, 5, 10, 20])
def test_the_head_computes_what_torch_s_encoder_with_its_final_norm_does(horizon: int) -> None:
    """The reference's order of events: prefix first, action tokens behind it, rows one by one."""
    torch.manual_seed(horizon)
    config = ActionHeadConfig(width=16, ffn=64, heads=4, horizon=horizon)
    head = ActionHead(24, config).eval()
    layer = nn.TransformerEncoderLayer(16, 4, 64, 0.1, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(16)).eval()
    with torch.no_grad():
        for parameter in head.parameters():  # as trained: no norm is at its start
            parameter.add_(0.3 * torch.randn_like(parameter))
        encoder.load_state_dict(head.transformer_encoder.state_dict())
        prefix, lengths = torch.randn(2, 9, 24), torch.tensor([9, 4])
        found = head(prefix, lengths)
        for row, length in enumerate(lengths.tolist()):
            tokens = head.action_token_embeddings.weight.view(horizon * 7, 24)
            states = head.hidden_projection(torch.cat((prefix[row, :length], tokens)))
            states = encoder(states.unsqueeze(0))[0, length:]
            expected = head.output_projection(states.reshape(horizon, -1))
            torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-5)


def _looked_at(head: ActionHead) -> float:
    """Tokens of 200 that a query's first look rests on: 1 / Σp² of its attention, on average."""
    x = head.hidden_projection(torch.cat((head.action_tokens, torch.randn(200, 64)))).detach()
    layer = head.transformer_encoder.layers[0]
    assert isinstance(layer, EncoderLayer)
    q, k, _ = nn.functional.linear(x, layer.self_attn.in_proj_weight.detach()).chunk(3, dim=-1)
    heads = layer.self_attn.heads
    q, k = (each.view(len(x), heads, -1).transpose(0, 1) for each in (q, k))
    p = (q[:, : len(head.action_tokens)] @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
    return float((1 / p.square().sum(-1)).mean())


def test_a_head_that_begins_as_a_search_picks_from_two_hundred_tokens() -> None:
    torch.manual_seed(3)
    head = ActionHead(64, ActionHeadConfig(width=64, ffn=128, horizon=3))
    mean = _looked_at(head)
    head.begin_as_search()
    picked = _looked_at(head)
    assert mean > 200  # all of them, and the queries too
    assert picked < mean / 2


def test_queries_that_begin_as_a_search_differ_from_each_other() -> None:
    torch.manual_seed(0)
    head = ActionHead(64, ActionHeadConfig(width=64, ffn=128, horizon=3))

    def alike() -> float:
        queries = head.hidden_projection(head.action_tokens).detach()
        return float(nn.functional.cosine_similarity(queries[:1], queries[1:]).mean())

    before = alike()
    head.begin_as_search()
    assert before > 0.5 > alike()
