"""Video files: what they are (`probe`) and their frames (`decode`), through PyAV. Knows nothing of models."""

from vidfeat.video.decode import FrameCountError, count_frames, decode
from vidfeat.video.nvdec import Nvdec
from vidfeat.video.probe import VideoInfo, probe, recount, with_exact_frames
from vidfeat.video.salvage import salvage

__all__ = [
    "FrameCountError",
    "Nvdec",
    "VideoInfo",
    "count_frames",
    "decode",
    "probe",
    "recount",
    "salvage",
    "with_exact_frames",
]
