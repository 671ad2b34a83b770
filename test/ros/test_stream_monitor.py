"""Rates, gaps, latency, losses, and counters that add up."""

from functools import partial

import numpy as np
import pytest

from pose3d_ros.ros.stream_monitor import Drop, RateMeter, StreamMonitor, find_gaps, share_without_image

SECOND = 1_000_000_000
PERIOD = SECOND // 30


def stamps(kept, jitter_s=0.0):
    """Stamps of a 30 Hz camera; kept: indices of the frames that arrived."""
    noise = np.random.default_rng(0).normal(0, jitter_s * SECOND, len(kept))
    return [int(SECOND + PERIOD * i + n) for i, n in zip(kept, noise, strict=True)]


def test_no_gaps_in_a_steady_stream():
    gaps = find_gaps(stamps(range(100), jitter_s=0.003))
    assert gaps.number == gaps.missing == gaps.share == 0
    assert gaps.period_ns == pytest.approx(PERIOD, rel=0.03)


@pytest.mark.parametrize(("share", "latest_s"), [(0.02, 0.02), (0.1, 0.02), (0.15, 0.025)])
def test_stamps_that_come_late_are_no_missing_frames(share, latest_s):
    """Of a driver that stamps what it receives, on a busy computer."""
    random = np.random.default_rng(5)
    shares, rates = [], []
    for _ in range(50):
        late = (random.random(300) < share) * random.uniform(0.5, 1, 300) * latest_s * SECOND
        gaps = find_gaps((SECOND + PERIOD * np.arange(300) + late).astype(int).tolist())
        shares.append(gaps.share)
        rates.append(gaps.steady_rate_hz)
    assert np.median(shares) < 0.02
    assert np.percentile(rates, 90) < 33


def test_missing_frames_are_counted_where_some_come_late():
    kept = np.delete(np.arange(100), [10, 11, 12, 50])
    taken = SECOND + PERIOD * kept
    taken[[30, 70]] += int(0.015 * SECOND)
    gaps = find_gaps(taken.tolist())
    assert (gaps.number, gaps.missing) == (2, 4)


def test_missing_frames_are_counted():
    gaps = find_gaps(stamps([i for i in range(100) if i not in (10, 11, 12, 50)]))
    assert (gaps.number, gaps.missing) == (2, 4)
    assert gaps.share == pytest.approx(4 / 99)


def test_the_period_is_found_even_where_most_frames_are_missing():
    # 8 of 30 Hz arrive, as over Fast DDS without its profile: the median of all steps would be a gap itself.
    kept = sorted(np.random.default_rng(1).choice(300, 80, replace=False).tolist())
    gaps = find_gaps(stamps(kept))
    assert gaps.period_ns == pytest.approx(PERIOD, rel=0.03)
    assert gaps.share == pytest.approx(220 / 300, abs=0.03)


@pytest.mark.parametrize(
    "rates_hz",
    [[(5, 60), (30, 200)], [(30, 200), (5, 60)], [(30, 40), (15, 40), (30, 40), (7.5, 40), (30, 40)]],
)
def test_a_camera_that_changes_its_rate_has_lost_nothing(rates_hz):
    rates = [rate for rate, images in rates_hz for _ in range(images)]
    taken = (SECOND + np.cumsum(SECOND / np.array(rates))).astype(int).tolist()
    for count in range(10, len(taken) + 1, 5):
        gaps = find_gaps(taken[:count])
        assert gaps.missing <= 6  # at most one of the first steps, where only what came after is known
    assert gaps.missing == 0
    assert gaps.period_ns == pytest.approx(SECOND / rates[-1], rel=0.01)


def test_what_a_slow_camera_loses_is_counted_after_it_was_quick():
    taken = np.cumsum(SECOND / np.array([30.0] * 100 + [5.0] * 100)).astype(int)
    gaps = find_gaps(np.delete(taken, [50, 130, 131, 160]).tolist())
    assert (gaps.number, gaps.missing) == (3, 4)


def test_few_or_equal_stamps_say_nothing():
    assert find_gaps([]).share == 0
    assert find_gaps(stamps([0, 50, 51])).share == 0
    assert find_gaps([SECOND] * 50).share == 0


def test_camera_info_tells_images_that_were_lost_from_those_never_sent():
    infos = stamps(range(60))
    assert share_without_image(infos, infos) == 0
    assert share_without_image(infos, infos[::2]) == pytest.approx(0.5, abs=0.01)
    # The camera itself skipped frames: they have no camera_info either.
    assert share_without_image(infos[::2], infos[::2]) == 0
    # Nothing is known without camera_info, or when it has stamps of its own.
    assert share_without_image([], infos) is None
    assert share_without_image([stamp + 5 for stamp in infos], infos) is None
    assert share_without_image(infos, []) is None


def test_what_camera_info_tells_is_among_the_figures():
    monitor = StreamMonitor()
    assert np.isnan(monitor.read(0).lost_share)
    for number, stamp in enumerate(stamps(range(60))):
        monitor.camera_info_received(stamp, stamp)
        if number % 2 == 0:
            monitor.frame_received(stamp, stamp)
    figures = monitor.read(stamp)
    assert figures.lost_share == pytest.approx(0.5, abs=0.05)
    assert figures.camera_info_rate_hz == pytest.approx(30, rel=0.05)


