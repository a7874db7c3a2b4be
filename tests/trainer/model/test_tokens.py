"""Ids and codings of the reference project."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.model import tokens


def test_the_ends_of_the_range_are_the_first_and_last_bin() -> None:
    low, middle, high = tokens.encode_bins([-1.0, 0.0, 1.0], tokens.ACTION_BIN_FIRST)
    assert (low, high) == (10006, 10261)
    assert middle == 10006 + 127
    assert tokens.decode_bins(low, 10006) == pytest.approx(-0.99608, abs=1e-5)
    assert tokens.decode_bins(high, 10006) == pytest.approx(0.99608, abs=1e-5)


@given(st.floats(-1, 1))
def test_a_value_comes_back_within_half_a_step(value: float) -> None:
    decoded = tokens.decode_bins(tokens.encode_bins(value, 10006), 10006)
    assert abs(float(decoded) - value) <= 1 / 255 + 1e-12


def test_quantisation_costs_two_thousandths_on_average() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 100_000)
    decoded = tokens.decode_bins(tokens.encode_bins(values, 10006), 10006)
    assert np.abs(decoded - values).mean() == pytest.approx(0.00196, abs=2e-5)


@pytest.mark.parametrize("token", [0, 8197, 10004, 15004, 16639, 65535])
def test_what_is_no_action_token_decodes_to_the_end_of_the_range(token: int) -> None:
    decoded = tokens.decode_action_ids(torch.tensor([token]))
    assert abs(decoded.item()) == pytest.approx(0.99608, abs=1e-5)


def test_both_decoders_agree_on_every_id() -> None:
    ids = np.arange(9990, 10300)
    expected = tokens.decode_bins(ids, tokens.ACTION_BIN_FIRST)
    np.testing.assert_allclose(tokens.decode_action_ids(torch.from_numpy(ids)), expected, atol=1e-6)


def test_blocks_have_the_reference_s_lengths() -> None:
    assert len(tokens.action_block(np.zeros(7))) == 9
    assert len(tokens.state_block(np.zeros(8))) == 10
    image = tokens.image_block(np.arange(256).reshape(16, 16))
    assert len(image) == 276
    assert (image[0], image[1], image[-1]) == (8197, 8804 + 8, 8196)
    assert [token - 4 for token in image if 4 <= token < 8196] == list(range(256))


def test_a_block_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match="an action has 7 dimensions"):
        tokens.action_block(np.zeros(6))
    with pytest.raises(ValueError, match=r"codes 0\.\.8191"):
        tokens.image_block([[8192]])
