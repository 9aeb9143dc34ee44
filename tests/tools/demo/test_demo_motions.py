"""The sprites move as the motions are called."""

import math

import numpy as np
import pytest

from vidfeat.tools.demo.motions import MOTIONS, UNSEEN_MOTIONS, Pose
from vidfeat.tools.demo.random_generator import RandomGenerator, Split
from vidfeat.tools.demo.scene import FRAMES, HEIGHT, WIDTH, draw_scene

TIMES = np.linspace(0, 1, FRAMES)


def poses(motion: str, split: Split, number: int) -> list[tuple[Pose, ...]]:
    path = {**MOTIONS, **UNSEEN_MOTIONS}[motion](RandomGenerator(split, number))
    return [path(float(time)) for time in TIMES]


def track(motion: str, split: Split, number: int, sprite: int = 0) -> np.ndarray:
    """float64 `[FRAMES, 5]`: x, y, angle, size, opacity."""
    return np.array([[getattr(p[sprite], name) for name in Pose.__annotations__] for p in poses(motion, split, number)])


@pytest.fixture(params=[("train", 0), ("train", 1), ("test", 0), ("test", 1), ("test", 2)])
def clip(request: pytest.FixtureRequest) -> tuple[Split, int]:
    return request.param


@pytest.mark.parametrize(
    ("motion", "heading"),
    [("move-right", 0), ("move-down", 90), ("move-left", 180), ("move-up", -90), ("move-diagonally", 45)],
)
def test_moves(motion: str, heading: float, clip: tuple[Split, int]) -> None:
    x, y, angle, size, opacity = track(motion, *clip).T
    gone = complex(x[-1] - x[0], y[-1] - y[0])
    turned = math.degrees(np.angle(gone * np.exp(-1j * math.radians(heading))))
    assert abs(turned) <= 15
    assert 0.55 < abs(gone) < 1.1
    assert (angle == 0).all()
    assert (size == 1).all()
    assert (opacity == 1).all()


def test_turns_grows_and_shrinks(clip: tuple[Split, int]) -> None:
    assert 0.55 <= track("turn-clockwise", *clip)[-1, 2] / (2 * math.pi) <= 1.05
    assert -1.05 <= track("turn-anticlockwise", *clip)[-1, 2] / (2 * math.pi) <= -0.55
    for motion, sign in (("grow", 1), ("shrink", -1)):
        size = track(motion, *clip)[:, 3]
        assert (sign * np.diff(size) > 0).all()
        assert 2.3 <= (size[-1] / size[0]) ** sign <= 3.6


@pytest.mark.parametrize(("motion", "sense"), [("orbit-clockwise", 1), ("orbit-anticlockwise", -1)])
def test_orbits(motion: str, sense: int, clip: tuple[Split, int]) -> None:
    x, y = track(motion, *clip)[:, :2].T
    # Clockwise where y points down: the heading turns from x towards y.
    heading = np.unwrap(np.angle(np.diff(x) + 1j * np.diff(y)))
    assert 0.85 < sense * (heading[-1] - heading[0]) / (2 * math.pi) < 1.4


def test_two_things_meet_part_and_cross(clip: tuple[Split, int]) -> None:
    for motion, sign in (("meet", -1), ("part", 1)):
        gap = track(motion, *clip, sprite=1)[:, 0] - track(motion, *clip, sprite=0)[:, 0]
        assert (sign * np.diff(gap) > 0).all()
        assert gap.min() > 0.2
    gap = track("cross", *clip, sprite=1)[:, 0] - track("cross", *clip, sprite=0)[:, 0]
    assert gap[0] * gap[-1] < 0
    assert abs(gap[-1] - gap[0]) > 1.4


def test_those_that_go_to_and_fro_change_direction(clip: tuple[Split, int]) -> None:
    def turns(values: np.ndarray) -> int:
        steps = np.sign(np.diff(values))
        return int((steps[1:] * steps[:-1] < 0).sum())

    assert 3 <= turns(track("zigzag", *clip)[:, 0]) <= 6
    assert 2 <= turns(track("swing", *clip)[:, 0]) <= 5
    assert 2 <= turns(track("bounce", *clip)[:, 1]) <= 7
    assert 8 <= turns(track("shake", *clip)[:, :2].sum(axis=1)) <= 12
    assert 3 <= turns(track("pulse", *clip)[:, 3]) <= 6
    shown = track("blink", *clip)[:, 4]
    assert set(shown) == {0, 1}
    assert 4 <= np.abs(np.diff(shown)).sum() <= 8


@pytest.mark.parametrize("motion", [*MOTIONS, *UNSEEN_MOTIONS])
def test_the_middle_of_a_thing_stays_near_the_frame(motion: str) -> None:
    for split in ("train", "test"):
        for number in range(20):
            for moment in poses(motion, split, number):  # type: ignore[arg-type]
                for pose in moment:
                    assert abs(pose.x) < WIDTH / HEIGHT / 2 + 0.1
                    assert abs(pose.y) < 0.6


def test_a_scene_is_the_same_every_time_and_differs_by_number_split_and_motion() -> None:
    def middle(motion: str, split: Split, number: int) -> np.ndarray:
        (frame,) = draw_scene(motion, split, number).frames([FRAMES // 2])
        assert frame.shape == (HEIGHT, WIDTH, 3)
        assert frame.dtype == np.uint8
        return frame

    one = middle("bounce", "test", 5)
    np.testing.assert_array_equal(one, middle("bounce", "test", 5))
    for other in (("bounce", "test", 6), ("bounce", "train", 5), ("grow", "test", 5)):
        assert np.abs(one.astype(int) - middle(*other)).mean() > 5  # type: ignore[arg-type]


@pytest.mark.parametrize(("motion", "axis", "sign"), [("move-right", 1, 1), ("move-left", 1, -1), ("move-down", 0, 1)])
def test_the_pictures_show_the_motion(motion: str, axis: int, sign: int) -> None:
    """What stands out from the middle brightness of the background moves that way, whatever the camera does."""
    for number in range(6):
        scene = draw_scene(motion, "test", number)
        if scene.resting:
            continue
        ground = float(np.median(scene.background.max(axis=2)))
        brighter = scene.sprites[0].picture[..., :3].max() > ground
        first, last = scene.frames([0, FRAMES - 1])
        places = []
        for frame in (first, last):
            value = frame.max(axis=2).astype(float)
            threshold = np.percentile(value, 99 if brighter else 1)
            places.append(np.argwhere(value >= threshold if brighter else value <= threshold).mean(axis=0)[axis])
        assert sign * (places[1] - places[0]) > 0.3 * HEIGHT
