"""Pictures on disk and in memory, whole and odd ones, and calls of the command line, as several tests share them."""

import io
import sys
import zlib

import numpy as np
from PIL import Image

from e2ent2lib import cli
from e2ent2lib.photos.images import write_image


def noise(height=64, width=72, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def save(path, image):
    """Write a picture, and make its folder first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, image)


def put(folder, *names, size=(16, 16), first=0):
    """Write a different picture under each name."""
    for seed, name in enumerate(names, first):
        save(folder / name, noise(*size, seed))


def left(folder):
    """The files of a folder and its sub-folders."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def encoded(image, kind, **options):
    """The bytes of a file of that kind."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def huge_header(width, height):
    """A PNG that says it has so many pixels, and has none."""
    content = bytearray(encoded(Image.new("RGB", (1, 1)), "PNG"))
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def call(monkeypatch, *arguments):
    """The exit code of ``e2ent2`` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["e2ent2", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return end.code or 0
    return 0