def test_rates_rise_and_fall():
    meter = RateMeter()
    assert meter.rate_hz(0) == 0
    for i in range(90):
        meter.tick(SECOND + i * PERIOD)
    assert meter.rate_hz(SECOND + 89 * PERIOD) == pytest.approx(30, rel=0.01)
    assert meter.rate_hz(SECOND + 89 * PERIOD + 2 * SECOND) < 25
    assert meter.rate_hz(60 * SECOND) == 0


def test_a_clock_set_back_does_not_confuse_the_rate():
    meter = RateMeter()
    for i in range(30):
        meter.tick(100 * SECOND + i * PERIOD)
    for i in range(30):
        meter.tick(SECOND + i * PERIOD)
    assert meter.rate_hz(SECOND + 29 * PERIOD) == pytest.approx(30, rel=0.05)


def test_counters_add_up_whatever_happens():
    monitor = StreamMonitor()
    random = np.random.default_rng(2)
    open_frames = 0
    for i in range(500):
        if open_frames and random.random() < 0.7:
            ends = (
                *(partial(monitor.frame_dropped, cause) for cause in Drop),
                partial(monitor.frame_rejected, "bad"),
                partial(monitor.frame_processed, i, i),
            )
            ends[random.integers(len(ends))]()
            open_frames -= 1
        monitor.frame_received(SECOND + i * PERIOD, i * PERIOD)
        open_frames += 1
        figures = monitor.read(i * PERIOD)
        assert figures.received == figures.processed + figures.dropped + figures.rejected + figures.waiting
        assert figures.waiting == open_frames
    assert figures.last_rejection == "bad"


def test_latency_goes_from_the_stamp_to_the_publication():
    monitor = StreamMonitor()
    for i in range(1, 101):
        monitor.frame_received(SECOND, SECOND)
        monitor.frame_processed(SECOND, SECOND + i * 1_000_000)
    figures = monitor.read(2 * SECOND)
    assert figures.latency_p50_s == pytest.approx(0.0505)
    assert figures.latency_p95_s == pytest.approx(0.095, abs=0.001)
    assert figures.latency_p99_s == pytest.approx(0.099, abs=0.001)
    assert np.isnan(StreamMonitor().read(0).latency_p50_s)


def test_a_jump_back_in_time_clears_the_windows_and_keeps_the_counters():
    monitor = StreamMonitor()
    for stamp in stamps(range(0, 60, 2)):
        monitor.frame_received(stamp + 100 * SECOND, stamp)
    for stamp in stamps(range(20)):
        monitor.frame_received(stamp, stamp)
    figures = monitor.read(stamp)
    assert (figures.received, figures.time_jumps) == (50, 1)
    assert figures.last_jump_s == pytest.approx(100 + 58 / 30, abs=0.01)
    assert figures.gaps.period_ns == pytest.approx(PERIOD, rel=0.01)


def test_a_restart_clears_the_windows_and_keeps_the_counters():
    monitor = StreamMonitor()
    for i in range(30):
        monitor.frame_received(SECOND + i * PERIOD, SECOND + i * PERIOD)
    assert monitor.read(2 * SECOND).gaps.steady_rate_hz == pytest.approx(30, rel=0.01)
    monitor.restart()
    figures = monitor.read(2 * SECOND)
    assert (figures.received, figures.input_rate_hz, figures.gaps.steady_rate_hz) == (30, 0.0, 0.0)


def test_unstamped_images_are_no_jump_in_time():
    monitor = StreamMonitor()
    for stamp in (SECOND, 0, SECOND + PERIOD, 0):
        monitor.frame_received(stamp, SECOND)
    assert monitor.read(SECOND).time_jumps == 0


def test_an_image_that_was_overtaken_is_no_jump_in_time():
    monitor = StreamMonitor()
    for stamp in (SECOND, SECOND + 3 * PERIOD, SECOND + 2 * PERIOD, SECOND + 4 * PERIOD):
        monitor.frame_received(stamp, SECOND)
    assert monitor.read(SECOND).time_jumps == 0


def test_the_age_tells_clocks_that_differ():
    monitor = StreamMonitor()
    assert np.isnan(monitor.read(0).age_s)
    monitor.frame_received(3 * SECOND, 4 * SECOND)
    assert monitor.read(9 * SECOND).age_s == pytest.approx(1)
    monitor.frame_received(5 * SECOND, 4 * SECOND)
    assert monitor.read(9 * SECOND).age_s == pytest.approx(-1)


def test_a_camera_that_was_switched_off_has_lost_nothing():
    monitor = StreamMonitor()
    for stamp in (*stamps(range(30)), *(600 * SECOND + stamp for stamp in stamps(range(30)))):
        monitor.frame_received(stamp, stamp)
    assert monitor.read(stamp).gaps.missing == 0
