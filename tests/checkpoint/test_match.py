"""Weights into models: exact matches, and what is said of those that do not fit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vidfeat.checkpoint import MatchReport, load_into
from vidfeat.errors import CheckpointError


class Model(nn.Module):
    def __init__(self, depth: int = 2, dims: int = 2, neck: bool = False) -> None:
        super().__init__()
        convolution = nn.Conv2d if dims == 2 else nn.Conv3d
        self.backbone = nn.Module()
        self.backbone.conv1 = convolution(3, 4, 1)
        self.backbone.bn1 = nn.BatchNorm2d(4)
        self.backbone.layer3 = nn.Sequential(*(convolution(4, 4, 1) for _ in range(depth)))
        if neck:
            self.neck = nn.Linear(4, 4)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor + 5
        for name, tensor in model.state_dict().items()
    }


HEAD = {"cls_head.fc_cls.weight": torch.zeros(5, 4), "cls_head.fc_cls.bias": torch.zeros(5)}


def fails(model: nn.Module, state: dict[str, Tensor]) -> str:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_into(model, state, source="weights.pth")
    assert caught.value.where == "weights.pth"
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    return str(caught.value)


def test_all_values_arrive_and_heads_are_counted() -> None:
    model = Model()
    state = weights_of(model)
    report = load_into(model, state | HEAD, source="x")
    assert report == MatchReport(loaded=len(state), ignored_heads=2, heads=("cls_head",))
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert model.backbone.bn1.num_batches_tracked.item() == 5
    assert load_into(model, state, source="x") == MatchReport(loaded=len(state), ignored_heads=0, heads=())
    several = {"roi_head.a": torch.zeros(1), "head.b": torch.zeros(1)}
    assert load_into(model, state | several, source="x").heads == ("head", "roi_head")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_values_are_converted_to_the_models_dtype(dtype: torch.dtype) -> None:
    model = Model()
    state = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in weights_of(model).items()
    }
    load_into(model, state, source="x")
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == (torch.float32 if state[name].is_floating_point() else torch.int64)
        assert torch.equal(tensor, state[name].to(tensor.dtype))


def test_counters_of_old_checkpoints_may_be_missing() -> None:
    model = Model()
    state = weights_of(model)
    del state["backbone.bn1.num_batches_tracked"]
    assert load_into(model, state, source="x").loaded == len(state)


def test_missing_unexpected_and_misshapen_are_listed_together() -> None:
    model = Model()
    state = weights_of(model) | {"backbone.extra": torch.zeros(1)}
    del state["backbone.bn1.bias"]
    state["backbone.conv1.weight"] = torch.zeros(4, 1, 1, 1)
    message = fails(model, state)
    assert "1 missing: backbone.bn1.bias" in message
    assert "1 unexpected: backbone.extra" in message
    assert "backbone.conv1.weight (4x1x1x1 float32, the model has 4x3x1x1 float32)" in message


def test_long_lists_are_cut_and_counted() -> None:
    message = fails(Model(), weights_of(Model()) | {f"backbone.extra{i}": torch.zeros(1) for i in range(20)})
    assert "20 unexpected: backbone.extra0, " in message
    assert "backbone.extra7, ..." in message
    assert "backbone.extra8" not in message


def test_a_neck_that_the_model_lacks_is_unexpected() -> None:
    assert "2 unexpected: neck.weight, neck.bias" in fails(Model(), weights_of(Model(neck=True)))
    assert "2 missing: neck.weight, neck.bias" in fails(Model(neck=True), weights_of(Model()))


def test_a_head_that_the_model_has_is_not_left_aside() -> None:
    model = Model()
    model.cls_head = nn.Linear(2, 2)
    assert "2 missing: cls_head.weight, cls_head.bias" in fails(model, weights_of(Model()))


def test_other_prefixes_are_unexpected() -> None:
    for name in ("teacher.w", "headless.w", "ahead.w", "w"):
        assert f"1 unexpected: {name}" in fails(Model(), weights_of(Model()) | {name: torch.zeros(1)})


def test_another_kind_of_number_does_not_fit() -> None:
    for value in (torch.zeros(4, dtype=torch.int32), torch.zeros(4, dtype=torch.complex64), torch.zeros(4) > 0):
        message = fails(Model(), weights_of(Model()) | {"backbone.bn1.bias": value})
        assert "the model has 4 float32" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_values_that_are_not_finite_in_the_model(value: float) -> None:
    state = weights_of(Model())
    state["backbone.bn1.bias"] = torch.tensor([0.0, value, 0.0, value], dtype=torch.float64)
    assert "2 of 4 values of backbone.bn1.bias" in fails(Model(), state)


def test_the_guess_names_the_number_of_dimensions() -> None:
    message = fails(Model(dims=3), weights_of(Model(dims=2)))
    assert "The checkpoint is that of a 2D network; the config describes a 3D one." in message
    assert "that of a 3D network; the config describes a 2D one" in fails(Model(dims=2), weights_of(Model(dims=3)))


def test_the_guess_names_the_depth() -> None:
    message = fails(Model(depth=6), weights_of(Model(depth=23)))
    assert "backbone.layer3 has 23 blocks in the checkpoint, 6 in the model" in message


def test_the_guess_names_a_bare_network() -> None:
    bare = {name.removeprefix("backbone."): tensor for name, tensor in weights_of(Model()).items()}
    assert "names begin with bn1, conv1, layer3, not with backbone: this is a bare" in fails(Model(), bare)
    assert "names begin with nothing" in fails(Model(), HEAD)
