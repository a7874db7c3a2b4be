"""Options that are given as NAME=VALUE and may be repeated: weights, thresholds, keys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from vlamon.detect.rules import SpikeRules


def assignments(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, float]:
    """Parse `NAME=NUMBER`, split at the last `=`."""
    found = {}
    for value in values:
        name, equals, number = value.rpartition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            equals = ""
        if not equals or not name.strip() or not math.isfinite(found[name.strip()]):
            sample = param.metavar or "NAME=NUMBER"
            raise click.BadParameter(f"{value!r} is not {sample}, such as {_SAMPLES[sample]}")
    return found


_SAMPLES = {"NAME=NUMBER": "loss_ct=10", "RULE=NUMBER": "warn_ratio=3"}


def rules(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> SpikeRules:
    """The detector's rules with the thresholds that were given."""
    from vlamon.detect.rules import rules_with

    try:
        return rules_with(assignments(ctx, param, values))
    except ValueError as problem:
        raise click.BadParameter(str(problem), ctx, param) from problem


def keys(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> Mapping[str, tuple[str, ...]]:
    """Parse `ACTION=KEY`; one action may have several keys."""
    from vlamon.key_bindings import checked_keys

    found: dict[str, tuple[str, ...]] = {}
    for value in values:
        name, equals, key = value.partition("=")
        if not equals:
            raise click.BadParameter(f"{value!r} is not ACTION=KEY, such as quit=Q", ctx, param)
        found[name.strip()] = (*found.get(name.strip(), ()), key.strip())
    try:
        return checked_keys(found)
    except ValueError as problem:
        raise click.BadParameter(str(problem), ctx, param) from problem


def _thresholds(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Thresholds that begin like what was typed, for the shell's completion."""
    from vlamon.detect.rules import THRESHOLDS

    return [f"{name}=" for name in THRESHOLDS if name.startswith(incomplete)]


def actions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Actions of the dashboard that begin like what was typed."""
    from vlamon.key_bindings import KEYS

    return [f"{key.name}=" for key in KEYS if key.name.startswith(incomplete)]


THRESHOLD = click.option(
    "--threshold",
    "thresholds",
    metavar="RULE=NUMBER",
    callback=rules,
    shell_complete=_thresholds,
    multiple=True,
    help="A threshold of the detector, such as warn_ratio=3; may be repeated.",
)
