"""Messages with anything in any field, from a seed: what the node must survive. Knows no rclpy."""

from __future__ import annotations

import array
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from pose3d_ros.camera import Camera
from pose3d_ros.ros.camera_conversion import camera_to_info
from pose3d_ros.ros.image_conversion import ENCODINGS, bgr_to_compressed, bgr_to_image

_SIZES = (0, 1, 2, 3, 5, 48, 63, 64, 65, 127, 640, 4096, 65535, 65536, 2**31 - 1, 2**32 - 1)
_NUMBERS = (0.0, -0.0, 1.0, -1.0, 1e-300, 1e300, -1e300, 1e9, math.inf, -math.inf, math.nan, 0.5, 64.0)
_MODELS = ("", "plumb_bob", "equidistant", "rational_polynomial", "none", "thin_prism")
_FORMATS = ("", "jpeg", "png", "bgr8; jpeg compressed bgr8", "16UC1; compressedDepth")
_WORDS = ("", " ", "/", "a/b", "mono16", "16UC1", "32FC1", "ä☃", "x" * 5000)
_SECONDS = (0, 1, -1, -(2**31), 2**31 - 1, 1_700_000_000)
_NANOSECONDS = (0, 1, 999_999_999, 1_000_000_000, 2**32 - 1)
_WIDTH, _HEIGHT = 64, 48

Message: TypeAlias = Image | CompressedImage | CameraInfo
Item = TypeVar("Item")


def fuzzed_messages(seed: int, kinds: Sequence[type] = (Image, CompressedImage, CameraInfo)) -> Iterator[Message]:
    """Endless messages of the given kinds; in each, some fields hold what no sane driver sends, and often none do."""
    random = np.random.default_rng(seed)
    for number in range(1, 2**62):
        kind = _pick(kinds, random)
        yield _spoiled(_sound(kind, number, random), _FIELDS[kind], random)


def fuzzed_depths(seed: int) -> Iterator[Image]:
    """Endless depth images of the same kind, with the stamps of `fuzzed_messages`."""
    random = np.random.default_rng(seed)
    for number in range(1, 2**62):
        encoding, size = _pick((("16UC1", 2), ("32FC1", 4)), random)
        message = Image(header=_header(number), width=_WIDTH, height=_HEIGHT, encoding=encoding, step=size * _WIDTH)
        message.data = _bytes(random, message.step * _HEIGHT)
        yield _spoiled(message, _FIELDS[Image], random)


def _spoiled(
    message: Item, fields: Mapping[str, Callable[[Any, np.random.Generator], None]], random: np.random.Generator
) -> Item:
    for name in random.choice(list(fields), random.integers(0, 4), replace=False):
        fields[name](message, random)
    return message


def _header(number: int) -> Header:
    header = Header(frame_id="camera_optical_frame")
    header.stamp.sec, header.stamp.nanosec = 1000 + number // 30, number % 30 * 33_000_000
    return header


def _sound(kind: type, number: int, random: np.random.Generator) -> Message:
    header = _header(number)
    if kind is CameraInfo:
        return camera_to_info(Camera.from_horizontal_fov(_WIDTH, _HEIGHT, 60.0), header)
    # Bright ones as often: the tests' networks see somebody in them.
    picture = random.integers(_pick((0, 200), random), 256, (_HEIGHT, _WIDTH, 3), np.uint8)
    if kind is CompressedImage:
        return bgr_to_compressed(picture, header)
    return bgr_to_image(picture, header)


def _pick(values: Sequence[Item], random: np.random.Generator) -> Item:
    return values[int(random.integers(len(values)))]


def _one_of(name: str, values: Sequence[Any]) -> Callable[[Any, np.random.Generator], None]:
    def spoil(message: Any, random: np.random.Generator) -> None:
        setattr(message, name, _pick(values, random))

    return spoil


