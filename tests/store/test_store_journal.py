import errno
import hashlib
import io
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_worker import HEADER, commit, entries_of, features_of, identity_of

from vidfeat.errors import OutputError, WriteError
from vidfeat.store import RunIdentity, RunStore, Success, verify
from vidfeat.store.identity import differences
from vidfeat.store.journal import AppendFile, Journal, JournalReader, journal_path
from vidfeat.store.records import (
    Done,
    Failed,
    Opened,
    Settled,
    encode,
    find_record,
    read_payload,
    read_record,
    read_records,
)

IDENTITY = RunIdentity("a", "b", "fp32", "c")
DONE = Done(0, "é.mp4", (2,), "ff", 250, 25.0, None)


def begin(out, **options):
    return Journal(out, IDENTITY, rank=0, world_size=1, **options)


def bodies(path):
    reader = JournalReader(path, IDENTITY)
    found = [record.body for record in reader.new_records()]
    reader.close()
    return found


def test_a_record_to_the_byte():
    # magic | bytes of header | bytes of payload | CRC of payload | CRC of all before, four zeros and the header
    assert encode(DONE, np.array([1, 2], "<f4").tobytes()).hex() == (
        "56464a31" "aa000000" "08000000" "76a53f2e" "ca406ad1"
        "7b227265636f7264223a22646f6e65222c22696e646578223a302c226e616d65223a225c75303065392e6d7034222c22736861706522"
        "3a5b325d2c22736861323536223a226666222c226672616d6573223a3235302c22667073223a32352e302c227365636f6e6473223a6e"
        "756c6c2c226474797065223a22666c6f61743332222c2273616c7661676564223a66616c73652c226672616d65735f6465636c617265"
        "64223a6e756c6c7d"
        "0000803f00000040"
    )  # fmt: skip


def test_a_record_from_before_videos_could_be_salvaged_is_read():
    data = bytes.fromhex(
        "56464a31" "82000000" "08000000" "76a53f2e" "e197e85c"
        "7b227265636f7264223a22646f6e65222c22696e646578223a302c226e616d65223a225c75303065392e6d7034222c22736861706522"
        "3a5b325d2c22736861323536223a226666222c226672616d6573223a3235302c22667073223a32352e302c227365636f6e6473223a6e"
        "756c6c2c226474797065223a22666c6f61743332227d"
        "0000803f00000040"
    )  # fmt: skip
    assert read_record(io.BytesIO(data), 0, size=len(data)).body == DONE


def test_a_journal_to_the_byte(tmp_path):
    with begin(tmp_path / "feats.pkl") as journal:
        journal.append((Failed(1, "a.mp4", "open", "missing", "gone"), b""))
        journal.append((Settled({"rank-00000.vfj": 7}), b""))
    data = (tmp_path / "feats.pkl.journal" / "rank-00000.vfj").read_bytes()
    headers = [part[16:] for part in data.split(b"VFJ1")[1:]]
    assert headers == [
        b'{"record":"opened","identity":{"recipe_digest":"a","checkpoint_sha256":"b","precision":"fp32","list_digest":"c",'
        b'"decoder":"pyav"},"rank":0,"world_size":1,"version":1}',
        b'{"record":"failed","index":1,"name":"a.mp4","stage":"open","kind":"missing","message":"gone"}',
        b'{"record":"settled","through":{"rank-00000.vfj":7}}',
    ]


texts = st.text(st.characters(exclude_categories=()), max_size=20)
records = st.one_of(
    st.builds(
        Done,
        index=st.integers(0, 10**9),
        name=texts,
        shape=st.lists(st.integers(1, 9), min_size=1, max_size=2).map(tuple),
        sha256=texts,
        frames=st.integers(0, 10**9),
        fps=st.none() | st.floats(0, 1e6),
        seconds=st.none() | st.floats(0, 1e9),
        salvaged=st.booleans(),
        frames_declared=st.none() | st.integers(0, 10**9),
    ),
    st.builds(Failed, index=st.integers(0, 10**9), name=texts, stage=texts, kind=texts, message=texts),
    st.builds(Settled, through=st.dictionaries(texts, st.integers(0, 2**60), max_size=3)),
)


