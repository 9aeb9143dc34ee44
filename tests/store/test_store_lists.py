"""Outputs whose list, videos or identity change: what is computed again, and what is kept untouched until when."""

import json
import os
import pickle
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from store_worker import (
    SESSION,
    begin,
    commit,
    compute,
    features_of,
    files,
    identity_of,
    number_of,
    run,
    values_of,
    videos_of,
)

from vidfeat.errors import OutputError
from vidfeat.features import VideoFeatures
from vidfeat.store import load, verify
from vidfeat.store.files import RunFiles
from vidfeat.videos import VideoRef

NAMES = ["feats.pkl", "feats.json", "feats.npz", "feats"]


@pytest.fixture
def place(tmp_path):
    return tmp_path / "videos"


@pytest.fixture(params=NAMES)
def out(tmp_path, request):
    return tmp_path / "outputs" / request.param


def numbers(videos):
    return [number_of(video) for video in videos]


def check(out, videos, values=values_of, failed=()):
    """The output holds these videos in this order, with these values, and nothing else."""
    assert verify(out) == []
    with load(out) as stored:
        assert stored.state == "finished"
        assert list(stored) == [video.key for video in videos if number_of(video) not in failed]
        assert list(stored.failures) == [video.key for video in videos if number_of(video) in failed]
        for video in videos:
            if number_of(video) not in failed:
                np.testing.assert_array_equal(stored[video.key].values, values(number_of(video)))
    if out.is_dir():
        assert len(list(out.rglob("*.npy"))) == len(videos) - len(failed)
    assert not RunFiles(out).folder.exists()


def finished(out, videos, **options):
    run(out, videos, **options)
    return files(out.parent)


@pytest.mark.parametrize("fails", [(), (1, 4)])
def test_a_list_that_grew_computes_what_is_new(out, place, fails):
    before = finished(out, videos_of(6, place)[::2], fails=fails)
    videos = videos_of(8, place)
    with begin(out, videos) as store:
        assert not store.finished
        assert store.notes == ("5 videos are new",)
        assert numbers(store.pending()) == [1, 3, 5, 6, 7]
        lock = f"{out.name}.vidfeat/rank-00000.lock"
        assert {name: data for name, data in files(out.parent).items() if name != lock} == before
        compute(store, fails=fails)
        summary = store.finalize()
        assert (summary.computed, summary.kept, summary.failed) == (5 - (1 in fails), 3 - (4 in fails), len(fails))
    check(out, videos, failed=fails)
    with begin(out, videos) as store:
        assert store.finished


def test_a_list_that_grew_and_was_interrupted_goes_on(out, place):
    finished(out, videos_of(3, place))
    videos = videos_of(8, place)[::-1]
    for expected in (7, 6, 5, 4, 3):
        with begin(out, videos) as store:
            assert number_of(store.pending()[0]) == expected
            commit(store, store.pending()[0])
        with load(out) as stored:
            if not out.is_dir():  # the finished output is untouched
                assert verify(out) == []
                assert list(stored) == [video.key for video in videos_of(3)]
                assert "A run that replaces this output" in " ".join(stored.notes)
            else:
                assert stored.state == "unfinished"
                assert len(stored) == 3 + 8 - expected
            for key, features in stored.items():
                np.testing.assert_array_equal(features.values, values_of(int(key[:-4].split()[-1])))
    run(out, videos)
    check(out, videos)


def test_a_reordered_list_computes_nothing(out, place):
    finished(out, videos_of(7, place), fails=(2,))
    videos = videos_of(7, place)
    random.Random(0).shuffle(videos)
    with begin(out, videos) as store:
        assert not store.finished
        assert store.notes == ()
        assert store.pending() == []
        assert store.finalize().kept == 6
    check(out, videos, failed=(2,))


def test_a_shorter_list_drops_rows_at_the_end(out, place):
    before = finished(out, videos_of(7, place), fails=(2,))
    videos = videos_of(7, place)[1:5]
    with begin(out, videos) as store:
        assert store.notes == ("3 videos are no longer in the list",)
        assert store.pending() == []
        assert before.items() <= files(out.parent).items()
        store.finalize()
    check(out, videos, failed=(2,))


