"""Checkpoints: find, download, verify, load without running code, match strictly.

    file   = find("https://.../slowonly_r50_8x8x1_256e_kinetics400_rgb-cc665e2a.pth")   # files, download
    state  = load_state(file)                                                            # read, pickles
    report = load_into(model, state, source=file.source)                                 # match

PyTorch is imported when a file is read, not before.
"""

from vidfeat.checkpoint.files import CheckpointFile, find
from vidfeat.checkpoint.match import MatchReport, load_into
from vidfeat.checkpoint.read import load_state, load_tensor

__all__ = ["CheckpointFile", "MatchReport", "find", "load_into", "load_state", "load_tensor"]
