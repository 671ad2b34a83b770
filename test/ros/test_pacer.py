"""The publisher's beat."""

import threading
import time

import pytest

from pose3d_ros.ros import pacer as pacer_module
from pose3d_ros.ros.pacer import Pacer


class Simulated:
    """A clock that only waiting moves, in place of the module `time`; and an event that is never set."""

    def __init__(self):
        self.now_s = 100.0

    def monotonic(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds

    def wait(self, seconds):
        self.now_s += seconds + 0.0005  # late, as on some systems
        return False


@pytest.fixture
def simulated(monkeypatch):
    simulated = Simulated()
    monkeypatch.setattr(pacer_module, "time", simulated)
    return simulated


def test_the_beat_does_not_drift(simulated):
    pacer = Pacer(0.02)
    for beat in range(26):
        assert pacer.wait(simulated)
        assert simulated.now_s == pytest.approx(100.0005 + 0.02 * beat, abs=0.001)
        simulated.sleep(0.005)  # work takes its time out of the period, not on top of it


def test_missed_beats_are_given_up(simulated):
    pacer = Pacer(0.02)
    pacer.wait(simulated)
    simulated.sleep(0.2)
    started_s = simulated.now_s
    for _ in range(4):
        pacer.wait(simulated)
    assert simulated.now_s - started_s == pytest.approx(0.06, abs=0.001)


def test_it_stops_at_once():
    pacer, stop = Pacer(30.0), threading.Event()
    assert pacer.wait(stop)
    threading.Timer(0.05, stop.set).start()
    started = time.monotonic()
    assert not pacer.wait(stop)
    assert time.monotonic() - started < 25
