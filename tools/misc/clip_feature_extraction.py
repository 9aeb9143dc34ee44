#!/usr/bin/env python
"""Clip features under MMAction2's command name: the same arguments, the same pickle.

    python tools/misc/clip_feature_extraction.py CONFIG CHECKPOINT --video-list F --video-root D --out x.pkl

Everything is done by `vidfeat extract`; this file only spells its flags the old way.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

try:
    from vidfeat import cli
    from vidfeat.cli.parser import Parser
except ModuleNotFoundError as error:
    if error.name != "vidfeat":
        raise
    # Not installed: run from the checkout that this file lies in.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
    from vidfeat import cli
    from vidfeat.cli.parser import Parser

MEANINGLESS = {
    "fuse_conv_bn": "--fuse-conv-bn: convolutions and normalisations are always fused",
    "gpu_collect": "--gpu-collect: processes write their own results, nothing is collected",
    "tmpdir": "--tmpdir: processes write their own results beside the output, no folder for collecting is needed",
}
"""Flags that are accepted and change nothing, each with what is said about it."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code of `vidfeat extract`."""
    parser = Parser(description="Clip-level features, as MMAction2's script of this name gives them.")
    parser.add_argument("config", help="test config file")
    parser.add_argument("checkpoint", help="checkpoint file or URL")
    parser.add_argument("output_prefix", nargs="?", help=argparse.SUPPRESS)  # of 1.x; answered below
    parser.add_argument("--out", help="output file: .pkl, .json or .yaml; or a folder for .npy files")
    parser.add_argument("--dump-score", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--fuse-conv-bn", action="store_true", help="has no effect: always done")
    parser.add_argument("--gpu-collect", action="store_true", help="has no effect: nothing is collected")
    parser.add_argument("--tmpdir", help="has no effect: nothing is collected")
    parser.add_argument("--local_rank", "--local-rank", type=int, help="set by old launchers; read from LOCAL_RANK")
    cli.add_run_flags(parser)
    options = parser.parse_args(argv, argparse.Namespace(videos=[]))
    if options.output_prefix is not None:
        parser.error(
            f"found a third argument, {options.output_prefix!r}, as the script of 1.x takes it. Here that is "
            f"--out {options.output_prefix.rstrip('/')}/, for one .npy per video; add --views few for its default views"
        )
    if options.dump_score:
        parser.error("--dump-score: scores are not computed, only features; leave it out")
    if options.out is None:
        parser.error("--out is missing: a file that ends in .pkl, .json or .yaml, or a folder for .npy files")
    for name, remark in MEANINGLESS.items():
        if getattr(options, name):
            print(remark, file=sys.stderr)
    return cli.guarded(lambda known: cli.extract_to(known, known.config, known.checkpoint, known.out), options)


if __name__ == "__main__":
    sys.exit(main())