@given(st.lists(st.tuples(records, st.binary(max_size=40)), max_size=5))
def test_what_is_written_is_read(written):
    data = b"".join(encode(body, payload) for body, payload in written)
    file = io.BytesIO(data)
    found = list(read_records(file, 0, size=len(data), check_payloads=True))
    assert [(record.body, read_payload(file, record)) for record in found] == written
    assert [record.offset for record in found[1:]] == [record.end for record in found[:-1]]


@given(st.lists(st.binary(max_size=12), min_size=1, max_size=4), st.data())
def test_any_changed_byte_is_noticed(payloads, data):
    whole = b"".join(encode(DONE, payload) for payload in payloads)
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= data.draw(st.integers(1, 255))
    found = list(read_records(io.BytesIO(changed), 0, size=len(whole), check_payloads=True))
    assert len(found) < len(payloads)
    assert all(record.end <= place for record in found)


@given(st.binary(max_size=200), st.binary(max_size=20))
def test_a_record_is_found_behind_anything(junk, payload):
    record = encode(DONE, payload)
    data = b"VFJ1" + junk + record
    assert find_record(io.BytesIO(data), 0, size=len(data)) == len(data) - len(record)
    assert find_record(io.BytesIO(data), 0, size=len(data) - 1) is None


def test_a_record_is_found_across_the_border_of_a_block():
    for start in range((1 << 20) - 5, (1 << 20) + 3):
        data = bytes(start) + encode(DONE)
        assert find_record(io.BytesIO(data), 0, size=len(data)) == start


def test_every_torn_end_is_cut_off(tmp_path):
    out = tmp_path / "feats.pkl"
    with begin(out) as journal:
        journal.append((DONE, bytes(8)))
    whole = journal_path(out, 0).read_bytes()
    with begin(out) as journal:
        journal.append((Done(1, "b.mp4", (2,), "ff", 1, None, None), bytes(8)))
    longer = journal_path(out, 0).read_bytes()
    for size in range(len(whole), len(longer)):
        journal_path(out, 0).write_bytes(longer[:size])
        begin(out).close()
        assert journal_path(out, 0).read_bytes() == whole
    # What a crash of the machine can leave: the length is there, the bytes are not.
    journal_path(out, 0).write_bytes(whole + bytes(len(longer) - len(whole)))
    begin(out).close()
    assert journal_path(out, 0).read_bytes() == whole


def test_a_torn_first_record_begins_anew(tmp_path):
    out = tmp_path / "feats.pkl"
    begin(out).close()
    whole = journal_path(out, 0).read_bytes()
    for size in range(len(whole)):
        journal_path(out, 0).write_bytes(whole[:size])
        begin(out).close()
        assert journal_path(out, 0).read_bytes() == whole


