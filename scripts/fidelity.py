"""Compare vidfeat with records of MMAction2's own runs, and write docs/fidelity.md.

usage: python scripts/fidelity.py RECORDS_FOLDER VIDEOS_FOLDER [--results FILE.jsonl] [--table docs/fidelity.md]
           [--seconds N] [--cheapest-of-each-family]

For every record: its model and pipeline are compiled, parameter names and shapes compared, frame indices and the mean
of the model's input compared, and features computed through the whole main path with weights derived from parameter
names. Results are appended to FILE; records that are in it already are left out, so that a long comparison can be made
in parts. The records in `tests/golden` are compared by `tests/test_records.py`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.torch import save_file

from vidfeat import Extractor
from vidfeat.checkpoint import CheckpointFile
from vidfeat.encoders.recipe_encoder import RecipeEncoder
from vidfeat.errors import ConfigError
from vidfeat.mmaction import FeatureRequest, LongVideo, compile_config
from vidfeat.mmaction.feature_script import apply_request
from vidfeat.models import Recognizer, build
from vidfeat.preprocessing.clips import ClipBatch, PreprocessSpec, read_whole
from vidfeat.recipe import Normalize, Pooling, Recipe
from vidfeat.videos import VideoRef

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))
from derived_weights import state_of  # noqa: E402

MODES = {
    None: FeatureRequest(),
    "default": FeatureRequest(),
    "few": FeatureRequest(views="few"),
    "multi": FeatureRequest(Pooling(views="keep")),
    "long": FeatureRequest(Pooling(views="keep"), views="few", long_video=LongVideo(64, 8)),
    "scores": FeatureRequest(scores=True),
}
"""How the records were made: 0.x's script, and the modes of 1.x's. A record's pipeline is the one that was run, without
the views that a mode leaves out; with `few` it is the config's, of which the script's default takes fewer views. A
record may have its own distances for `long`, in `long_video`."""

LIMITS = {"CNN": 1e-5, "transformer": 1e-4}
MEAN_LIMIT = 2e-6
"""Of the difference between the means of the model's input, in standard deviations of that input."""
NOTES = """
## Where MMAction2 is wrong, and this differs

- **0.x, networks that return vectors** (TimeSformer, C3D): MMAction2 returns a row per view. Here, as for all
  others, the mean of them.
- **0.x, TPN on TSM** counts the 6 time steps that the neck leaves for channels (12288 numbers), and **TSM with temporal
  pooling** cuts four rows of 2048 into eight of 1024 before the mean. Odd as they are, these are the vectors that
  people have: the recipes of 0.x give them (`Pooling.row_length`). 1.x's give the mean over time, 2048 numbers.
- **1.x, switches**: `--spatial-type max` raises and `--temporal-type max` returns a tuple there; `--multi-view` of
  an image network returns the mean all the same. Here each does what it says.
- **1.x's script cannot do** MViT, OmniResNet, dense TSM and TSM with 16 segments. Here MViT's feature is the class
  token that its head reads, OmniResNet's is the pooled map of its video path, and TSM's frames are grouped by its
  segments.
- **1.x, TSM R50 1x1x16 on Something-Something V2**: the released config puts its test pipeline one level too high,
  where MMAction2's loader cannot use it; the record was made with the inherited one (8 segments, twice). A config
  file is read as it was meant (16 segments, twice).
"""

TRANSFORMERS = ("TimeSformer", "MViT", "VisionTransformer", "SwinTransformer3D", "UniFormer", "UniFormerV2")


def records(folder: Path) -> Iterator[dict[str, Any]]:
    """All records, each with the line of MMAction2 that it comes from."""
    for line, file in (("0.x", "mm0.jsonl.gz"), ("1.x", "mm1.jsonl.gz")):
        with gzip.open(folder / file, "rt") as lines:
            for text in lines:
                yield {**json.loads(text), "line": line}


def compiled(record: dict[str, Any]) -> Recipe:
    """The recipe of a record's resolved model and pipeline."""
    dataset = {"type": "VideoDataset", "pipeline": record["pipeline"]}
    place = {"data": {"test": dataset}} if record["line"] == "0.x" else {"test_dataloader": {"dataset": dataset}}
    request = MODES[record.get("mode")]
    recipe = compile_config({"model": record["model"], **place}, file=record["config"], scores=request.scores)
    if "long_video" in record:
        request = replace(request, long_video=LongVideo(*record["long_video"]))
    return apply_request(recipe, request)


def family(record: dict[str, Any]) -> str:
    """The backbone's type, and the neck's where there is one."""
    neck = record["model"].get("neck")
    return str(record["model"]["backbone"]["type"]) + (f" + {neck['type']}" if neck else "")


def compare(record: dict[str, Any], videos: Path) -> dict[str, Any]:
    """One record's result: what is equal, and the largest relative distance of its features.

    Args:
        record: as in the files of records; `line` is "0.x" or "1.x".
        videos: the folder of the clips that the record names.
    """
    result: dict[str, Any] = {
        "config": record["config"],
        "line": record["line"],
        "mode": record.get("mode"),
        "family": family(record),
    }
    try:
        recipe = compiled(record)
    except ConfigError as error:
        return {**result, "error": str(error)}
    model = build(recipe.model)
    ours = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    heads = () if recipe.model.head is not None else "cls_head."
    theirs = {name: shape for name, shape in record["state"].items() if not name.startswith(heads)}
    result["names_equal"] = list(ours.items()) == list(theirs.items())
    if record.get("state_only"):
        return result
    with tempfile.TemporaryDirectory() as folder:
        extractor = with_derived_weights(recipe, model, record.get("gamma", 1.0), Path(folder))
    result["indices_equal"], means, distances = True, list[float](), list[float]()
    spec = replace(PreprocessSpec.of(recipe), frames_once=False)  # clips, as MMAction2 has them
    for clip, video in record["videos"].items():
        batch = read_whole(spec, VideoRef(clip, str(videos / clip)))
        distinct = np.unique(video["frame_inds"])
        result["indices_equal"] &= bool(
            batch.clips.size == len(video["frame_inds"])
            and batch.clips.max() < len(distinct)
            and distinct[batch.clips].ravel().tolist() == video["frame_inds"]
        )
        means.append(abs(input_mean(batch, recipe.normalize) - video["imgs_mean"]) / video["imgs_std"])
        features = extractor.extract(videos / clip).values.astype(np.float64).ravel()
        distances.append(distance(features, np.array(video["feature"])))
    extractor.close()
    return {**result, "mean_difference": max(means), "distance": max(distances)}


