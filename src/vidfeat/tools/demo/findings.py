"""What a demonstration shows, as numbers and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vidfeat.tools.demo.clips import Clip
from vidfeat.tools.demo.folder import DemoFolder
from vidfeat.tools.demo.retrieval import chance_of, colour_histogram, rank1
from vidfeat.tools.report.measure import neighbours
from vidfeat.tools.report.outputs import read

_SHOWN, _NEIGHBOURS = 6, 3


@dataclass(frozen=True)
class Nearest:
    """A clip and those whose features are most like its own.

    Attributes:
        clip: its name.
        others: names and cosines, the nearest first.
    """

    clip: str
    others: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Findings:
    """How well clips of the same motion find each other.

    Attributes:
        clips: how many there are.
        right: of how many the nearest other clip, by cosine of the features, shows the same motion.
        right_by_colour: the same for histograms of their colours.
        chance: the share that is expected of neighbours drawn at random, in [0, 1].
        examples: some clips and their neighbours.
    """

    clips: int
    right: int
    right_by_colour: int
    chance: float
    examples: tuple[Nearest, ...]


def find(clips: Sequence[Clip], folder: DemoFolder) -> Findings:
    """Look for each clip's nearest others.

    Args:
        clips: those whose features the folder holds, in order; at least 2.
        folder: with the clips, for their colours, and the output of `vidfeat extract`.

    Raises:
        OutputError: the output cannot be read.
        VideoError: a clip cannot be read.
    """
    motions = [clip.motion for clip in clips]
    features = np.stack(list(read(folder.features).rows))
    colours = np.stack([colour_histogram(folder.clips / clip.name) for clip in clips])
    near = neighbours(features, _NEIGHBOURS)
    names = np.array([clip.name for clip in clips])
    shown = np.linspace(0, len(clips) - 1, min(_SHOWN, len(clips))).astype(int).tolist()
    examples = tuple(
        Nearest(clips[number].name, tuple(zip(names[near.index[number]], near.cosine[number].tolist(), strict=True)))
        for number in shown
    )
    return Findings(
        clips=len(clips),
        right=int(rank1(features, motions).sum()),
        right_by_colour=int(rank1(colours, motions).sum()),
        chance=chance_of(motions),
        examples=examples,
    )


def in_words(findings: Findings) -> Iterator[str]:
    """The lines for the terminal."""
    rows = [
        (example.clip, *(f"{name} {cosine:.2f}" for name, cosine in example.others)) for example in findings.examples
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    yield f"{'clip':{widths[0]}}  its nearest by cosine"
    for row in rows:
        yield "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    yield (
        f"The nearest clip shows the same motion for {findings.right} of {findings.clips} clips "
        f"({findings.right / findings.clips:.0%}); by colour histograms for {findings.right_by_colour} "
        f"({findings.right_by_colour / findings.clips:.0%}), by chance for {findings.chance:.0%}."
    )
