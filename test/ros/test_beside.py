"""Depth and detections as messages: what becomes of them, and of those that will not do."""

import array

import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="needs the ROS 2 message packages")

from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from pose3d_ros.camera import Camera
from pose3d_ros.ros.beside import Beside, BesideReader
from pose3d_ros.ros.camera_conversion import camera_to_info
from pose3d_ros.ros.depth_conversion import depth_to_metres
from pose3d_ros.ros.image_conversion import BadImageError
from pose3d_ros.ros.stamped_buffer import StampedBuffer

CAMERA = Camera.from_horizontal_fov(4, 3, 60)
METRES = np.array([[0.0, 0.5, 1.0, 1.5], [2.0, 2.5, 3.0, 3.5], [4.0, 8.0, 16.0, 65.0]])
MS = 1_000_000


def depth_image(values, encoding="16UC1", padding=0, frame_id="camera", is_bigendian=0):
    height, width = values.shape
    rows = np.ascontiguousarray(values).view(np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)))
    message = Image(header=Header(frame_id=frame_id), height=height, width=width, encoding=encoding)
    message.step, message.is_bigendian = rows.shape[1], is_bigendian
    message.data = array.array("B", rows.tobytes())
    return message


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize(("encoding", "kind", "unit"), [
    ("16UC1", "<u2", 1000), ("mono16", "<u2", 1000), ("32FC1", "<f4", 1), ("16UC1", ">u2", 1000), ("32FC1", ">f4", 1)
])  # fmt: skip
def test_millimetres_and_metres(encoding, kind, unit, padding):
    message = depth_image((METRES * unit).astype(kind), encoding, padding, is_bigendian=int(kind[0] == ">"))
    depth = depth_to_metres(message)
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, METRES, atol=1e-4)


def test_holes_stay_holes():
    depth = depth_to_metres(depth_image(np.array([[0.0, np.nan, np.inf]], "f4"), "32FC1"))
    np.testing.assert_array_equal(depth, [[0, np.nan, np.inf]])


@pytest.mark.parametrize("encoding", ["bgr8", "8UC1", "", "16UC1; compressedDepth"])
def test_what_is_no_depth(encoding):
    with pytest.raises(BadImageError, match="must be 16UC1"):
        depth_to_metres(depth_image(METRES.astype("u2"), encoding))


def test_depth_cut_off():
    message = depth_image(METRES.astype("u2"))
    message.data = message.data[:-1]
    with pytest.raises(BadImageError, match="truncated"):
        depth_to_metres(message)


def read(beside, camera=CAMERA, shape=(3, 4)):
    reader = BesideReader()
    return reader.depth_m(beside, "camera", shape, camera), reader.depth_use


def info(camera):
    return camera_to_info(camera, Header())


@pytest.mark.parametrize("depth_info", [None, info(CAMERA)])
def test_registered_depth_is_used(depth_info):
    depth_m, use = read(Beside(depth_image((1000 * METRES).astype("u2")), depth_info))
    np.testing.assert_allclose(depth_m, METRES, atol=1e-6)
    assert (use.used, use.unused, use.problem) == (1, 0, "")


@pytest.mark.parametrize(("beside", "what"), [
    (Beside(), "no depth came in time"),
    (Beside(depth_image(METRES[:2].astype("u2"))), "depth has 4x2 pixels, the image 4x3"),
    (Beside(depth_image(METRES.astype("u2"), frame_id="depth")), "in the frame 'depth', the image in 'camera'"),
    (Beside(depth_image(METRES.astype("u2")), info(Camera.from_horizontal_fov(4, 3, 80))), "focal length"),
    (Beside(depth_image(METRES.astype("u2")), CameraInfo(width=4, height=3)), "camera_info cannot be used"),
    (Beside(depth_image(METRES.astype("u2"), "rgb8")), "must be 16UC1"),
])  # fmt: skip
def test_depth_that_is_not_registered_is_left_out_and_told(beside, what):
    depth_m, use = read(beside)
    assert depth_m is None
    assert (use.used, use.unused) == (0, 1)
    assert what in use.problem


