"""The two commands that run the whole thing: three processes over real DDS."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from pose3d_ros.ros.arrival_benchmark import measure
from pose3d_ros.ros.video_publisher import DEFAULT_VIDEO
from pose3d_ros.video import open_source

DATA = Path(os.environ.get("POSE3D_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
REAL_VIDEO = DATA / "video" / "cam01.mp4"


def run_demo(environment, *arguments):
    command = [sys.executable, "-m", "pose3d_ros.ros.demo", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize(
    ("size", "reliability", "enough"),  # without the profile 0.6 and 0.2 at best; reliable ones arrive without it
    [
        ((640, 480), "best_effort", 0.7),
        ((640, 480), "reliable", 0.7),
        ((1920, 1080), "best_effort", 0.5),
        ((1920, 1080), "reliable", 0.5),
    ],
)
def test_the_frames_reach_the_node(ros_environment, tmp_path, size, reliability, enough):
    """More than ever do without the profile; a machine that is busy with other things gets another chance."""
    for _ in range(3):
        found = measure(DEFAULT_VIDEO, size, reliability, 4, ros_environment, tmp_path)
        assert found.sent > 0
        if found.share >= enough and found.processed:
            break
    assert found.share >= enough
    assert found.processed > 0


def test_the_demo_writes_video_and_picture_and_tells_what_it_saw(ros_environment, tmp_path):
    """A machine that is busy with other things, so that the film lasts longer, gets another chance."""
    for _ in range(3):
        done = run_demo(ros_environment, "--seconds", "4", "--output", str(tmp_path / "demo"))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "frames that reached the node" in done.stdout
        assert "people in 3D" in done.stdout
        with open_source(str(tmp_path / "demo" / "demo.mp4")) as video:
            length_s = len(list(video)) / video.fps
        if length_s < 8:
            break
    assert 2 < length_s < 8
    assert (tmp_path / "demo" / "demo.png").stat().st_size > 10_000


@pytest.mark.skipif(not REAL_VIDEO.is_file(), reason="no video/cam01.mp4 in POSE3D_DATA or ../shared/data")
def test_the_demo_sees_people_in_real_video(ros_environment, tmp_path):
    done = run_demo(ros_environment, "--video", str(REAL_VIDEO), "--seconds", "4", "--output", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    share = re.search(r"people in 3D +[1-9].* in (\d+) % of the frames", done.stdout)
    assert share is not None, done.stdout
    assert int(share[1]) > 50
    distance = re.search(r"distance of the pelvis +([\d.]+) m", done.stdout)
    assert distance is not None, done.stdout
    assert 1 < float(distance[1]) < 20


def test_the_demo_says_what_is_wrong(ros_environment, tmp_path):
    done = run_demo(ros_environment, "--video", "/nowhere.mp4", "--output", str(tmp_path))
    assert done.returncode == 1
    assert "no file /nowhere.mp4" in done.stderr
    assert "Traceback" not in done.stderr
