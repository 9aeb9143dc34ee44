"""From a motion and a look to pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vidfeat.tools.demo.chance import Chance, Split
from vidfeat.tools.demo.looks import Floats, draw_background, draw_palette, draw_thing
from vidfeat.tools.demo.motions import MOTIONS, UNSEEN_MOTIONS, Path, Pose

WIDTH, HEIGHT, FRAMES, FPS = 160, 120, 48, 24
"""Of every clip: pixels, frames, and frames per second."""

_MARGIN = 20  # pixels of background beyond the frame, which the camera can look at

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Thing:
    """A thing of a scene.

    Attributes:
        picture: float32 `[side, side, 4]`, colour times opacity, then opacity.
        angle: how it is turned before it moves, in radians, clockwise.
    """

    picture: Floats
    angle: float


@dataclass(frozen=True)
class Camera:
    """How the camera moves: a nuisance, the same for all motions.

    Attributes:
        pan: frame heights, x and y, over the whole clip.
        sway: the furthest that a trembling hand strays, in frame heights.
        sway_cycles, sway_phase: how often in a clip, and from where in radians.
        roll: radians to which it is tilted all the time.
    """

    pan: tuple[float, float]
    sway: float
    sway_cycles: float
    sway_phase: float
    roll: float

    def at(self, time: float) -> tuple[float, float]:
        """Where the camera looks at a time in [0, 1], x and y in frame heights from the middle."""
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
        things: those that move, then perhaps one that rests.
        path: where those are that move.
        resting: where the other one is.
        camera: from where they are seen.
    """

    background: Floats
    things: tuple[Thing, ...]
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
        # Where the middle of the background comes to lie in the frame.
        background_at = middle - HEIGHT * np.array([x, y])
        canvas = _warped(self.background, tilt, background_at, (WIDTH, HEIGHT), cv2.BORDER_REFLECT)
        poses = (*self.path(time), *self.resting)
        for thing, pose in zip(self.things, poses, strict=True):
            place = middle + HEIGHT * tilt @ np.array([pose.x - x, pose.y - y])
            turned = _rotation(thing.angle + pose.angle - self.camera.roll) * pose.size
            _put(canvas, thing.picture, turned, place, pose.opacity)
        return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


def draw_scene(motion: str, split: Split, number: int) -> Scene:
    """The scene of clip `number` of a motion; the same arguments give the same scene.

    Args:
        motion: a key of `MOTIONS` or `UNSEEN_MOTIONS`.
        split: from whose looks and parameters it is drawn.
        number: which of the endlessly many clips, from 0.
    """
    motions = {**MOTIONS, **UNSEEN_MOTIONS}
    chance = Chance(split, list(motions).index(motion), number)
    path = motions[motion](chance)
    moving = len(path(0))
    # A thing at rest, so that the number of things does not tell the motion.
    resting = _rest(chance) if moving == 1 and chance.happens(0.4) else ()
    palette = draw_palette(chance, moving + len(resting))
    background = draw_background(chance, palette.ground, HEIGHT + 2 * _MARGIN, WIDTH + 2 * _MARGIN)
    things = []
    for colours in palette.things:
        side = 2 * round(HEIGHT * chance.between(0.12, 0.2))
        things.append(Thing(draw_thing(chance, colours, side), chance.between(0, 2 * math.pi)))
    camera = Camera(
        pan=(chance.between(-0.08, 0.08), chance.between(-0.08, 0.08)),
        sway=chance.between(0, 0.012),
        sway_cycles=chance.between(1, 4),
        sway_phase=chance.between(0, 2 * math.pi),
        roll=chance.between(-0.05, 0.05),
    )
    return Scene(background, tuple(things), path, resting, camera)


def _rest(chance: Chance) -> tuple[Pose]:
    angle = chance.between(0, 2 * math.pi)
    return (Pose(0.55 * math.cos(angle), 0.4 * math.sin(angle), size=0.8),)


def _rotation(angle: float) -> npt.NDArray[np.float64]:
    """Clockwise where y points down."""
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _warped(
    image: Floats, matrix: npt.NDArray[np.float64], place: npt.NDArray[np.float64], size: tuple[int, int], border: int
) -> Floats:
    """The image after a linear map about its middle, which comes to lie at `place`; `size` is (width, height)."""
    height, width = image.shape[:2]
    # Pixel centres are at whole numbers, so the middle of an image lies half a pixel before half its size.
    shift = place - 0.5 - matrix @ np.array([(width - 1) / 2, (height - 1) / 2])
    warped = cv2.warpAffine(image, np.column_stack([matrix, shift]), size, borderMode=border)
    return warped.astype(np.float32, copy=False)


def _put(
    canvas: Floats, picture: Floats, matrix: npt.NDArray[np.float64], place: npt.NDArray[np.float64], opacity: float
) -> None:
    """Lay a picture over the canvas, in place; only where it can reach, which is quicker."""
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
