"""Whether a camera's pictures are worth working on: dark, wrongly exposed, blurred or frozen.

Looks at a thumbnail of single pixels, not averages, so that noise and blur stay what they are, of ten pictures a
second: half a millisecond each.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

_THUMBNAIL_PX = 320
_COARSER = 4
_BLACK, _WHITE = 8, 247
_DARK_P95 = 28.0
_UNDER_MEAN, _UNDER_BLACK = 40.0, 0.7
_OVER_MEAN, _OVER_WHITE = 225.0, 0.4
_LEAST_SHARPNESS = 0.05
"""A Gaussian blur of 0.3 % of the width (2 pixels of 640) gives photos 0.00 to 0.10, sharp ones have 0.27 to 2.4."""
_LEAST_DETAIL = 9.0  # grey levels²: less is a bare wall, of which nobody can say whether it is sharp
_NOISE_DOUBT = 0.4  # more noise than detail by so much hides whether there is any
_QUARTILE_OF_NOISE = 0.3186  # the absolute value below which a quarter of standard normal numbers lie
_NOISE_MARGIN = 1.3  # times the noise's energy, so that its own scatter does not pass for detail
_ROUNDING = 20 / 12  # energy of the Laplacian of what is lost by rounding to whole grey levels
_SAME_LEVELS = 2
_SAME_SHARE = 0.002
_FRAMES_TO_CHANGE = 10
_FROZEN_NS = 3_000_000_000
_LEAST_STEP_NS = 90_000_000  # ten pictures a second tell all, and cost little


class Trouble(Enum):
    """What may be wrong with the pictures, the worst first, and what to do."""

    DARK = "the picture is dark: take the cover off the lens, switch on light, or raise exposure or gain"
    FROZEN = (
        "the picture is frozen while its stamps go on: restart the camera or its driver "
        "(or nothing moves before a camera without noise, as in a simulation)"
    )
    UNDEREXPOSED = "the picture is too dark: raise exposure or gain, set automatic exposure, or switch on light"
    OVEREXPOSED = "the picture is too bright: lower exposure or gain, set automatic exposure, or turn it from the light"
    BLURRED = "the picture is blurred: clean and focus the lens; if it is motion, shorten the exposure"


class Look(NamedTuple):
    """What one picture looks like.

    mean, p95: grey levels, 0...255. black_share, white_share: of pixels clipped, 0...1. sharpness: energy of fine
    detail over that of coarse detail, noise taken off; about 1 in sharp photos, near 0 in blurred ones; NaN where it
    cannot be told. noise: standard deviation of the Laplacian's noise, grey levels.
    """

    mean: float
    p95: float
    black_share: float
    white_share: float
    sharpness: float
    noise: float


def thumbnail(image: Image) -> Image:
    """Every so many pixels [h, w] in grey of an image [height, width, 3] BGR; 320 pixels at its longer side."""
    height, width = image.shape[:2]
    step = max(1, round(max(height, width) / _THUMBNAIL_PX))
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image[::step, ::step]), cv2.COLOR_BGR2GRAY), np.uint8)


def look_at(thumb: Image) -> Look:
    """The figures of a thumbnail [h, w]."""
    histogram = cv2.calcHist([thumb], [0], None, [256], [0, 256]).ravel().astype(float) / thumb.size
    p95 = float(np.searchsorted(np.cumsum(histogram), 0.95))
    mean = float(histogram @ np.arange(256))
    return Look(mean, p95, float(histogram[: _BLACK + 1].sum()), float(histogram[_WHITE:].sum()), *_sharpness(thumb))


def _sharpness(thumb: Image) -> tuple[float, float]:
    """Sharpness and noise. Natural pictures have about the same energy of Laplacians at all scales; blur takes the
    finest away. Noise is what the quarter of pixels with the weakest Laplacian have: detail is rare, noise everywhere.
    """
    if min(thumb.shape) < 4 * _COARSER:
        return float("nan"), 0.0
    fine = cv2.Laplacian(thumb, cv2.CV_16S)
    some = np.abs(fine[::4, ::4]).ravel()
    noise = float(np.partition(some, len(some) // 4)[len(some) // 4]) / _QUARTILE_OF_NOISE
    small = cv2.resize(thumb, None, fx=1 / _COARSER, fy=1 / _COARSER, interpolation=cv2.INTER_AREA)
    coarse = float(cv2.meanStdDev(cv2.Laplacian(small, cv2.CV_16S))[1].item()) ** 2
    contrast = float(cv2.meanStdDev(thumb)[1].item()) ** 2
    expected = coarse + 0.02 * contrast
    if contrast < _LEAST_DETAIL or _NOISE_DOUBT * noise**2 > expected:
        return float("nan"), noise
    energy = float(cv2.meanStdDev(fine)[1].item()) ** 2 - _NOISE_MARGIN * noise**2 - _ROUNDING
    return max(energy, 0.0) / expected, noise


def troubles_of(look: Look) -> set[Trouble]:
    """What is wrong with a single picture."""
    if look.p95 < _DARK_P95:
        return {Trouble.DARK}
    found = set()
    if look.mean < _UNDER_MEAN or look.black_share > _UNDER_BLACK:
        found.add(Trouble.UNDEREXPOSED)
    if look.mean > _OVER_MEAN or look.white_share > _OVER_WHITE:
        found.add(Trouble.OVEREXPOSED)
    if look.sharpness < _LEAST_SHARPNESS:
        found.add(Trouble.BLURRED)
    return found


def is_same(one: Image, other: Image) -> bool:
    """Whether two thumbnails show the same moment: only so much differs as compression makes of one picture."""
    if one.shape != other.shape:
        return False
    changed = cv2.countNonZero(cv2.threshold(cv2.absdiff(one, other), _SAME_LEVELS, 1, cv2.THRESH_BINARY)[1])
    return changed <= _SAME_SHARE * one.size


class ImageMonitor:
    """Watches the pictures of one camera. Not thread-safe, but for reading `look` and `troubles`.

    A trouble begins, and ends, when ten pictures in a row, a second or more, say so; a picture counts as frozen when it
    has not changed for three seconds of stamps besides. look: of the last picture, None before the first.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets everything, after a pause or when time jumped."""
        self.look: Look | None = None
        self.troubles: tuple[Trouble, ...] = ()
        self._last_ns: int | None = None
        self._opposed = dict.fromkeys(Trouble, 0)
        self._still: tuple[Image, int] | None = None

    def note(self, image: Image, stamp_ns: int) -> None:
        """Takes a picture [height, width, 3] BGR; those that follow each other too closely are left out."""
        if self._last_ns is not None and 0 <= stamp_ns - self._last_ns < _LEAST_STEP_NS:
            return
        self._last_ns = stamp_ns
        thumb = thumbnail(image)
        self.look = look_at(thumb)
        found = troubles_of(self.look)
        if self._is_still(thumb, stamp_ns):
            found.add(Trouble.FROZEN)
        for trouble in Trouble:
            differs = (trouble in found) != (trouble in self.troubles)
            self._opposed[trouble] = self._opposed[trouble] + 1 if differs else 0
        changed = {trouble for trouble, count in self._opposed.items() if count >= _FRAMES_TO_CHANGE}
        if changed:
            self.troubles = tuple(t for t in Trouble if (t in self.troubles) != (t in changed))
            self._opposed |= dict.fromkeys(changed, 0)

    def _is_still(self, thumb: Image, stamp_ns: int) -> bool:
        """Has nothing changed for long? Compared with the first picture that looked like this, so that slow changes
        add up."""
        if self._still is None or stamp_ns < self._still[1] or not is_same(thumb, self._still[0]):
            self._still = thumb, stamp_ns
        return stamp_ns - self._still[1] >= _FROZEN_NS
