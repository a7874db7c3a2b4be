"""Several components that rise at once explode, where each alone would be within its noise."""

from __future__ import annotations

import math
import random

import pytest

from vlamon.detect.spikes import ComponentDetectors

RISE = 0.65
"""Logarithm of the rise: ×1.9, about three times the noise."""


def levels(rising: dict[int, tuple[str, ...]], names: tuple[str, ...]) -> list[str]:
    """Levels of the batches after 300 calm ones; `rising` says which components rise in each."""
    rng, detectors, found = random.Random(3), ComponentDetectors(), []
    weights = dict.fromkeys(names, 1.0)
    for batch in range(-300, 8):
        values = {}
        for name in names:
            noise = rng.gauss(0, 0.18) if batch < 0 else 0.0
            risen = RISE if name in rising.get(batch, ()) else 0.0
            values[name] = 5.0 * math.exp(noise + risen)
        level = detectors.observe(values, weights).level
        if batch >= 0:
            found.append(level)
    return found


def test_two_that_rise_in_four_of_five_batches_explode_at_the_fourth() -> None:
    both = ("closs", "z_loss")
    rising = dict.fromkeys(range(8), both)
    assert levels(rising, both).index("explode") == 3
    assert levels(rising | {2: ()}, both).index("explode") == 4


def test_one_that_rises_alone_does_not_and_a_second_one_must_be_a_loss() -> None:
    assert "explode" not in levels(dict.fromkeys(range(8), ("closs",)), ("closs", "z_loss"))
    assert "explode" not in levels(dict.fromkeys(range(8), ("closs",)), ("closs",))
    both = ("closs", "grad_norm")
    assert "explode" not in levels(dict.fromkeys(range(8), both), both)


def test_two_that_rise_in_three_of_five_batches_do_not() -> None:
    both = ("closs", "z_loss")
    assert "explode" not in levels(dict.fromkeys((0, 2, 4), both), both)


def test_only_the_components_that_are_named_are_forgotten() -> None:
    detectors = ComponentDetectors()
    for _ in range(40):
        detectors.observe({"closs": 1.0, "z_loss": 2.0}, {"closs": 1.0, "z_loss": 1.0})
    assert detectors.band("closs")
    assert detectors.band("z_loss")
    detectors.reset(["closs", "unheard_of"])
    assert detectors.band("closs") is None
    assert detectors.band("z_loss") is not None
    detectors.reset()
    assert detectors.band("z_loss") is None
    assert detectors.band("unheard_of") is None


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_band_says_what_warns_and_what_explodes(sign: float) -> None:
    """Of a loss below zero too, which has no logarithm."""
    noise = [0.02 * math.sin(7.0 * step) for step in range(200)]
    values = [sign * 3.0 + each for each in noise]

    def judged(value: float) -> str:
        detectors = ComponentDetectors()
        for each in values:
            detectors.observe({"closs": each}, {"closs": 1.0})
        middle, warn, explode = detectors.band("closs") or (0.0, 0.0, 0.0)
        assert middle == pytest.approx(sign * 3.0, abs=0.1)
        assert middle < warn <= explode
        at = {"calm": middle, "explode": explode + 1e-3 * abs(explode)}[value]
        return detectors.observe({"closs": at}, {"closs": 1.0}).level

    assert judged("calm") == "ok"
    assert judged("explode") == "explode"
