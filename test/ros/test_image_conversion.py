"""Every encoding against OpenCV, padding, and what must be refused."""

import array
import contextlib
import itertools
import zlib

import cv2
import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="needs the ROS 2 message packages")

from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from pose3d_ros.ros.image_conversion import (
    ENCODINGS,
    BadImageError,
    bgr_to_compressed,
    bgr_to_image,
    compressed_to_bgr,
    image_to_bgr,
)

HEIGHT, WIDTH = 12, 20
PATTERNS = {"bayer_rggb8": "rggb", "bayer_bggr8": "bggr", "bayer_gbrg8": "gbrg", "bayer_grbg8": "grbg"}
OPENCV_BAYER = {
    "bayer_rggb8": cv2.COLOR_BayerBG2BGR,
    "bayer_bggr8": cv2.COLOR_BayerRG2BGR,
    "bayer_gbrg8": cv2.COLOR_BayerGR2BGR,
    "bayer_grbg8": cv2.COLOR_BayerGB2BGR,
}


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def message(pixels, encoding, padding=0):
    """An Image of packed pixels [h, w, ...], with `padding` bytes after each row."""
    rows = pixels.reshape(len(pixels), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    image = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, step=rows.shape[1])
    image.data = array.array("B", rows.tobytes())
    return image


def mosaic(colour_bgr, pattern):
    """A Bayer picture of one colour, written out from the pattern's letters."""
    value = dict(zip("bgr", colour_bgr, strict=True))
    tile = np.array([[value[pattern[0]], value[pattern[1]]], [value[pattern[2]], value[pattern[3]]]], np.uint8)
    return np.tile(tile, (HEIGHT // 2, WIDTH // 2))


def packed(picture, encoding):
    """The picture in an encoding, and what OpenCV makes of it."""
    random = np.random.default_rng(1)
    if encoding in ("bgr8", "8UC3"):
        return picture, picture
    if encoding == "rgb8":
        return picture[..., ::-1], picture
    if encoding in ("bgra8", "8UC4"):
        return cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA), picture
    if encoding == "rgba8":
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGBA), picture
    if encoding in ("mono8", "8UC1"):
        grey = picture[..., 0]
        return grey, cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    if encoding in OPENCV_BAYER:
        raw = picture[..., 1]
        return raw, cv2.cvtColor(raw, OPENCV_BAYER[encoding])
    yuv = random.integers(0, 256, (HEIGHT, WIDTH, 2), np.uint8)
    code = cv2.COLOR_YUV2BGR_UYVY if encoding in ("uyvy", "yuv422") else cv2.COLOR_YUV2BGR_YUY2
    return yuv, cv2.cvtColor(yuv, code)


@pytest.mark.parametrize("padding", [0, 7])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_is_what_opencv_makes_of_it(picture, encoding, padding):
    pixels, expected = packed(picture, encoding)
    np.testing.assert_array_equal(image_to_bgr(message(pixels, encoding, padding)), expected)


@pytest.mark.parametrize(("encoding", "pattern"), PATTERNS.items())
def test_bayer_patterns_give_the_colour_that_was_written(encoding, pattern):
    colour = (200, 90, 30)
    result = image_to_bgr(message(mosaic(colour, pattern), encoding))
    np.testing.assert_array_equal(result[2:-2, 2:-2], np.broadcast_to(colour, (HEIGHT - 4, WIDTH - 4, 3)))


