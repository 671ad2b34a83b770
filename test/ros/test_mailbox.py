"""The 1-slot mailbox: newest wins, nothing is lost uncounted."""

import threading

from pose3d_ros.ros.mailbox import Mailbox


def test_the_newest_wins_and_the_others_are_counted():
    mailbox = Mailbox()
    assert [mailbox.put(i) for i in range(3)] == [False, True, True]
    assert mailbox.take() == 2
    assert mailbox.overwritten == 2
    assert mailbox.put(3) is False


def test_take_gives_up_after_the_timeout():
    assert Mailbox().take(0.01) is None


def test_close_wakes_the_taker_and_refuses_more():
    mailbox = Mailbox()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(mailbox.take()))
    thread.start()
    mailbox.close()
    thread.join(5)
    assert taken == [None]
    assert mailbox.put(1) is True
    assert mailbox.overwritten == 1


def test_close_counts_what_nobody_took():
    mailbox = Mailbox()
    mailbox.put(1)
    mailbox.close()
    assert mailbox.overwritten == 1
    assert mailbox.take() is None


def test_nothing_is_lost_uncounted_between_threads():
    mailbox = Mailbox()
    taken = []

    def work():
        while (item := mailbox.take()) is not None:
            taken.append(item)

    thread = threading.Thread(target=work)
    thread.start()
    displaced = sum(mailbox.put(i) for i in range(1, 2001))
    mailbox.close()
    thread.join(5)
    assert taken == sorted(taken)
    assert len(taken) + mailbox.overwritten == 2000
    assert displaced in (mailbox.overwritten, mailbox.overwritten - 1)  # the last may have been closed away
