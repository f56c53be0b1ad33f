"""Thumbnails of images, with Pillow: paths go out, small JPEGs come back."""

import io
from pathlib import Path

from PIL import Image

from .job import Run, main


def paint(number: int, path: Path) -> None:
    """Write an image."""
    light = Image.radial_gradient("L").resize((1600, 1200))
    colours = (light, light.rotate(7 * number), light.rotate(90))
    Image.merge("RGB", colours).save(path, quality=85)


def thumbnail(path: Path) -> bytes:
    """Return a small JPEG of an image."""
    with Image.open(path) as image:
        image.thumbnail((160, 120))
        small = io.BytesIO()
        image.save(small, "JPEG")
        return small.getvalue()


def prepare(folder: Path, quick: bool) -> Run:
    """Write images."""
    paths = [folder / f"{number:03}.jpg" for number in range(20 if quick else 120)]
    for number, path in enumerate(paths):
        paint(number, path)
    return lambda peer: peer.map(thumbnail, paths)


if __name__ == "__main__":
    main(prepare)