@pytest.mark.parametrize("encoding", ["uyvy", "yuv422", "yuyv", "yuv422_yuy2"])
def test_yuv_bytes_are_read_in_the_right_order(encoding):
    # ITU-R BT.601 red: Y 81, U 90, V 240.
    order = (90, 81, 240, 81) if encoding in ("uyvy", "yuv422") else (81, 90, 81, 240)
    pixels = np.tile(np.array(order, np.uint8), (HEIGHT, WIDTH // 2)).reshape(HEIGHT, WIDTH, 2)
    assert np.abs(image_to_bgr(message(pixels, encoding)).astype(int) - (0, 0, 255)).max() <= 2


def test_bgr_is_viewed_without_a_copy(picture):
    image = message(picture, "bgr8", padding=5)
    view = image_to_bgr(image)
    image.data[0] = (image.data[0] + 1) % 256
    assert view[0, 0, 0] == image.data[0]


def test_there_and_back(picture):
    header = Header(frame_id="camera")
    image = bgr_to_image(picture, header)
    assert (image.height, image.width, image.step, image.encoding) == (HEIGHT, WIDTH, 3 * WIDTH, "bgr8")
    assert image.header.frame_id == "camera"
    np.testing.assert_array_equal(image_to_bgr(image), picture)
    # A part of a picture has gaps between its rows.
    np.testing.assert_array_equal(image_to_bgr(bgr_to_image(picture[2:7, 3:9], header)), picture[2:7, 3:9])


def changed(**fields):
    image = message(np.zeros((HEIGHT, WIDTH, 3), np.uint8), "bgr8")
    for name, value in fields.items():
        setattr(image, name, value)
    return image


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (changed(encoding="rgb888"), "unknown encoding 'rgb888'"),
        (changed(encoding=""), "unknown encoding"),
        (changed(encoding="mono16"), "more than 8 bits"),
        (changed(encoding="16UC1"), "more than 8 bits"),
        (changed(encoding="32FC1"), "more than 8 bits"),
        (changed(encoding="bayer_rggb16"), "more than 8 bits"),
        (changed(data=array.array("B", bytes(HEIGHT * WIDTH * 3 - 1))), "truncated"),
        (changed(data=array.array("B")), "truncated"),
        (changed(width=0), "empty picture"),
        (changed(height=0), "empty picture"),
        (changed(step=3 * WIDTH - 1), "step is"),
        (changed(step=0), "step is"),
        (changed(height=2**31, width=2**31), "above the limit"),
        (changed(encoding="uyvy", width=3), "multiple of 2"),
        (changed(encoding="bayer_rggb8", height=3), "multiple of"),
    ],
)
def test_bad_images_are_refused_with_a_reason(image, text):
    with pytest.raises(BadImageError, match=text):
        image_to_bgr(image)


def test_twenty_megapixels_are_taken():
    image = Image(height=3648, width=5472, encoding="bgr8", step=3 * 5472)
    image.data = array.array("B", bytes(3 * 3648 * 5472))
    assert image_to_bgr(image).shape == (3648, 5472, 3)


# ---- compressed ------------------------------------------------------------------------------------------------------


def compressed(data, kind="jpeg"):
    image = CompressedImage(format=kind)
    image.data = array.array("B", data)
    return image


def encoded(picture, suffix, *parameters):
    return cv2.imencode(suffix, picture, parameters)[1].tobytes()


def test_png_comes_back_exactly_and_jpeg_as_opencv_decodes_it(picture):
    np.testing.assert_array_equal(compressed_to_bgr(compressed(encoded(picture, ".png"))), picture)
    data = encoded(picture, ".jpg")
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(compressed_to_bgr(compressed(data)), expected)
    assert np.abs(compressed_to_bgr(bgr_to_compressed(np.full_like(picture, 90), Header())).astype(int) - 90).max() < 3


