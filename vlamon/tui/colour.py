"""Colour arithmetic for themes: contrast, xterm's palette, and what a colour-blind person sees."""

from __future__ import annotations

import re
from functools import lru_cache

RGB = tuple[int, int, int]

XTERM: dict[str, RGB] = {
    "black": (0, 0, 0),
    "red": (205, 0, 0),
    "green": (0, 205, 0),
    "yellow": (205, 205, 0),
    "blue": (0, 0, 238),
    "magenta": (205, 0, 205),
    "cyan": (0, 205, 205),
    "white": (229, 229, 229),
    "bright_black": (127, 127, 127),
    "bright_red": (255, 0, 0),
    "bright_green": (0, 255, 0),
    "bright_yellow": (255, 255, 0),
    "bright_blue": (92, 92, 255),
    "bright_magenta": (255, 0, 255),
    "bright_cyan": (0, 255, 255),
    "bright_white": (255, 255, 255),
}
"""xterm's own sixteen colours; other terminals differ, these are the reference."""

_HEX = re.compile(r"#([0-9a-fA-F]{6})\Z")

# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB.
_DEFICIENCY: dict[str, tuple[tuple[float, float, float], ...]] = {
    "protan": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deutan": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritan": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}

DEFICIENCIES = tuple(_DEFICIENCY)


def rgb(colour: str) -> RGB | None:
    """Read `#rrggbb`, `ansi_<name>` or `color(<number>)`; None for anything else."""
    if colour.startswith("color("):
        return FIXED[int(colour[6:-1]) - 16]
    if colour.startswith("ansi_"):
        return XTERM.get(colour[5:])
    found = _HEX.match(colour)
    if not found:
        return None
    value = int(found.group(1), 16)
    return value >> 16, value >> 8 & 255, value & 255


def _linear(channel: float) -> float:
    share = channel / 255
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4


def _encoded(share: float) -> float:
    share = min(1.0, max(0.0, share))
    return 255 * (12.92 * share if share <= 0.0031308 else 1.055 * share ** (1 / 2.4) - 0.055)


@lru_cache(maxsize=512)
def luminance(colour: RGB) -> float:
    """Return the relative luminance of WCAG 2."""
    red, green, blue = (_linear(channel) for channel in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: RGB, other: RGB) -> float:
    """Return the contrast ratio of WCAG 2, from 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mixed(one: str, other: str, share: float) -> str:
    """Return `share` of a colour in another as `#rrggbb`; of `ansi_<name>`, the colour itself."""
    ink, paper = rgb(one), rgb(other)
    if ink is None or paper is None or "ansi_" in one + other:
        return one
    parts = (round(a * share + b * (1 - share)) for a, b in zip(ink, paper, strict=True))
    return "#" + "".join(f"{part:02x}" for part in parts)


_LEVELS = (0, 95, 135, 175, 215, 255)
FIXED: list[RGB] = [(red, green, blue) for red in _LEVELS for green in _LEVELS for blue in _LEVELS]
FIXED += [(level, level, level) for level in range(8, 239, 10)]
"""The colours of a 256-colour terminal that are the same everywhere, from number 16 on."""


@lru_cache(maxsize=512)
def nearest_of_256(colour: str) -> str:
    """Return the colour of a 256-colour terminal that looks most like one, as `color(<number>)`."""
    wanted = rgb(colour)
    if wanted is None:
        return colour
    return f"color({16 + min(range(240), key=lambda at: difference(FIXED[at], wanted))})"


def seen_by(deficiency: str, colour: RGB) -> RGB:
    """Return the colour as a `protan`, `deutan` or `tritan` observer sees it."""
    linear = [_linear(channel) for channel in colour]
    rows = _DEFICIENCY[deficiency]
    red, green, blue = (
        round(_encoded(sum(weight * share for weight, share in zip(row, linear, strict=True))))
        for row in rows
    )
    return red, green, blue


def _lab(colour: RGB) -> tuple[float, float, float]:
    red, green, blue = (_linear(channel) for channel in colour)
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883
    fx, fy, fz = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def difference(one: RGB, other: RGB) -> float:
    """Return the distance in CIE Lab (ΔE 1976); above about 10, lines are told apart."""
    pairs = zip(_lab(one), _lab(other), strict=True)
    return sum((a - b) ** 2 for a, b in pairs) ** 0.5 if one != other else 0.0
