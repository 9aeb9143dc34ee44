"""Write frame_index_v1.json.gz: the frames that MMAction2 1.x chooses. Needs mmaction2; not run by tests."""

import gzip
import itertools
import json
from pathlib import Path

from mmaction.datasets.transforms.loading import DenseSampleFrames, SampleFrames, UniformSample, UntrimmedSampleFrames

FRAMES = (1, 2, 3, 7, 8, 25, 31, 63, 64, 65, 128, 163, 300, 1001)
RATES = (29.97, 25.0, 60.0, None)
PLAIN = [
    {"type": "SampleFrames", "clip_len": clip_len, "frame_interval": interval, "num_clips": clips}
    for clip_len, interval, clips in ((1, 1, 25), (1, 1, 8), (1, 5, 1), (4, 16, 10), (8, 8, 1), (32, 2, 4), (13, 6, 2))
]
TWICE = [{**PLAIN[number], "twice_sample": True} for number in (1, 3, 6)]
REPEATED = [{**PLAIN[number], "out_of_bound_opt": "repeat_last"} for number in (3, 4, 6)]
RESAMPLED = [
    {**PLAIN[number], "target_fps": 30, **more}
    for number, more in ((1, {}), (3, {}), (4, {}), (6, {}), (6, {"out_of_bound_opt": "repeat_last"}))
]
DENSE = [
    {"type": "DenseSampleFrames", "clip_len": 1, "num_clips": 8},
    {
        "type": "DenseSampleFrames",
        "clip_len": 4,
        "frame_interval": 2,
        "num_clips": 2,
        "sample_range": 30,
        "num_sample_positions": 3,
    },
]
UNIFORM = [
    {"type": "UniformSample", "clip_len": clip_len, "num_clips": clips}
    for clip_len, clips in ((8, 1), (8, 4), (16, 2), (32, 4), (40, 1), (3, 10))
]
WINDOWS = [
    {"type": "UntrimmedSampleFrames", "clip_len": clip_len, "clip_interval": every, "frame_interval": interval}
    for clip_len, every, interval in ((32, 64, 8), (4, 64, 16), (1, 16, 1), (13, 5, 2), (8, 1, 1))
]
CLASSES = {
    "DenseSampleFrames": DenseSampleFrames,
    "SampleFrames": SampleFrames,
    "UniformSample": UniformSample,
    "UntrimmedSampleFrames": UntrimmedSampleFrames,
}


def main():
    tested = [{**step, "test_mode": True} for step in (*PLAIN, *TWICE, *REPEATED, *DENSE, *UNIFORM)]
    sweep = [*itertools.product([*tested, *WINDOWS], FRAMES, [None])]
    sweep += itertools.product([{**step, "test_mode": True} for step in RESAMPLED], FRAMES, RATES)
    cases = []
    for step, frames, fps in sweep:
        if frames <= step.get("clip_interval", 0) // 2:
            continue  # the original has no window then, and fails
        options = {key: value for key, value in step.items() if key != "type"}
        results = CLASSES[step["type"]](**options).transform({"total_frames": frames, "start_index": 0, "avg_fps": fps})
        indices = results["frame_inds"].tolist()
        if len(indices) <= 200:  # the longest plans say no more than the shorter ones
            cases.append({"step": step, "frames": frames, "fps": fps, "frame_inds": indices})
    text = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    data = gzip.compress(f"[\n{text}\n]\n".encode(), mtime=0)
    Path(__file__).with_name("frame_index_v1.json.gz").write_bytes(data)
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
