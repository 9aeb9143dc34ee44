"""The appearances of training and testing clips are disjoint by construction."""

import cv2
import numpy as np
import pytest

from vidfeat.tools.demo.appearance import BACKGROUNDS, SHAPES, TEXTURES, draw_palette, draw_sprite
from vidfeat.tools.demo.random_generator import RandomGenerator, Split


def test_shapes_textures_and_backgrounds_are_disjoint() -> None:
    for table in (TEXTURES, BACKGROUNDS):
        assert not set(table["train"]) & set(table["test"])
    outlines = {split: {shape.tobytes() for shape in SHAPES[split]} for split in SHAPES}
    assert not outlines["train"] & outlines["test"]
    assert all(len(outlines[split]) == len(SHAPES[split]) == 6 for split in SHAPES)


@pytest.mark.parametrize(("split", "parity"), [("train", 0), ("test", 1)])
def test_hues_are_disjoint(split: Split, parity: int) -> None:
    for number in range(100):
        palette = draw_palette(RandomGenerator(split, number), 2)
        for colour in (*palette.ground, *(part for sprite in palette.sprites for part in sprite)):
            hue = cv2.cvtColor((colour / 255)[None, None], cv2.COLOR_RGB2HSV)[0, 0, 0]
            distance = (hue / 36 - parity) % 2  # ten bands of 36 degrees
            assert -0.01 < distance < 1.01 or distance > 1.99


def test_things_stand_out_from_the_ground() -> None:
    for number in range(200):
        palette = draw_palette(RandomGenerator("test", number), 1)
        ground = [colour.max() for colour in palette.ground]
        sprite = [colour.max() for colour in palette.sprites[0]]
        assert min(sprite) > max(ground) + 30 or max(sprite) < min(ground) - 30


@pytest.mark.parametrize("shape", range(6))
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_shape_fills_a_fair_part_of_its_square(split: Split, shape: int) -> None:
    outline = SHAPES[split][shape]
    assert np.abs(outline).max() <= 1 + 1e-9
    x, y = outline.T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert 0.2 < area / 4 < 0.85


def test_colours_are_multiplied_with_the_opacity() -> None:
    colours = np.float32([255, 0, 0]), np.float32([0, 0, 255])
    sprite = draw_sprite(RandomGenerator("train", 0), colours, 40)
    assert sprite.shape == (40, 40, 4)
    assert sprite[..., 3].min() == 0
    assert sprite[..., 3].max() == 1
    np.testing.assert_allclose(sprite[..., :3].sum(axis=-1), 255 * sprite[..., 3], atol=1e-2)
    assert (sprite[..., 1] == 0).all()
