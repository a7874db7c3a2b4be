"""Anything that a script hands over becomes msgpack's own types, bounded, and never raises."""

from __future__ import annotations

from typing import Any

import numpy as np

from vlamon.protocol.sanitize import plain


def test_integers_that_do_not_fit_are_texts() -> None:
    for fits in (2**63 - 1, -(2**63)):
        assert plain(fits) == fits
    for too_large in (2**63, -(2**63) - 1):
        assert plain(too_large) == str(too_large)


def test_what_is_nested_too_deeply_is_a_text() -> None:
    nested: Any = "bottom"
    for _ in range(6):
        nested = [nested]
    assert plain(nested) == [[[[[["bottom"]]]]]]
    assert plain([nested]) == [[[[[["['bottom']"]]]]]]
    assert plain({"a": {"b": nested}}) == {"a": {"b": [[[["[['bottom']]"]]]]}}


def test_a_list_that_holds_itself_ends() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert plain(circle) == [[[[[["[[...]]"]]]]]]


def test_arrays_are_lists_up_to_a_length_and_texts_beyond() -> None:
    assert plain(np.arange(3)) == [0, 1, 2]
    assert plain(np.zeros((7, 2))) == [[0.0, 0.0]] * 7
    assert len(plain(np.zeros(2000))) == 2000
    assert isinstance(plain(np.zeros(2001)), str)
    assert len(plain(list(range(5000)))) == 2000


def test_an_array_far_below_counts_as_deep() -> None:
    deep: Any = np.arange(2)
    for _ in range(6):
        deep = [deep]
    assert plain(deep) == [[[[[["[0 1]"]]]]]] or plain(deep) == [[[[[["[0, 1]"]]]]]]
