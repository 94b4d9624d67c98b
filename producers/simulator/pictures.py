"""A dozen small pictures, painted from a seed: skies, suns, hills and stripes."""

import colorsys
import random
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

from conf.store import MEDIA_PATH, Object
from producers.pictures import keep_picture

SIZE = (640, 480)
Colour = tuple[int, int, int]


def paint_pictures(folder: Path | Object) -> list[str]:
    """Paint and keep them; answers their paths as posts name them."""
    rng = random.Random("pictures 1")
    painters = (_hills, _stripes, _circles, _city)
    return [MEDIA_PATH + keep_picture(folder, painters[number % 4](rng), "jpg") for number in range(12)]


def _hills(rng: random.Random) -> bytes:
    hue = rng.random()
    image = _sky(_colour(hue, 0.5, 0.95), _colour(hue + 0.12, 0.35, 1.0))
    draw = ImageDraw.Draw(image)
    _sun(draw, rng, _colour(hue + 0.15, 0.25, 1.0))
    for layer in range(4):
        base, steps = 250 + layer * 55, 16
        ridge = [(x * SIZE[0] // steps, base + rng.randint(-45, 45)) for x in range(steps + 1)]
        draw.polygon([(0, SIZE[1]), *ridge, (SIZE[0], SIZE[1])], fill=_colour(hue, 0.55, 0.75 - layer * 0.15))
    return _jpeg(image.filter(ImageFilter.GaussianBlur(1.2)))


def _stripes(rng: random.Random) -> bytes:
    hue = rng.random()
    image = _sky(_colour(hue, 0.25, 1.0), _colour(hue + 0.08, 0.4, 0.9))
    draw = ImageDraw.Draw(image)
    for band in range(9):
        left = band * 80 - 160 + rng.randint(-20, 20)
        corners = [(left, SIZE[1]), (left + 240, 0), (left + 240 + rng.randint(15, 60), 0), (left + 50, SIZE[1])]
        draw.polygon(corners, fill=_colour(hue + band * 0.03, 0.6, 0.9))
    return _jpeg(image.filter(ImageFilter.GaussianBlur(0.8)))


def _circles(rng: random.Random) -> bytes:
    hue = rng.random()
    image = _sky(_colour(hue, 0.7, 0.35), _colour(hue + 0.1, 0.6, 0.6))
    for _ in range(26):
        veil = Image.new("RGB", SIZE, _colour(hue + rng.uniform(-0.12, 0.12), 0.5, 1.0))
        mask = Image.new("L", SIZE, 0)
        x, y, radius = rng.randint(0, SIZE[0]), rng.randint(0, SIZE[1]), rng.randint(15, 110)
        ImageDraw.Draw(mask).ellipse((x - radius, y - radius, x + radius, y + radius), fill=70)
        image.paste(veil, mask=mask)
    return _jpeg(image)


def _city(rng: random.Random) -> bytes:
    hue = rng.random()
    image = _sky(_colour(hue, 0.6, 0.4), _colour(hue + 0.1, 0.5, 0.95))
    draw = ImageDraw.Draw(image)
    _sun(draw, rng, _colour(hue + 0.1, 0.15, 1.0))
    x = 0
    while x < SIZE[0]:
        width, top = rng.randint(35, 90), rng.randint(170, 380)
        draw.rectangle((x, top, x + width, SIZE[1]), fill=_colour(hue, 0.5, rng.uniform(0.12, 0.28)))
        _windows(draw, rng, x, top, width)
        x += width
    return _jpeg(image)


def _windows(draw: ImageDraw.ImageDraw, rng: random.Random, x: int, top: int, width: int) -> None:
    for row in range(top + 10, SIZE[1], 18):
        for column in range(x + 7, x + width - 9, 14):
            if rng.random() < 0.35:
                draw.rectangle((column, row, column + 5, row + 8), fill=(255, 220, 140))


def _sun(draw: ImageDraw.ImageDraw, rng: random.Random, colour: Colour) -> None:
    x, y, radius = rng.randint(100, 540), rng.randint(60, 180), rng.randint(30, 60)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _sky(top: Colour, bottom: Colour) -> Image.Image:
    slope = Image.linear_gradient("L").resize(SIZE)
    return Image.composite(Image.new("RGB", SIZE, bottom), Image.new("RGB", SIZE, top), slope)


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return int(red * 255), int(green * 255), int(blue * 255)


def _jpeg(image: Image.Image) -> bytes:
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=85)
    return encoded.getvalue()
