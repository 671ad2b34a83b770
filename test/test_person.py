import numpy as np
import pytest

from pose3d_ros.camera import Camera
from pose3d_ros.person import Frame, JointState


def test_a_frame_takes_bgr_images() -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    camera = Camera.from_horizontal_fov(64, 48, 60)
    frame = Frame(image, 5, camera)
    assert frame.stamp_ns == 5
    assert Frame(image, 0).camera is None


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((48, 64), np.uint8),
        np.zeros((48, 64, 4), np.uint8),
        np.zeros((48, 64, 3), np.uint16),
        np.zeros((0, 64, 3), np.uint8),
    ],
    ids=["grey", "alpha", "16 bit", "empty"],
)
def test_other_images_are_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8 BGR"):
        Frame(image, 0)


def test_a_calibration_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="32x48 pixels, the image has 64x48"):
        Frame(np.zeros((48, 64, 3), np.uint8), 0, Camera.from_horizontal_fov(32, 48, 60))


def test_states_fit_the_message() -> None:
    assert [state.value for state in JointState] == [0, 1, 2]
