"""Rendered clips as video files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vidfeat.formats.atomic import replacing
from vidfeat.tools.demo.folder import DemoFolder, make_folder
from vidfeat.tools.demo.motions import MOTIONS
from vidfeat.tools.demo.random_generator import Split
from vidfeat.tools.demo.scene import FPS, HEIGHT, WIDTH, Scene, draw_scene

PER_MOTION = 3
"""Clips of each motion that `vidfeat demo` shows."""

BIT_RATE = 800_000
"""Bits per second: enough for no visible artefacts."""


@dataclass(frozen=True)
class Clip:
    """A clip that can be rendered.

    Attributes:
        motion: a key of `MOTIONS` or `UNSEEN_MOTIONS`.
        split: what it is for.
        number: of the clip within its motion, from 0.
    """

    motion: str
    split: Split
    number: int

    @property
    def name(self) -> str:
        """Its path below the folder of the clips: `bounce/03.mp4`."""
        return f"{self.motion}/{self.number:02d}.mp4"


def list_clips(split: Split, per_motion: int, motions: Iterable[str] = MOTIONS) -> list[Clip]:
    """`per_motion` clips of every motion, motion by motion."""
    return [Clip(motion, split, number) for motion in motions for number in range(per_motion)]


def demo_clips() -> list[Clip]:
    """The clips that `vidfeat demo` shows; their appearance is one that the network was not trained on."""
    return list_clips("test", PER_MOTION)


def write_clips(clips: Sequence[Clip], folder: DemoFolder, *, progress: bool = False) -> None:
    """Render clips and write the list of them.

    Args:
        clips: the clips.
        folder: where they are written.
        progress: whether to show a progress bar on stderr, where that is a terminal.

    Raises:
        WriteError: the files cannot be written.
    """
    from tqdm import tqdm

    for clip in tqdm(clips, desc="render", unit="clip", leave=False, disable=None if progress else True):
        path = folder.clips / clip.name
        make_folder(path.parent)
        encode(draw_scene(clip.motion, clip.split, clip.number), path)
    with replacing(folder.listed) as file:
        file.writelines(f"{clip.name}\n".encode() for clip in clips)


def encode(scene: Scene, path: Path) -> None:
    """Write all frames of a scene as MPEG-4, which every build of FFmpeg can encode."""
    import av

    with replacing(path) as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(FPS))
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", BIT_RATE
        for frame in scene.frames():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
