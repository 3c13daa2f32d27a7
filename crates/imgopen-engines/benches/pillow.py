"""Enlarges pictures with Pillow for the bench beside it.

Reads lines "FORMAT SCALE PATH" and answers each with the seconds that it took from file to file, in memory, and the size
of the result in bytes. Pillow's settings are its defaults, except that JPEG has the same quality as the engine's and WebP
is without loss.
"""

import io
import sys
import time

from PIL import Image

OPTIONS = {"PNG": {}, "JPEG": {"quality": 93}, "WebP": {"lossless": True}}


def enlarge(data, picture_format, scale):
    picture = Image.open(io.BytesIO(data))
    size = (round(picture.width * scale), round(picture.height * scale))
    result = io.BytesIO()
    picture.resize(size, Image.Resampling.LANCZOS).save(result, picture_format, **OPTIONS[picture_format])
    return result.getvalue()


for line in sys.stdin:
    picture_format, scale, path = line.strip().split(" ", 2)
    with open(path, "rb") as file:
        data = file.read()
    start = time.perf_counter()
    result = enlarge(data, picture_format, float(scale))
    print(time.perf_counter() - start, len(result), flush=True)