def input_mean(batch: ClipBatch, normalize: Normalize) -> float:
    """The mean of the model's input: over the distinct frames, weighted with how often each is sampled."""
    # The channels' order does not matter for a mean over all; their pairing with the constants does.
    pixels = batch.pixels[..., ::-1] if normalize.to_bgr else batch.pixels
    channels = pixels.mean(axis=(1, 2, 3), dtype=np.float64)
    frames = ((channels - normalize.mean) / normalize.std).mean(axis=1)
    return float(np.average(frames, weights=np.bincount(batch.clips.ravel(), minlength=len(frames))))


def with_derived_weights(recipe: Recipe, model: Recognizer, gamma: float, folder: Path) -> Extractor:
    """An extractor whose weights follow from their names, loaded from a file as any others."""
    path = folder / "weights.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state_of(model, gamma).items()}, path)
    weights = CheckpointFile(path, "0" * 64, "derived weights")
    return Extractor(RecipeEncoder(recipe, weights, "fidelity", "mmaction"), device="cpu")


def distance(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> float:
    """Relative L2 distance; infinite where the lengths differ."""
    if ours.shape != theirs.shape:
        return float("inf")
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def table(results: list[dict[str, Any]], total: int) -> str:
    """The results as a page; `total` is the number of records that there are."""
    lines = [
        "# Fidelity",
        "",
        "vidfeat against MMAction2's own output: records of MMAction2 0.x and 1.x, compared by `scripts/fidelity.py`.",
        "Weights are derived from parameter names; the distance is the relative L2 distance of a feature, the",
        "worst over a family's records, fp32 on a CPU. Large models have records of their parameter names",
        "only. The limits are 1e-5 for CNNs and 1e-4 for transformers.",
        "",
        "| family | line | records | names and shapes equal | frame indices equal | features | worst distance |",
        "|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["family"], result["line"]), []).append(result)
    for (name, line), group in sorted(groups.items()):
        measured = [result for result in group if "distance" in result]
        named = sum(bool(result.get("names_equal")) for result in group)
        indexed = sum(result["indices_equal"] for result in measured)
        worst = f"{max(result['distance'] for result in measured):.1e}" if measured else "-"
        lines.append(
            f"| {name} | {line} | {len(group)} | {named} | {indexed} of {len(measured)} | {len(measured)} | {worst} |"
        )
    failed = [result for result in results if problem(result)]
    lines += ["", f"{len(results)} of {total} records were run; {len(failed)} are beyond the limits."]
    lines += [f"- {result['config']} ({result['mode'] or result['line']}): {problem(result)}" for result in failed]
    return "\n".join(lines) + "\n" + NOTES


def problem(result: dict[str, Any]) -> str:
    """What is wrong with a result; empty where nothing is."""
    limit = LIMITS["transformer" if result["family"].split(" ")[0] in TRANSFORMERS else "CNN"]
    if "error" in result:
        return str(result["error"])
    if not result["names_equal"]:
        return "parameter names or shapes differ"
    if not result.get("indices_equal", True):
        return "frame indices differ"
    if result.get("mean_difference", 0.0) > MEAN_LIMIT:
        return f"means of the input differ by {result['mean_difference']:.1e} standard deviations"
    return f"distance {result['distance']:.1e}" if result.get("distance", 0.0) > limit else ""


def main() -> int:
    """Compare, and write the table; the exit code tells whether all records are within the limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--results", type=Path, default=Path("fidelity.jsonl"))
    parser.add_argument("--table", type=Path)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--cheapest-of-each-family", action="store_true")
    options = parser.parse_args()
    results = (
        [json.loads(line) for line in options.results.read_text().splitlines()] if options.results.exists() else []
    )
    known = {(result["config"], result["line"], result["mode"]) for result in results}
    # The cheap ones first.
    wanted = sorted(records(options.records), key=lambda record: (not record.get("state_only"), record["seconds"]))
    if options.cheapest_of_each_family:
        first: dict[tuple[str, str], dict[str, Any]] = {}
        for record in wanted:
            first.setdefault((family(record), record["line"]), record)
        wanted = list(first.values())
    start = time.monotonic()
    for record in wanted:
        if (record["config"], record["line"], record.get("mode")) in known:
            continue
        if time.monotonic() - start > options.seconds:
            break
        result = compare(record, options.videos)
        results.append(result)
        with options.results.open("a") as file:
            file.write(json.dumps(result) + "\n")
        print(result.get("distance"), result["family"], result["config"], problem(result), flush=True)
    if options.table:
        options.table.write_text(table(results, sum(1 for _ in records(options.records))))
    return int(any(problem(result) for result in results))


if __name__ == "__main__":
    sys.exit(main())