def _stamp(message: Any, random: np.random.Generator) -> None:
    message.header.stamp.sec = _pick(_SECONDS, random)
    message.header.stamp.nanosec = _pick(_NANOSECONDS, random)


def _frame_id(message: Any, random: np.random.Generator) -> None:
    message.header.frame_id = _pick(_WORDS, random)


def _size(message: Any, random: np.random.Generator) -> None:
    message.width, message.height = _pick(_SIZES, random), _pick(_SIZES, random)


def _shape(message: Image, random: np.random.Generator) -> None:
    """A picture of another size and encoding whose data fit: odd, but sound."""
    width, height = int(random.integers(1, 200)), int(random.integers(1, 200))
    step = width * int(random.integers(1, 6)) + int(random.integers(0, 20))
    message.width, message.height, message.step = width, height, step
    message.encoding = _pick(ENCODINGS, random)
    message.data = _bytes(random, step * height)


def _data(message: Any, random: np.random.Generator) -> None:
    """Cut off, emptied, with flipped bytes, or noise."""
    data = array.array("B", bytes(message.data))
    kind = random.integers(4)
    if kind == 0:
        data = data[: random.integers(len(data) + 1)]
    elif kind == 1:
        data = array.array("B")
    elif kind == 2:
        for place in random.integers(0, max(len(data), 1), 20 if len(data) else 0):
            data[int(place)] = int(random.integers(256))
    else:
        data = _bytes(random, int(random.integers(0, 5000)))
    message.data = data


def _hostile_jpeg(message: CompressedImage, random: np.random.Generator) -> None:
    """A JPEG whose header claims another size."""
    data = bytearray(message.data)
    frame = data.find(b"\xff\xc0")
    if 0 <= frame <= len(data) - 9:
        struct.pack_into(">HH", data, frame + 5, *(min(_pick(_SIZES, random), 65535) for _ in range(2)))
    message.data = array.array("B", bytes(data))


def _numbers(name: str, count: int | None) -> Callable[[Any, np.random.Generator], None]:
    """Some or all numbers of a matrix, or a list of any length where count is None."""

    def spoil(message: Any, random: np.random.Generator) -> None:
        if count is None:
            setattr(message, name, [_pick(_NUMBERS, random) for _ in range(random.integers(0, 16))])
            return
        values = np.array(getattr(message, name))
        for place in random.integers(0, count, random.integers(1, count + 1)):
            values[place] = _pick(_NUMBERS, random)
        setattr(message, name, values.tolist())

    return spoil


def _region(message: CameraInfo, random: np.random.Generator) -> None:
    for name in ("x_offset", "y_offset", "width", "height"):
        setattr(message.roi, name, _pick(_SIZES, random))


def _bytes(random: np.random.Generator, count: int) -> array.array[int]:
    return array.array("B", random.bytes(count))


_ANY: dict[str, Callable[[Any, np.random.Generator], None]] = {"stamp": _stamp, "frame_id": _frame_id}
_FIELDS: dict[type, dict[str, Callable[[Any, np.random.Generator], None]]] = {
    Image: {
        **_ANY,
        "size": _size,
        "shape": _shape,
        "step": _one_of("step", _SIZES),
        "encoding": _one_of("encoding", (*ENCODINGS, *_WORDS)),
        "is_bigendian": _one_of("is_bigendian", (0, 1, 255)),
        "data": _data,
    },
    CompressedImage: {**_ANY, "format": _one_of("format", (*_FORMATS, *_WORDS)), "data": _data, "jpeg": _hostile_jpeg},
    CameraInfo: {
        **_ANY,
        "size": _size,
        "model": _one_of("distortion_model", (*_MODELS, *_WORDS)),
        "d": _numbers("d", None),
        "k": _numbers("k", 9),
        "r": _numbers("r", 9),
        "p": _numbers("p", 12),
        "binning_x": _one_of("binning_x", _SIZES),
        "binning_y": _one_of("binning_y", _SIZES),
        "roi": _region,
    },
}