def test_progressive_and_grey_jpeg_and_padding_are_fine(picture):
    progressive = encoded(picture, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    for padding in (bytes(100), b"any" * 100, bytes(5000)):
        assert compressed_to_bgr(compressed(progressive + padding)).shape == picture.shape
    assert compressed_to_bgr(compressed(encoded(picture[..., 0], ".jpg"))).shape == picture.shape


def with_exif(jpeg, content):
    return jpeg[:2] + b"\xff\xe1" + (len(content) + 8).to_bytes(2, "big") + b"Exif\0\0" + content + jpeg[2:]


def test_exif_rotation_is_ignored(picture):
    # camera_info belongs to the picture as the sensor has it.
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    assert compressed_to_bgr(compressed(with_exif(encoded(picture, ".jpg"), tiff))).shape == picture.shape


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("restart_interval", [0, 1, 5])
def test_no_whole_jpeg_is_refused(progressive, restart_interval):
    thumbnail = encoded(NOISE[:16, :16], ".jpg")
    samplings = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    for quality, sampling in itertools.product((5, 60, 100), samplings):
        data = encoded(
            NOISE,
            ".jpg",
            *(cv2.IMWRITE_JPEG_QUALITY, quality),
            *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling),
            *(cv2.IMWRITE_JPEG_PROGRESSIVE, progressive),
            *(cv2.IMWRITE_JPEG_RST_INTERVAL, restart_interval),
        )
        for whole in (data, with_exif(data, thumbnail), data + b"\xff" + bytes(5000), data + encoded(NOISE, ".jpg")):
            assert compressed_to_bgr(compressed(whole)).shape == NOISE.shape


def png_claiming(width, height, bits=8):
    """A PNG whose header claims a size, with correct checksums and hardly any data: a decompression bomb."""

    def chunk(kind, body):
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([bits, 2, 0, 0, 0])
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def jpeg_claiming(width, height):
    data = bytearray(encoded(np.zeros((16, 16, 3), np.uint8), ".jpg"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(data)


NOISE = np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8)
JPEG, PNG = encoded(NOISE, ".jpg"), encoded(NOISE, ".png")
PROGRESSIVE = encoded(NOISE, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
RESTARTING = encoded(NOISE, ".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 1)


def overwritten(data, values):
    """The data with other values in their middle, which lies within a scan."""
    at = len(data) // 2
    return data[:at] + values + data[at + len(values) :]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "neither JPEG nor PNG"),
        (b"\x00" * 100, "neither JPEG nor PNG"),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (JPEG[:3], "truncated"),
        (b"\xff\xd8\xff\xd9", "holds no picture"),
        (b"\xff\xd8\xff\xe0\x00\x00" + bytes(2000) + b"\xff\xd9", "corrupt at byte 4"),
        (with_exif(JPEG, JPEG)[: len(JPEG) + 500], "truncated"),
        (overwritten(JPEG, b"\xff\xa7"), "corrupt at byte"),
        (overwritten(JPEG, b"\xff\xd9"), "corrupt at byte"),  # an end too early
        (overwritten(JPEG, b"\xff\xd0"), "corrupt at byte"),  # no restart was announced
        (overwritten(PROGRESSIVE, b"\xff\xa7"), "corrupt at byte"),
        (RESTARTING.replace(b"\xff\xd3", b"\x00\x00", 1), "corrupt at byte"),
        (PNG[: len(PNG) // 2], "truncated"),
        (PNG[:8], "truncated"),
        (PNG[:500] + bytes([PNG[500] ^ 255]) + PNG[501:], "checksum"),
        (png_claiming(60_000, 60_000), "above the limit"),
        (png_claiming(0, 5), "empty picture"),
        (png_claiming(16, 16, bits=16), "16 bits"),
        (jpeg_claiming(65_000, 65_000), "above the limit"),
        (encoded(np.zeros((8, 8), np.uint16), ".png"), "16 bits"),
    ],
)
def test_bad_compressed_images_are_refused_with_a_reason(data, text):
    with pytest.raises(BadImageError, match=text):
        compressed_to_bgr(compressed(data))


def test_damaged_data_never_raise_anything_else():
    random = np.random.default_rng(3)
    for data in (JPEG, PNG):
        for _ in range(100):
            broken = bytearray(data)
            for at in random.integers(0, len(broken), 5):
                broken[at] = random.integers(256)
            with contextlib.suppress(BadImageError):
                assert compressed_to_bgr(compressed(bytes(broken))).ndim == 3