def test_damage_in_the_middle_is_refused_and_kept(tmp_path):
    out = tmp_path / "feats.pkl"
    with begin(out) as journal:
        for index in range(3):
            journal.append((Done(index, "b.mp4", (2,), "ff", 1, None, None), bytes(8)))
    whole = journal_path(out, 0).read_bytes()
    first_end = whole.index(b"VFJ1", 4)
    for place in (0, first_end, first_end + 5, first_end + 30, whole.index(b"VFJ1", first_end + 4) - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        journal_path(out, 0).write_bytes(damaged)
        with pytest.raises(OutputError, match=r"sound record at byte \d+; found damaged bytes.*--restart"):
            begin(out)
        assert journal_path(out, 0).read_bytes() == bytes(damaged)
    begin(out, restart=True).close()
    assert bodies(journal_path(out, 0)) == [Opened(IDENTITY.to_json(), 0, 1)]


def numbered(start, stop):
    """Records of several lengths."""
    return [
        (Done(index, f"{'b' * index}.mp4", (2,), "ff", 1, None, None), bytes(8 * index)) for index in range(start, stop)
    ]


def written(out, *sizes):
    """A journal with numbered records, so many at a time; its path, bytes and records."""
    with begin(out) as journal:
        first = 0
        for size in sizes:
            journal.append(*numbered(first, first + size))
            first += size
    path = journal_path(out, 0)
    whole = path.read_bytes()
    return path, whole, list(read_records(io.BytesIO(whole), 0, size=len(whole)))


def test_records_written_together_are_as_those_written_alone(tmp_path):
    for name, groups in [("alone", [1, 1, 1, 1]), ("together", [4]), ("mixed", [1, 3])]:
        path, whole, records = written(tmp_path / name, *groups)
        assert bodies(path)[1:] == [body for body, _ in numbered(0, 4)]
        payloads = [read_payload(io.BytesIO(whole), record) for record in records[1:]]
        assert payloads == [bytes(8 * index) for index in range(4)]
    synced = [record.synced for record in records]
    assert synced == [0, records[1].offset, *[records[2].offset] * 3]


def test_the_disk_is_waited_for_once(tmp_path):
    syncs = []

    class Counting(AppendFile):
        def sync(self):
            syncs.append(1)
            super().sync()

    with begin(tmp_path / "feats.pkl", open_file=Counting) as journal:
        before = len(syncs)
        journal.append(*numbered(0, 50))
    assert len(syncs) - before == 1


def test_of_records_written_together_a_loss_of_power_may_keep_any(tmp_path):
    """The disk had not been waited for, and writes its blocks in any order: those before the first gap count."""
    out = tmp_path / "feats.pkl"
    path, whole, records = written(out, 2, 5)
    assert len({record.synced for record in records[3:]}) == 1
    for gap in records[3:]:
        for start, stop in [(gap.offset, gap.end), (gap.offset + 9, gap.offset + 10), (gap.end - 1, gap.end)]:
            path.write_bytes(whole[:start] + bytes(byte ^ 255 for byte in whole[start:stop]) + whole[stop:])
            begin(out).close()
            assert path.read_bytes() == whole[: gap.offset]
    path.write_bytes(whole[: records[3].offset + 1] + bytes(9) + whole[records[3].offset + 10 :])
    assert bodies(path) == [record.body for record in records[:3]]  # what another rank sees is no damage either


def test_damage_before_records_written_together_is_refused(tmp_path):
    out = tmp_path / "feats.pkl"
    path, whole, records = written(out, 3, 3)
    for record in records[:4]:
        damaged = bytearray(whole)
        damaged[record.offset + 30] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(OutputError, match=r"sound record at byte \d+; found damaged bytes"):
            begin(out)
        assert path.read_bytes() == bytes(damaged)


def test_a_payload_that_changes_under_a_run_is_noticed_at_the_merge(tmp_path):
    out = tmp_path / "feats.pkl"
    entries = entries_of(2)
    with RunStore.open(out, identity_of(entries), entries) as store:
        for entry in entries:
            commit(store, entry)
        with journal_path(out, 0).open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last[0] ^ 1]))
        with pytest.raises(OutputError, match=r"record that was committed at byte \d+; found other bytes"):
            store.finish(HEADER)
    assert not out.exists()


def test_a_journal_of_another_version_or_kind_is_refused(tmp_path):
    path = journal_path(tmp_path / "feats.pkl", 0)
    path.parent.mkdir()
    for first, found in [
        (Opened(IDENTITY.to_json(), 0, 1, version=2), "found version 2"),
        (Opened({}, 0, 1), "journal that names its run"),
        (DONE, "found a 'done' record"),
    ]:
        path.write_bytes(encode(first))
        with pytest.raises(OutputError, match=found):
            begin(tmp_path / "feats.pkl")


def test_a_reader_sees_records_as_they_come(tmp_path):
    out = tmp_path / "feats.pkl"
    with begin(out) as journal:
        reader = JournalReader(journal.path, IDENTITY)
        assert len(list(reader.new_records())) == 1
        assert list(reader.new_records()) == []
        journal.append((DONE, b"12345678"))
        (record,) = reader.new_records()
        assert (record.body, reader.payload(record)) == (DONE, b"12345678")
        torn = encode(DONE)[:-1]
        with journal.path.open("ab") as file:
            file.write(torn)
        assert list(reader.new_records()) == []
        reader.close()


