"""What an image's stamp says after the one before."""

import pytest

from pose3d_ros.ros.stamps import LATE_NS, Stamp, kind_of

T = 1_000_000_000_000


@pytest.mark.parametrize(
    ("stamp", "last", "kind"),
    [
        (T, None, Stamp.NEW),
        (T + 1, T, Stamp.NEW),
        (T + 10**15, T, Stamp.NEW),  # eleven days later, or a stamp from the future: nothing is wrong with the order
        (0, T, Stamp.MISSING),
        (-1, None, Stamp.MISSING),
        (T, T, Stamp.REPEATED),
        (T - 1, T, Stamp.LATE),
        (T - LATE_NS, T, Stamp.LATE),
        (T - LATE_NS - 1, T, Stamp.JUMP_BACK),
        (1, T, Stamp.JUMP_BACK),
    ],
)
def test_kinds(stamp, last, kind):
    assert kind_of(stamp, last) is kind
    assert kind.usable == (kind in (Stamp.NEW, Stamp.JUMP_BACK))
    assert kind.usable or kind.value
