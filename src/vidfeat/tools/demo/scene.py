"""The frames of a clip, from its motion and appearance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vidfeat.tools.demo.appearance import Floats, draw_background, draw_palette, draw_sprite
from vidfeat.tools.demo.motions import MOTIONS, UNSEEN_MOTIONS, Path, Pose
from vidfeat.tools.demo.random_generator import RandomGenerator, Split

WIDTH, HEIGHT, FRAMES, FPS = 160, 120, 48, 24
"""Of every clip: size in pixels, number of frames, frames per second."""

_MARGIN = 20  # pixels of background beyond each edge of the frame, which camera motion reveals

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Sprite:
    """An image that moves in front of the background.

    Attributes:
        picture: float32 `[side, side, 4]`, colour times opacity, then opacity.
        angle: its initial rotation, in radians, clockwise.
    """

    picture: Floats
    angle: float


@dataclass(frozen=True)
class Camera:
    """The motion of the camera, which has the same distribution for all motions of sprites.

    Attributes:
        pan: translation over the whole clip, x and y, in frame heights.
        sway: amplitude of an oscillation, in frame heights.
        sway_cycles, sway_phase: its number of cycles in a clip, and its phase in radians.
        roll: constant tilt in radians.
    """

    pan: tuple[float, float]
    sway: float
    sway_cycles: float
    sway_phase: float
    roll: float

    def at(self, time: float) -> tuple[float, float]:
        """The position of the camera at a time in [0, 1], x and y in frame heights from the centre."""
        angle = 2 * math.pi * self.sway_cycles * time + self.sway_phase
        return (
            self.pan[0] * (time - 0.5) + self.sway * math.sin(angle),
            self.pan[1] * (time - 0.5) + self.sway * math.sin(1.3 * angle),
        )


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that a clip shows.

    Attributes:
        background: float32 `[HEIGHT + margins, WIDTH + margins, 3]`.
        sprites: the moving ones, then at most one at rest.
        path: the poses of the moving ones.
        resting: the pose of the one at rest.
        camera: the motion of the camera.
    """

    background: Floats
    sprites: tuple[Sprite, ...]
    path: Path
    resting: tuple[Pose, ...]
    camera: Camera

    def frames(self, numbers: Iterable[int] = range(FRAMES)) -> Iterator[Image]:
        """The frames of these numbers in [0, FRAMES), uint8 RGB `[HEIGHT, WIDTH, 3]`."""
        return (self._frame(number / (FRAMES - 1)) for number in numbers)

    def _frame(self, time: float) -> Image:
        x, y = self.camera.at(time)
        tilt = _rotation(-self.camera.roll)
        middle = np.array([WIDTH, HEIGHT]) / 2
        # The position of the centre of the background in the frame.
        background_at = middle - HEIGHT * np.array([x, y])
        canvas = _warped(self.background, tilt, background_at, (WIDTH, HEIGHT), cv2.BORDER_REFLECT)
        poses = (*self.path(time), *self.resting)
        for sprite, pose in zip(self.sprites, poses, strict=True):
            place = middle + HEIGHT * tilt @ np.array([pose.x - x, pose.y - y])
            turned = _rotation(sprite.angle + pose.angle - self.camera.roll) * pose.size
            _put(canvas, sprite.picture, turned, place, pose.opacity)
        return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


def draw_scene(motion: str, split: Split, number: int) -> Scene:
    """The scene of clip `number` of a motion; the same arguments give the same scene.

    Args:
        motion: a key of `MOTIONS` or `UNSEEN_MOTIONS`.
        split: decides which appearances and parameters are drawn.
        number: of the clip, from 0.
    """
    motions = {**MOTIONS, **UNSEEN_MOTIONS}
    rng = RandomGenerator(split, list(motions).index(motion), number)
    path = motions[motion](rng)
    moving = len(path(0))
    # A sprite at rest, so that the number of sprites does not identify the motion.
    resting = _rest(rng) if moving == 1 and rng.bernoulli(0.4) else ()
    palette = draw_palette(rng, moving + len(resting))
    background = draw_background(rng, palette.ground, HEIGHT + 2 * _MARGIN, WIDTH + 2 * _MARGIN)
    sprites = []
    for colours in palette.sprites:
        side = 2 * round(HEIGHT * rng.uniform(0.12, 0.2))
        sprites.append(Sprite(draw_sprite(rng, colours, side), rng.uniform(0, 2 * math.pi)))
    camera = Camera(
        pan=(rng.uniform(-0.08, 0.08), rng.uniform(-0.08, 0.08)),
        sway=rng.uniform(0, 0.012),
        sway_cycles=rng.uniform(1, 4),
        sway_phase=rng.uniform(0, 2 * math.pi),
        roll=rng.uniform(-0.05, 0.05),
    )
    return Scene(background, tuple(sprites), path, resting, camera)


def _rest(rng: RandomGenerator) -> tuple[Pose]:
    angle = rng.uniform(0, 2 * math.pi)
    return (Pose(0.55 * math.cos(angle), 0.4 * math.sin(angle), size=0.8),)


def _rotation(angle: float) -> npt.NDArray[np.float64]:
    """Clockwise where y points down."""
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _warped(
    image: Floats, matrix: npt.NDArray[np.float64], place: npt.NDArray[np.float64], size: tuple[int, int], border: int
) -> Floats:
    """The image after a linear map about its centre, which moves to `place`; `size` is (width, height)."""
    height, width = image.shape[:2]
    # Pixel centres are at whole numbers, so the centre of an image is half a pixel before half its size.
    shift = place - 0.5 - matrix @ np.array([(width - 1) / 2, (height - 1) / 2])
    warped = cv2.warpAffine(image, np.column_stack([matrix, shift]), size, borderMode=border)
    return warped.astype(np.float32, copy=False)


def _put(
    canvas: Floats, picture: Floats, matrix: npt.NDArray[np.float64], place: npt.NDArray[np.float64], opacity: float
) -> None:
    """Blend a picture into the canvas, in place. Only the pixels that it can cover are computed."""
    reach = math.sqrt(abs(np.linalg.det(matrix))) * len(picture) * 2**0.5 / 2 + 1
    low = np.maximum(np.floor(place - reach).astype(int), 0)
    high = np.minimum(np.ceil(place + reach).astype(int), (WIDTH, HEIGHT))
    if opacity == 0 or (high <= low).any():
        return
    size = int(high[0] - low[0]), int(high[1] - low[1])
    layer = opacity * _warped(picture, matrix, place - low, size, cv2.BORDER_CONSTANT)
    below = canvas[low[1] : high[1], low[0] : high[0]]
    below *= 1 - layer[..., 3:]
    below += layer[..., :3]
