"""The motions of sprites: the classes of the demonstration.

A motion draws its parameters once and returns a path: from time in [0, 1] to the poses of the sprites. Lengths are in
frame heights from the centre of the frame, x to the right, y down; angles are in radians, clockwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from vidfeat.tools.demo.random_generator import RandomGenerator


@dataclass(frozen=True)
class Pose:
    """The state of a sprite at one time.

    Attributes:
        x, y: its centre.
        angle: its rotation.
        size: the factor by which it is scaled.
        opacity: 0 hidden, 1 solid.
    """

    x: float = 0.0
    y: float = 0.0
    angle: float = 0.0
    size: float = 1.0
    opacity: float = 1.0


Path = Callable[[float], tuple[Pose, ...]]
"""The poses of all sprites of a clip at a time in [0, 1]."""

Motion = Callable[[RandomGenerator], Path]


def _start(rng: RandomGenerator, spread: float = 0.12) -> tuple[float, float]:
    return rng.uniform(-spread, spread), rng.uniform(-spread, spread)


def _pace(rng: RandomGenerator) -> Callable[[float], float]:
    """Time with a slight acceleration or deceleration."""
    exponent = rng.uniform(0.8, 1.25)
    return lambda time: time**exponent


def _move(heading: float, rng: RandomGenerator) -> Path:
    """Along a line, `heading` radians clockwise from the right."""
    x, y = _start(rng)
    direction = heading + rng.uniform(-0.25, 0.25)
    # The frame is wider than it is high.
    length = rng.uniform(0.6, 0.85) * (1 + 0.25 * abs(math.cos(heading)))
    pace = _pace(rng)

    def path(time: float) -> tuple[Pose, ...]:
        gone = length * (pace(time) - 0.5)
        return (Pose(x + gone * math.cos(direction), y + gone * math.sin(direction)),)

    return path


def _turn(sense: int, rng: RandomGenerator) -> Path:
    x, y = _start(rng, 0.2)
    angle = sense * 2 * math.pi * rng.uniform(0.55, 1.05)
    pace = _pace(rng)
    return lambda time: (Pose(x, y, angle * pace(time), 1.25),)


def _resize(sense: int, rng: RandomGenerator) -> Path:
    x, y = _start(rng, 0.2)
    ratio = rng.uniform(2.3, 3.6) ** sense
    pace = _pace(rng)
    return lambda time: (Pose(x, y, 0, ratio ** (pace(time) - 0.5)),)


def _pulse(rng: RandomGenerator) -> Path:
    x, y = _start(rng, 0.2)
    cycles, phase, depth = rng.uniform(1.8, 3), rng.uniform(0, 2 * math.pi), rng.uniform(0.4, 0.6)
    return lambda time: (Pose(x, y, 0, math.exp(depth * math.sin(2 * math.pi * cycles * time + phase))),)


def _bounce(rng: RandomGenerator) -> Path:
    """On a floor, with little drift to the side."""
    x, y = _start(rng)
    hops, phase, height = rng.uniform(1.8, 3.2), rng.uniform(0, 1), rng.uniform(0.4, 0.6)
    drift = rng.uniform(-0.2, 0.2)
    return lambda time: (
        Pose(x + drift * (time - 0.5), 0.28 + y - height * abs(math.sin(math.pi * (hops * time + phase)))),
    )


def _swing(rng: RandomGenerator) -> Path:
    """As a pendulum that hangs from above."""
    x, y = _start(rng)
    cycles, phase = rng.uniform(1.3, 2.2), rng.uniform(0, 2 * math.pi)
    reach, length = rng.uniform(0.6, 0.95), rng.uniform(0.5, 0.65)

    def path(time: float) -> tuple[Pose, ...]:
        angle = reach * math.sin(2 * math.pi * cycles * time + phase)
        return (Pose(x + length * math.sin(angle), y - 0.4 + length * math.cos(angle), -angle),)

    return path


def _zigzag(rng: RandomGenerator) -> Path:
    """Up or down, and from side to side with sharp turns."""
    x, y = _start(rng)
    cycles, phase = rng.uniform(1.8, 2.8), rng.uniform(0, 1)
    width, length = rng.uniform(0.2, 0.32), rng.sign() * rng.uniform(0.5, 0.7)

    def path(time: float) -> tuple[Pose, ...]:
        side = 4 * abs((cycles * time + phase) % 1 - 0.5) - 1
        return (Pose(x + width * side, y + length * (time - 0.5)),)

    return path


def _orbit(sense: int, rng: RandomGenerator) -> Path:
    x, y = _start(rng, 0.08)
    turns, phase = sense * rng.uniform(0.9, 1.4), rng.uniform(0, 1)
    radius = rng.uniform(0.24, 0.34)

    def path(time: float) -> tuple[Pose, ...]:
        angle = 2 * math.pi * (turns * time + phase)
        return (Pose(x + radius * math.cos(angle), y + radius * math.sin(angle)),)

    return path


def _shake(rng: RandomGenerator) -> Path:
    """A fast oscillation of small amplitude."""
    x, y = _start(rng, 0.2)
    cycles, phase = rng.uniform(4.2, 5.8), rng.uniform(0, 2 * math.pi)
    direction, reach = rng.uniform(0, math.pi), rng.uniform(0.06, 0.1)

    def path(time: float) -> tuple[Pose, ...]:
        gone = reach * math.sin(2 * math.pi * cycles * time + phase)
        return (Pose(x + gone * math.cos(direction), y + gone * math.sin(direction)),)

    return path


def _blink(rng: RandomGenerator) -> Path:
    x, y = _start(rng, 0.2)
    cycles, phase, share = rng.uniform(2.2, 3.6), rng.uniform(0, 1), rng.uniform(0.45, 0.65)
    return lambda time: (Pose(x, y, opacity=float((cycles * time + phase) % 1 < share)),)


def _cross(rng: RandomGenerator) -> Path:
    """Two sprites pass each other from side to side."""
    x, y = _start(rng, 0.08)
    side, apart = rng.sign(), rng.sign() * rng.uniform(0.12, 0.22)
    lengths = rng.uniform(0.75, 1.05), rng.uniform(0.75, 1.05)
    pace = _pace(rng)

    def path(time: float) -> tuple[Pose, ...]:
        gone = side * (pace(time) - 0.5)
        return Pose(x + lengths[0] * gone, y + apart, size=0.8), Pose(x - lengths[1] * gone, y - apart, size=0.8)

    return path


def _approach(first: float, last: float, rng: RandomGenerator) -> Path:
    """Two sprites whose distance goes from `first` to `last`, from side to side."""
    x, y = _start(rng, 0.08)
    scale, slope = rng.uniform(0.9, 1.15), rng.uniform(-0.3, 0.3)
    pace = _pace(rng)

    def path(time: float) -> tuple[Pose, ...]:
        half = scale * (first + (last - first) * pace(time)) / 2
        return Pose(x - half, y - slope * half, size=0.8), Pose(x + half, y + slope * half, size=0.8)

    return path


MOTIONS: Mapping[str, Motion] = {
    "move-right": partial(_move, 0),
    "move-down": partial(_move, math.pi / 2),
    "move-left": partial(_move, math.pi),
    "move-up": partial(_move, -math.pi / 2),
    "turn-clockwise": partial(_turn, 1),
    "turn-anticlockwise": partial(_turn, -1),
    "grow": partial(_resize, 1),
    "shrink": partial(_resize, -1),
    "bounce": _bounce,
    "swing": _swing,
    "zigzag": _zigzag,
    "orbit-clockwise": partial(_orbit, 1),
    "shake": _shake,
    "blink": _blink,
    "cross": _cross,
    "meet": partial(_approach, 1.0, 0.3),
}
"""The motions that the network is trained on and that `vidfeat demo` shows."""

UNSEEN_MOTIONS: Mapping[str, Motion] = {
    "move-diagonally": partial(_move, math.pi / 4),
    "orbit-anticlockwise": partial(_orbit, -1),
    "part": partial(_approach, 0.3, 1.0),
    "pulse": _pulse,
}
"""Motions that it is not trained on, for evaluation."""
