"""Reading checkpoints: the formats, the places where weights are kept, and files that are none."""

from __future__ import annotations

import argparse
import collections
import datetime
import gzip
import io
import os
import pathlib
import pickle
import tarfile
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from vidfeat.checkpoint import find, load_state
from vidfeat.checkpoint.pickles import STAND_INS, TENSOR_NAMES
from vidfeat.errors import CheckpointError

SHARED = Path(os.environ.get("VIDFEAT_SHARED") or Path(__file__).resolve().parents[2].parent / "shared")

WEIGHTS = collections.OrderedDict(
    {
        "backbone.conv.weight": torch.arange(24.0).reshape(2, 3, 2, 2),
        "backbone.bn.num_batches_tracked": torch.tensor(7),
        "backbone.half": torch.tensor([1.5, -2.0], dtype=torch.float16),
        "cls_head.fc.bias": torch.tensor([0.25]),
    }
)


def same(state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return list(state) == list(expected) and all(
        state[name].dtype == expected[name].dtype and torch.equal(state[name], expected[name]) for name in expected
    )


def save(path: Path, content: Any, *, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


@pytest.mark.parametrize("kind", ["mmcv1-c7c883df", "mmengine-e5e54097"])
def test_real_checkpoints_of_mmcv_and_mmengine(kind: str) -> None:
    path = SHARED / "checkpoints" / f"tsm_mobilenetv2_dense_1x1x8_{kind}.pth"
    if not path.is_file():
        pytest.skip(f"{path.name} is not beside the checkout, nor where VIDFEAT_SHARED points")
    state = load_state(find(str(path)))
    assert len(state) == 314
    assert sum(tensor.numel() for tensor in state.values() if tensor.is_floating_point()) == 2_770_384
    assert state["backbone.conv1.conv.weight"].shape == (32, 3, 3, 3)
    assert {name.split(".")[0] for name in state} == {"backbone", "cls_head"}
    assert all(bool(torch.isfinite(tensor).all()) for tensor in state.values())


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("key", ["state_dict", "model_state", "model", ""])
def test_formats_and_places(tmp_path: Path, legacy: bool, key: str) -> None:
    content = {key: WEIGHTS, "epoch": 3, "meta": {"config": "x = 1"}} if key else WEIGHTS
    assert same(load_state(save(tmp_path / "x.pth", content, legacy=legacy)), WEIGHTS)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ""])
