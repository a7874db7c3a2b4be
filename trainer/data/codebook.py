"""Images as tokens: a k-means codebook over 8×8 patches that encodes and decodes.

What is clustered is a patch's difference from the bare table: most patches are bare table, and it
is the few with a block's corner in them that the policy needs. The centroids are shared by all
cells of a camera, but every cell numbers them for itself: a code says where and what at once, as a
code of a VQ encoder does through its receptive field. Two cameras of 8×8 cells with 64 centroids
are exactly the 8192 image codes of the real vocabulary.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PATCH = 8
CENTROIDS = 64
_CHANNELS = PATCH * PATCH * 3

Images = NDArray[np.uint8]
Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Codebook:
    """Bare table and centroids of each camera; codes count up from 0 over cameras and cells."""

    background: NDArray[np.float32]
    """(cameras, cells, patch pixels) in 0..1: what an empty scene looks like."""
    centroids: NDArray[np.float32]
    """(cameras, centroids, patch pixels): differences from the background; the first is none."""

    @property
    def grid(self) -> int:
        """Cells along one side of an image."""
        return math.isqrt(self.background.shape[1])

    @property
    def size(self) -> int:
        """Number of codes."""
        cameras, cells = self.background.shape[:2]
        return int(cameras * cells * self.centroids.shape[1])

    @property
    def patches(self) -> NDArray[np.float32]:
        """(codes, patch pixels): what each code shows."""
        shown = self.background[:, :, None] + self.centroids[:, None, :]
        return np.ascontiguousarray(shown.reshape(self.size, -1), dtype=np.float32)

    def encode(self, images: Images, camera: int) -> Codes:
        """The codes (n, grid, grid) of n images of one camera."""
        difference = split(images) - self.background[camera]
        nearest = np.argmin(_distances(difference, self.centroids[camera]), axis=-1)
        cells = self.background.shape[1]
        codes = (camera * cells + np.arange(cells)) * self.centroids.shape[1] + nearest
        grids: Codes = codes.reshape(len(images), self.grid, self.grid).astype(np.int64)
        return grids

    def decode(self, codes: Codes) -> Images:
        """The images (n, size, size, 3) of codes (n, grid, grid), whatever cell a code is of."""
        cells = self.background.shape[1]
        cell, centroid = np.divmod(np.clip(codes, 0, self.size - 1), self.centroids.shape[1])
        camera, cell = np.divmod(cell, cells)
        patches = self.background[camera, cell] + self.centroids[camera, centroid]
        return join(patches.reshape(len(codes), cells, _CHANNELS))

    def error(self, images: Images, camera: int) -> float:
        """Mean absolute error of encode and decode, on the scale 0..1."""
        back = self.decode(self.encode(images, camera))
        return float(np.abs(back.astype(np.float32) - images.astype(np.float32)).mean() / 255.0)

    def digest(self) -> str:
        """Names this codebook: another one would give the same tokens another meaning."""
        return hashlib.sha256(self.background.tobytes() + self.centroids.tobytes()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write both arrays; `load` reads them without pickle."""
        np.savez_compressed(path, background=self.background, centroids=self.centroids)

    @classmethod
    def load(cls, path: Path) -> Codebook:
        """The codebook that `save` wrote."""
        with np.load(path, allow_pickle=False) as archive:
            return cls(background=archive["background"], centroids=archive["centroids"])


def split(images: Images) -> NDArray[np.float32]:
    """(n, size, size, 3) bytes to (n, cells, patch pixels) in 0..1."""
    n, size = images.shape[:2]
    grid = size // PATCH
    tiles = images.reshape(n, grid, PATCH, grid, PATCH, 3).transpose(0, 1, 3, 2, 4, 5)
    return tiles.reshape(n, grid * grid, _CHANNELS).astype(np.float32) / np.float32(255.0)


def join(patches: NDArray[np.float32]) -> Images:
    """The inverse of `split`."""
    n, cells = patches.shape[:2]
    grid = round(cells**0.5)
    tiles = patches.reshape(n, grid, grid, PATCH, PATCH, 3).transpose(0, 1, 3, 2, 4, 5)
    whole = tiles.reshape(n, grid * PATCH, grid * PATCH, 3)
    return (np.clip(whole, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def fit(images: NDArray[np.uint8], centroids: int = CENTROIDS, rounds: int = 12) -> Codebook:
    """A codebook for images (cameras, n, size, size, 3); a few hundred a camera are enough."""
    backgrounds, books = [], []
    for view in images:
        patches = split(view)
        background = np.median(patches, axis=0)
        backgrounds.append(background)
        books.append(_cluster((patches - background).reshape(-1, _CHANNELS), centroids, rounds))
    return Codebook(np.stack(backgrounds).astype(np.float32), np.stack(books))


def _cluster(points: NDArray[np.float32], centroids: int, rounds: int) -> NDArray[np.float32]:
    """k-means from farthest points, which needs no luck; centroid 0 stays the bare table."""
    points = points[(points**2).sum(-1) > 0.05]
    book = np.zeros((centroids, _CHANNELS), np.float32)
    gap = (points**2).sum(-1)
    for k in range(1, centroids):
        book[k] = points[gap.argmax()]
        gap = np.minimum(gap, ((points - book[k]) ** 2).sum(-1))
    for _ in range(rounds):
        member = np.eye(centroids, dtype=np.float32)[np.argmin(_distances(points, book), axis=-1)]
        count = member.sum(axis=0)[:, None]
        book = np.where(count > 0, member.T @ points / np.maximum(count, 1.0), book)
        book[0] = 0.0
    return book.astype(np.float32)


def _distances(points: NDArray[np.float32], book: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared distances (..., n, centroids), up to a constant a point."""
    distances: NDArray[np.float32] = (book**2).sum(-1) - 2.0 * (points @ book.T)
    return distances
