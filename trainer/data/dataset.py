"""Demonstrations on the tabletop as samples that a number names for ever.

Episodes are simulated at the start (a quarter of a millisecond each); a frame is rendered and
encoded when a sample first shows it, and kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from trainer.data import codebook, tabletop
from trainer.data.codebook import Codebook
from trainer.data.dialogue import policy_sample, world_sample
from trainer.data.tabletop import CAMERAS, Camera, Episode, Scene
from trainer.model.batch import Sample
from trainer.ranges import Range, check_ranges

_SPLIT_SEED = {"train": 1, "val_ind": 2, "val_ood": 3, "codebook": 4}
_FRAMES = 64
"""Frames an episode may have; a sample id is (episode · _FRAMES + frame) · 2 + kind."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """What the tabletop shows and how much of it."""

    image_size: int = 64
    """Pixels along a camera image, a multiple of 8."""
    episodes: Annotated[int, Range(1)] = 4000
    """Demonstrations in the training set."""
    validation_episodes: Annotated[int, Range(1)] = 32
    """Held-out demonstrations in each of the two validation sets."""
    push_share: Annotated[float, Range(0, 1)] = 0.3
    """Share of episodes that push rather than reach."""
    world_share: Annotated[float, Range(0, 1)] = 0.25
    """Share of samples that are world-model rows."""
    horizon: Annotated[int, Range(1, 20)] = 5
    """Actions in a policy row."""
    history: Annotated[int, Range(1)] = 1
    """Frames that a row shows of each camera."""
    distractors: Annotated[int, Range(0)] = 0
    """Further blocks on the table."""
    noise: Annotated[float, Range(0)] = 0.2
    """Standard deviation by which the expert is knocked off course in every other episode."""
    informed_embedding: bool = True
    """Start the embeddings of image codes and bins from what they mean."""
    records: str = ""
    """Record file of pre-tokenised samples to train on instead of the tabletop."""
    seed: Annotated[int, Range(0)] = 0
    """Names the data set; the run's seed orders it."""

    def __post_init__(self) -> None:
        if self.image_size % codebook.PATCH or not 16 <= self.image_size <= 64:
            raise ValueError(
                f"data.image_size is {self.image_size}: it must be a multiple of 16 from 16 to 64,"
                " since two cameras share 8192 image codes"
            )
        check_ranges(self, "data")

    def with_validation(self, episodes: int) -> DataConfig:
        """The same table with another number of held-out episodes."""
        return replace(self, validation_episodes=episodes)


def fit_codebook(config: DataConfig, frames: int = 400) -> Codebook:
    """The codebook of this table, from frames of episodes that no split contains."""
    cameras = [Camera(name, config.image_size) for name in CAMERAS]
    scenes = []
    for index in range(frames):
        rng = np.random.default_rng((config.seed, _SPLIT_SEED["codebook"], index))
        start = tabletop.new_scene(rng, ("reach", "push")[index % 2])
        episode = tabletop.demonstrate(start, rng, config.noise)
        scenes.append(episode.scenes[int(rng.integers(len(episode.scenes)))])
    images = np.stack([np.stack([cam.render(scene) for scene in scenes]) for cam in cameras])
    return codebook.fit(images)


def load_or_fit_codebook(config: DataConfig, path: Path) -> Codebook:
    """The run's own codebook, so that a resumed run speaks the same tokens."""
    if path.exists():
        return Codebook.load(path)
    fitted = fit_codebook(config)
    fitted.save(path)
    return fitted


class TabletopData:
    """One split of the demonstrations."""

    def __init__(self, config: DataConfig, book: Codebook, split: str = "train") -> None:
        if split not in ("train", "val_ind", "val_ood"):
            raise ValueError(f"no split is called {split!r}: there are train, val_ind and val_ood")
        self.config = config
        self.split = split
        self._book = book
        self._cameras = [Camera(name, config.image_size) for name in CAMERAS]
        self._codes: dict[tuple[int, int], tuple[NDArray[np.int64], ...]] = {}
        count = config.episodes if split == "train" else config.validation_episodes
        self.episodes = [self._demonstrate(index) for index in range(count)]
        """The demonstrations by number."""
        self.frames = np.asarray(
            [i * _FRAMES + f for i, e in enumerate(self.episodes) for f in range(len(e.executed))]
        )
        """Every frame that a sample can start from."""

    def sample(self, sample_id: int) -> Sample:
        """The sample of that name."""
        key, is_world = divmod(sample_id, 2)
        index, frame = divmod(key, _FRAMES)
        episode = self.episodes[index]
        scene = episode.scenes[frame]
        source = self.source(sample_id)
        images = self._images(index, frame)
        if is_world:
            return world_sample(
                sample_id, source, images, episode.executed[frame], self._codes_of(index, frame + 1)
            )
        actions = tabletop.plan(scene, self.config.horizon)
        return policy_sample(sample_id, source, scene.instruction, scene.state(), images, actions)

    def source(self, sample_id: int) -> str:
        """Where a sample comes from, for a person."""
        key, _ = divmod(sample_id, 2)
        index, frame = divmod(key, _FRAMES)
        return f"{self.split}/{self.episodes[index].scenes[0].task}-{index:05d}.frame{frame:02d}"

    def start(self, index: int) -> Scene:
        """The first scene of an episode: what a rollout begins with."""
        return self.episodes[index].scenes[0]

    def observe(self, scenes: Sequence[Scene]) -> list[NDArray[np.int64]]:
        """What a policy sees of a rollout so far: history × cameras, oldest first."""
        shown = list(scenes[-self.config.history :])
        shown = [shown[0]] * (self.config.history - len(shown)) + shown
        return [codes for scene in shown for codes in self._encode(scene)]

    def _demonstrate(self, index: int) -> Episode:
        rng = np.random.default_rng((self.config.seed, _SPLIT_SEED[self.split], index))
        ood = self.split == "val_ood"
        start = tabletop.new_scene(
            rng,
            "push" if rng.random() < self.config.push_share else "reach",
            colours=tabletop.UNSEEN_COLOURS if ood else tabletop.SEEN_COLOURS,
            templates=tabletop.UNSEEN_TEMPLATES if ood else tabletop.SEEN_TEMPLATES,
            distractors=0 if ood else self.config.distractors,
            spread=0.85 if ood else 0.7,
        )
        return tabletop.demonstrate(start, rng, self.config.noise if index % 2 else 0.0)

    def _images(self, index: int, frame: int) -> list[NDArray[np.int64]]:
        past = range(frame - self.config.history + 1, frame + 1)
        return [codes for f in past for codes in self._codes_of(index, max(f, 0))]

    def _codes_of(self, index: int, frame: int) -> tuple[NDArray[np.int64], ...]:
        if (index, frame) not in self._codes:
            self._codes[index, frame] = self._encode(self.episodes[index].scenes[frame])
        return self._codes[index, frame]

    def _encode(self, scene: Scene) -> tuple[NDArray[np.int64], ...]:
        return tuple(
            self._book.encode(camera.render(scene)[None], number)[0].astype(np.int16)
            for number, camera in enumerate(self._cameras)
        )