class TestDetections:
    @pytest.fixture(autouse=True)
    def _messages(self):
        pytest.importorskip("vision_msgs.msg", reason="needs vision_msgs")

    def message(self, *things):
        from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

        message = Detection2DArray()
        for (x, y, width, height), names in things:
            thing = Detection2D()
            thing.bbox.center.position.x, thing.bbox.center.position.y = float(x), float(y)
            thing.bbox.size_x, thing.bbox.size_y = float(width), float(height)
            for name, score in names.items():
                result = ObjectHypothesisWithPose()
                result.hypothesis.class_id, result.hypothesis.score = name, score
                thing.results.append(result)
            message.detections.append(thing)
        return message

    def regions(self, *things):
        return BesideReader().regions(Beside(detections=self.message(*things)), {"person", "0"}, (480, 640))

    def test_people_and_no_others(self):
        found = self.regions(
            ((100, 200, 50, 80), {"person": 0.9, "dog": 0.95}),
            ((300, 200, 50, 80), {"dog": 0.9}),
            ((400, 200, 50, 80), {"0": 0.4}),
            ((500, 200, 50, 80), {}),
        )
        np.testing.assert_allclose(found.boxes, [[75, 160, 125, 240], [375, 160, 425, 240]])
        np.testing.assert_allclose(found.scores, [0.9, 0.4])

    @pytest.mark.parametrize("box", [
        (np.nan, 1, 5, 5), (1, np.inf, 5, 5), (50, 50, 0, 10), (50, 50, -5, -10), (1e300, 5, 1, 1), (-90, 9, 20, 20),
        (5, 5, np.nan, 5), (5, 5, 1e308, np.nan),
    ])  # fmt: skip
    def test_boxes_that_are_none(self, box):
        found = self.regions((box, {"person": 0.9}))
        assert found.boxes.shape == (0, 4)
        assert found.scores.shape == (0,)

    def test_a_box_over_the_border_is_cut(self):
        np.testing.assert_allclose(self.regions(((0, 0, 100, 2e9), {"person": 7.0})).boxes, [[0, 0, 50, 479]])

    def test_the_box_round_a_turned_box(self):
        message = self.message(((100, 100, 80, 20), {"person": 0.5}))
        message.detections[0].bbox.center.theta = np.pi / 2
        found = BesideReader().regions(Beside(detections=message), {"person"}, (480, 640))
        np.testing.assert_allclose(found.boxes, [[90, 60, 110, 140]])

    def test_nobody_found_is_not_nothing_known(self):
        assert self.regions().boxes.shape == (0, 4)
        reader = BesideReader()
        assert reader.regions(Beside(), {"person"}, (480, 640)) is None
        assert reader.detections_use.unused == 1


def test_the_nearest_in_time():
    buffer = StampedBuffer()
    for stamp in (0, 33, 66, 100):
        buffer.put(stamp * MS, stamp)
    assert buffer.nearest(70 * MS, 20 * MS) == 66
    assert buffer.nearest(84 * MS, 20 * MS) == 100
    assert buffer.nearest(130 * MS, 20 * MS) is None
    assert buffer.is_settled(100 * MS, 30 * MS)
    assert buffer.is_settled(116 * MS, 30 * MS)  # the next will be farther from it
    assert not buffer.is_settled(117 * MS, 30 * MS)


def test_depth_that_was_lost_on_the_way_is_waited_for_no_less():
    """Its spacing is the shortest there was, not the gap."""
    buffer = StampedBuffer()
    for stamp in (0, 33, 66, 133):
        buffer.put(stamp * MS, stamp)
    assert not buffer.is_settled(166 * MS, 30 * MS)
    alone = StampedBuffer()
    alone.put(0, 0)
    assert alone.is_settled(0, 30 * MS)
    assert not alone.is_settled(1, 30 * MS)


def test_depth_that_could_only_come_too_late_is_not_waited_for():
    buffer = StampedBuffer()
    for stamp in (0, 200):
        buffer.put(stamp * MS, stamp)
    assert buffer.is_settled(365 * MS, 30 * MS)
    assert not buffer.is_settled(375 * MS, 30 * MS)


def test_a_buffer_is_short_and_forgets_when_time_jumps_back():
    buffer = StampedBuffer()
    for stamp in range(100):
        buffer.put((10_000 + stamp) * MS, stamp)
    assert buffer.nearest(10_050 * MS, MS) is None
    assert not buffer.is_settled(0, 30 * MS)  # an image may come before the first of its companions does
    buffer.put(0, "anew")
    assert not buffer.is_settled(10_099 * MS, 30 * MS)
    assert buffer.nearest(0, 0) == "anew"
