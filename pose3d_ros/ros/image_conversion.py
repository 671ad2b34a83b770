"""Image messages to BGR pictures and back, without cv_bridge (apt's does not survive NumPy 2)."""

from __future__ import annotations

import array
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pose3d_ros.ros.picture_file import PictureFileError, read_header

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image
    from std_msgs.msg import Header

Picture = NDArray[np.uint8]

MAX_PIXELS = 64_000_000
"""Larger pictures are refused: no robot camera makes them, but a broken or hostile header may claim them."""


class BadImageError(ValueError):
    """An image that cannot be used; the message says what is wrong with it and what to do."""


class _Encoding(NamedTuple):
    """Bytes per pixel, the smallest unit of columns and rows, and the way to BGR (None: it is BGR)."""

    channels: int
    to_bgr: int | None
    multiple: tuple[int, int] = (1, 1)


# OpenCV names a Bayer pattern by the second row's second and third pixel: its BG is everybody else's RGGB.
_ENCODINGS: dict[str, _Encoding] = {
    "bgr8": _Encoding(3, None),
    "rgb8": _Encoding(3, cv2.COLOR_RGB2BGR),
    "bgra8": _Encoding(4, cv2.COLOR_BGRA2BGR),
    "rgba8": _Encoding(4, cv2.COLOR_RGBA2BGR),
    "mono8": _Encoding(1, cv2.COLOR_GRAY2BGR),
    "8uc1": _Encoding(1, cv2.COLOR_GRAY2BGR),
    "8uc3": _Encoding(3, None),
    "8uc4": _Encoding(4, cv2.COLOR_BGRA2BGR),
    "uyvy": _Encoding(2, cv2.COLOR_YUV2BGR_UYVY, (2, 1)),
    "yuv422": _Encoding(2, cv2.COLOR_YUV2BGR_UYVY, (2, 1)),
    "yuyv": _Encoding(2, cv2.COLOR_YUV2BGR_YUY2, (2, 1)),
    "yuv422_yuy2": _Encoding(2, cv2.COLOR_YUV2BGR_YUY2, (2, 1)),
    "bayer_rggb8": _Encoding(1, cv2.COLOR_BayerBG2BGR, (2, 2)),
    "bayer_bggr8": _Encoding(1, cv2.COLOR_BayerRG2BGR, (2, 2)),
    "bayer_gbrg8": _Encoding(1, cv2.COLOR_BayerGR2BGR, (2, 2)),
    "bayer_grbg8": _Encoding(1, cv2.COLOR_BayerGB2BGR, (2, 2)),
}
ENCODINGS: tuple[str, ...] = tuple(name.replace("8uc", "8UC") for name in _ENCODINGS)


def image_to_bgr(message: Image) -> Picture:
    """The picture of a sensor_msgs/Image, [height, width, 3] uint8 BGR; for `bgr8` a view of the message's data.

    Rows may be padded (`step`). Raises BadImageError for encodings other than ENCODINGS, sizes of zero or above
    MAX_PIXELS, and data that do not fill the picture.
    """
    encoding = _ENCODINGS.get(message.encoding.lower())
    if encoding is None:
        raise BadImageError(_encoding_complaint(message.encoding))
    height, width = message.height, message.width
    _check_size(width, height)
    columns, rows = encoding.multiple
    if width % columns or height % rows:
        raise BadImageError(
            f"a {message.encoding} image of {width}x{height} pixels: width must be a multiple of {columns} and height "
            f"of {rows}; check the driver's image size"
        )
    pixels = rows_of(message, encoding.channels)
    if encoding.channels > 1:
        pixels = pixels.reshape(height, width, encoding.channels)
    if encoding.to_bgr is None:
        return pixels
    try:
        return np.asarray(cv2.cvtColor(pixels, encoding.to_bgr), np.uint8)
    except cv2.error as error:
        raise BadImageError(f"a {message.encoding} image cannot be converted: {error}") from error


