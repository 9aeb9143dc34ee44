"""What the loaders of each consumer do with its files, written anew from their rules; none of their code is here.

A reader takes the lines that vidfeat prints, the output, the name of a video and its rate, and returns the rows as the
consumer has them, `[T, ...]`, with the seconds that it takes each of them for: the centre of the row.
"""

from __future__ import annotations

import csv
import pickle
import re
import shlex
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import torch
import yaml

Read = tuple[npt.NDArray[Any], npt.NDArray[np.float64]]


def number(lines: str, name: str) -> float:
    """What a line gives to a name, as `name=3,` or `name: 3`."""
    found = re.search(rf"^\s*{name}\s*[=:]\s*([-\d.]+)", lines, re.MULTILINE)
    assert found is not None, (name, lines)
    return float(found[1])


def text(lines: str, name: str) -> str:
    found = re.search(rf"^\s*{name}\s*[=:]\s*[\"']?([^\"'\n]+?)[\"']?,?$", lines, re.MULTILINE)
    assert found is not None, (name, lines)
    return found[1]


def actionformer(lines: str, out: Path, vid: str, fps: float) -> Read:
    """`THUMOS14Dataset`: a time is at `t * fps / feat_stride - 0.5 * num_frames / feat_stride` on the axis of rows."""
    config = yaml.safe_load(lines)["dataset"]
    prefix = config["file_prefix"] or ""
    rows = np.load(Path(config["feat_folder"]) / f"{prefix}{vid}{config['file_ext']}")
    return _placed(rows if config["file_ext"] == ".npy" else rows["feats"], config, fps)


def tridet_hacs(lines: str, out: Path, vid: str, fps: float) -> Read:
    """`HacsDataset`: a pickle of two tensors `[1, C, T]`, joined, in a folder named after the first split."""
    config = yaml.safe_load(lines)["dataset"]
    (split,) = re.findall(r"must be \[ '(\w+)' \]", lines)
    assert config["backbone_type"] == "slowfast"
    with (Path(config["feat_folder"]) / split / f"{vid}{config['file_ext']}").open("rb") as file:
        parts = pickle.load(file)
    rows = torch.concat([parts["slow_feature"], parts["fast_feature"]], dim=1).squeeze(0).transpose(0, 1)
    assert rows.dtype == torch.float32
    return _placed(rows.numpy(), config, fps)


def _placed(rows: npt.NDArray[Any], config: dict[str, Any], fps: float) -> Read:
    rows = rows.astype(np.float32)
    assert rows.shape[1] == config["input_dim"]
    rate = fps if config["default_fps"] is None else config["default_fps"]
    offset = 0.5 * config["num_frames"] / config["feat_stride"]
    return rows, (np.arange(len(rows)) + offset) * config["feat_stride"] / rate


def opentad(lines: str, out: Path, vid: str, fps: float) -> Read:
    """`PaddingDataset` and `LoadFeats`: blocked names, one a line; offset and stride are cast to whole numbers."""
    data_path = text(lines, "data_path")
    with Path(f"{data_path}missing_files.txt").open() as file:
        blocked = [line.rstrip("\n") for line in file]
    assert vid not in blocked
    rows = np.load(f"{data_path}{vid}.npy")
    assert rows.shape[1] == int(re.findall(r"in_channels=(\d+)", lines)[0])
    stride, offset = int(number(lines, "feature_stride")), int(number(lines, "offset_frames"))
    rate = number(lines, "fps") if re.search(r"^ *fps=", lines, re.MULTILINE) else fps
    return rows, (np.arange(len(rows)) * stride + offset) / rate


def bmn(lines: str, out: Path, vid: str, fps: float) -> Read:
    """`pandas.read_csv` takes the first line for a header. Row i is the i-th hundredth of feature_frame frames."""
    folder = re.findall(r"--feature_path (\S+)", lines)[0]
    size = int(re.findall(r"--feat_dim (\d+)", lines)[0])
    return _hundred_rows(Path(f"{folder}csv_mean_100/{vid}.csv"), size, lines, fps)


def mmaction2(lines: str, out: Path, vid: str, fps: float) -> Read:
    """`LoadLocalizationFeature`: `numpy.loadtxt` with one line skipped, transposed."""
    path = Path(f"{text(lines, 'data_root')}{vid}.csv")
    rows, seconds = _hundred_rows(path, int(re.findall(r"feat_dim=(\d+)", lines)[0]), lines, fps)
    assert np.array_equal(np.loadtxt(path, np.float32, delimiter=",", skiprows=1).T, rows.T)
    return rows, seconds


def _hundred_rows(path: Path, size: int, lines: str, fps: float) -> Read:
    with path.open(newline="") as file:
        header, *cells = csv.reader(file)
    rows = np.array(cells, np.float32)
    assert header == [f"f{column}" for column in range(size)]
    assert rows.shape == (100, size)
    stride = float(re.findall(r'"feature_frame" = ([\d.]+) \*', lines)[0])
    return rows, (np.arange(100) + 0.5) / 100 * stride / fps  # of one row; times the rows there were


