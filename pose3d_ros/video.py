"""Images from a file, a video or a camera, with their times; and videos written."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

PACKAGE_CLIP = Path(__file__).parent / "assets" / "clip.mp4"
"""The package's rendered film; clip.json beside it has its calibration and the person's true joints."""

_IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"))
_DEFAULT_FPS = 30.0
_MAX_FPS = 1000.0
_MAX_STEP_S = 10.0  # between two images of a file: more is taken for a fault in its times
_FILE_SCHEME = "file://"
_FILE_HINT = "it is not a video or image that OpenCV can decode; convert it to an mp4 with H.264"
_CAMERA_HINT = "check that it is plugged in, not in use, and that you may read it"
_STREAM_HINT = "check the address, that its host can be reached, and that a player shows it"


class VideoError(ValueError):
    """A source or target that cannot be opened, read or written; the message names it and says what to do."""


class Source:
    """An opened source of BGR images.

    name: for file names and people. fps: images per second. count: number of images, None when endless.
    is_live: a camera, whose stamps are the host's clock; else stamps begin at 0 and follow
    the file's own times, by 1 / fps where it has none.
    Iterating yields (image [h, w, 3] uint8, stamp_ns).
    """

    def __init__(self, name: str, fps: float, count: int | None, is_live: bool = False) -> None:
        self.name = name
        self.fps = fps
        self.count = count
        self.is_live = is_live

    def __iter__(self) -> Iterator[tuple[Image, int]]:
        raise NotImplementedError

    def close(self) -> None:
        """Frees the file or camera."""

    def __enter__(self) -> Source:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class ImageSource(Source):
    """A single image; EXIF orientation is applied."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.stem, _DEFAULT_FPS, 1)
        self._image = read_image(path)

    def __iter__(self) -> Iterator[tuple[Image, int]]:
        yield self._image, 0


class CaptureSource(Source):
    """Anything that OpenCV's VideoCapture opens. Raises VideoError when it does not, or when there is no image in it.

    target: the path or address of a video, or the number of a camera. hint: what to do if it cannot be read.
    may_be_live: it is, if nobody knows its length.
    """

    def __init__(self, name: str, target: str | int, hint: str, may_be_live: bool) -> None:
        self._capture = cv2.VideoCapture(target)
        ok, first = self._capture.read() if self._capture.isOpened() else (False, None)
        if not ok or first is None:
            self._capture.release()
            what = f"camera {target}" if isinstance(target, int) else target
            raise VideoError(f"cannot read {what}: {hint}")
        self._first = first
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        known = count > 0
        is_live = may_be_live and not known
        super().__init__(name, fps if 0 < fps < _MAX_FPS else _DEFAULT_FPS, int(count) if known else None, is_live)

    def __iter__(self) -> Iterator[tuple[Image, int]]:
        image: Image | None = np.asarray(self._first, np.uint8)
        stamp_s = 0.0
        file_s = self._file_s()
        while image is not None:
            yield image, time.monotonic_ns() if self.is_live else round(1e9 * stamp_s)
            ok, following = self._capture.read()
            image = np.asarray(following, np.uint8) if ok else None
            before_s, file_s = file_s, self._file_s()
            step_s = file_s - before_s
            stamp_s += step_s if 0 < step_s <= _MAX_STEP_S else 1 / self.fps

    def _file_s(self) -> float:
        """The file's own time of the image that was read last; stands still where it knows none."""
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1e3

    def close(self) -> None:
        """Frees the file or camera."""
        self._capture.release()


