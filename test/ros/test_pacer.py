"""The publisher's beat."""

import threading
import time

from pose3d_ros.ros.pacer import Pacer


def test_the_beat_does_not_drift():
    pacer, never = Pacer(0.02), threading.Event()
    started = time.monotonic()
    for _ in range(26):
        assert pacer.wait(never)
        time.sleep(0.005)  # work takes its time out of the period, not on top of it
    assert 0.5 <= time.monotonic() - started < 0.7


def test_missed_beats_are_given_up():
    pacer, never = Pacer(0.02), threading.Event()
    pacer.wait(never)
    time.sleep(0.2)
    started = time.monotonic()
    for _ in range(4):
        pacer.wait(never)
    assert time.monotonic() - started >= 0.055


def test_it_stops_at_once():
    pacer, stop = Pacer(30.0), threading.Event()
    assert pacer.wait(stop)
    threading.Timer(0.05, stop.set).start()
    started = time.monotonic()
    assert not pacer.wait(stop)
    assert time.monotonic() - started < 5
