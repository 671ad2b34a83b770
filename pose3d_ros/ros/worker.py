"""A thread that works on the newest items it was given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from pose3d_ros.ros.mailbox import Mailbox

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """Calls `work`, in a thread of its own, with the newest items that wait: one of each sender who has one.

    So nobody starves, however many items another sends. work: must not raise.
    """

    def __init__(self, work: Callable[[list[Item]], None], name: str) -> None:
        self._work = work
        self._mailbox: Mailbox[Item] = Mailbox()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, sender: Hashable, item: Item) -> bool:
        """Leaves an item; True if one was lost by it: an older one, or this one when the worker has been stopped."""
        return self._mailbox.put(sender, item)

    def close(self) -> list[Item]:
        """Takes no more items; returns those that were waiting, which are lost."""
        return self._mailbox.close()

    def join(self, timeout_s: float | None = None) -> bool:
        """Waits, after `close`, for the items in hand; False if that took longer. None: however long."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while items := self._mailbox.take():
            self._work(items)
