"""So many images per second of their own time."""

import numpy as np
import pytest

from pose3d_ros.ros.rate_limit import RateLimit

SECOND = 1_000_000_000


def admitted(stamps, rate_hz):
    limit = RateLimit()
    return [stamp for stamp in stamps if limit.admits(stamp, rate_hz)]


@pytest.mark.parametrize(
    ("camera_hz", "limit_hz", "expected_hz"), [(30, 10, 10), (30, 29, 29), (30, 60, 30), (200, 7, 7)]
)
def test_the_rate_is_kept_though_stamps_jitter(camera_hz, limit_hz, expected_hz):
    noise = np.random.default_rng(0).normal(0, 0.002, 20 * camera_hz)
    stamps = [int(SECOND * (1 + i / camera_hz + noise[i] * (camera_hz < 100))) for i in range(20 * camera_hz)]
    assert len(admitted(stamps, limit_hz)) == pytest.approx(20 * expected_hz, rel=0.04)


def test_no_limit():
    assert len(admitted(range(1, 100), 0.0)) == 99


def test_a_jump_of_time_does_not_silence_the_stream():
    limit = RateLimit()
    assert limit.admits(100 * SECOND, 1.0)
    assert not limit.admits(100 * SECOND + SECOND // 2, 1.0)
    assert limit.admits(3 * SECOND, 1.0)
    assert limit.admits(500 * SECOND, 1.0)


@pytest.mark.parametrize(("seconds", "limit_hz"), [(1, 1.0), (3, 0.3)])
def test_a_bag_shorter_than_the_period_is_not_silent_when_it_begins_again(seconds, limit_hz):
    stamps = [100 * SECOND + i * SECOND // 30 for i in range(30 * seconds)]
    assert admitted(20 * stamps, limit_hz) == 20 * stamps[:1]


def test_a_limit_that_is_lifted_holds_at_once():
    limit = RateLimit()
    assert limit.admits(SECOND, 0.001)
    assert not limit.admits(2 * SECOND, 0.001)
    assert limit.admits(3 * SECOND, 100.0)
