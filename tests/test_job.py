"""Jobs as plain data: normalised, refused where impossible, equal after a round trip through JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from vidfeat import Encoder, Job, Pooling, UsageError, VideoRef, encoder
from vidfeat.execution import identity_of
from vidfeat.mmaction import compile_file
from vidfeat.models.random_weights import write_random_weights
from vidfeat.preprocessing.sampling import WindowSampling
from vidfeat.store import WorkIdentity


@pytest.fixture(scope="module")
def tiny(repository: Path) -> Encoder:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    return encoder(repository / "examples" / "tiny_slowonly.py", checkpoint=checkpoint)


def test_a_job_is_equal_after_a_round_trip(tiny: Encoder, tmp_path: Path) -> None:
    videos: list[Any] = [tmp_path / "a.mp4", "clips/*.mp4", VideoRef("b", "/b.mp4", (1.0, 2.5), "walking")]
    job = Job(
        videos=videos,
        encoders=tiny,
        out=tmp_path / "features.npz",
        grid=WindowSampling(8, 16),
        pooling=Pooling(views="per_clip"),
        precision="bf16",
        dtype="float16",
        on_error="fail",
    )
    assert Job.from_json(json.loads(json.dumps(job.to_json()))) == job
    assert tiny.name in repr(job)
    with pytest.raises(dataclasses.FrozenInstanceError):
        job.out = "elsewhere"  # type: ignore[misc]


def test_grid_and_pooling_of_a_job_are_the_encoders(tiny: Encoder) -> None:
    job = Job(videos="a.mp4", encoders=[tiny], grid=WindowSampling(8, 16), pooling=Pooling(views="per_clip"))
    (changed,) = job.encoders  # type: ignore[misc]
    assert changed.grid == WindowSampling(8, 16)
    assert changed.identity != tiny.identity
    assert Job(videos="a.mp4", encoders=[tiny]).encoders == (tiny,)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("encoders", {"encoders": []}),
        ("encoders", {"encoders": "tsn"}),
        ("videos", {"videos": 7}),
        ("precision", {"precision": "int8"}),
        ("dtype", {"dtype": "float64"}),
        ("decoder", {"decoder": "opencv"}),
        ("on_error", {"on_error": "cry"}),
        ("on_corrupt", {"on_corrupt": "mend"}),
        ("timeout_seconds", {"timeout_seconds": 0}),
        ("timeout_seconds", {"timeout_seconds": float("nan")}),
        ("decode_processes", {"decode_processes": 0}),
    ],
)
def test_what_is_impossible_is_refused_by_the_name_of_the_field(
    field: str, values: dict[str, Any], tiny: Encoder
) -> None:
    with pytest.raises(UsageError) as caught:
        Job(**{"videos": "a.mp4", "encoders": tiny, **values})
    assert caught.value.where == field


def test_a_grid_that_the_network_cannot_take(repository: Path, tmp_path: Path) -> None:
    config = tmp_path / "vit.py"
    config.write_text(
        (repository / "examples" / "tiny_slowonly.py").read_text()
        + "model = dict(type='Recognizer3D', backbone=dict(type='VisionTransformer', img_size=32, patch_size=16,"
        + " num_frames=8, embed_dims=24, depth=1, num_heads=2), test_cfg=dict(feature_extraction=True))"
    )
    weights = write_random_weights(compile_file(config).model, tmp_path / "vit.safetensors")
    fixed = encoder(config, checkpoint=weights)
    with pytest.raises(UsageError) as caught:
        Job(videos="a.mp4", encoders=fixed, grid=WindowSampling(16, 16))
    assert caught.value.where == "grid"


def test_the_dtype_belongs_to_the_identity(tiny: Encoder) -> None:
    plain, half = (Job(videos="x", encoders=tiny, dtype=dtype) for dtype in ("float32", "float16"))
    identities = [identity_of(tiny, job) for job in (plain, half)]
    assert [identity.to_json().get("dtype") for identity in identities] == [None, "float16"]
    assert [WorkIdentity.from_json(identity.to_json()) for identity in identities] == identities


def test_each_encoder_has_an_output_of_its_own(tiny: Encoder) -> None:
    other = dataclasses.replace(tiny, name="other")  # type: ignore[type-var]
    names = [sink.out.name for sink in Job(videos="a", encoders=[tiny, other], out="f-{encoder}.npz").sinks()]
    assert names == [f"f-{tiny.name}.npz", "f-other.npz"]
    for encoders, out, field in [([tiny, other], "f.npz", "out"), ([tiny, tiny], "f-{encoder}.npz", "encoders")]:
        with pytest.raises(UsageError) as caught:
            Job(videos="a", encoders=encoders, out=out)
        assert caught.value.where == field


def test_what_is_no_job_is_refused(tiny: Encoder) -> None:
    data = Job(videos="a", encoders=tiny).to_json()
    for wrong in ({}, {**data, "vidfeat_job": 99}, {**data, "colour": "red"}, {**data, "encoders": 3}):
        with pytest.raises(UsageError):
            Job.from_json(wrong)
