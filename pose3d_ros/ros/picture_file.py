"""JPEG and PNG files looked through before anything is decoded: how large is the picture, and is the file whole?"""

from __future__ import annotations

import re
import struct
import zlib
from typing import NamedTuple

_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8"

_FILL, _END_OF_IMAGE, _START_OF_SCAN, _RESTART_INTERVAL = 0xFF, 0xD9, 0xDA, 0xDD
_FIRST_MARKER = 0xC0
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_RESTARTS = range(0xD0, 0xD8)
# Within a scan, a 0 after 0xFF says that this is a value and begins no marker.
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xff]")
_LONGEST_TRAILER = 1024  # some drivers pad their buffers, mostly with zeros, which are not counted


class PictureFileError(ValueError):
    """A file that is damaged; the message says what is wrong with it."""


class PictureHeader(NamedTuple):
    """What a file says of its picture: size in pixels, bits per channel."""

    width: int
    height: int
    depth: int


def read_header(data: bytes) -> PictureHeader | None:
    """The header of a JPEG or PNG file, all of which is looked through; None: it is neither.

    Raises PictureFileError where damage is found: any in a PNG; in a JPEG, whose picture has no checksum, what is
    missing at its end and values that no JPEG has.
    """
    if data.startswith(_JPEG_START):
        return _jpeg_header(data)
    if data.startswith(_PNG_START):
        return _png_header(data)
    return None


def _png_header(data: bytes) -> PictureHeader:
    """Walks all chunks, each of which has a checksum."""
    header: PictureHeader | None = None
    position = len(_PNG_START)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            break
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(memoryview(data)[position + 4 : end - 4]) != checksum:
            raise PictureFileError("the PNG is corrupt (a checksum does not match): it was damaged on its way")
        if kind == b"IHDR" and length == 13:
            width, height, depth = struct.unpack_from(">IIB", data, position + 8)
            header = PictureHeader(width, height, max(depth, 8))  # 1, 2 and 4 bits are palettes or line art
        if kind == b"IEND" and header:
            return header
        position = end
    raise _truncated("PNG", data)


def _jpeg_header(data: bytes) -> PictureHeader:
    """Walks all segments and scans; OpenCV makes grey or nonsense of what is missing or wrong, and says nothing."""
    header: PictureHeader | None = None
    has_restarts = False
    position = len(_JPEG_START)
    while (marker := _marker_at(data, position)) != _END_OF_IMAGE:
        if marker == _FILL:
            position += 1
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        content = data[position + 4 : end]
        if marker in _FRAMES and len(content) >= 6:
            depth, height, width = struct.unpack_from(">BHH", content)
            header = PictureHeader(width, height, depth)
        elif marker == _RESTART_INTERVAL:
            has_restarts = any(content)
        position = _end_of_scan(data, end, has_restarts) if marker == _START_OF_SCAN else end
    if header is None:
        raise PictureFileError("the JPEG holds no picture: it was damaged on its way")
    trailer = data[position + 2 :].rstrip(b"\0")
    if len(trailer) > _LONGEST_TRAILER and not trailer.startswith(_JPEG_START):  # some cameras append a small picture
        raise _corrupt_jpeg(position)
    return header


def _marker_at(data: bytes, position: int) -> int:
    """The kind of the marker that must be there."""
    if position + 2 > len(data):
        raise _truncated("JPEG", data)
    start, marker = data[position : position + 2]
    if start != 0xFF or marker < _FIRST_MARKER:
        raise _corrupt_jpeg(position)
    return marker


def _end_of_scan(data: bytes, begin: int, has_restarts: bool) -> int:
    """The place of the marker that ends the scan; restart markers within count from 0 to 7 and again from 0."""
    for count, found in enumerate(_MARKER_IN_SCAN.finditer(data, begin)):
        position = found.start()
        marker = data[position + 1]
        if marker not in _RESTARTS:
            return position
        if not has_restarts or marker != _RESTARTS[count % len(_RESTARTS)]:
            raise _corrupt_jpeg(position)
    raise _truncated("JPEG", data)


def _truncated(kind: str, data: bytes) -> PictureFileError:
    return PictureFileError(f"the {kind} is truncated after {len(data)} bytes: it was damaged on its way")


def _corrupt_jpeg(position: int) -> PictureFileError:
    return PictureFileError(f"the JPEG is corrupt at byte {position}: it was damaged on its way")
