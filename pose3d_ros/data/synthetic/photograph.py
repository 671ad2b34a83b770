"""From linear light to a JPEG: white balance, blur, tone, noise and compression, each with its own variation."""

from __future__ import annotations

import cv2
import numpy as np

from pose3d_ros.data.synthetic.types import ByteArray, FloatArray


def develop(rng: np.random.Generator, linear: FloatArray) -> ByteArray:
    """Linear RGB [H, W, 3] (1 is white) → 8-bit RGB as a camera would give it."""
    tint = np.diag(np.exp(rng.normal(0, 0.07, 3)))
    image = _blur(rng, np.asarray(cv2.transform(linear, tint)))
    image = np.maximum(image, 0)
    if rng.random() < 0.7:  # a film-like shoulder instead of hard clipping
        white = float(rng.uniform(1.2, 3.0))
        image = image * (1 + image / (white * white)) / (1 + image * 0.6)
    image = np.asarray(cv2.pow(np.clip(image, 0, 1), 1 / rng.uniform(1.9, 2.5)))
    image = np.asarray(cv2.transform(image, _contrast_and_saturation(rng)))
    if rng.random() < 0.8:
        sigma = float(np.exp(rng.uniform(np.log(0.003), np.log(0.05))))
        image += sigma * _noise(rng, image.shape)
    return np.asarray(np.clip(image * 255 + 0.5, 0, 255), dtype=np.uint8)


def _contrast_and_saturation(rng: np.random.Generator) -> FloatArray:
    """What to multiply (R, G, B, 1) with, [3, 4]."""
    contrast = float(np.exp(rng.normal(0, 0.15)))
    offset = 0.5 + rng.normal(0, 0.04) - 0.5 * contrast
    saturation = float(np.clip(rng.normal(1.0, 0.25), 0.0, 1.6))
    if rng.random() < 0.04:
        saturation = 0.0
    colour = contrast * (saturation * np.eye(3) + (1 - saturation) / 3)
    return np.column_stack([colour, np.full(3, offset)])


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    """White noise of unit variance, or somewhat blurred, as after a camera's own denoising, of half of it.

    OpenCV's generator, seeded by ``rng``: three times as fast as NumPy's.
    """
    noise = np.empty(shape, np.float32)
    cv2.setRNGSeed(int(rng.integers(2**31)))
    cv2.randn(noise.reshape(len(noise), -1), np.zeros(1), np.ones(1))  # as one channel, or the others stay 0
    if rng.random() < 0.4:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), 0.7)) * np.float32(1.8)
    return noise


def _blur(rng: np.random.Generator, image: FloatArray) -> FloatArray:
    """Defocus, motion, or a low resolution scaled up; most pictures get none of them."""
    choice = rng.random()
    height, width = image.shape[:2]
    if choice < 0.2:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.6))))
    if choice < 0.3:
        length = int(rng.integers(3, 9))
        kernel = np.zeros((length, length), np.float32)
        angle = float(rng.uniform(0, np.pi))
        centre = (length - 1) / 2
        for t in np.linspace(-centre, centre, 2 * length):
            kernel[round(float(centre + t * np.sin(angle))), round(float(centre + t * np.cos(angle)))] = 1
        return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT))
    if choice < 0.5:
        factor = float(rng.uniform(1.2, 4.0))
        small = (max(8, int(width / factor)), max(8, int(height / factor)))
        reduced = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(reduced, (width, height), interpolation=cv2.INTER_LINEAR))
    return image


def encode(rng: np.random.Generator, image: ByteArray) -> bytes:
    """JPEG of quality 40…95 of an RGB picture."""
    quality = int(rng.integers(40, 96))
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG")
    return bytes(data)
