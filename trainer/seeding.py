"""One seed for every generator."""

from __future__ import annotations

import random

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, so that dropout draws the same in two runs."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
