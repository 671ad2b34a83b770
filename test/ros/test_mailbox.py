"""The 1-slot mailbox: newest wins, nothing is lost uncounted."""

import threading

from pose3d_ros.ros.mailbox import Mailbox


def test_the_newest_wins_and_who_displaces_is_told():
    mailbox = Mailbox()
    assert [mailbox.put("camera", i) for i in range(3)] == [False, True, True]
    assert mailbox.take() == [2]
    assert mailbox.put("camera", 3) is False


def test_close_wakes_the_taker_and_refuses_more():
    mailbox = Mailbox()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(mailbox.take()))
    thread.start()
    mailbox.close()
    thread.join(60)
    assert taken == [[]]
    assert mailbox.put("camera", 1) is True


def test_close_returns_what_nobody_took():
    mailbox = Mailbox()
    mailbox.put("front", 1)
    mailbox.put("left", 2)
    assert mailbox.close() == [1, 2]
    assert mailbox.take() == []


def test_each_sender_has_a_slot_and_the_longest_waiting_comes_first():
    mailbox = Mailbox()
    assert not mailbox.put("front", "f1")
    assert not mailbox.put("left", "l1")
    assert [mailbox.put("front", f"f{i}") for i in range(2, 100)] == [True] * 98
    assert mailbox.take() == ["f99", "l1"]
    assert mailbox.close() == []


def test_nothing_is_lost_uncounted_between_threads():
    mailbox = Mailbox()
    taken = []

    def work():
        while items := mailbox.take():
            taken.extend(items)

    thread = threading.Thread(target=work)
    thread.start()
    displaced = sum(mailbox.put(None, i) for i in range(1, 2001))
    displaced += len(mailbox.close())
    thread.join(60)
    assert taken == sorted(taken)
    assert len(taken) + displaced == 2000
