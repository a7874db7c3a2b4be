"""Which sample comes next: a cursor that counts samples and names each of them.

The order is a pure function of (seed, cursor). A checkpoint is therefore two numbers, a resumed run
goes on with the very next sample, and a fault or a skipped range can be placed at a cursor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ORDER, _KIND = 11, 12


@dataclass(frozen=True, slots=True)
class Draw:
    """The samples of one batch of one rank."""

    first: int
    """Cursor of the whole step's first sample (all ranks and micro-batches)."""
    cursors: tuple[int, ...]
    """Cursor of each of this rank's samples."""
    sample_ids: tuple[int, ...]
    """Name of each of them."""


class Sampler:
    """Draws batches in an order that only seed and cursor decide."""

    def __init__(
        self,
        frames: NDArray[np.int64],
        *,
        batch: int,
        world_share: float,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
        draws: int = 1,
    ) -> None:
        """`batch` counts one rank's samples; the cursor moves by `batch` × `ranks` a draw, and a
        step takes `draws` of them."""
        self._frames = frames
        self._batch = batch
        self._world_share = world_share
        self._seed = seed
        self._rank = rank
        self._ranks = ranks
        self._draws = draws
        self._pass = -1
        self._names: NDArray[np.int64] = np.empty(0, np.int64)
        self.cursor = 0
        """Samples drawn so far, over all ranks."""

    @property
    def per_draw(self) -> int:
        """Samples that one draw takes over all ranks."""
        return self._batch * self._ranks

    def draw(self) -> Draw:
        """The next batch of this rank."""
        first = self.cursor
        self.cursor += self.per_draw
        start = first + self._rank * self._batch
        cursors = tuple(range(start, start + self._batch))
        return Draw(first, cursors, tuple(self.name(cursor) for cursor in cursors))

    def skip(self, steps: int) -> None:
        """Leave out the samples of so many steps."""
        self.cursor += steps * self._draws * self.per_draw

    def name(self, cursor: int) -> int:
        """The id of the sample at a cursor."""
        turn, place = divmod(cursor, len(self._frames))
        if turn != self._pass:
            order = np.random.default_rng((self._seed, _ORDER, turn)).permutation(self._frames)
            kinds = np.random.default_rng((self._seed, _KIND, turn)).random(len(order))
            self._names = order * 2 + (kinds < self._world_share)
            self._pass = turn
        return int(self._names[place])

    def state_dict(self) -> dict[str, Any]:
        """What it takes to go on."""
        return {"seed": self._seed, "cursor": self.cursor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there; the order must be the one that the cursor was counted in."""
        if state["seed"] != self._seed:
            raise ValueError(
                f"the checkpoint counts samples in the order of seed {state['seed']}, this run's"
                f" seed is {self._seed}: start it with --seed {state['seed']}"
            )
        self.cursor = int(state["cursor"])
