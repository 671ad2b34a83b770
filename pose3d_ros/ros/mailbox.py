"""A letter box for one: the newest item wins, and what it displaced is counted."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Hands items from one thread to another; never holds more than one. All methods are thread-safe."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: Item | None = None
        self._closed = False
        self._overwritten = 0

    @property
    def overwritten(self) -> int:
        """Items that were displaced by a newer one before anybody took them."""
        with self._condition:
            return self._overwritten

    def put(self, item: Item) -> bool:
        """Leaves an item; True if it displaced one. A closed mailbox refuses it likewise (True: the item is lost)."""
        with self._condition:
            displaced = self._closed or self._item is not None
            self._overwritten += displaced
            if not self._closed:
                self._item = item
                self._condition.notify()
            return displaced

    def take(self, timeout_s: float | None = None) -> Item | None:
        """Waits for an item and takes it; None when the time is over or the mailbox was closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._item is not None, timeout_s)
            item, self._item = self._item, None
            return item

    def close(self) -> bool:
        """Wakes whoever waits; True if an item was left that nobody took. It is counted as overwritten."""
        with self._condition:
            self._closed = True
            lost = self._item is not None
            self._overwritten += lost
            self._item = None
            self._condition.notify_all()
            return lost
