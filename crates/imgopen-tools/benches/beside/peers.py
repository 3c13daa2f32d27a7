"""The libraries that people would use instead, for the bench `beside`: each process runs one task of one library.

    peers.py TASK LIBRARY FILE...

Answers each line of its input: "whole" with the seconds from encoded bytes to encoded bytes and the size of the result,
"alone" with those of the operation on decoded pixels, "memory" with the growth of the resident memory in KiB while the
whole is done once. Without the library, the only line is "missing" with the reason. Settings are the libraries' defaults,
except where both sides must do the same work: JPEG has quality 93 and WebP is without loss.
"""

import io
import sys
import time

TASK, LIBRARY, *FILES = sys.argv[1:]
JPEG_QUALITY = 93


class Pillow:
    def __init__(self):
        from PIL import Image

        self.Image = Image

    def decode(self, data):
        picture = self.Image.open(io.BytesIO(data))
        picture.load()
        return picture

    def encode(self, picture, kind):
        result = io.BytesIO()
        options = {"png": {}, "jpg": {"quality": JPEG_QUALITY}, "webp": {"lossless": True}}[kind]
        picture.save(result, {"jpg": "JPEG"}.get(kind, kind), **options)
        return result.getvalue()

    def enlarge(self, picture):
        return picture.resize((picture.width * 4, picture.height * 4), self.Image.Resampling.LANCZOS)

    def invert(self, picture):
        from PIL import ImageOps

        return ImageOps.invert(picture)

    def threshold(self, picture):
        return picture.convert("L").point(lambda value: 255 if value > 127 else 0)

    def color(self, picture):
        small = picture.resize((picture.width // 64, picture.height // 64), self.Image.Resampling.BICUBIC)
        return small.resize(picture.size, self.Image.Resampling.NEAREST)

    def tile(self, picture):
        small = picture.resize((picture.width // 8, picture.height // 8), self.Image.Resampling.BOX)
        return small.resize(picture.size, self.Image.Resampling.BICUBIC)

    def text(self, picture):
        from PIL import ImageDraw, ImageFont

        picture = picture.copy()
        font = ImageFont.load_default(size=picture.height // 16)
        draw = ImageDraw.Draw(picture, "RGBA")
        at = (picture.width - 16, picture.height - 16)
        width = picture.height // 256
        draw.text(at, "© Example 2026", (255, 255, 255, 200), font, "rs", stroke_width=width, stroke_fill=(0, 0, 0, 200))
        return picture

    def mark(self, picture, mark):
        picture = picture.convert("RGBA")
        width = picture.width // 4
        mark = mark.convert("RGBA").resize((width, mark.height * width // mark.width), self.Image.Resampling.LANCZOS)
        picture.alpha_composite(mark, (picture.width - mark.width - 16, picture.height - mark.height - 16))
        return picture.convert("RGB")


class OpenCV:
    def __init__(self):
        import cv2
        import numpy

        self.cv2 = cv2
        self.numpy = numpy

    def decode(self, data):
        return self.cv2.imdecode(self.numpy.frombuffer(data, self.numpy.uint8), self.cv2.IMREAD_COLOR)

    def encode(self, picture, kind):
        cv2 = self.cv2
        options = {"png": [], "jpg": [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY], "webp": [cv2.IMWRITE_WEBP_QUALITY, 101]}
        return cv2.imencode(f".{kind}", picture, options[kind])[1].tobytes()

    def gray(self, picture):
        return self.cv2.cvtColor(picture, self.cv2.COLOR_BGR2GRAY)

    def enlarge(self, picture):
        return self.cv2.resize(picture, None, fx=4, fy=4, interpolation=self.cv2.INTER_LANCZOS4)

    def canny(self, picture):
        return self.cv2.Canny(self.gray(picture), 100, 200)

    def invert(self, picture):
        return self.cv2.bitwise_not(picture)

    def threshold(self, picture):
        return self.cv2.threshold(self.gray(picture), 127, 255, self.cv2.THRESH_BINARY)[1]

    def color(self, picture):
        height, width = picture.shape[:2]
        small = self.cv2.resize(picture, (width // 64, height // 64), interpolation=self.cv2.INTER_CUBIC)
        return self.cv2.resize(small, (width, height), interpolation=self.cv2.INTER_NEAREST)

    def tile(self, picture):
        height, width = picture.shape[:2]
        small = self.cv2.resize(picture, (width // 8, height // 8), interpolation=self.cv2.INTER_AREA)
        return self.cv2.resize(small, (width, height), interpolation=self.cv2.INTER_CUBIC)

    def scribble(self, picture):
        """Extended difference of Gaussians, as the web UI's `scribble_xdog`."""
        cv2, numpy = self.cv2, self.numpy
        gray = picture.astype(numpy.float32)
        fine, coarse = cv2.GaussianBlur(gray, (0, 0), 0.5), cv2.GaussianBlur(gray, (0, 0), 5.0)
        difference = 255 - numpy.min(coarse - fine, axis=2).clip(0, 255)
        return (difference < 255 - 32).astype(numpy.uint8) * 255

    def lineart(self, picture):
        """The web UI's `lineart_standard`."""
        cv2, numpy = self.cv2, self.numpy
        picture = picture.astype(numpy.float32)
        gaussian = cv2.GaussianBlur(picture, (0, 0), 6.0)
        intensity = numpy.min(gaussian - picture, axis=2).clip(0, 255)
        intensity /= max(16, numpy.median(intensity[intensity > 8]))
        return (intensity * 127).clip(0, 255).astype(numpy.uint8)

    def text(self, picture):
        cv2 = self.cv2
        picture = picture.copy()
        height, width = picture.shape[:2]
        font, size = cv2.FONT_HERSHEY_SIMPLEX, height / 512
        (wide, _), _ = cv2.getTextSize("(c) Example 2026", font, size, 2)
        at = (width - wide - 16, height - 16)
        cv2.putText(picture, "(c) Example 2026", at, font, size, (0, 0, 0), 5, cv2.LINE_AA)
        cv2.putText(picture, "(c) Example 2026", at, font, size, (255, 255, 255), 2, cv2.LINE_AA)
        return picture

    def remove_by_diffusion(self, picture, mask):
        return self.cv2.inpaint(picture, self.gray(mask), 3, self.cv2.INPAINT_TELEA)

    def remove_by_patches(self, picture, mask):
        """Fills with texture; expects zero where the hole is."""
        lab = self.cv2.cvtColor(picture, self.cv2.COLOR_BGR2Lab)
        result = lab.copy()
        self.cv2.xphoto.inpaint(lab, self.cv2.bitwise_not(self.gray(mask)), result, self.cv2.xphoto.INPAINT_SHIFTMAP)
        return self.cv2.cvtColor(result, self.cv2.COLOR_Lab2BGR)

    def bordered(self, picture):
        height, width = picture.shape[:2]
        top, left = height // 4, width // 4
        return self.cv2.copyMakeBorder(picture, top, top, left, left, self.cv2.BORDER_REFLECT_101)

    def outpaint_by_patches(self, picture):
        height, width = picture.shape[:2]
        large = self.bordered(picture)
        mask = self.numpy.full(large.shape, 255, self.numpy.uint8)
        mask[height // 4 : height // 4 + height, width // 4 : width // 4 + width] = 0
        return self.remove_by_patches(large, mask)


class Scikit:
    def __init__(self):
        import numpy
        import skimage.io

        self.numpy = numpy

    def decode(self, data):
        from skimage import io as reader

        return reader.imread(io.BytesIO(data))

    def encode(self, picture, kind):
        from PIL import Image

        result = io.BytesIO()
        options = {"quality": JPEG_QUALITY} if kind == "jpg" else {}
        Image.fromarray(picture).save(result, {"jpg": "JPEG"}.get(kind, kind), **options)
        return result.getvalue()

    def bytes(self, picture):
        return (picture.clip(0, 1) * 255).round().astype(self.numpy.uint8)

    def enlarge(self, picture):
        """It has no Lanczos; its best is a spline of order 3."""
        from skimage.transform import resize

        return self.bytes(resize(picture, (picture.shape[0] * 4, picture.shape[1] * 4), order=3))

    def canny(self, picture):
        from skimage import color, feature

        return feature.canny(color.rgb2gray(picture)).astype(self.numpy.uint8) * 255

    def threshold(self, picture):
        from skimage import color

        return (color.rgb2gray(picture) > 0.5).astype(self.numpy.uint8) * 255

    def invert(self, picture):
        from skimage import util

        return util.invert(picture)

    def remove_by_diffusion(self, picture, mask):
        from skimage.restoration import inpaint_biharmonic

        return self.bytes(inpaint_biharmonic(picture, mask > 127, channel_axis=-1))


class ImageMagick:
    def __init__(self):
        from wand.image import Image

        self.Image = Image

    def decode(self, data):
        return self.Image(blob=data)

    def encode(self, picture, kind):
        picture.compression_quality = JPEG_QUALITY if kind == "jpg" else picture.compression_quality
        return picture.make_blob(kind)

    def enlarge(self, picture):
        picture = picture.clone()
        picture.resize(picture.width * 4, picture.height * 4, filter="lanczos")
        return picture

    def invert(self, picture):
        picture = picture.clone()
        picture.negate()
        return picture

    def threshold(self, picture):
        picture = picture.clone()
        picture.transform_colorspace("gray")
        picture.threshold(0.5)
        return picture

    def text(self, picture):
        from wand.drawing import Drawing

        picture = picture.clone()
        with Drawing() as draw:
            draw.font_size = picture.height / 16
            draw.gravity = "south_east"
            draw.fill_color, draw.stroke_color, draw.stroke_width = "white", "black", picture.height / 512
            draw.text(16, 16, "(c) Example 2026")
            draw(picture)
        return picture

    def mark(self, picture, mark):
        picture, mark = picture.clone(), mark.clone()
        width = picture.width // 4
        mark.resize(width, mark.height * width // mark.width, filter="lanczos")
        picture.composite(mark, picture.width - mark.width - 16, picture.height - mark.height - 16)
        return picture


LIBRARIES = {"Pillow": Pillow, "OpenCV": OpenCV, "scikit-image": Scikit, "ImageMagick": ImageMagick}
DRAWINGS = ["canny", "scribble", "lineart", "threshold", "invert", "color", "tile"]

try:
    library = LIBRARIES[LIBRARY]()
except (ImportError, OSError) as error:
    # In place of an answer; a library that is there but cannot be loaded has more lines.
    print("missing", " ".join(str(error).split()) or type(error).__name__, flush=True)
    sys.exit()
operation = getattr(library, TASK)
inputs = [open(file, "rb").read() for file in FILES]
kind = "png" if TASK in DRAWINGS else FILES[0].rsplit(".", 1)[1]


def whole(inputs=inputs):
    return library.encode(operation(*(library.decode(data) for data in inputs)), kind)


def resident(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))


def thumbnail(data):
    from PIL import Image

    picture, result = Image.open(io.BytesIO(data)), io.BytesIO()
    picture.resize((64, 64)).save(result, picture.format, lossless=True)
    return result.getvalue()


def memory():
    """Code is loaded first, with tiny pictures."""
    whole([thumbnail(data) for data in inputs])
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    before = resident("VmRSS:")
    whole()
    return resident("VmHWM:") - before


decoded = [library.decode(data) for data in inputs]
for line in sys.stdin:
    match line.strip():
        case "whole":
            start = time.perf_counter()
            result = whole()
            print(time.perf_counter() - start, len(result), flush=True)
        case "alone":
            start = time.perf_counter()
            operation(*decoded)
            print(time.perf_counter() - start, 0, flush=True)
        case "memory":
            print(memory(), 0, flush=True)
