"""Letter boxes for one letter each: the newest item of a sender wins, and who left it is told what it displaced."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Hands items of several senders to another thread; holds one of each at most. All methods are thread-safe."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._items: dict[Hashable, Item] = {}
        self._closed = False

    def put(self, sender: Hashable, item: Item) -> bool:
        """Leaves an item; True if it displaced one. A closed mailbox refuses it likewise (True: the item is lost)."""
        with self._condition:
            displaced = self._closed or sender in self._items
            if not self._closed:
                self._items[sender] = item
                self._condition.notify()
            return displaced

    def take(self) -> list[Item]:
        """Waits for items and takes all, the sender first who has waited longest; none when the mailbox was closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._items)
            items, self._items = self._items, {}
            return list(items.values())

    def close(self) -> list[Item]:
        """Wakes whoever waits; returns what nobody took."""
        with self._condition:
            self._closed = True
            lost, self._items = self._items, {}
            self._condition.notify_all()
            return list(lost.values())