def test_safetensors_by_content(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    safetensors.torch.save_file(dict(WEIGHTS), path)
    state = load_state(path)
    assert same(dict(sorted(state.items())), dict(sorted(WEIGHTS.items())))


def test_a_state_dict_of_a_module_with_its_metadata_and_parameters(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    assert same(load_state(save(tmp_path / "a.pth", {"state_dict": module.state_dict()})), module.state_dict())
    state = load_state(save(tmp_path / "b.pth", dict(module.named_parameters())))
    assert same(state, {name: parameter.detach() for name, parameter in module.named_parameters()})
    assert not any(tensor.requires_grad for tensor in state.values())


def test_views_keep_their_strides(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    state = load_state(save(tmp_path / "x.pth", {"t": base.t(), "part": base[1:, ::2]}))
    assert state["t"].tolist() == base.t().tolist()
    assert state["part"].tolist() == [[4.0, 6.0], [8.0, 10.0]]


def test_the_prefix_of_parallel_training_is_taken_off(tmp_path: Path) -> None:
    wrapped = {f"module.{name}": tensor for name, tensor in WEIGHTS.items()}
    assert same(load_state(save(tmp_path / "x.pth", {"state_dict": wrapped})), WEIGHTS)
    with pytest.raises(CheckpointError, match=r"each weight once; found .*: cls_head\.fc\.bias"):
        load_state(save(tmp_path / "y.pth", wrapped | {"cls_head.fc.bias": torch.zeros(1)}))


METADATA = {
    "numpy_scalar": np.float64(0.5),
    "numpy_int": np.int64(3),
    "numpy_array": np.arange(5.0),
    "numpy_objects": np.array(["a", None], dtype=object),
    "bytes": b"abc",
    "namespace": argparse.Namespace(lr=0.1, path=pathlib.PurePosixPath("/data")),
    "path": pathlib.PurePosixPath("/data/x"),
    "time": datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc),
    "took": datetime.timedelta(seconds=3),
    "default": collections.defaultdict(list, {"a": [1]}),
    "milestones": collections.Counter([40, 80, 80]),
    "set": {1, 2},
    "device": torch.device("cuda:0"),
    "dtype": torch.float16,
    "size": torch.Size([1, 2]),
    "type": int,
    "slice": slice(1, 2),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("key", METADATA)
def test_inert_metadata_is_ignored(tmp_path: Path, key: str, legacy: bool) -> None:
    path = save(tmp_path / "x.pth", {"meta": {key: METADATA[key]}, "state_dict": WEIGHTS}, legacy=legacy)
    assert same(load_state(path), WEIGHTS)


def test_stand_ins_serve_threads_at_once_and_are_gone_afterwards(tmp_path: Path) -> None:
    path = save(tmp_path / "x.pth", {"meta": METADATA, "state_dict": WEIGHTS})
    before = torch.serialization.get_safe_globals()
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(same(load_state(path), WEIGHTS))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8
    assert torch.serialization.get_safe_globals() == before
    with pytest.raises(pickle.UnpicklingError, match="numpy"):
        torch.load(path, weights_only=True)


def test_no_other_module_is_imported_for_the_tables() -> None:
    assert not STAND_INS.keys() & TENSOR_NAMES
    assert {value.__module__ for value in STAND_INS.values()} == {"vidfeat.checkpoint.pickles"}


def test_entries_that_are_no_tensors_are_listed(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="2 of 3 entries that are not named tensors: epoch, 5"):
        load_state(save(tmp_path / "a.pth", {"w": torch.zeros(1), "epoch": 3, 5: torch.zeros(1)}))
    with pytest.raises(CheckpointError, match=r"1 of 2 entries.*: y"):
        load_state(save(tmp_path / "b.pth", {"state_dict": {"x": torch.zeros(1), "y": np.float32(1.0)}}))
    with pytest.raises(CheckpointError, match=r"12 of 12 entries.*: k0, .*k7, \.\.\."):
        load_state(save(tmp_path / "c.pth", {f"k{i}": i for i in range(12)}))


@pytest.mark.parametrize(
    ("content", "found"),
    [({}, "an empty dict"), ({"state_dict": {}}, "an empty dict"), ([torch.zeros(1)], "a list"), (None, "a NoneType")],
)
def test_content_without_weights(tmp_path: Path, content: object, found: str) -> None:
    with pytest.raises(CheckpointError, match=f"found {found}"):
        load_state(save(tmp_path / "x.pth", content))


def a_tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("storages"))
    return stream.getvalue()


def a_zip(**parts: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return stream.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (LFS, "a Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>404</html>", "a web page"),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "a web page"),
        (gzip.compress(b"x" * 100, mtime=0), "a compressed archive"),
        (a_tar(), "a tar archive"),
        (pickle.dumps({"a": [1, 2]}, protocol=2), "a Python pickle that torch.save did not write"),
        (b"model = dict(type='Recognizer2D')\n", 'text, which begins with "model = dict'),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "begins with the bytes 89 50 4e 47"),
        (b"\x00" * 100, "begins with the bytes 00 00"),
        (a_zip(readme="hello"), "a zip file without the part data.pkl"),
        (b"PK\x03\x04" + b"\x00" * 50, "a truncated PyTorch file"),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_state(path)
    assert caught.value.where == str(path)
    assert found in caught.value.found


def test_a_torchscript_program(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(a_zip(**{"x/data.pkl": "", "x/constants.pkl": "", "x/code/a.py": ""}))
    with pytest.raises(CheckpointError, match="a TorchScript program"):
        load_state(path)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_every_truncation_is_an_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.pth"
    if kind == "safetensors":
        safetensors.torch.save_file(dict(WEIGHTS), path)
    else:
        save(path, {"state_dict": WEIGHTS}, legacy=kind == "legacy")
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            load_state(path)


def test_a_pytorch_file_under_a_safetensors_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a PyTorch file\. Rename it"):
        load_state(save(tmp_path / "x.safetensors", WEIGHTS))


def test_another_pickle_protocol(tmp_path: Path) -> None:
    torch.save({"state_dict": WEIGHTS}, tmp_path / "x.pth", pickle_protocol=4)
    with pytest.raises(CheckpointError, match="found protocol 4"):
        load_state(tmp_path / "x.pth")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"x\.pth: .*No such file"):
        load_state(tmp_path / "x.pth")
