"""Counts and times a stream of images: rates, latency, losses. Knows no ROS; `…_ns` are of any one clock."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.ros.stamps import Stamp, kind_of

_RATE_WINDOW_NS = 5_000_000_000
_LATENCY_FRAMES = 300
_STAMP_FRAMES = 300
_FEWEST_STAMPS = 10
_PAUSE_NS = 5_000_000_000  # the camera was switched off for so long, or time jumped: no frames are missing in between
_GAP_PERIODS = 1.5
_PERIOD_STEPS = 20
_SHORT, _ALIKE = 0.8, 0.15
NOTABLE_LOSS = 0.05
"""Share of the images that may be missing without a word."""


class Drop(Enum):
    """Why a frame was not worked on, though nothing was wrong with it."""

    OVERTAKEN = "a newer one came before it was its turn"
    UNWANTED = "nobody subscribed to any output"
    OVER_RATE = "max_rate_hz allowed no more"
    NOT_READY = "the networks' engines were still being built"


class Gaps(NamedTuple):
    """What stamps say of missing frames: the camera's period (0: unknown), the gaps, the frames missing in them."""

    period_ns: int
    number: int
    missing: int
    share: float

    @property
    def steady_rate_hz(self) -> float:
        """Images per second that the camera takes; 0: unknown, or so many are missing that the period may be wrong."""
        return 1e9 / self.period_ns if self.period_ns and self.share <= NOTABLE_LOSS else 0.0


def find_gaps(stamps_ns: Sequence[int]) -> Gaps:
    """Gaps in a series of rising stamps.

    A gap is longer than the camera's period both before and after it: a camera that has become slower or quicker, as
    webcams do in the dark, has lost nothing. `share` is the missing part of all frames, 0...1.
    """
    steps = np.diff(np.asarray(stamps_ns, np.int64)).astype(float)
    if len(steps) < _FEWEST_STAMPS - 1:
        return Gaps(0, 0, 0, 0.0)
    steps = _evened(steps)
    before, after = _periods(steps), _periods(steps[::-1])[::-1]
    before[0], after[-1] = after[0], before[-1]  # nothing is known before the first and after the last
    period = np.maximum(before[:-1], after[1:])
    if not (period > 0).all():
        return Gaps(0, 0, 0, 0.0)
    is_gap = steps > _GAP_PERIODS * period
    missing = int(np.rint(steps[is_gap] / period[is_gap] - 1).sum())
    return Gaps(int(before[-1]), int(is_gap.sum()), missing, missing / (missing + len(steps)))


