"""What a page holds, for every kind of output; the pages themselves are opened in test_report_browser.py."""

import base64
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import yaml

from made_outputs import clustered, data_of, names_of, write_clip, write_output
from vidfeat.cli.main import main
from vidfeat.errors import OutputError, UsageError
from vidfeat.store.files import RunFiles
from vidfeat.tools.report import Summary, build, compose
from vidfeat.tools.report.measure import unit
from vidfeat.tools.report.moments import cosines
from vidfeat.tools.report.outputs import Video

COUNT = 12


def report(out: Path, **options: object) -> tuple[Summary, dict]:
    page = out.with_name("page.html")
    summary = build(out, **{"video_root": None, "labels": None, "page": page, **options})  # type: ignore[arg-type]
    return summary, data_of(page)


@pytest.mark.parametrize("name", ["f.pkl", "f.json", "f.yaml", "f.npz", "f.h5", "features"])
def test_a_finished_output(tmp_path: Path, name: str) -> None:
    rows = clustered(COUNT)
    out = write_output(tmp_path / name, names_of(COUNT), rows, fails={4}, message="no frames at all")
    summary, data = report(out)
    assert (summary.videos, summary.failed, summary.shown, summary.pictured) == (12, 1, 11, 0)
    assert summary.notes == ("There are no pictures: give the folder of the videos with --video-root.",)
    assert (data["title"], data["state"], data["names"]) == (name, "finished", names_of(COUNT))
    ((video, stage, kind, message),) = data["failed"]
    assert (video, stage, kind) == (4, "decode", "corrupt")
    assert "no frames at all" in message
    (group,) = data["groups"]
    assert group["members"] == [number for number in range(COUNT) if number != 4]
    assert group["norms"] == pytest.approx(np.linalg.norm(np.delete(rows, 4, axis=0), axis=1), rel=1e-3)
    assert sum(group["histogram"]["counts"]) == 11
    for video, near in zip(group["members"], group["near"], strict=True):
        assert {neighbour % 3 for neighbour in near[:2]} == {video % 3}
    assert (group["deadCount"], group["equalCount"], data["notFinite"]) == (0, 0, [])
    assert (data["seconds"][0], data["frames"][0], data["shapes"][0]) == (2.0, 50, [16])
    assert data["columns"] == [
        {"name": "folder", "values": ["class 0", "class 1", "class 2"], "of": [number % 3 for number in range(COUNT)]}
    ]
    facts = dict(data["facts"])
    assert facts["recipe: sampling"] == "WindowSampling (clip_len 8)"
    assert facts["versions"] == "python 3, vidfeat 0"
    assert {path.name for path in tmp_path.iterdir()} >= {"page.html", f"{name}.manifest.jsonl"}
    assert not list(tmp_path.glob(".vidfeat-*"))


@pytest.mark.parametrize("name", ["f.pkl", "features"])
def test_an_output_of_version_1(tmp_path: Path, name: str) -> None:
    out = write_output(tmp_path / name, names_of(3), clustered(3), fails={1}, message="no frames at all")
    manifest = RunFiles(out).manifest
    header, *lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    (session,) = header.pop("sessions")
    header |= {"vidfeat_manifest": 1, **session, "numerics": {"kernels": "packed"}}
    kept = ["index", "name", "status", "shape", "dtype", "sha256", "frames", "frames_declared", "fps", "seconds"]
    lines = [{key: line[key] for key in (*kept, "salvaged", "error")} for line in lines]
    lines[1]["error"] = {key: lines[1]["error"][key] for key in ("stage", "kind", "message")}
    manifest.write_text("".join(json.dumps(line) + "\n" for line in [header, *lines]))
    summary, data = report(out)
    assert (data["state"], summary.shown, summary.failed) == ("finished", 2, 1)
    assert "no frames at all" in data["failed"][0][3]
    assert (data["frames"], data["seconds"]) == ([50, None, 50], [2.0, None, 2.0])
    facts = dict(data["facts"])
    assert (facts["versions"], facts["numerics"]) == ("python 3, vidfeat 0", "kernels packed")


