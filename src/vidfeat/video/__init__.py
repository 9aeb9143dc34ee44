"""Video files: their description (`probe`) and their frames (`decode`), through PyAV. Independent of models."""

from vidfeat.video.decode import Frame, FrameCountError, count_frames, decode, recount, with_exact_frames
from vidfeat.video.info import Timeline, VideoInfo
from vidfeat.video.nvdec import Nvdec
from vidfeat.video.probe import probe
from vidfeat.video.salvage import salvage

__all__ = [
    "Frame",
    "FrameCountError",
    "Nvdec",
    "Timeline",
    "VideoInfo",
    "count_frames",
    "decode",
    "probe",
    "recount",
    "salvage",
    "with_exact_frames",
]
