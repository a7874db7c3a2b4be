"""What a bit-exact resume needs, gathered and given back: parts and random number generators."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def gather(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The state of every part and of the generators."""
    state = {name: part.state_dict() for name, part in parts.items()}
    python, numpy = random.getstate(), np.random.get_state(legacy=False)
    state["rng"] = {
        "python": [python[0], list(python[1]), python[2]],
        "numpy": [
            numpy["state"]["key"].tolist(),
            int(numpy["state"]["pos"]),
            numpy["has_gauss"],
            numpy["gauss"],
        ],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    return state


def restore(parts: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Put every part and generator back."""
    for name, part in parts.items():
        part.load_state_dict(state[name])
    rng = state["rng"]
    version, key, gauss = rng["python"]
    random.setstate((version, tuple(key), gauss))
    words, position, has_gauss, cached = rng["numpy"]
    np.random.set_state(("MT19937", np.asarray(words, np.uint32), position, has_gauss, cached))
    torch.set_rng_state(rng["torch"])
    if rng["cuda"]:
        torch.cuda.set_rng_state_all(rng["cuda"])
