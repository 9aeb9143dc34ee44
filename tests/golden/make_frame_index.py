"""Write frame_index.json: the frames that MMAction2 0.x's own samplers choose. Needs mmaction2 0.x; no test runs it."""

import itertools
import json
from pathlib import Path

from mmaction.datasets.pipelines import DenseSampleFrames, SampleFrames

FRAMES = (1, 2, 3, 7, 8, 25, 31, 63, 64, 65, 128, 163, 250, 300, 1001)
STEPS = [
    {"type": "SampleFrames", "clip_len": clip_len, "frame_interval": interval, "num_clips": clips}
    for clip_len, interval, clips in ((1, 1, 25), (1, 1, 3), (4, 16, 10), (8, 8, 1), (32, 2, 1), (13, 6, 2))
]
STEPS += [{**STEPS[number], "out_of_bound_opt": "repeat_last"} for number in (2, 3)]
STEPS += [{**STEPS[number], "twice_sample": True} for number in (1, 2)]
STEPS += [
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


def main():
    classes = {"SampleFrames": SampleFrames, "DenseSampleFrames": DenseSampleFrames}
    cases = []
    for step, frames in itertools.product(STEPS, FRAMES):
        step = {**step, "test_mode": True}
        options = {key: value for key, value in step.items() if key != "type"}
        results = classes[step["type"]](**options)({"total_frames": frames, "start_index": 0})
        cases.append({"step": step, "frames": frames, "frame_inds": results["frame_inds"].tolist()})
    text = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    Path(__file__).with_name("frame_index.json").write_text(f"[\n{text}\n]\n")
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
