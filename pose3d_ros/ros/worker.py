"""A thread that works on the newest item it was given."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from pose3d_ros.ros.mailbox import Mailbox

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """Calls `work` with one item after the other, in a thread of its own; of those that wait, only with the newest.

    work: must not raise.
    """

    def __init__(self, work: Callable[[Item], None], name: str) -> None:
        self._work = work
        self._mailbox: Mailbox[Item] = Mailbox()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> bool:
        """Leaves an item; True if one was lost by it: an older one, or this one when the worker has been stopped."""
        return self._mailbox.put(item)

    def close(self) -> bool:
        """Takes no more items; True if one was waiting, which is lost."""
        return self._mailbox.close()

    def join(self, timeout_s: float) -> bool:
        """Waits, after `close`, for the item in hand; False if that took longer."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (item := self._mailbox.take()) is not None:
            self._work(item)
