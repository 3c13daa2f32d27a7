"""Lays subjects whose opacity is known on new grounds, to measure how well their backgrounds are removed.

    cutouts.py EMOJI.tgz OUTPUT

The subjects are three-dimensional emoji of Microsoft's Fluent set, half of them with hairs added to their outlines; the grounds are
textures and blurred photographs that scikit-image ships. Writes `N.png`, the picture, and `N-alpha.png`, the opacity of its
subject, to OUTPUT, and prints how many. The same each time.
"""

import io
import pathlib
import sys
import tarfile

import numpy as np
import skimage
from PIL import Image, ImageDraw, ImageFilter

PACKAGE, OUTPUT = sys.argv[1:]
SIDE = 512
SUBJECT = 384
# How many times finer hairs are drawn than they are shown.
FINE = 4
# Lion, cat, dog, parrot, rabbit, teddy bear, potted plant, bicycle; whether they get hairs; their grounds.
SUBJECTS = [
    ("1f981", True, "grass"),
    ("1f408", True, "coffee"),
    ("1f415", True, "brick"),
    ("1f99c", False, "rocket"),
    ("1f407", True, "gravel"),
    ("1f9f8", False, "grass"),
    ("1fab4", False, "astronaut"),
    ("1f6b2", False, "coffee"),
]
TEXTURES = ("grass", "brick", "gravel")


def ground(name):
    folder = pathlib.Path(skimage.__file__).parent / "data"
    file = next(file for file in folder.iterdir() if file.stem == name)
    picture = Image.open(file).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    if name in TEXTURES:
        return picture
    return picture.filter(ImageFilter.GaussianBlur(12))


def haired(subject, random):
    """Adds hairs that begin on the outline and lead away from the middle, in the colours where they begin."""
    samples = np.asarray(subject, dtype=np.float32) / 255
    alpha = samples[..., 3]
    inside = alpha > 0.9
    edge = inside & ~np.roll(inside, 1, 0) | inside & ~np.roll(inside, -1, 0)
    edge |= inside & ~np.roll(inside, 1, 1) | inside & ~np.roll(inside, -1, 1)
    places = np.argwhere(edge)
    middle = np.argwhere(inside).mean(axis=0)
    colours, cover = samples[..., :3].copy(), alpha.copy()
    colours[alpha == 0] = 0
    for y, x in places[random.choice(len(places), 160)]:
        away = np.array([y, x]) - middle
        angle = np.arctan2(away[0], away[1]) + random.normal(0, 0.5)
        length, bend = random.uniform(12, 34), random.normal(0, 0.5)
        steps = np.linspace(0, 1, 12)
        turn = angle + bend * steps
        line = [(x + length * step * np.cos(a), y + length * step * np.sin(a)) for step, a in zip(steps, turn)]
        layer = Image.new("L", (subject.width * FINE, subject.height * FINE))
        ImageDraw.Draw(layer).line([(px * FINE, py * FINE) for px, py in line], fill=255, width=int(random.choice([3, 4, 6])))
        hair = np.asarray(layer.resize(subject.size, Image.Resampling.BOX), dtype=np.float32) / 255
        colour = samples[y, x, :3] * random.uniform(0.75, 1.0)
        total = hair + cover * (1 - hair)
        mixed = colour * hair[..., None] + colours * (cover * (1 - hair))[..., None]
        colours = np.where(total[..., None] > 0, mixed / np.maximum(total, 1e-6)[..., None], 0)
        cover = total
    return np.dstack([colours, cover])


def main():
    random = np.random.default_rng(7)
    archive = tarfile.open(PACKAGE)
    for number, (name, has_hairs, behind) in enumerate(SUBJECTS):
        data = archive.extractfile(f"package/assets/{name}.webp").read()
        small = Image.open(io.BytesIO(data)).convert("RGBa").resize((SUBJECT, SUBJECT), Image.Resampling.LANCZOS)
        # Room for hairs.
        subject = Image.new("RGBA", (SIDE, SIDE))
        subject.paste(small.convert("RGBA"), ((SIDE - SUBJECT) // 2, (SIDE - SUBJECT) // 2))
        samples = haired(subject, random) if has_hairs else np.asarray(subject, dtype=np.float32) / 255
        alpha = samples[..., 3:]
        shown = samples[..., :3] * alpha + np.asarray(ground(behind), dtype=np.float32) / 255 * (1 - alpha)
        write = lambda array, file: Image.fromarray(np.rint(array * 255).astype(np.uint8)).save(f"{OUTPUT}/{file}.png")
        write(shown, number)
        write(alpha[..., 0], f"{number}-alpha")
    print(len(SUBJECTS))


main()
