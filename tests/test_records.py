"""The whole main path against the records and clips of this repository: MMAction2's own features of our own videos."""

import gzip
import json
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

GOLDEN = Path(__file__).parent / "golden"
with gzip.open(GOLDEN / "records.jsonl.gz", "rt") as lines:
    RECORDS = [json.loads(line) for line in lines]


def name_of(record: dict) -> str:
    config = Path(record["config"]).stem.split("_rgb")[0]
    return "-".join(filter(None, (record["line"], config, record.get("mode"))))


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_features_of_a_record(record: dict, fidelity: ModuleType) -> None:
    result = fidelity.compare(record, GOLDEN / "clips")
    assert fidelity.problem(result) == ""
    assert result["names_equal"]
    assert result["indices_equal"]
    assert result["mean_difference"] <= fidelity.MEAN_LIMIT
    assert 0 < result["distance"] <= (1e-4 if fidelity.family(record) in fidelity.TRANSFORMERS else 1e-5)


def test_what_is_recorded(fidelity: ModuleType) -> None:
    assert Counter((fidelity.family(record), record["line"]) for record in RECORDS) == {
        ("ResNet", "0.x"): 2,
        ("ResNet3dSlowOnly", "0.x"): 2,
        ("ResNetTSM", "0.x"): 2,
        ("ResNet3dSlowFast", "0.x"): 1,
        ("ResNet", "1.x"): 1,
        ("ResNetTSM", "1.x"): 1,
        ("ResNet3dSlowOnly", "1.x"): 2,
        ("SwinTransformer3D", "1.x"): 1,
        ("TimeSformer", "1.x"): 1,
    }
    assert {record.get("mode") for record in RECORDS} == {None, "few", "multi", "long"}
    recorded = {clip for record in RECORDS for clip in record["videos"]}
    assert recorded == {path.name for path in (GOLDEN / "clips").iterdir()}


def test_the_comparison_can_fail(fidelity: ModuleType) -> None:
    """With other weights, and for another video, the distance is far beyond the limit."""
    (record,) = (record for record in RECORDS if fidelity.family(record) == "TimeSformer")
    assert fidelity.compare({**record, "gamma": 1.01}, GOLDEN / "clips")["distance"] > 1e-3
    first, second = record["videos"]
    swapped = {first: {**record["videos"][first], "feature": record["videos"][second]["feature"]}}
    result = fidelity.compare({**record, "videos": swapped}, GOLDEN / "clips")
    assert "distance" in fidelity.problem(result)
