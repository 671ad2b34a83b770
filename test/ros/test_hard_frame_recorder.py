"""Hard frames on a disk that hangs: nobody waits for it longer than he wants to."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from pose3d_ros.person import Frame
from pose3d_ros.ros.hard_frame_recorder import HardFrameRecorder

VALUES = {"record_hard_frames": True, "hard_frames_dir": "/nowhere", "hard_frames_max_mb": 10}


def test_a_disk_that_hangs_is_not_waited_for(hanging_disk):
    recorder = HardFrameRecorder("", SimpleNamespace(warning=lambda *_, **__: None))
    recorder.start()
    recorder.offer(VALUES, Frame(np.zeros((4, 4, 3), np.uint8), 1), [], [], "")
    assert hanging_disk.hangs.wait(60)
    recorder.stop()
    assert not recorder.join(0.05)
    hanging_disk.go_on.set()
    assert recorder.join(60)
    assert recorder.state.written == 1