def test_the_manifest_is_that_of_a_run_of_the_same_list(out, place, tmp_path):
    """Whatever came before: rows taken over say the same as rows computed."""
    finished(out, videos_of(4, place)[::-1], fails=(1,))
    run(out, videos_of(7, place))
    finished(tmp_path / "fresh" / out.name, videos_of(7, place), fails=(1,))
    assert files(out.parent) == files(tmp_path / "fresh")


def test_a_video_that_changed_is_computed_again(out, place):
    before = finished(out, videos_of(5, place))
    videos = videos_of(5, place)
    videos[1].path.write_bytes(b"another size")
    os.utime(videos[3].path, ns=(0, 17))
    videos[4].path.unlink()  # keeps its features
    other = {1: 101, 3: 103}
    with begin(out, videos) as store:
        assert store.notes == ("2 videos changed since they were computed; they are computed again",)
        assert numbers(store.pending()) == [1, 3]
        assert before.items() <= files(out.parent).items()
        for video in store.pending():
            store.commit([features_of(video, values_of(other[number_of(video)]))], SESSION)
        store.finalize()
    check(out, videos, lambda number: values_of(other.get(number, number)))
    with begin(out, videos) as store:
        assert store.finished


def test_videos_of_the_same_names_in_another_folder_are_computed_again(out, place, tmp_path):
    """Version 1 passed off the features of the first folder as theirs."""
    finished(out, videos_of(3, place))
    others = videos_of(3, tmp_path / "others")
    for video in others:
        os.utime(video.path, ns=(0, 17))
    with begin(out, others) as store:
        assert compute(store) == [0, 1, 2]
        store.finalize()
    check(out, others)


def test_a_video_that_changes_during_the_run_is_computed_again_by_the_next(out, place):
    videos = videos_of(3, place)
    with begin(out, videos) as store:
        before = features_of(videos[1])
        videos[1].path.write_bytes(b"another size")
        store.commit([features_of(videos[0]), before, features_of(videos[2])], SESSION)
        assert store.pending() == []
        store.finalize()
    with begin(out, videos) as store:
        assert numbers(store.pending()) == [1]


def test_a_failed_video_is_tried_again_when_its_file_changed(out, place):
    videos = videos_of(4, place)
    videos[1].path.unlink()
    finished(out, videos, fails=(1, 2))
    with begin(out, videos) as store:
        assert store.finished
    videos[1].path.write_bytes(b"now it is there")
    os.utime(videos[2].path, ns=(0, 17))
    with begin(out, videos) as store:
        assert compute(store) == [1, 2]
        store.finalize()
    check(out, videos)