def gtad(lines: str, out: Path, vid: str, fps: float) -> Read:
    """The file by `val` or `test` in the name; every `skip_videoframes`-th row, row k for frame k of the video."""
    folder = re.findall(r"--feature_path (\S+)", lines)[0]
    skip = int(re.findall(r"--skip_videoframes (\d+)", lines)[0])
    with h5py.File(f"{folder}/rgb_{'val' if 'val' in vid else 'test'}.h5") as file:
        rows = file[vid][::skip, ...]
    return rows, (np.arange(len(rows)) * skip + 0.5) / fps


def moment_detr(lines: str, out: Path, vid: str, fps: float) -> Read:
    """`StartEndDataset`: at most 75 rows, in the order of the folders, divided by length, cut to the shortest."""
    folders = re.findall(r"v_feat_dirs=\((.*)\)", lines)[0].split()
    return _two_second_rows([Path(folder) for folder in folders], vid, int(number(lines, "v_feat_dim")))


def lighthouse(lines: str, out: Path, vid: str, fps: float) -> Read:
    """The same, from `features/DATASET/clip` and then `.../slowfast`; v_feat_dim has two more columns."""
    folders = dict(re.findall(r"#   features/DATASET/(clip|slowfast) -> (\S+)", lines))
    ordered = [Path(folders[name]) for name in ("clip", "slowfast") if name in folders]
    assert number(lines, "clip_length") == 2
    return _two_second_rows(ordered, vid, int(number(lines, "v_feat_dim")) - 2)


def _two_second_rows(folders: list[Path], vid: str, size: int) -> Read:
    parts = []
    for folder in folders:
        rows = np.load(folder / f"{vid}.npz")["features"][:75].astype(np.float32)
        parts.append(rows / (np.linalg.norm(rows, axis=-1, keepdims=True) + 1e-5))
    shortest = min(map(len, parts))
    joined = np.concatenate([rows[:shortest] for rows in parts], axis=1)
    assert joined.shape[1] == size
    return joined, (np.arange(shortest) + 0.5) * 2


def lstr(lines: str, out: Path, vid: str, fps: float) -> Read:
    """`mmap_mode="r"`: a plain `.npy`. Rows are `FPS` a second."""
    config = yaml.safe_load(lines)
    rows = np.load(Path(config["DATA"]["DATA_ROOT"]) / config["INPUT"]["VISUAL_FEATURE"] / f"{vid}.npy", mmap_mode="r")
    assert rows.shape[1] == int(re.findall(r"\] = (\d+)", lines)[0])
    return rows, (np.arange(len(rows)) + 0.5) / config["DATA"]["FPS"]


def ms_tcn(lines: str, out: Path, vid: str, fps: float) -> Read:
    """The name up to the first dot; columns are frames."""
    columns = np.load(f"{text(lines, 'features_path')}{vid.split('.')[0]}.npy")
    assert columns.shape[0] == number(lines, "features_dim")
    columns = columns[:, :: int(number(lines, "sample_rate"))]
    return columns.T, (np.arange(columns.shape[1]) + 0.5) / fps


def rtfm(lines: str, out: Path, vid: str, fps: float) -> Read:
    """A path a line; `[T, 10, C]`, row i for 16 frames."""
    with (out / "rtfm.list").open() as file:
        paths = [line.strip("\n") for line in file]
    (path,) = [path for path in paths if Path(path).name == f"{vid}_i3d.npy"]
    rows = np.array(np.load(path), np.float32)
    assert rows.shape[2] == int(re.findall(r"--feature-size (\d+)", lines)[0])
    return rows, (np.arange(len(rows)) * 16 + 8) / fps


def howto100m(lines: str, out: Path, vid: str, fps: float) -> Read:
    """`Youtube_DataLoader`: second t is in row `int(t * feature_framerate)` of `features_path_2D`, and in
    row `int(t * 1.5)` of `features_path_3D`, where that is no empty text.
    """
    words = shlex.split(lines.splitlines()[0])[2:]
    flags = dict(zip(words[::2], words[1::2], strict=True))
    assert set(flags) <= {"--features_path_2D", "--features_path_3D", "--feature_framerate", "--feature_dim"}
    rate: float = int(flags.get("--feature_framerate", "1"))
    folder = flags["--features_path_2D"]
    if flags["--features_path_3D"]:
        folder, rate = flags["--features_path_3D"], 24 / 16
    rows = np.load(Path(folder) / f"{vid}.npy")
    with (out / "features.csv").open(newline="") as file:
        listed = {Path(line["video_path"]).stem: line["feature_path"] for line in csv.DictReader(file)}
    assert Path(listed[vid]).samefile(Path(folder) / f"{vid}.npy")
    assert rows.dtype == np.float16
    assert rows.shape[1] == int(flags["--feature_dim"])
    return rows, (np.arange(len(rows)) + 0.5) / rate


READERS = {
    "actionformer": actionformer,
    "actionformer-epic": actionformer,
    "tridet": actionformer,
    "tridet-hacs": tridet_hacs,
    "videomae-tad": actionformer,
    "opentad": opentad,
    "bmn": bmn,
    "mmaction2": mmaction2,
    "gtad": gtad,
    "moment-detr": moment_detr,
    "lighthouse": lighthouse,
    "lstr": lstr,
    "ms-tcn": ms_tcn,
    "rtfm": rtfm,
    "howto100m": howto100m,
}
