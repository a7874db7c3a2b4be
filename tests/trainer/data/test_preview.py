"""`python -m trainer.data preview`: a picture of what the training sees."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from trainer.data.__main__ import LINE, ZOOM, execute_decoded, main, write_png
from trainer.data.tabletop import new_scene


def test_it_writes_a_row_of_ten_pictures_a_scene(tmp_path: Path) -> None:
    out = tmp_path / "preview.png"
    arguments = ["preview", "--preset", "micro", "--scenes", "2", "--out", str(out)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    width, height = struct.unpack(">II", out.read_bytes()[16:24])
    assert height == 2 * (32 + LINE) * ZOOM
    assert width % ((32 + LINE) * ZOOM) == 0
    assert "reconstruction error" in done.output


def test_the_picture_holds_the_pixels_that_it_was_given(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)
    write_png(tmp_path / "a.png", image)
    raw = (tmp_path / "a.png").read_bytes()
    at = raw.index(b"IDAT")
    (length,) = struct.unpack(">I", raw[at - 4 : at])
    lines = np.frombuffer(zlib.decompress(raw[at + 4 : at + 4 + length]), np.uint8).reshape(3, -1)
    assert (lines[:, 1:].reshape(3, 5, 3) == image).all()


def test_actions_that_went_through_bins_still_arrive() -> None:
    for seed in range(20):
        path = execute_decoded(new_scene(np.random.default_rng(seed), "reach"), 3)
        assert path[-1].done()


def test_a_wrong_setting_is_a_sentence(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["preview", "--set", "image_size=7"])
    assert done.exit_code == 1
    assert "image_size is 7" in done.output
