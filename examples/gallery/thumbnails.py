"""Make thumbnails of a folder of images. Needs Pillow.

What goes to a worker is the path of an image, and what comes back is the finished thumbnail: large
pixels stay where they are made.

    python examples/gallery/thumbnails.py [number of images]
"""

import io
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from pmap import pmap, pstarmap

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 60
SIZE = (1600, 1200) if COUNT > 8 else (240, 160)
SMALL = (SIZE[0] // 10, SIZE[1] // 10)


def paint(number: int, path: Path) -> None:
    """Write an image: the picture of a lamp, each in another colour."""
    light = Image.radial_gradient("L").resize(SIZE)
    colours = (light, light.rotate(7 * number), light.rotate(90))
    Image.merge("RGB", colours).save(path, compress_level=1)


def thumbnail(path: Path) -> bytes:
    """Return a small JPEG of an image."""
    with Image.open(path) as image:
        image.thumbnail(SMALL)
        small = io.BytesIO()
        image.save(small, "JPEG")
        return small.getvalue()


def main() -> None:
    with TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number:03}.png") for number in range(COUNT)]
        pstarmap(paint, enumerate(paths))

        begin = time.perf_counter()
        serial = [thumbnail(path) for path in paths]
        middle = time.perf_counter()
        parallel = pmap(thumbnail, paths)
        end = time.perf_counter()

        for path, small in zip(paths, parallel, strict=True):
            path.with_suffix(".jpg").write_bytes(small)
        large = sum(path.stat().st_size for path in paths)
        print(f"{COUNT} images of {SIZE[0]} x {SIZE[1]} pixels, {large / 1e6:.1f} MB")
        print(f"{len(parallel)} thumbnails, {sum(map(len, parallel)) / 1e6:.2f} MB")
        print(f"serial loop {middle - begin:.2f} s, pmap {end - middle:.2f} s")
    if parallel != serial:
        sys.exit("the thumbnails are not those of the serial loop")


main()
