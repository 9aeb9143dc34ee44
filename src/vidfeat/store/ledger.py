"""The ledger: which record of which journal stands for which video of the list."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from vidfeat.errors import OutputError
from vidfeat.store.identity import RunIdentity
from vidfeat.store.journal import JournalReader
from vidfeat.store.records import Done, Failed, Record, Settled
from vidfeat.videos import Entry

_NONE, _FAILED, _DONE = range(3)


class Ledger:
    """Reads the journals of a run and tells what is finished.

    Within one journal the latest record of a video counts. Between journals `Done` counts more than `Failed`, and two
    `Done` must be of the same bytes. A `Failed` that was `Settled` does not count. Memory per video is 13 bytes.

    Args:
        find: gives the journals to read, in the order of their ranks; asked again at every update.
        identity: the run; journals of another are refused.
        entries: the videos.
    """

    def __init__(self, find: Callable[[], list[Path]], identity: RunIdentity, entries: Sequence[Entry]) -> None:
        self._find = find
        self._identity = identity
        self._entries = entries
        self._readers: dict[Path, tuple[int, JournalReader]] = {}
        self._by_number: list[JournalReader] = []
        self._settled: dict[str, int] = {}
        self._state = bytearray(len(entries))
        self._journal = array("i", [0]) * len(entries)
        self._offset = array("q", [0]) * len(entries)

    def update(self) -> bool:
        """Read what was committed since the last call; whether there was anything.

        Raises:
            OutputError: a journal is of another run or damaged, or two journals contradict each other.
        """
        before = sum(reader.end for reader in self._by_number)
        for path in self._find():
            if path not in self._readers:
                self._readers[path] = (len(self._by_number), JournalReader(path, self._identity))
                self._by_number.append(self._readers[path][1])
        for number, reader in self._readers.values():
            for record in reader.new_records():
                self._add(number, record)
        return sum(reader.end for reader in self._by_number) > before

    def is_done(self, index: int) -> bool:
        """Whether the video has features."""
        return self._state[index] == _DONE

    def is_covered(self, index: int) -> bool:
        """Whether the video has features or a failure that counts."""
        return self._state[index] != _NONE

    def uncovered(self) -> int:
        """How many videos have neither."""
        return self._state.count(_NONE)

    def failed(self) -> int:
        """How many videos have a failure that counts."""
        return self._state.count(_FAILED)

    def body(self, index: int) -> Done | Failed:
        """What stands for a video that is covered."""
        return self._counted(self._record(index)[1])

    def contents(self, index: int) -> tuple[Done | Failed, bytes]:
        """What stands for a video that is covered, and the payload that goes with it."""
        reader, record = self._record(index)
        return self._counted(record), reader.payload(record)

    def ends(self) -> dict[str, int]:
        """How far each journal was read, by its file name."""
        return {reader.path.name: reader.end for reader in self._by_number}

    def close(self) -> None:
        """Release the journals."""
        for reader in self._by_number:
            reader.close()

    def _record(self, index: int) -> tuple[JournalReader, Record]:
        reader = self._by_number[self._journal[index]]
        return reader, reader.record_at(self._offset[index])

    def _counted(self, record: Record) -> Done | Failed:
        assert isinstance(record.body, Done | Failed)  # no others are entered
        return record.body

    def _add(self, number: int, record: Record) -> None:
        body = record.body
        if isinstance(body, Settled):
            self._settle(body)
        elif isinstance(body, Done):
            self._require_entry(number, record.offset, body)
            if self._state[body.index] == _DONE and self._journal[body.index] != number:
                self._require_equal(number, body)
            else:
                self._enter(number, record.offset, body.index, _DONE)
        elif isinstance(body, Failed):
            self._require_entry(number, record.offset, body)
            name = self._by_number[number].path.name
            elsewhere = self._state[body.index] != _NONE and self._journal[body.index] != number
            if record.offset >= self._settled.get(name, 0) and not elsewhere:
                self._enter(number, record.offset, body.index, _FAILED)

    def _enter(self, number: int, offset: int, index: int, state: int) -> None:
        self._state[index] = state
        self._journal[index] = number
        self._offset[index] = offset

    def _settle(self, settled: Settled) -> None:
        self._settled.update(settled.through)
        for index in self._all_failed():
            name = self._by_number[self._journal[index]].path.name
            if self._offset[index] < self._settled.get(name, 0):
                self._state[index] = _NONE

    def _all_failed(self) -> Iterator[int]:
        index = self._state.find(_FAILED)
        while index >= 0:
            yield index
            index = self._state.find(_FAILED, index + 1)

    def _require_entry(self, number: int, offset: int, body: Done | Failed) -> None:
        known = 0 <= body.index < len(self._entries)
        if not known or self._entries[body.index].name != body.name:
            raise OutputError(
                f"{self._by_number[number].path} at byte {offset}",
                expected=f"entry {body.index} of the list, {self._entries[body.index].name!r}"
                if known
                else f"an entry from 0 to {len(self._entries) - 1}",
                found=f"{body.name!r} as entry {body.index}",
                hint="The journal was changed by hand or by a fault. Begin anew with --restart.",
            )

    def _require_equal(self, number: int, body: Done) -> None:
        other = self.body(body.index)
        assert isinstance(other, Done)
        if (other.sha256, other.shape) != (body.sha256, body.shape):
            first = self._by_number[self._journal[body.index]].path.name
            raise OutputError(
                str(self._by_number[number].path),
                expected=f"the features of {body.name!r} that {first} holds",
                found="other features for the same video",
                hint="Two processes computed it on machines that do not agree to the bit. Begin anew with --restart.",
            )