def test_the_map_shows_directions_as_the_neighbours_do(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text(json.dumps([[3, 0], [300, 0], [0, 2], [0, 900], [0, 0]]))
    _, data = report(tmp_path / "f.json")
    places = np.array(data["groups"][0]["places"])
    assert np.abs(places[0] - places[1]).max() < 1e-3
    assert np.abs(places[2] - places[3]).max() < 1e-3
    assert np.linalg.norm(places[0] - places[2]) > 0.5
    assert data["groups"][0]["norms"] == [3, 300, 2, 900, 0]


@pytest.mark.parametrize("name", ["f.pkl", "features"])
def test_an_unfinished_run(tmp_path: Path, name: str) -> None:
    out = write_output(tmp_path / name, names_of(9), clustered(COUNT)[:5], fails={2}, finish=False)
    summary, data = report(out)
    assert (data["state"], summary.videos, summary.shown, summary.failed) == ("unfinished", 5, 4, 1)
    assert data["names"] == names_of(5)
    assert "not finished" in data["notes"][0]
    assert dict(data["facts"])["precision"] == "fp32"


def test_a_torn_and_a_damaged_database(tmp_path: Path) -> None:
    rows = clustered(3)
    out = write_output(tmp_path / "f.pkl", names_of(3), rows, finish=False)
    (database,) = RunFiles(out).databases()
    whole = database.read_bytes()
    place = whole.index(rows[1].tobytes())
    database.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
    summary, data = report(out)
    ((number, problem),) = data["problems"]
    assert (summary.videos, summary.shown, number) == (3, 2, 1)
    assert "does not match its SHA-256 in the manifest" in problem
    database.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OutputError, match="a damaged one"):
        report(out)


def test_a_run_without_commits_and_empty_lists(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found no such file"):
        report(write_output(tmp_path / "f.pkl", names_of(2), [], finish=False))
    summary, data = report(write_output(tmp_path / "f.pkl", [], []))
    assert (summary.videos, data["state"], data["groups"]) == (0, "finished", [])
    assert data["notes"] == ["The output is empty: it has no videos."]
    (tmp_path / "g.json").write_text("[]")
    assert report(tmp_path / "g.json")[1]["notes"][-1] == "The output is empty: it has no videos."
    (tmp_path / "none").mkdir()
    assert report(tmp_path / "none")[0].videos == 0


def test_all_failed(tmp_path: Path) -> None:
    summary, data = report(write_output(tmp_path / "f.pkl", names_of(2), clustered(2), fails={0, 1}))
    assert (summary.shown, summary.failed) == (0, 2)
    assert data["notes"] == ["No video has features that can be shown."]


@pytest.mark.parametrize("name", ["f.npz", "f.h5"])
def test_features_of_another_program_with_names(tmp_path: Path, name: str) -> None:
    arrays = {f"class {number % 2}/{number}": row for number, row in enumerate(clustered(4))}
    if name == "f.npz":
        np.savez(tmp_path / name, **arrays)
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / name, "w") as file:
            for key, row in arrays.items():
                file[key] = row
    summary, data = report(tmp_path / name)
    assert (data["state"], summary.shown, sorted(data["names"])) == ("foreign", 4, sorted(arrays))
    assert sorted(data["columns"][0]["values"]) == ["class 0", "class 1"]