def rows_of(message: Image, bytes_per_pixel: int) -> NDArray[np.uint8]:
    """The bytes [height, width * bytes_per_pixel] of an image's rows, without their padding; a view of its data.

    Raises BadImageError if there are fewer, and for sizes of zero or above MAX_PIXELS.
    """
    height, width, step = message.height, message.width, message.step
    _check_size(width, height)
    row_bytes = width * bytes_per_pixel
    if step < row_bytes:
        raise BadImageError(
            f"step is {step} bytes, but a row of {width} {message.encoding} pixels has {row_bytes}: the driver must "
            "set step to the length of a row"
        )
    data = np.frombuffer(message.data, np.uint8)
    if data.size < step * height:
        raise BadImageError(
            f"{data.size} bytes of data, but step x height is {step} x {height} = {step * height}: the image is "
            "truncated; check the driver"
        )
    return data[: step * height].reshape(height, step)[:, :row_bytes]


def compressed_to_bgr(message: CompressedImage) -> Picture:
    """The picture of a JPEG or PNG sensor_msgs/CompressedImage, [height, width, 3] uint8 BGR.

    EXIF rotation is ignored, because camera_info does not know it. Raises BadImageError for other formats, 16-bit
    pictures, data that picture_file finds damaged, and sizes of zero or above MAX_PIXELS (read before anything is
    decoded).
    """
    data = bytes(message.data)
    try:
        header = read_header(data)
    except PictureFileError as error:
        raise BadImageError(str(error)) from error
    if header is None:
        raise BadImageError(
            f"compressed data ({len(data)} bytes, format '{message.format}') are neither JPEG nor PNG: publish one of "
            "these (depth images are of no use here)"
        )
    width, height, depth = header
    if depth != 8:
        raise BadImageError(f"the compressed image has {depth} bits per channel: publish 8-bit colour or grey images")
    _check_size(width, height)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        picture = None
    if picture is None or picture.shape[:2] != (height, width):
        raise BadImageError(f"the compressed image ({width}x{height}) cannot be decoded: it was damaged on its way")
    return np.asarray(picture, np.uint8)


def bgr_to_image(picture: Picture, header: Header) -> Image:
    """A `bgr8` sensor_msgs/Image of a [height, width, 3] uint8 BGR picture, with the given header."""
    from sensor_msgs.msg import Image

    height, width = picture.shape[:2]
    message = Image(header=header, height=height, width=width, encoding="bgr8", step=3 * width)
    message.data = _byte_array(picture)
    return message


def bgr_to_compressed(picture: Picture, header: Header, quality: int = 90) -> CompressedImage:
    """A JPEG sensor_msgs/CompressedImage of a BGR picture."""
    from sensor_msgs.msg import CompressedImage

    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    message = CompressedImage(header=header, format="bgr8; jpeg compressed bgr8")
    message.data = _byte_array(data)
    return message


def _byte_array(values: NDArray[Any]) -> array.array[int]:
    """The array's bytes as the messages' setters take them; any other kind is checked byte by byte, for seconds."""
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(values).data.cast("B"))
    return data


def _encoding_complaint(encoding: str) -> str:
    if "16" in encoding or "32" in encoding or "64" in encoding:
        return (
            f"encoding '{encoding}' has more than 8 bits per channel: subscribe to the camera's 8-bit colour or grey "
            "image (depth and raw thermal images are not pictures of people)"
        )
    return f"unknown encoding '{encoding}': set the driver to one of {', '.join(ENCODINGS)}"


def _check_size(width: int, height: int) -> None:
    if width <= 0 or height <= 0:
        raise BadImageError(f"the image is {width}x{height} pixels: the driver sent an empty picture")
    if width * height > MAX_PIXELS:
        raise BadImageError(
            f"the image is {width}x{height} pixels, above the limit of {MAX_PIXELS // 1_000_000} megapixels: "
            "set the camera to a smaller size"
        )
