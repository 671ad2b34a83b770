"""Camera drivers for the tests."""

import time

from pose3d_ros.camera import Camera
from pose3d_ros.ros.camera_conversion import camera_to_info
from pose3d_ros.ros.image_conversion import bgr_to_image

GOOD_FRAME = 150


class CameraTopics:
    """A camera's topics, which can be there or not."""

    def __init__(self, robot):
        self.robot = robot
        self.advertise()

    def advertise(self):
        """Begins to offer images, as a camera that is switched on."""
        from sensor_msgs.msg import CameraInfo, Image

        self.images = self.robot.advertise(Image, "image")
        self.infos = self.robot.advertise(CameraInfo, "camera_info")

    def end(self):
        """As a camera that is switched off."""
        for topic in ("image", "camera_info"):
            self.robot.silence(topic)


class Driver(CameraTopics):
    """Sends one frame of the clip, each time with a later stamp.

    picture, camera: what is sent; the frame and its calibration unless changed.
    """

    def __init__(self, robot, clip):
        super().__init__(robot)
        self.picture: object = clip[0][GOOD_FRAME]
        self.camera: Camera = clip[2]
        self.stamp_ns = time.time_ns() - 600_000_000_000

    def message(self, step_s=1 / 30):
        """The next image; its camera_info is sent already."""
        self.stamp_ns += int(step_s * 1e9)
        header = self.robot.header(self.stamp_ns)
        self.infos.publish(camera_to_info(self.camera, header))
        return bgr_to_image(self.picture, header)

    def answer(self, output="joints"):
        """What the node makes of the next image."""
        return self.robot.answer_to(self.images, self.message(), output)