def test_a_video_of_which_another_segment_is_wanted_is_computed_again(out, place):
    videos = [replace(videos_of(1, place)[0], segment=segment) for segment in (None, (0.25, 1 / 3), (0.25, 0.5))]
    finished(out, videos[:1])
    for number, video in enumerate(videos[1:], start=1):
        with begin(out, [video]) as store:
            assert store.notes == ("1 video changed since it was computed; it is computed again",)
            store.commit([features_of(video, values_of(number))], SESSION)
        with begin(out, [video]) as store:
            assert store.pending() == []
            store.finalize()
        with begin(out, [video]) as store:
            assert store.finished
        check(out, [video], lambda _: values_of(number))  # noqa: B023
        assert json.loads(RunFiles(out).manifest.read_text().splitlines()[1])["segment"] == list(video.segment)
    with begin(out, videos[:1]) as store:
        assert store.pending() == videos[:1]
    run(out, videos[1:2], fails=(0,))
    with begin(out, videos[1:2]) as store:
        assert store.finished  # a failure is of a segment, too
    with begin(out, videos[2:]) as store:
        assert store.pending() == videos[2:]


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        (identity_of("bf16"), "another precision (fp32 there, bf16 now)"),
        (identity_of(checkpoint="c" * 64), "another checkpoint (bbbbbbbb… there, cccccccc… now)"),
        (
            identity_of("bf16", "c" * 64),
            "another checkpoint (bbbbbbbb… there, cccccccc… now) and another precision (fp32 there, bf16 now)",
        ),
    ],
)
def test_rows_of_another_identity_are_computed_again_and_untouched_until_then(out, place, identity, words):
    videos = videos_of(5, place)
    before = finished(out, videos, fails=(2,))
    with begin(out, videos, identity) as store:
        assert store.notes == (f"5 videos were computed with {words}; they are computed again",)
        assert numbers(store.pending()) == [0, 1, 2, 3, 4]
        assert before.items() <= files(out.parent).items()
    assert files(out.parent) == before
    with begin(out, videos, identity) as store:
        store.commit([features_of(videos[3], values_of(103))], SESSION)
        changed = {name for name, data in before.items() if files(out.parent).get(name) != data}
        assert changed == ({"feats/folder 0/clip 3.npy", "feats.manifest.jsonl"} if out.is_dir() else set())
    with begin(out, videos) as store:  # and back again
        assert numbers(store.pending()) == ([3] if out.is_dir() else [])
    with begin(out, videos, identity) as store:
        assert numbers(store.pending()) == [0, 1, 2, 4]
        for video in store.pending():
            store.commit([features_of(video, values_of(100 + number_of(video)))], SESSION)
        store.finalize()
    check(out, videos, lambda number: values_of(100 + number))


def test_identities_that_take_turns_never_mix(out, place):
    """Whatever is done in between, features that count are those of their identity and file."""
    random_generator = random.Random(str(out.name))
    identities = {"fp32": 0, "bf16": 1000}
    for _ in range(60):
        precision = random_generator.choice(list(identities))
        size = random_generator.randrange(1, 7)
        videos = random_generator.sample(videos_of(7, place), size)
        if random_generator.random() < 0.3:
            os.utime(random_generator.choice(videos).path, ns=(0, random_generator.randrange(3)))
        version = {number_of(v): v.path.stat().st_mtime_ns % 10**9 for v in videos}
        options = {"restart": random_generator.random() < 0.2}
        with begin(out, videos, identity_of(precision), **options) as store:
            pending = store.pending()
            for video in pending[: random_generator.randrange(len(pending) + 1)]:
                number = number_of(video)
                values = values_of(identities[precision] + number + 10 * version[number])
                store.commit([features_of(video, values)], SESSION)
            if store.pending():
                continue
            store.finalize()
        check(out, videos, lambda n: values_of(identities[precision] + n + 10 * version[n]))  # noqa: B023


def test_finished_outputs_are_recognised_without_reading_them(place, tmp_path):
    out = tmp_path / "feats.pkl"
    videos = videos_of(3, place)
    run(out, videos)
    out.write_bytes(b"not read")
    with begin(out, videos) as store:
        assert store.finished


@pytest.mark.parametrize("name", ["feats.pkl", "feats.npz", "feats.json"])
def test_rows_that_are_damaged_in_the_output_are_computed_again(place, tmp_path, name):
    out = tmp_path / name
    run(out, videos_of(4, place))
    if name == "feats.pkl":
        rows = pickle.loads(out.read_bytes())
        rows[2][5] += 1
        out.write_bytes(pickle.dumps(rows, 2))
    else:
        out.write_bytes(b"[]" if name == "feats.json" else b"nothing")
    videos = videos_of(5, place)
    with begin(out, videos) as store:
        assert compute(store) == [4]
        with pytest.raises(OutputError, match=r"none, or different ones, for .*only what is missing is computed"):
            store.finalize()
    with begin(out, videos) as store:
        assert compute(store) == ([2] if name == "feats.pkl" else [0, 1, 2, 3])
        store.finalize()
    check(out, videos)


# --- restart ---


