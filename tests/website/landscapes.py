"""Pictures for the stand-in's posts."""

import random
from io import BytesIO

from PIL import Image, ImageDraw


def picture_bytes(chance: random.Random, width: int = 960, height: int = 720) -> bytes:
    """A landscape that does not exist."""
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    warm, cool = (
        (chance.randrange(200, 256), chance.randrange(120, 190), chance.randrange(90, 160)),
        (
            chance.randrange(30, 110),
            chance.randrange(60, 150),
            chance.randrange(130, 210),
        ),
    )
    for y in range(height):
        draw.line([(0, y), (width, y)], fill=_mix(cool, warm, y / height))
    sun, radius = (chance.randrange(width), chance.randrange(height // 5, height // 2)), chance.randrange(30, 80)
    draw.ellipse([sun[0] - radius, sun[1] - radius, sun[0] + radius, sun[1] + radius], fill=(255, 240, 214))
    for ridge in range(4):
        _ridge(draw, chance, width, height, ridge, _mix(warm, (18, 26, 44), 0.35 + ridge * 0.19))
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=88)
    return encoded.getvalue()


def _ridge(
    draw: ImageDraw.ImageDraw, chance: random.Random, width: int, height: int, ridge: int, colour: tuple[int, ...]
) -> None:
    base, steps = height * (0.5 + ridge * 0.12), 24
    y, line = base, [(0.0, float(height))]
    for step in range(steps + 1):
        y += chance.uniform(-38, 38) + (base - y) * 0.3
        line.append((width * step / steps, y))
    draw.polygon([*line, (width, height)], fill=colour)


def _mix(one: tuple[int, ...], other: tuple[int, ...], share: float) -> tuple[int, ...]:
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
