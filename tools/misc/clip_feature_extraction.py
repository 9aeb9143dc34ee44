#!/usr/bin/env python
"""Clip features under MMAction2's command name: the same arguments, the same pickle.

    python tools/misc/clip_feature_extraction.py CONFIG CHECKPOINT --video-list F --video-root D --out x.pkl

Everything is done by `vidfeat extract`; this file only spells its options the old way.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

try:
    from vidfeat.cli.process import echo, run_process
except ModuleNotFoundError as error:
    if error.name != "vidfeat":
        raise
    # Not installed: run from the checkout that this file lies in.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
    from vidfeat.cli.process import echo, run_process

MEANINGLESS = {
    "fuse_conv_bn": "--fuse-conv-bn: convolutions and normalisations are always fused",
    "gpu_collect": "--gpu-collect: processes write their own results, nothing is collected",
    "tmpdir": "--tmpdir: processes write their own results beside the output, no folder for collecting is needed",
}
"""Options that are accepted and change nothing, each with what is said about it."""


def main() -> int:
    """Run the command; returns the exit code of `vidfeat extract`."""
    import click

    from vidfeat.cli import options
    from vidfeat.cli.command import CONTEXT, Command
    from vidfeat.cli.extract import INTERRUPTED, extract_to, run_options
    from vidfeat.cli.main import execute

    @click.command(cls=Command, interrupted=INTERRUPTED, context_settings=CONTEXT)
    @click.argument("config")
    @click.argument("checkpoint")
    @click.argument("output_prefix", required=False, metavar="")  # of 1.x; answered below
    @options.listed_videos
    @click.option(
        "--out", metavar="OUT", help="Output file: .pkl, .json, .yaml, .npz or .h5; or a folder for .npy files."
    )
    @click.option("--dump-score", is_flag=True, help="The same as --scores.")
    @click.option("--fuse-conv-bn", is_flag=True, help="Has no effect: always done.")
    @click.option("--gpu-collect", is_flag=True, help="Has no effect: nothing is collected.")
    @click.option("--tmpdir", help="Has no effect: nothing is collected.")
    @click.option("--local_rank", "--local-rank", type=int, help="Set by old launchers; read from LOCAL_RANK.")
    @run_options
    def command(
        config: str, output_prefix: str | None, out: str | None, dump_score: bool, local_rank: int | None, **given: Any
    ) -> int:
        """Clip-level features, as MMAction2's script of this name gives them.

        CONFIG is a test config file, CHECKPOINT a checkpoint file or URL.
        """
        if output_prefix is not None:
            raise click.UsageError(
                f"found a third argument, {output_prefix!r}, as the script of 1.x takes it. Here that is "
                f"--out {output_prefix.rstrip('/')}/, for one .npy per video; add --views few for its default views"
            )
        given["request"] = replace(given["request"], scores=given["request"].scores or dump_score)
        if out is None:
            raise click.UsageError(
                "--out is missing: a file that ends in .pkl, .json or .yaml, or a folder for .npy files"
            )
        for name, remark in MEANINGLESS.items():
            if given.pop(name):
                echo(remark, err=True)
        return extract_to([(config, given.pop("checkpoint"))], out=out, **given)

    return execute(command, name=Path(sys.argv[0]).name)


if __name__ == "__main__":
    run_process(main)
