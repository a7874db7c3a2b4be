"""`python -m trainer.data preview`: look at what the training sees."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from trainer.config import ConfigError, load
from trainer.data import tabletop
from trainer.data.codebook import Codebook, Images
from trainer.data.dataset import TabletopData, fit_codebook
from trainer.data.tabletop import CAMERAS, Camera, Scene
from trainer.model import tokens

ZOOM = 3
LINE = 4
"""Pixels between two pictures."""
ACTED = 6
"""Pictures of the decoded actions at work."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Look into the training data."""


@main.command()
@click.option("--preset", default="tiny", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("preview.png"))
@click.option("--scenes", default=6, show_default=True, type=click.IntRange(1, 32))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting.")
def preview(preset: str, out: Path, scenes: int, overrides: tuple[str, ...]) -> None:
    """Write a PNG, a scene a row: both cameras, what their codes decode to, and the expert at work.

    The last pictures execute the expert's actions as the model would read them: encoded to bins and
    decoded again, a chunk at a time.
    """
    try:
        config = load(preset, overrides).data
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    book = fit_codebook(config)
    data = TabletopData(config.with_validation(scenes), book, "val_ind")
    cameras = [Camera(name, config.image_size) for name in CAMERAS]
    rows = []
    for episode in data.episodes:
        scene = episode.scenes[0]
        acted = execute_decoded(scene, config.horizon)
        rows.append(_row(cameras, book, scene, acted))
        click.echo(
            f"{scene.instruction:42} expert arrives in {len(episode.executed)} steps, decoded"
            f" actions end at {acted[-1].distance():.3f} (success below {tabletop.SUCCESS_RADIUS})"
        )
    for number, camera in enumerate(cameras):
        images = np.stack([camera.render(e.scenes[len(e.scenes) // 2]) for e in data.episodes])
        lost = book.error(images, number)
        click.echo(f"{CAMERAS[number]} camera: mean reconstruction error {lost:.4f} of 1")
    write_png(out, np.concatenate(rows).repeat(ZOOM, axis=0).repeat(ZOOM, axis=1))
    click.echo(f"written {out}: cameras, their codes decoded, the decoded expert actions at work")


def execute_decoded(scene: Scene, horizon: int) -> list[Scene]:
    """The scenes that the expert's actions lead to after they were bins."""
    path = [scene]
    while len(path) <= tabletop.EPISODE_STEPS[scene.task] and not path[-1].done():
        for action in tabletop.plan(path[-1], horizon):
            bins = tokens.encode_bins(action, tokens.ACTION_BIN_FIRST)
            decoded = tokens.decode_bins(bins, tokens.ACTION_BIN_FIRST)
            path.append(tabletop.apply(path[-1], decoded.tolist()))
    return path


def _row(cameras: list[Camera], book: Codebook, scene: Scene, acted: list[Scene]) -> Images:
    shown = [camera.render(scene) for camera in cameras]
    decoded = [
        book.decode(book.encode(image[None], number))[0] for number, image in enumerate(shown)
    ]
    moments = np.linspace(0, len(acted) - 1, ACTED + 1).round().astype(int)[1:]
    after = [camera.render(acted[i]) for i in moments for camera in cameras]
    pictures = [np.pad(image, ((0, LINE), (0, LINE), (0, 0))) for image in shown + decoded + after]
    row: Images = np.concatenate(pictures, axis=1)
    return row


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """An RGB picture as a PNG, with nothing but zlib."""
    height, width, _ = image.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, -1)], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(lines.tobytes(), 9))
        + chunk(b"IEND", b"")
    )


if __name__ == "__main__":
    main()