@pytest.mark.skipif(os.name == "nt", reason="no flock")
def test_one_journal_has_one_writer(tmp_path):
    out = tmp_path / "feats.pkl"
    with begin(out) as journal:
        journal.append((DONE, b""))
        for restart in (False, True):
            with pytest.raises(OutputError, match="another process that is writing it"):
                begin(out, restart=restart)
        assert len(bodies(journal.path)) == 2
    begin(out).close()


# --- faults of the disk ---


class Faulty(AppendFile):
    """Refuses, shortens or cannot sync the write with a given number."""

    fault, at, writes, can_cut = "", 0, 0, True

    def write(self, data):
        self.writes += 1
        if self.writes == self.at and self.fault == "refuse":
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.writes == self.at and self.fault == "shorten":
            return super().write(data[: len(data) // 2])
        return super().write(data)

    def sync(self):
        if self.writes == self.at and self.fault == "sync":
            raise OSError(errno.EIO, "Input/output error")
        super().sync()

    def truncate(self, size=None):
        if not self.can_cut and self.writes >= self.at:
            raise OSError(errno.EIO, "Input/output error")
        return super().truncate(size)


@pytest.mark.parametrize("can_cut", [True, False])
@pytest.mark.parametrize("fault", ["refuse", "shorten", "sync"])
@pytest.mark.parametrize("at", range(1, 8))
def test_after_a_fault_at_any_write_the_run_goes_on(tmp_path, fault, at, can_cut):
    faulty = type("F", (Faulty,), {"fault": fault, "at": at, "can_cut": can_cut})
    out = tmp_path / "feats.pkl"
    entries = entries_of(6)

    def session(**options):
        with RunStore.open(out, identity_of(entries), entries, **options) as store:
            for entry in store.pending():
                commit(store, entry)
                committed.append(entry.index)
            store.finish(HEADER)

    committed = []
    with pytest.raises(WriteError, match=r"No space left|bytes were taken|Input/output error") as caught:
        session(open_file=faulty)
    assert caught.value.exit_code == 4
    assert "run the same command again" in str(caught.value)
    before = len(committed)
    session()
    # A record whose sync failed may have reached the disk; one that was reported is never done twice.
    assert len(committed) == len(set(committed))
    assert before == max(at - 2, 0)
    assert verify(out) == []
    run_hash = hashlib.sha256(out.read_bytes()).hexdigest()
    with RunStore.open(tmp_path / "whole.pkl", identity_of(entries), entries) as store:
        for entry in entries:
            store.commit(Success(entry, features_of(entry.index), frames=1, fps=None, seconds=None))
        store.finish(HEADER)
    assert hashlib.sha256((tmp_path / "whole.pkl").read_bytes()).hexdigest() == run_hash


def test_a_journal_whose_torn_end_could_not_be_cut_takes_no_more(tmp_path):
    faulty = type("F", (Faulty,), {"fault": "shorten", "at": 2, "can_cut": False})
    out = tmp_path / "feats.pkl"
    with begin(out, open_file=faulty) as journal:
        for _ in range(2):
            with pytest.raises(WriteError, match=r"bytes were taken|one that failed before"):
                journal.append((DONE, b""))


def test_a_journal_whose_torn_end_was_cut_takes_more(tmp_path):
    faulty = type("F", (Faulty,), {"fault": "shorten", "at": 2})
    out = tmp_path / "feats.pkl"
    with begin(out, open_file=faulty) as journal:
        with pytest.raises(WriteError):
            journal.append((DONE, b""))
        journal.append((DONE, b"12345678"))
    assert bodies(journal_path(out, 0)) == [Opened(IDENTITY.to_json(), 0, 1), DONE]


def test_differences_are_told_in_words():
    now = RunIdentity("a", "b" * 64, "bf16", "c", decoder="nvdec")
    assert differences(IDENTITY, IDENTITY) == []
    assert differences(IDENTITY, now) == [
        "the checkpoint is 'b' there and 'bbbbbbbbbbbb...' now",
        "the precision is 'fp32' there and 'bf16' now",
        "the decoder is 'pyav' there and 'nvdec' now",
    ]
    assert RunIdentity.from_json(now.to_json()) == now
    with pytest.raises(ValueError, match="precision"):
        RunIdentity.from_json({**now.to_json(), "precision": None})
