"""Class scores: MMAction2's own scores of our own videos, and what is refused."""

import dataclasses
import gzip
import json
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import vidfeat
from derived_weights import state_of
from vidfeat.errors import CheckpointError, ConfigError, UsageError
from vidfeat.mmaction import FeatureRequest, compile_config, compile_file
from vidfeat.mmaction.zoo import find_model, released
from vidfeat.mmaction.zoo.labels import labels_of
from vidfeat.models import build
from vidfeat.preprocessing.sampling import WindowSampling
from vidfeat.recipe import Pooling, Recipe
from vidfeat.tools.predict import best

GOLDEN = Path(__file__).parent / "golden"
CONFIG = "examples/tiny_slowonly.py"
SCORES = FeatureRequest(scores=True)
with gzip.open(GOLDEN / "scores.jsonl.gz", "rt") as lines:
    RECORDS = [json.loads(line) for line in lines]


def head_of(record: dict) -> str:
    return record["model"]["cls_head"]["type"]


# --- the numbers are MMAction2's --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record", RECORDS, ids=lambda record: "-".join((head_of(record), record["model"]["backbone"]["type"]))
)
def test_scores_of_a_record(record: dict, fidelity: ModuleType) -> None:
    result = fidelity.compare(record, GOLDEN / "clips")
    assert "error" not in result
    assert result["names_equal"]
    assert result["indices_equal"]
    assert 0 < result["distance"] <= 1e-5


def test_what_is_recorded() -> None:
    assert Counter(head_of(record) for record in RECORDS) == {
        "I3DHead": 4,
        "MViTHead": 1,
        "SlowFastHead": 1,
        "TPNHead": 2,
        "TRNHead": 2,
        "TSMHead": 2,
        "TSNHead": 1,
        "TimeSformerHead": 2,
        "UniFormerHead": 1,
        "X3DHead": 1,
    }
    assert {record["model"]["cls_head"]["average_clips"] for record in RECORDS} == {"prob", "score", None}
