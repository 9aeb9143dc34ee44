"""What the demonstration shows: how often the nearest clip shows the same motion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vidfeat import load
from vidfeat.tools.demo.clips import Clip
from vidfeat.tools.demo.folder import DemoFolder
from vidfeat.tools.demo.retrieval import chance_level, colour_histogram, rank1
from vidfeat.tools.report.measure import neighbours

_SHOWN, _NEIGHBOURS = 6, 3


@dataclass(frozen=True)
class Nearest:
    """A clip and its nearest neighbours.

    Attributes:
        clip: its name.
        others: names and cosines of the neighbours, the nearest first.
    """

    clip: str
    others: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Findings:
    """Retrieval of clips by motion.

    Attributes:
        clips: number of clips.
        right: number of clips whose nearest other clip, by cosine of the features, shows the same motion.
        right_by_colour: the same with colour histograms in place of features.
        chance_level: the share that random neighbours would give, in [0, 1].
        examples: some clips and their neighbours.
    """

    clips: int
    right: int
    right_by_colour: int
    chance_level: float
    examples: tuple[Nearest, ...]


def find(clips: Sequence[Clip], folder: DemoFolder) -> Findings:
    """Find the nearest neighbours of each clip.

    Args:
        clips: the clips of the output, in order; at least 2.
        folder: the folder of the clips and of the output.

    Raises:
        OutputError: the output cannot be read.
        VideoError: a clip cannot be read.
    """
    motions = [clip.motion for clip in clips]
    with load(folder.features) as stored:
        features = np.stack([stored[clip.name].values for clip in clips])
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
        chance_level=chance_level(motions),
        examples=examples,
    )


def in_words(findings: Findings) -> Iterator[str]:
    """The lines for the terminal."""
    rows = [
        (example.clip, *(f"{name} {cosine:.2f}" for name, cosine in example.others)) for example in findings.examples
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    yield f"{'clip':{widths[0]}}  nearest by cosine"
    for row in rows:
        yield "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    yield (
        f"The nearest clip shows the same motion for {findings.right} of {findings.clips} clips "
        f"({findings.right / findings.clips:.0%}); by colour histograms for {findings.right_by_colour} "
        f"({findings.right_by_colour / findings.clips:.0%}), by chance for {findings.chance_level:.0%}."
    )
