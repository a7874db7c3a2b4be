"""Images as codes and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainer.data.codebook import Codebook, fit, join, split
from trainer.data.dataset import DataConfig, TabletopData, fit_codebook
from trainer.data.tabletop import CAMERAS, Camera


@pytest.fixture(scope="module")
def book() -> Codebook:
    return fit_codebook(DataConfig(image_size=64))


def held_out_images(number: int, count: int = 40) -> np.ndarray:
    config = DataConfig(image_size=64, episodes=1, validation_episodes=count)
    data = TabletopData(config, _nothing(), "val_ind")
    camera = Camera(CAMERAS[number], 64)
    return np.stack([camera.render(e.scenes[len(e.scenes) // 2]) for e in data.episodes])


def _nothing() -> Codebook:
    return Codebook(np.zeros((2, 64, 192), np.float32), np.zeros((2, 64, 192), np.float32))


def test_two_cameras_of_64_cells_are_exactly_the_8192_image_codes(book: Codebook) -> None:
    assert (book.grid, book.size) == (8, 8192)
    for number in range(2):
        codes = book.encode(held_out_images(number), number)
        assert codes.shape[1:] == (8, 8)
        assert codes.min() >= 0
        assert codes.max() < 8192


def test_patches_are_put_back_where_they_were() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    assert (join(split(images)) == images).all()


@pytest.mark.parametrize("number", [0, 1])
def test_decoding_comes_closer_than_the_bare_table(book: Codebook, number: int) -> None:
    images = held_out_images(number)
    bare = np.abs(images - np.median(images, axis=0)).mean() / 255
    assert book.error(images, number) < 0.75 * bare


def test_a_decoded_image_encodes_to_its_own_codes(book: Codebook) -> None:
    codes = book.encode(held_out_images(0), 0)
    again = book.encode(book.decode(codes), 0)
    # Rounding to bytes may move a patch that lies between two centroids.
    assert (again == codes).mean() > 0.99


def test_every_cell_has_codes_of_its_own(book: Codebook) -> None:
    codes = book.encode(held_out_images(1), 1).reshape(-1, 64)
    cell = codes // 64
    assert (cell == 64 + np.arange(64)).all()


def test_a_saved_codebook_is_the_same_one(book: Codebook, tmp_path: Path) -> None:
    book.save(tmp_path / "book.npz")
    assert Codebook.load(tmp_path / "book.npz").digest() == book.digest()


def test_fitting_twice_gives_the_same_codebook() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 30, 16, 16, 3), np.uint8)
    assert fit(images, 8).digest() == fit(images, 8).digest()
