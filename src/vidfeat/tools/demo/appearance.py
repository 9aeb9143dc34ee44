"""The appearance of sprites and backgrounds: colours, shapes, textures.

It does not depend on the motion. Training and testing draw from different shapes, textures, backgrounds and hues.
Images are float32 RGB in [0, 255]; coordinates are in [-1, 1], x to the right and y down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vidfeat.tools.demo.random_generator import RandomGenerator, Split

Floats = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]
Colour = npt.NDArray[np.float32]
Mix = Callable[[RandomGenerator, Floats, Floats], Floats]
"""The share of the second of two colours at each position: x and y to values in [0, 1], all `[H, W]`."""


@dataclass(frozen=True)
class Palette:
    """The colours of a clip, float32 RGB `[3]` in [0, 255].

    Attributes:
        ground: the two colours of the background.
        sprites: the two colours of each sprite, which differ from the background in brightness.
    """

    ground: tuple[Colour, Colour]
    sprites: tuple[tuple[Colour, Colour], ...]


def draw_palette(rng: RandomGenerator, sprites: int) -> Palette:
    """Bright sprites on a dark background, or dark ones on a bright background, in hues of the split."""
    darkness = rng.uniform(0.12, 0.38), rng.uniform(0.12, 0.38)
    if rng.bernoulli(0.5):
        ground = _colour(rng, 0.3, 0.9, darkness[0]), _colour(rng, 0.3, 0.9, darkness[1])
        value = 0.62, 1.0
    else:
        ground = _colour(rng, 0.1, 0.45, 1 - darkness[0] / 2), _colour(rng, 0.1, 0.45, 1 - darkness[1] / 2)
        value = 0.2, 0.6
    return Palette(ground, tuple((_vivid(rng, *value), _vivid(rng, *value)) for _ in range(sprites)))


def _vivid(rng: RandomGenerator, low: float, high: float) -> Colour:
    return _colour(rng, 0.45, 1.0, rng.uniform(low, high))


def _colour(rng: RandomGenerator, pale: float, full: float, value: float) -> Colour:
    """A colour of any hue of the split; saturation between `pale` and `full`, all in [0, 1]."""
    hsv = np.array([[[rng.uniform(0, 360), rng.uniform(pale, full), value]]], np.float32)
    colour: Colour = 255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]
    return colour


# --- shapes -----------------------------------------------------------------------------------------------------------


def _spikes(count: int, inner: float) -> Points:
    """A star whose inner corners are at `inner`."""
    angles = np.arange(2 * count) * np.pi / count
    radius = np.where(np.arange(2 * count) % 2, inner, 1.0)
    return np.stack([radius * np.sin(angles), -radius * np.cos(angles)], axis=1)


def _polygon(corners: int) -> Points:
    angles = np.arange(corners) * 2 * np.pi / corners
    return np.stack([np.sin(angles), -np.cos(angles)], axis=1)


def _heart() -> Points:
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    x = np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 17
    return np.stack([x, y], axis=1)


def _drop() -> Points:
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    return np.stack([0.8 * np.sin(t) * np.sin(t / 2), -np.cos(t)], axis=1)


def _corners(*places: tuple[float, float]) -> Points:
    return np.array(places)


SHAPES: Mapping[Split, Sequence[Points]] = {
    "train": (
        _polygon(40),  # disc
        _polygon(3),
        _polygon(4),
        _spikes(5, 0.5),  # star
        _corners((-1, -0.55), (1, -0.55), (1, 0.55), (-1, 0.55)),  # brick
        _corners(  # plus
            *((-0.35, -1), (0.35, -1), (0.35, -0.35), (1, -0.35), (1, 0.35), (0.35, 0.35)),
            *((0.35, 1), (-0.35, 1), (-0.35, 0.35), (-1, 0.35), (-1, -0.35), (-0.35, -0.35)),
        ),
    ),
    "test": (
        _heart(),
        _drop(),
        _polygon(5),
        _spikes(4, 0.45),  # four-pointed star
        _corners((-0.7, -1), (0.0, -1), (0.0, 0.2), (0.8, 0.2), (0.8, 1), (-0.7, 1)),  # the letter L
        _corners((0, -1), (0.9, 0), (0.4, 0), (0.4, 1), (-0.4, 1), (-0.4, 0), (-0.9, 0)),  # arrow
    ),
}
"""Outlines, as float64 `[corners, 2]` in [-1, 1]."""


# --- textures ---------------------------------------------------------------------------------------------------------
# All of them make a rotation visible.


def _dots(rng: RandomGenerator, x: Floats, y: Floats) -> Floats:
    pitch = rng.uniform(6, 8)
    return _soft(2.5 * (np.cos(pitch * x + 1) + np.cos(pitch * y + 1) - 0.9))


TEXTURES: Mapping[Split, Sequence[Mix]] = {
    "train": (
        lambda rng, x, y: _soft(np.sin(x * rng.uniform(4, 7))),  # bars
        lambda rng, x, y: _soft(8 * x * y),  # quarters
        lambda rng, x, y: _soft(6 * y),  # halves
    ),
    "test": (
        _dots,
        lambda rng, x, y: _soft(5 * (np.abs(np.arctan2(y, x)) - rng.uniform(0.9, 1.6))),  # wedge
        lambda rng, x, y: _soft(9 * (rng.uniform(0.3, 0.4) - np.hypot(x - 0.25, y - 0.3))),  # spot
    ),
}


def _soft(x: npt.NDArray[np.floating]) -> Floats:
    return np.clip(0.5 + x, 0, 1).astype(np.float32)


# --- backgrounds ------------------------------------------------------------------------------------------------------


def _tiles(rng: RandomGenerator, x: Floats, y: Floats) -> Floats:
    pitch = rng.uniform(5, 9)
    return _soft(1.5 * np.sin(pitch * x) * np.sin(pitch * y))


def _rings(rng: RandomGenerator, x: Floats, y: Floats) -> Floats:
    centre = rng.uniform(-1, 1), rng.uniform(-1, 1)
    return _soft(0.5 * np.sin(rng.uniform(6, 11) * np.hypot(x - centre[0], y - centre[1])))


BACKGROUNDS: Mapping[Split, Sequence[Mix]] = {
    "train": (
        lambda rng, x, y: _upsampled(rng, 5, x.shape),  # blobs
        lambda rng, x, y: _soft(0.5 * _across(rng, x, y)),  # slope
        lambda rng, x, y: _soft(0.5 * np.sin(rng.uniform(5, 10) * _across(rng, x, y))),  # waves
    ),
    "test": (_tiles, _rings, lambda rng, x, y: _upsampled(rng, 24, x.shape)),  # speckles
}


def _across(rng: RandomGenerator, x: Floats, y: Floats) -> Floats:
    angle = rng.uniform(0, np.pi)
    return np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y


def _upsampled(rng: RandomGenerator, cells: int, shape: tuple[int, ...]) -> Floats:
    coarse = rng.noise(cells, cells * shape[1] // shape[0])
    return np.clip(cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), 0, 1)


# --- images -----------------------------------------------------------------------------------------------------------


def draw_background(rng: RandomGenerator, colours: tuple[Colour, Colour], height: int, width: int) -> Floats:
    """float32 `[height, width, 3]`."""
    return _painted(rng, rng.choice(BACKGROUNDS), colours, height, width)


def draw_sprite(rng: RandomGenerator, colours: tuple[Colour, Colour], side: int) -> Floats:
    """A shape with a texture, float32 `[side, side, 4]`: colour times opacity, then opacity in [0, 1]."""
    outline = rng.choice(SHAPES)
    fine = 4 * side
    drawn = np.zeros((fine, fine), np.uint8)
    cv2.fillPoly(drawn, [np.rint((1 + 0.94 * outline) * fine / 2).astype(np.int32)], 255)
    opacity = cv2.resize(drawn, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)[..., None] / 255
    painted = _painted(rng, rng.choice(TEXTURES), colours, side, side)
    return np.concatenate([painted * opacity, opacity], axis=-1)


def _painted(rng: RandomGenerator, mix: Mix, colours: tuple[Colour, Colour], height: int, width: int) -> Floats:
    across, down = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    x, y = np.meshgrid(across, down)
    share = mix(rng, x, y)[..., None].astype(np.float32)
    return colours[0] * (1 - share) + colours[1] * share
