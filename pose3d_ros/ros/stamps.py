"""What an image's stamp says, seen from the one before. Knows no ROS; all times are nanoseconds."""

from __future__ import annotations

from enum import Enum

LATE_NS = 500_000_000
"""What is older than the last of its kind by no more than this was overtaken on its way; by more, time jumped."""


class Stamp(Enum):
    """The kinds of stamps; the value is what to tell about those that cannot be used."""

    NEW = ""
    JUMP_BACK = "the images' time jumped back"
    MISSING = "the image's stamp is zero: the driver must stamp its images with the time of exposure"
    REPEATED = (
        "the image has the same stamp as the one before: two publishers on one topic, or a driver that does "
        "not advance its stamps"
    )
    LATE = "the image is older than the one before: it was overtaken on its way, or two publishers share the topic"

    @property
    def usable(self) -> bool:
        """Whether the image can be worked on."""
        return self in (Stamp.NEW, Stamp.JUMP_BACK)


def kind_of(stamp_ns: int, last_ns: int | None) -> Stamp:
    """What a stamp is after the last usable one (None: there was none).

    A camera that was restarted, a bag that begins again and a clock that was set back all look alike: JUMP_BACK.
    """
    if stamp_ns <= 0:
        return Stamp.MISSING
    if last_ns is None or stamp_ns > last_ns:
        return Stamp.NEW
    if stamp_ns == last_ns:
        return Stamp.REPEATED
    return Stamp.LATE if last_ns - stamp_ns <= LATE_NS else Stamp.JUMP_BACK
