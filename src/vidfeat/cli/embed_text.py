"""`vidfeat embed-text`: texts as vectors in the space of a model's features."""

from __future__ import annotations

import json
from pathlib import Path

import click

from vidfeat.cli import options
from vidfeat.cli.command import Command
from vidfeat.cli.process import ctrl_c, echo
from vidfeat.errors import UsageError


@click.command(
    cls=Command,
    short_help="Turn texts into vectors in the space of a model's features.",
    epilog="OUT.npz holds `words` and `vectors` (float32 [texts, C]); vidfeat report --queries reads it.",
)
@options.model()
@click.argument("texts", nargs=-1, required=True, metavar="TEXT...")
@options.out("File to write, .npz (default: JSON on stdout).")
def embed_text(model: str, texts: tuple[str, ...], out: str | None) -> None:
    """Turn texts into vectors in the space of a model's features, each of L2 norm 1.

    MODEL is hf:ORG/NAME or hf:FOLDER of a CLIP, SigLIP, SigLIP 2 or X-CLIP model. The cosine similarity of a text and a
    feature says how well they match.
    """
    if out is not None and (Path(out).suffix != ".npz" or not Path(out).parent.is_dir()):
        raise UsageError("out", expected="a name that ends in .npz, in a folder that exists", found=repr(out))
    ctrl_c.begin_work("numpy", "torch")
    import numpy as np

    from vidfeat.encoders.texts import embed_text as embed
    from vidfeat.formats.atomic import replacing

    vectors = embed(model, texts, progress=True)
    if out is None:
        echo(json.dumps({"words": texts, "vectors": vectors.tolist()}))
        return
    with replacing(Path(out)) as file:
        np.savez(file, words=np.array(texts), vectors=vectors)
