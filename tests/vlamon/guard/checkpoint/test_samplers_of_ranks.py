"""Whether the ranks of a checkpoint had samplers in one state, so that any of them may be dealt."""

from __future__ import annotations

from typing import Any

import pytest

from vlamon.guard.checkpoint.checkpoints import _alike


@pytest.mark.parametrize(
    ("states", "alike"),
    [
        ([{"cursor": 4}], True),
        ([{"cursor": 4}, {"cursor": 4}], True),
        ([{"cursor": 4}, {"cursor": 8}], False),
        ([{"cursor": 4}, {"cursor": 4}, {"cursor": 8}], False),
        ([None, None], True),
        ([{"cursor": object()}, {"cursor": 4}], False),  # nobody can say
    ],
)
def test_samplers_are_alike_where_their_states_are(states: list[Any], alike: bool) -> None:
    assert _alike([{"parts": {"sampler": state}} for state in states]) is alike