@pytest.mark.parametrize("name", ["f.pkl", "f.json", "f.yml", "features"])
def test_features_of_another_program(tmp_path: Path, name: str) -> None:
    rows, out = clustered(6), tmp_path / name
    if out.suffix == "":
        for number, row in enumerate(rows):
            path = out / f"class {number % 3}" / f"{number}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, row.astype(np.float64))
        np.save(out / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    else:
        arrays = [None if number == 5 else row for number, row in enumerate(rows)]
        lists = [None if row is None else row.tolist() for row in arrays]
        dump = {
            ".pkl": lambda: pickle.dumps(arrays),
            ".json": lambda: json.dumps(lists).encode(),
            ".yml": lambda: yaml.dump(lists).encode(),
        }
        out.write_bytes(dump[out.suffix]())
    summary, data = report(out)
    assert data["state"] == "foreign"
    assert "no manifest" in data["notes"][0]
    if out.suffix == "":
        assert data["names"] == [*(f"class {n}/{i}" for n in range(3) for i in (n, n + 3)), "objects"]
        assert (summary.shown, summary.failed, len(data["problems"])) == (6, 0, 1)
    else:
        assert data["names"] == [f"#{number}" for number in range(6)]
        assert data["problems"] == [[5, "no features, and no reason given"]]
        assert data["columns"] == []


def test_differing_sizes_have_a_map_each(tmp_path: Path) -> None:
    rows = [np.ones(4), np.arange(8), np.ones(8), np.arange(4), np.arange(8) ** 2]
    (tmp_path / "f.json").write_text(json.dumps([row.tolist() for row in rows]))
    summary, data = report(tmp_path / "f.json")
    assert summary.shown == 5
    assert [(group["size"], group["members"]) for group in data["groups"]] == [(8, [1, 2, 4]), (4, [0, 3])]
    assert {number for near in data["groups"][1]["near"] for number in near} == {0, 3}
    assert any("differ in size: 8 (3 videos), 4 (2 videos)" in note for note in data["notes"])


def test_what_is_wrong_with_values_is_reported(tmp_path: Path) -> None:
    rows = clustered(8).tolist()
    rows[1][3], rows[1][4], rows[2][0] = float("nan"), float("inf"), 1e300
    rows[3] = rows[6]
    rows[4] = [0.0] * 16
    rows.append([1.0, [2.0]])
    rows.append("text")
    for row in (rows[0], rows[5], rows[6], rows[7]):
        row[9] = 0.0
    (tmp_path / "f.json").write_text(json.dumps(rows))
    _, data = report(tmp_path / "f.json")
    (group,) = data["groups"]
    assert data["notFinite"] == [[1, 2], [2, 1]]
    assert [number for number, _ in data["problems"]] == [1, 2, 8, 9]
    assert (group["equal"], group["zero"], group["dead"]) == ([[3, 6]], [4], [9])
    assert [3, 6] in group["alike"]


def test_rows_over_time_are_kept_with_their_seconds(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = [random.standard_normal((count, 16)) for count in (5, 1, 200, 3)] + [random.standard_normal((4, 10, 16))]
    rows.append(random.standard_normal(16))
    times = [np.stack([np.arange(len(part)) * 0.5 + 8, np.arange(len(part)) * 0.5 + 9], axis=1) for part in rows[:5]]
    times[3] = None  # views, not windows
    _, data = report(write_output(tmp_path / "f.pkl", names_of(6), rows, seconds=times))
    (group,) = data["groups"]
    moments = group["moments"]
    assert moments["rows"] == moments["steps"] == [5, 1, 200, 3, 4, 0]
    seconds = array_of(moments["seconds"], "<f4").reshape(-1, 2)
    np.testing.assert_allclose(seconds[:206], np.concatenate(times[:3]), rtol=1e-6)
    assert np.isnan(seconds[206:209]).all()
    np.testing.assert_allclose(seconds[209:], times[4], rtol=1e-6)
    flat = unit(np.concatenate([*rows[:4], rows[4].mean(axis=1)]).astype(np.float32))
    products = array_of(moments["levels"], "i1").reshape(-1, 16) * np.array(moments["scale"], np.float32)
    here = products, array_of(moments["along"], "<f4")
    np.testing.assert_allclose(cosines(here, here, moments["square"]), flat @ flat.T, atol=0.03)
    assert data["shapes"][4] == [4, 10, 16]
    assert group["norms"][0] == pytest.approx(np.linalg.norm(rows[0].mean(axis=0)), rel=1e-3)


def test_long_videos_are_joined_to_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidfeat.tools.report.moments.ROW_BYTES", 16 * 100)
    rows = [np.random.default_rng(0).standard_normal((count, 32)) for count in (150, 50)]
    times = [np.stack([np.arange(len(part)), np.arange(len(part)) + 2.0], axis=1) for part in rows]
    _, data = report(write_output(tmp_path / "f.npz", names_of(2), rows, seconds=times))
    moments = data["groups"][0]["moments"]
    assert (moments["rows"], moments["steps"], len(moments["scale"])) == ([150, 50], [75, 25], 16)
    seconds = array_of(moments["seconds"], "<f4").reshape(-1, 2)
    assert seconds[:2].tolist() == [[0, 3], [2, 5]]


def array_of(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def test_queries_find_moments_and_videos(tmp_path: Path) -> None:
    windows = [np.eye(6)[[number, number, 5]] + 0.01 for number in range(4)]
    words = tmp_path / "words.json"
    words.write_text(json.dumps({"words": ["the third", "</script>"], "vectors": np.eye(6)[[2, 5]].tolist()}))
    _, data = report(write_output(tmp_path / "f.npz", names_of(4), windows, fails={1}), queries=words)
    assert data["queries"] == ["the third", "</script>"]
    videos, steps, cosine = data["groups"][0]["found"][0]
    assert (videos[0], steps[0]) == (2, 0)  # the first of two equal neighbours
    assert cosine[0] == pytest.approx(1.01 / np.linalg.norm(windows[2][0]), abs=1e-4)
    assert [(video, step) for video, step, of in zip(*data["groups"][0]["found"][1], strict=True) if of > 0.9] == [
        (video, 2) for video in (0, 2, 3)
    ]
    assert b"</script>" not in (tmp_path / "page.html").read_bytes().split(b'id="data">')[1].split(b"</script>")[0]
    vectors = [np.eye(6)[number] for number in range(4)]
    _, data = report(write_output(tmp_path / "g.npz", names_of(4), vectors), queries=words)
    assert data["groups"][0]["moments"] is None
    assert data["groups"][0]["found"][0][0][0] == 2
    words.write_text('{"words": ["a"], "vectors": [[1, 2]]}')
    with pytest.raises(UsageError, match=r"of 6 numbers; found vectors of 2 numbers"):
        report(tmp_path / "g.npz", queries=words)


def test_pictures_labels_and_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = names_of(4)
    out = write_output(tmp_path / "f.pkl", names, clustered(4), fails={3})
    videos = tmp_path / "videos"
    for number in (0, 1, 3):
        write_clip(videos / names[number], seed=number, frames=12)
    (videos / names[1]).write_bytes(b"no video")
    labels = tmp_path / "labels.csv"
    labels.write_text(f"name,motion\n{names[0]},slide\n{names[1]},jump\n")
    summary, data = report(out, video_root=videos, labels=labels)
    assert summary.pictured == 1
    assert {video: len(images) for video, images in data["pictures"].items()} == {"0": 6}
    assert [column["name"] for column in data["columns"]] == ["folder", "motion"]
    assert data["columns"][1]["of"] == [
        data["columns"][1]["values"].index(v) for v in ("slide", "jump", "(none)", "(none)")
    ]
    assert data["notes"] == [
        f"{labels} has labels for 2 of 4 videos.",
        f"1 of 3 videos are not below {videos}: they have no pictures.",
        f"1 of 2 videos have no pictures, such as {names[1]}: no frame can be decoded: damaged or unknown data.",
    ]
    assert dict(data["unpictured"]) == {
        f"the video is not below {videos}": [2],
        "no frame can be decoded: damaged or unknown data": [1],
    }
    monkeypatch.setattr(compose, "PICTURE_BYTES", 2)
    (videos / names[1]).unlink()
    write_clip(videos / names[2], frames=5)
    _, data = report(out, video_root=videos)
    assert list(data["pictures"]) == ["0"]
    assert dict(data["unpictured"])["left out, to keep the page small"] == [2]
    assert data["notes"][-1] == "1 of 2 videos have no pictures, to keep the page small."


def test_pictures_of_a_segment_lie_in_it(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "videos" / "a.mp4", frames=100)
    video = Video("a.mp4", segment=(4.0, 7.0), vector=np.ones(4, np.float32))
    found, _ = compose._pictures([video], clip.parent, [], progress=False)
    assert [picture.seconds for picture in found[0]] == pytest.approx([4.3, 4.8, 5.3, 5.8, 6.3, 6.8], abs=0.06)


def test_a_list_names_the_videos_of_an_output_without_names(tmp_path: Path) -> None:
    (tmp_path / "f.pkl").write_bytes(pickle.dumps(list(clustered(3))))
    write_clip(tmp_path / "class 1" / "clip 1.mp4", frames=5)
    labels = tmp_path / "list.txt"
    labels.write_text("".join(f"{name} {number}\n" for number, name in enumerate(names_of(3))))
    summary, data = report(tmp_path / "f.pkl", labels=labels, video_root=tmp_path)
    assert data["names"] == names_of(3)
    assert [column["name"] for column in data["columns"]] == ["folder", "label"]
    assert list(data["pictures"]) == ["1"]
    assert f"The names of the videos are those of {labels}, by position." in summary.notes
    labels.write_text("a.mp4 1\n")
    assert report(tmp_path / "f.pkl", labels=labels)[1]["names"] == ["#0", "#1", "#2"]


def test_more_videos_than_a_page_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "LARGEST", 5)
    labels = tmp_path / "list.txt"
    labels.write_text("".join(f"{name} {number}\n" for number, name in enumerate(names_of(COUNT))))
    summary, data = report(write_output(tmp_path / "f.pkl", names_of(COUNT), clustered(COUNT)), labels=labels)
    assert (summary.videos, summary.shown) == (COUNT, 5)
    assert data["names"] == [names_of(COUNT)[number] for number in (0, 2, 4, 7, 9)]
    column = data["columns"][1]
    assert [column["values"][place] for place in column["of"]] == ["0", "2", "4", "7", "9"]
    assert "an even sample of 5 of 12 videos" in data["notes"][0]


def test_an_output_that_does_not_fit_its_manifest(tmp_path: Path) -> None:
    out = write_output(tmp_path / "f.pkl", names_of(3), clustered(3))
    out.write_bytes(pickle.dumps([np.ones(4, np.float32)]))
    summary, data = report(out)
    assert (summary.videos, summary.shown) == (3, 1)
    assert data["notes"][0] == "The manifest lists 3 videos, the output has 1 rows."
    out.unlink()
    assert "is missing" in report(out)[1]["notes"][0]


@pytest.mark.parametrize("name", ["f.pkl", "f.json", "f.npz"])
def test_a_broken_file_with_a_manifest(tmp_path: Path, name: str) -> None:
    out = write_output(tmp_path / name, names_of(3), clustered(3), fails={1})
    out.write_bytes(out.read_bytes()[:40])
    summary, data = report(out)
    assert (summary.videos, summary.failed, summary.shown) == (3, 1, 0)
    assert [number for number, _ in data["problems"]] == [0, 2]
    assert "No video has features that can be shown." in data["notes"]


def test_a_folder_with_a_broken_and_a_missing_file(tmp_path: Path) -> None:
    out = write_output(tmp_path / "features", names_of(3), clustered(3))
    (out / "class 0/clip 0.npy").write_bytes(b"\x93NUMPY broken")
    (out / "class 1/clip 1.npy").unlink()
    summary, data = report(out)
    assert (summary.shown, [number for number, _ in data["problems"]]) == (1, [0, 1])


def test_a_manifest_that_cannot_be_used(tmp_path: Path) -> None:
    out = write_output(tmp_path / "f.pkl", names_of(3), clustered(3))
    RunFiles(out).manifest.write_text('{"vidfeat_manifest": 99}\n')
    summary, data = report(out)
    assert (data["state"], summary.shown) == ("foreign", 3)
    assert "manifest cannot be used" in data["notes"][0]


def test_what_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    out = write_output(tmp_path / "f.pkl", names_of(3), clustered(3))
    page = tmp_path / "page.html"
    for wrong, message in [
        (tmp_path / "nothing.pkl", "found no such file"),
        (tmp_path / "f.csv", "expected one of"),
        (tmp_path / "nothing", "found no such file"),
    ]:
        with pytest.raises(UsageError, match=message):
            build(wrong, video_root=None, labels=None, page=page)
    for wrong, message in [
        (out, r"ends in \.html"),
        (tmp_path / "no" / "x.html", "no such folder"),
    ]:
        with pytest.raises(UsageError, match=message):
            build(out, video_root=None, labels=None, page=wrong)
    with pytest.raises(UsageError, match="the folder of the videos"):
        build(out, video_root=tmp_path / "no", labels=None, page=page)
    (tmp_path / "g.json").write_text("{}")
    with pytest.raises(OutputError, match="a list with a row per video"):
        build(tmp_path / "g.json", video_root=None, labels=None, page=page)
    assert not page.exists()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write_output(tmp_path / "features", names_of(3), clustered(3), fails={1})
    monkeypatch.chdir(tmp_path / "features")
    assert main(["report", "."]) == 0
    page = tmp_path / "features.report.html"
    printed = capsys.readouterr()
    assert printed.out == f"{page}: 3 videos, 2 on the map, 1 failed, 0 with pictures\n"
    assert printed.err == "vidfeat: note: There are no pictures: give the folder of the videos with --video-root.\n"
    assert data_of(page)["names"] == names_of(3)
    assert main(["report", ".", "-o", "x.html", "-q"]) == 0
    assert main(["report", "no.pkl"]) == main(["report", "/"]) == main(["report", ".", "-o", "no/x.html"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_folder_is_no_page(tmp_path: Path) -> None:
    out = write_output(tmp_path / "f.pkl", names_of(3), clustered(3))
    (tmp_path / "x.html").mkdir()
    with pytest.raises(UsageError, match="a folder of that name"):
        build(out, video_root=None, labels=None, page=tmp_path / "x.html")