def _evened(steps: NDArray[np.floating]) -> NDArray[np.floating]:
    """The steps [n], of which a long one and the short one after it, together two usual ones, are made two alike.

    That is an image whose stamp came late, as of drivers that stamp what they receive: nothing is missing, and the
    camera is no quicker.
    """
    steps = steps.copy()
    rows = np.arange(len(steps) + 1)
    usual = _windows(steps)[rows, np.minimum(rows, _PERIOD_STEPS) // 2]  # the median of the steps before
    usual[:_FEWEST_STAMPS] = np.median(steps[:_PERIOD_STEPS])
    for i in range(len(steps) - 1):
        together = 2 * usual[i]
        if steps[i + 1] < _SHORT * steps[i] and abs(steps[i] + steps[i + 1] - together) < _ALIKE * together:
            steps[i] = steps[i + 1] = (steps[i] + steps[i + 1]) / 2
    return steps


def _windows(steps: NDArray[np.floating]) -> NDArray[np.floating]:
    """The steps [n + 1, 20] before each of the steps [n] and after the last, the shortest first; infinite before all
    of them."""
    padded = np.concatenate([np.full(_PERIOD_STEPS, np.inf), steps])
    return np.sort(np.lib.stride_tricks.sliding_window_view(padded, _PERIOD_STEPS), 1)


def _periods(steps: NDArray[np.floating]) -> NDArray[np.floating]:
    """The camera's period [n + 1] before each of the steps [n] and after the last; infinite where none is known.

    It is the median of the last steps that are about as short as the shortest tenth, not of all of them: where most
    frames are lost, the median of all steps is itself a gap.
    """
    shortest_first = _windows(steps)
    rows = np.arange(len(shortest_first))
    tenth = shortest_first[rows, (np.minimum(rows, _PERIOD_STEPS) - 1).clip(0) // 10]
    short = (shortest_first <= _GAP_PERIODS * tenth[:, None]).sum(1)
    return np.asarray(shortest_first[rows, (short - 1) // 2])


def share_without_image(info_stamps_ns: Iterable[int], image_stamps_ns: Sequence[int]) -> float | None:
    """Share of the camera_info messages whose image never came, 0...1; None when too little is known.

    A driver sends both with one stamp. camera_info is small and gets through where images are lost, so this tells
    images that were lost on the way from those that the camera never took.
    """
    if not image_stamps_ns:
        return None
    arrived = set(image_stamps_ns)
    sent = [stamp for stamp in info_stamps_ns if image_stamps_ns[0] <= stamp <= image_stamps_ns[-1]]
    matched = sum(stamp in arrived for stamp in sent)
    if len(sent) < _FEWEST_STAMPS or not matched:
        return None
    return 1 - matched / len(sent)


class RateMeter:
    """Events per second over the last five seconds of a clock."""

    def __init__(self) -> None:
        self._times_ns: deque[int] = deque()

    def tick(self, now_ns: int) -> None:
        """Notes one event."""
        self._forget(now_ns)
        self._times_ns.append(now_ns)

    def rate_hz(self, now_ns: int) -> float:
        """The rate now; it falls towards zero when no event comes."""
        self._forget(now_ns)
        if len(self._times_ns) < 2 or now_ns <= self._times_ns[0]:
            return 0.0
        return 1e9 * (len(self._times_ns) - 1) / (now_ns - self._times_ns[0])

    def clear(self) -> None:
        """Forgets all events."""
        self._times_ns.clear()

    def _forget(self, now_ns: int) -> None:
        if self._times_ns and self._times_ns[-1] > now_ns:  # the clock was set back
            self._times_ns.clear()
        while self._times_ns and self._times_ns[0] < now_ns - _RATE_WINDOW_NS:
            self._times_ns.popleft()


@dataclass(frozen=True)
class StreamStatistics:
    """A reading of a StreamMonitor. received = processed + dropped + rejected + waiting, always.

    waiting: frames in the mailbox or being processed. unwanted, over_rate, not_ready: the dropped ones of these
    causes. camera_infos: received.
    latency_*_s: from the image's stamp to its results' publication, NaN before the first. age_s: of the newest image's
    stamp when it came, negative if that lay in the future; silence_s: real time since
    it came; both NaN before the first.
    gaps: as the stamps tell. lost_share: images lost on the way, 0...1 of those sent, as camera_info tells; NaN where
    there is none with the images' stamps. last_jump_s: by how much time last jumped back.
    """

    received: int
    processed: int
    dropped: int
    rejected: int
    waiting: int
    unwanted: int
    over_rate: int
    not_ready: int
    camera_infos: int
    input_rate_hz: float
    camera_info_rate_hz: float
    output_rate_hz: float
    latency_p50_s: float
    latency_p95_s: float
    latency_p99_s: float
    age_s: float
    silence_s: float
    gaps: Gaps
    lost_share: float
    time_jumps: int
    last_jump_s: float
    last_rejection: str
    last_stamp_ns: int


class StreamMonitor:
    """Collects what happens to the frames of one camera. All methods are thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received = self._processed = self._rejected = self._time_jumps = self._camera_infos = 0
        self._dropped = dict.fromkeys(Drop, 0)
        self._age_s = float("nan")
        self._came_at_s = float("nan")
        self._last_jump_s = 0.0
        self._last_rejection = ""
        self._last_stamp_ns = 0
        self._stamps_ns: deque[int] = deque(maxlen=_STAMP_FRAMES)
        self._info_stamps_ns: deque[int] = deque(maxlen=_STAMP_FRAMES)
        self._latencies_ns: deque[int] = deque(maxlen=_LATENCY_FRAMES)
        self._input, self._output, self._camera_info = RateMeter(), RateMeter(), RateMeter()

    def restart(self) -> None:
        """Clears all windows (not the counters)."""
        with self._lock:
            self._forget_times()

    def frame_received(self, stamp_ns: int, now_ns: int) -> Stamp:
        """An image arrived; what its stamp is. One before the last one's clears all windows (not the counters)."""
        with self._lock:
            last_ns = self._stamps_ns[-1] if self._stamps_ns else None
            kind = kind_of(stamp_ns, last_ns)
            if kind is Stamp.JUMP_BACK and last_ns is not None:
                self._time_jumps += 1
                self._last_jump_s = 1e-9 * (last_ns - stamp_ns)
                self._forget_times()
            if last_ns is not None and stamp_ns - last_ns > _PAUSE_NS:
                self._stamps_ns.clear()
            if kind.usable:
                self._stamps_ns.append(stamp_ns)
                self._age_s = 1e-9 * (now_ns - stamp_ns)
            self._received += 1
            self._came_at_s = time.monotonic()
            self._last_stamp_ns = stamp_ns
            self._input.tick(now_ns)
            return kind

    def frame_dropped(self, cause: Drop) -> None:
        """An image was not worked on."""
        with self._lock:
            self._dropped[cause] += 1

    def frame_rejected(self, reason: str) -> None:
        """An image could not be used."""
        with self._lock:
            self._rejected += 1
            self._last_rejection = reason

    def frame_processed(self, stamp_ns: int, now_ns: int) -> None:
        """An image's results were published."""
        with self._lock:
            self._processed += 1
            self._latencies_ns.append(now_ns - stamp_ns)
            self._output.tick(now_ns)

    def camera_info_received(self, stamp_ns: int, now_ns: int) -> None:
        """A camera_info arrived."""
        with self._lock:
            self._camera_infos += 1
            self._info_stamps_ns.append(stamp_ns)
            self._camera_info.tick(now_ns)

    def read(self, now_ns: int) -> StreamStatistics:
        """The figures at this moment."""
        with self._lock:
            gaps = find_gaps(self._stamps_ns)
            lost_share = share_without_image(self._info_stamps_ns, self._stamps_ns)
            latencies = np.array(self._latencies_ns or [np.nan], float) * 1e-9
            p50, p95, p99 = np.percentile(latencies, (50, 95, 99))
            dropped = sum(self._dropped.values())
            return StreamStatistics(
                received=self._received,
                processed=self._processed,
                dropped=dropped,
                rejected=self._rejected,
                waiting=self._received - self._processed - dropped - self._rejected,
                unwanted=self._dropped[Drop.UNWANTED],
                over_rate=self._dropped[Drop.OVER_RATE],
                not_ready=self._dropped[Drop.NOT_READY],
                camera_infos=self._camera_infos,
                input_rate_hz=self._input.rate_hz(now_ns),
                camera_info_rate_hz=self._camera_info.rate_hz(now_ns),
                output_rate_hz=self._output.rate_hz(now_ns),
                latency_p50_s=float(p50),
                latency_p95_s=float(p95),
                latency_p99_s=float(p99),
                age_s=self._age_s,
                silence_s=time.monotonic() - self._came_at_s,
                gaps=gaps,
                lost_share=float("nan") if lost_share is None else lost_share,
                time_jumps=self._time_jumps,
                last_jump_s=self._last_jump_s,
                last_rejection=self._last_rejection,
                last_stamp_ns=self._last_stamp_ns,
            )

    def _forget_times(self) -> None:
        self._stamps_ns.clear()
        self._info_stamps_ns.clear()
        self._latencies_ns.clear()
        for meter in (self._input, self._output, self._camera_info):
            meter.clear()
