"""The cheapest record of each family through the whole main path; `scripts/fidelity.py` runs them all."""

from pathlib import Path
from types import ModuleType

import pytest

FAMILIES = (
    "C2D",
    "C3D",
    "MViT",
    "MobileNetV2TSM",
    "ResNet",
    "ResNet2Plus1d",
    "ResNet3d",
    "ResNet3dCSN",
    "ResNet3dSlowFast",
    "ResNet3dSlowOnly",
    "ResNet3dSlowOnly + TPN",
    "ResNetTIN",
    "ResNetTSM",
    "ResNetTSM + TPN",
    "SwinTransformer3D",
    "TANet",
    "TimeSformer",
    "UniFormer",
    "UniFormerV2",
    "VisionTransformer",
    "X3D",
)


@pytest.fixture(scope="module")
def cheapest(fidelity: ModuleType, shared: Path) -> dict[str, dict]:
    records = [record for record in fidelity.records(shared / "reference") if not record.get("state_only")]
    records.sort(key=lambda record: -record["seconds"])
    return {fidelity.family(record): record for record in records}


def test_all_families_are_listed(cheapest: dict[str, dict]) -> None:
    assert set(FAMILIES) == set(cheapest)


@pytest.mark.parametrize("family", FAMILIES)
def test_cheapest_record(family: str, cheapest: dict[str, dict], fidelity: ModuleType, shared: Path) -> None:
    result = fidelity.compare(cheapest[family], shared / "videos" / "clips")
    assert fidelity.problem(result) == ""
    assert result["names_equal"]
    assert result["indices_equal"]
    assert 0 < result["distance"] < 1e-5


def test_every_record_compiles_with_equal_names(fidelity: ModuleType, shared: Path) -> None:
    from vidfeat.models import build

    seen = set()
    for record in fidelity.records(shared / "reference"):
        recipe = fidelity.compiled(record)
        if recipe.model in seen:
            continue
        seen.add(recipe.model)
        ours = {name: list(tensor.shape) for name, tensor in build(recipe.model).state_dict().items()}
        theirs = {name: shape for name, shape in record["state"].items() if not name.startswith("cls_head.")}
        assert list(ours.items()) == list(theirs.items()), record["config"]