def test_restart_replaces_an_output_and_touches_it_only_with_the_first_commit(out, place):
    videos = videos_of(4, place)
    before = finished(out, videos, fails=(1,))
    with begin(out, videos, restart=True) as store:
        assert store.notes == ()
        assert numbers(store.pending()) == [0, 1, 2, 3]
        assert before.items() <= files(out.parent).items()
    assert files(out.parent) == before
    with begin(out, videos) as store:
        assert store.finished
    with begin(out, videos, restart=True) as store:
        commit(store, videos[0])
        changed = {name for name, data in before.items() if files(out.parent).get(name) != data}
        assert changed == ({"feats.manifest.jsonl"} if out.is_dir() else set())
    with begin(out, videos) as store:  # goes on without another restart
        assert compute(store) == [1, 2, 3]
        assert store.finalize().computed == 3
    check(out, videos)


def test_restart_forgets_an_interrupted_run(out, place):
    videos = videos_of(4, place)
    with begin(out, videos) as store:
        for video in videos[:3]:
            store.commit([features_of(video, values_of(99))], SESSION)
    with begin(out, videos, restart=True) as store:
        commit(store, videos[3])
    with begin(out, videos) as store:
        assert compute(store) == [0, 1, 2]
        store.finalize()
    check(out, videos)


def test_restart_with_another_list_leaves_no_features_of_the_first_behind(tmp_path):
    out = tmp_path / "feats"
    run(out, videos_of(3))
    (out / "mine.npy").write_bytes(b"not vidfeat's")
    other = [VideoRef("folder 1/clip 1.avi", "clip 1.mp4"), VideoRef("new.mp4", "clip 8.mp4")]
    run(out, other, restart=True)
    left = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.npy"))
    assert left == ["folder 1/clip 1.npy", "mine.npy", "new.npy"]
    assert verify(out) == ["'mine.npy' is in the output, but is not the name of a listed video"]


def test_videos_that_shared_a_file_do_not_stand_for_each_other(tmp_path):
    out = tmp_path / "feats"
    first, second = VideoRef("a.mp4", "clip 1.mp4"), VideoRef("a.avi", "clip 2.mp4")
    for videos, expected in [([first], 1), ([second], 2), ([first], 1), ([second], 2)]:
        run(out, videos)
        assert np.array_equal(np.load(out / "a.npy"), values_of(expected))
        assert verify(out) == []
    with begin(out, [first]) as store:
        commit(store, first)
    with begin(out, [second]) as store:
        assert store.pending() == [second]


@pytest.mark.parametrize("restart", [False, True])
def test_nothing_outside_of_the_output_is_removed(tmp_path, restart):
    out = tmp_path / "feats"
    run(out, videos_of(3))
    (tmp_path / "clip 0.npy").write_bytes(b"precious")
    manifest = RunFiles(out).manifest
    manifest.write_text(manifest.read_text().replace("folder 0/clip 0.mp4", "../clip 0.mp4"))
    run(out, videos_of(1), restart=restart)
    assert (tmp_path / "clip 0.npy").read_bytes() == b"precious"


def test_restart_replaces_damaged_databases(out, place):
    videos = videos_of(3, place)
    with begin(out, videos) as store:
        commit(store, videos[0])
    database = RunFiles(out).database(0)
    sound = database.read_bytes()
    for content in (b"junk" * 3000, sound[:4096] + bytes(4096) + sound[8192:], sound[:5000]):
        database.write_bytes(content)
        (database.with_name("rank-00001.sqlite")).write_bytes(content)
        with pytest.raises(OutputError, match=r"(damaged one|can be read).*`restart=True`"):
            begin(out, videos)
        with begin(out, videos, restart=True) as store:
            assert len(store.pending()) == 3
            commit(store, videos[1])
        with begin(out, videos) as store:
            assert numbers(store.pending()) == [0, 2]
    run(out, videos)
    check(out, videos)