def open_source(text: str) -> Source:
    """An image file, a video file, its address or a stream's (rtsp://…), or a camera (its number or /dev/videoN).

    Raises VideoError naming what was wrong.
    """
    if text.isdigit():
        return CaptureSource(f"camera{text}", int(text), _CAMERA_HINT, may_be_live=True)
    if text.startswith("/dev/video"):
        return CaptureSource(Path(text).name, text, _CAMERA_HINT, may_be_live=True)
    if "://" in text and not text.startswith(_FILE_SCHEME):
        return CaptureSource(_stream_name(text), text, _STREAM_HINT, may_be_live=True)
    path = file_of(text)
    if path.is_dir():
        raise VideoError(f"{path} is a folder: name a video, an image, or a camera's number")
    if not path.is_file():
        raise VideoError(f"no file {path}: name a video, an image, or a camera's number")
    if path.suffix.lower() in _IMAGE_SUFFIXES:
        return ImageSource(path)
    return CaptureSource(path.stem, str(path), _FILE_HINT, may_be_live=False)


def check_frames(frames: int | None) -> None:
    """Raises VideoError where --frames asks for none; None asks for all."""
    if frames is not None and frames < 1:
        raise VideoError(f"--frames is {frames}: give 1 or more")


def file_of(text: str) -> Path:
    """The file that is named by its path or as file://…."""
    return Path(text.removeprefix(_FILE_SCHEME)).expanduser()


def _stream_name(address: str) -> str:
    """Host and path, fit for a file's name; neither password nor query."""
    parts = urlsplit(address)
    return re.sub(r"[^\w.-]+", "_", f"{parts.hostname or ''}{parts.path}").strip("_.") or "stream"


def read_image(path: Path) -> Image:
    """[h, w, 3] BGR of an image file. Raises VideoError when it cannot be read or decoded."""
    try:
        data = np.fromfile(path, np.uint8)  # cv2.imread fails on some platforms' file names
    except OSError as error:
        raise VideoError(f"cannot read {path}: {error.strerror}") from error
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise VideoError(f"{path} is not an image that OpenCV can decode: it is damaged, or of another kind")
    return np.asarray(image, np.uint8)


class VideoWriter:
    """Writes an mp4. The first image decides the size; an odd row or column is cut off, as the codec needs.

    Raises VideoError when the file cannot be written, or finished.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path = path
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def write(self, image: Image) -> None:
        """Appends an image [h, w, 3] BGR."""
        if self._writer is None:
            self._size = (image.shape[1] // 2 * 2, image.shape[0] // 2 * 2)
            self._writer = cv2.VideoWriter(str(self.path), cv2.VideoWriter.fourcc(*"mp4v"), self._fps, self._size)
            if not self._writer.isOpened():
                raise VideoError(f"cannot write {self.path}: is the folder writable, and has OpenCV an mp4 encoder?")
        self._writer.write(np.ascontiguousarray(image[: self._size[1], : self._size[0]]))

    def close(self) -> None:
        """Finishes the file; without an image there is none."""
        if self._writer is None:
            return
        self._writer.release()  # which does not tell when the disk is full
        made = cv2.VideoCapture(str(self.path))
        frames = made.get(cv2.CAP_PROP_FRAME_COUNT)
        made.release()
        if frames < 1:
            raise VideoError(f"cannot finish {self.path}: is the disk full?")


class TimedVideoWriter(VideoWriter):
    """Writes images that come at any times at a steady rate, so that the video plays as fast as they came.

    An image is repeated until the next; where several come within one frame, the first stands for them.
    """

    def __init__(self, path: Path, fps: float) -> None:
        super().__init__(path, fps)
        self._begin_ns: int | None = None
        self._frames = 0
        self._last: Image | None = None

    def write_at(self, stamp_ns: int, image: Image) -> None:
        """Shows an image [h, w, 3] BGR from this time on; times rise."""
        if self._begin_ns is None:
            self._begin_ns = stamp_ns
        frame = round((stamp_ns - self._begin_ns) / 1e9 * self._fps)
        while self._last is not None and self._frames < frame:
            self._append(self._last)
        if self._frames == frame:
            self._append(image)
        self._last = image

    def _append(self, image: Image) -> None:
        self.write(image)
        self._frames += 1
