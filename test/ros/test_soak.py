"""A short piece of the soak; the whole of it is `python -m pose3d_ros.ros.soak`."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from pose3d_ros.ros.soak import SoakError, growth_of, soak

SECONDS, WARM_UP_S = 140.0, 40.0
MOST_GROWTH = 0.05  # in so short a time, memory that is only now used for the first time counts, too


def test_growth_is_that_of_a_line_through_all_samples():
    seconds = np.arange(100.0)
    noise = np.random.default_rng(0).normal(0, 1, 100)
    assert growth_of(seconds + 7, 200 + noise) == pytest.approx((200, 0), abs=1)
    level, growth = growth_of(seconds, 200 + 0.2 * seconds + noise)
    assert level == pytest.approx(200, abs=1)
    assert growth == pytest.approx(0.2 * 99 / 200, abs=0.01)


def test_memory_stays_flat_while_the_node_works(ros_environment, tmp_path):
    found = soak(SECONDS, WARM_UP_S, ros_environment, tmp_path)
    assert found.growth < MOST_GROWTH, found
    assert float(found.figures["output_rate_hz"]) > 0


def test_a_node_that_ends_is_told(ros_environment, tmp_path):
    with pytest.raises(SoakError, match=r"pose3d_node ended:\n(.|\n)*rmw_of_nobody"):
        soak(1.0, 0.0, {**ros_environment, "RMW_IMPLEMENTATION": "rmw_of_nobody"}, tmp_path)
