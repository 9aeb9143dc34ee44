"""The videos of a run, which may be given while it is under way."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from vidfeat.videos import VideoRef


@dataclass(frozen=True)
class Task:
    """One video to decode.

    Attributes:
        video: which.
        encoders: the positions of the encoders that are to get its clips, rising.
    """

    video: VideoRef
    encoders: tuple[int, ...] = (0,)


class TaskStream:
    """Tasks that are taken by several threads, each once and in their order, until the stream is closed.

    Args:
        tasks: the first of them.
        closed: whether there are no others.

    Its length is the number of tasks that were added so far; they are known by their positions.
    """

    def __init__(self, tasks: Iterable[Task] = (), *, closed: bool = False) -> None:
        self._tasks = dict(enumerate(tasks))
        self._added, self._taken = len(self._tasks), 0
        self._closed = closed
        self._changed = threading.Condition()

    def add(self, tasks: Iterable[Task]) -> None:
        """Append tasks.

        Raises:
            RuntimeError: the stream is closed.
        """
        with self._changed:
            if self._closed:
                raise RuntimeError("the stream is closed")
            for task in tasks:
                self._tasks[self._added] = task
                self._added += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Have it end with the tasks that were added so far; harmless when repeated."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether no tasks can be added."""
        return self._closed

    def __len__(self) -> int:
        return self._added

    def __getitem__(self, position: int) -> Task:
        return self._tasks[position]

    def take(self) -> tuple[int, Task] | None:
        """The next task and its position, waiting for it; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._taken < self._added)
            if self._taken == self._added:
                return None
            position = self._taken
            self._taken += 1
            return position, self._tasks[position]

    def forget(self, position: int) -> None:
        """Free a task that nobody will ask for again."""
        with self._changed:
            self._tasks.pop(position, None)