def test_a_database_of_another_version_is_refused(out, place):
    videos = videos_of(3, place)
    with begin(out, videos) as store:
        commit(store, videos[0])
    database = RunFiles(out).database(0)
    data = bytearray(database.read_bytes())
    data[60:64] = (2).to_bytes(4, "big")  # SQLite's place for the user's version
    database.write_bytes(data)
    with pytest.raises(OutputError, match=r"database of version 1; found version 2.*`restart=True`"):
        begin(out, videos)
    with begin(out, videos, restart=True) as store:
        compute(store)
        store.finalize()
    check(out, videos)


def test_any_changed_byte_of_a_database_gives_an_error_or_the_right_output(tmp_path):
    out = tmp_path / "feats.pkl"
    videos = videos_of(12)
    with begin(out, videos) as store:
        for video in videos[:9]:
            commit(store, video)
    database = RunFiles(out).database(0)
    sound = database.read_bytes()
    chance = random.Random(3)
    refused = 0
    for _ in range(60):
        data = bytearray(sound)
        for _ in range(chance.choice([1, 1, 40])):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        RunFiles(out).folder.mkdir(exist_ok=True)
        database.write_bytes(data)
        try:
            run(out, videos)
        except OutputError:
            refused += 1
        else:
            with load(out) as stored:
                for video in videos:
                    assert np.array_equal(stored[video.key].values, values_of(number_of(video)))
        for path in out.parent.iterdir():
            path.unlink() if path.is_file() else [one.unlink() for one in path.iterdir()]
    assert refused > 5


def test_sessions_are_kept_apart_and_once_each(out, place):
    videos = videos_of(4, place)
    for number, video in enumerate(videos):
        with begin(out, videos) as store:
            store.commit([features_of(video)], {"device": f"gpu {number % 2}", "versions": {"b": 1, "a": 2}})
            if not store.pending():
                store.finalize()
    header, *lines = (json.loads(line) for line in RunFiles(out).manifest.read_text().splitlines())
    assert header["sessions"] == [{"device": f"gpu {n}", "versions": {"a": 2, "b": 1}} for n in (0, 1)]
    assert [line["session"] for line in lines] == [0, 1, 0, 1]
    assert Path(header["output"]) == Path(out.name)


@pytest.mark.parametrize("name", ["feats", "feats/{key}.csv"])
def test_videos_that_differ_by_their_suffix_come_and_go(tmp_path, name):
    videos = [VideoRef(f"a/{name}", f"{number}.mp4") for number, name in enumerate(["x.wmv", "x.flv", "y.mp4"])]

    def require(wanted, names):
        with begin(tmp_path / name, wanted) as store:
            for video in store.pending():
                values = np.full(3, float(video.uri[0]), np.float32)
                store.commit([VideoFeatures(video.key, "test", values)], SESSION)
                with load(tmp_path / "feats") as found:
                    assert found[video.key].values.tolist() == values.tolist()
            store.finalize(timeout=1.0)
        assert verify(tmp_path / name) == []
        with load(tmp_path / "feats") as found:
            assert [found[video.key].values[0] for video in wanted] == [float(video.uri[0]) for video in wanted]
        assert sorted(path.stem for path in (tmp_path / "feats" / "a").iterdir()) == names

    require(videos[:1], ["x"])
    require(videos, ["x.flv", "x.wmv", "y"])
    require(videos[::-1], ["x.flv", "x.wmv", "y"])
    require(videos[1:], ["x", "y"])
    require([videos[0], videos[2]], ["x", "y"])
    require(videos[:2], ["x.flv", "x.wmv"])


def test_a_folder_of_another_format_is_not_replaced(tmp_path):
    videos = videos_of(3)
    run(tmp_path / "feats" / "{key}.csv", videos)
    before = files(tmp_path)
    with pytest.raises(
        OutputError, match=r"feats: expected a folder in the format npy.* found one in the format csv\. "
    ):
        begin(tmp_path / "feats", videos)
    assert files(tmp_path) == before
    run(tmp_path / "feats", videos, restart=True)
    assert verify(tmp_path / "feats") == []
