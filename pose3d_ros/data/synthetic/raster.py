"""A z-buffer rasteriser and a per-pixel shader, both compiled with numba.

Vertices are in the camera's optical frame (x right, y down, z forward, metres). The z-buffer holds 1/z, so larger is
nearer and 0 is empty.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pose3d_ros.data.synthetic.types import ByteArray, FloatArray, IntArray

NEAR_M = 0.08

# Columns of a material row (float32).
(
    M_KIND, M_TEXTURE, M_R, M_G, M_B, M_R2, M_G2, M_B2, M_PATTERN, M_FREQUENCY, M_ANGLE, M_DUTY, M_DETAIL,
    M_SPECULAR, M_UV_SCALE, M_NOISE, M_SEED, M_ALPHA,
) = range(18)  # fmt: skip
MATERIAL_COLUMNS = 18
KIND_TEXTURE, KIND_LUMINANCE, KIND_FABRIC = 0, 1, 2
(
    PATTERN_PLAIN, PATTERN_STRIPES, PATTERN_CHECKS, PATTERN_DOTS, PATTERN_BLOTCH, PATTERN_PRINT, PATTERN_GRADIENT,
    PATTERN_TARTAN,
) = range(8)  # fmt: skip

_SRGB_TO_LINEAR = ((np.arange(256) / 255.0) ** 2.2).astype(np.float32)


@njit(cache=True, fastmath=True)
def project(vertices: FloatArray, K: FloatArray) -> FloatArray:
    """[V, 3] camera coordinates → [V, 3] of pixel x, pixel y and 1/z (0 behind the near plane)."""
    out = np.empty(vertices.shape, np.float32)
    for v in range(len(vertices)):
        z = vertices[v, 2]
        if z < NEAR_M:
            out[v, 0] = 0.0
            out[v, 1] = 0.0
            out[v, 2] = 0.0
        else:
            w = np.float32(1.0) / z
            out[v, 0] = K[0, 0] * vertices[v, 0] * w + K[0, 2]
            out[v, 1] = K[1, 1] * vertices[v, 1] * w + K[1, 2]
            out[v, 2] = w
    return out


@njit(cache=True, fastmath=True)
def transform(vertices: FloatArray, matrix: FloatArray, out: FloatArray) -> None:
    """``matrix[:, :3] @ v + matrix[:, 3]`` for float32 vertices [V, 3] into ``out`` [V, 3].

    A plain loop: BLAS would start its threads for it.
    """
    for v in range(len(vertices)):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        for k in range(3):
            out[v, k] = matrix[k, 0] * x + matrix[k, 1] * y + matrix[k, 2] * z + matrix[k, 3]


@njit(cache=True, fastmath=True)
def normals(vertices: FloatArray, triangles: IntArray) -> FloatArray:
    """Area-weighted unit normals [V, 3]."""
    out = np.zeros(vertices.shape, np.float32)
    for f in range(len(triangles)):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ux, uy, uz = (
            vertices[b, 0] - vertices[a, 0],
            vertices[b, 1] - vertices[a, 1],
            vertices[b, 2] - vertices[a, 2],
        )
        vx, vy, vz = (
            vertices[c, 0] - vertices[a, 0],
            vertices[c, 1] - vertices[a, 1],
            vertices[c, 2] - vertices[a, 2],
        )
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in (a, b, c):
            out[k, 0] += nx
            out[k, 1] += ny
            out[k, 2] += nz
    for v in range(len(out)):
        s = np.sqrt(out[v, 0] ** 2 + out[v, 1] ** 2 + out[v, 2] ** 2)
        if s > 0:
            for k in range(3):
                out[v, k] /= s
    return out


@njit(cache=True, fastmath=True)
def rasterise(
    points: FloatArray,
    triangles: IntArray,
    uv: FloatArray,
    material: IntArray,
    cut: FloatArray,
    materials: FloatArray,
    textures: ByteArray,
    depth: FloatArray,
    owner: IntArray,
) -> None:
    """Draw triangles into the z-buffer.

    Args:
        points: [V, 3] pixel x, pixel y, 1/z.
        triangles: [F, 3]; uv: [F, 3, 2]; material: [F].
        cut: [V]; pixels where it interpolates to a negative value are not drawn.
        materials: [M, MATERIAL_COLUMNS]; those with M_ALPHA test the texture's alpha.
        textures: [T, S, S, 4].
        depth: [H, W] float32 1/z, changed in place.
        owner: [H, W] int32 triangle index, changed in place.
    """
    height, width = depth.shape
    size = textures.shape[1]
    for f in range(len(triangles)):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        wa, wb, wc = points[a, 2], points[b, 2], points[c, 2]
        if wa <= 0 or wb <= 0 or wc <= 0:
            continue
        ax, ay = points[a, 0], points[a, 1]
        bx, by = points[b, 0], points[b, 1]
        cx, cy = points[c, 0], points[c, 1]
        low_x, high_x = min(ax, bx, cx), max(ax, bx, cx)
        low_y, high_y = min(ay, by, cy), max(ay, by, cy)
        if high_x < 0 or high_y < 0 or low_x > width or low_y > height:
            continue
        x0, x1 = max(0, int(np.ceil(low_x - 0.5))), min(width - 1, int(np.floor(high_x - 0.5)))
        y0, y1 = max(0, int(np.ceil(low_y - 0.5))), min(height - 1, int(np.floor(high_y - 0.5)))
        if x1 < x0 or y1 < y0:
            continue
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        inverse = np.float32(1.0) / area
        alpha = materials[material[f], M_ALPHA] > 0
        ca, cb, cc = cut[a], cut[b], cut[c]
        clipped = ca < 0 or cb < 0 or cc < 0
        # The barycentric coordinates at the first pixel, and what a step to the right or down adds to them.
        px, py = np.float32(x0 + 0.5), np.float32(y0 + 0.5)
        la_first = ((bx - px) * (cy - py) - (by - py) * (cx - px)) * inverse
        lb_first = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) * inverse
        la_right, lb_right = (by - cy) * inverse, (cy - ay) * inverse
        la_down, lb_down = (cx - bx) * inverse, (ax - cx) * inverse
        for y in range(y0, y1 + 1):
            down = np.float32(y - y0)
            for x in range(x0, x1 + 1):
                right = np.float32(x - x0)
                la = la_first + down * la_down + right * la_right
                lb = lb_first + down * lb_down + right * lb_right
                lc = np.float32(1.0) - la - lb
                if la < 0 or lb < 0 or lc < 0:
                    continue
                w = la * wa + lb * wb + lc * wc
                if w <= depth[y, x]:
                    continue
                if clipped and la * ca + lb * cb + lc * cc < 0:
                    continue
                if alpha:
                    u = la * uv[f, 0, 0] + lb * uv[f, 1, 0] + lc * uv[f, 2, 0]
                    v = la * uv[f, 0, 1] + lb * uv[f, 1, 1] + lc * uv[f, 2, 1]
                    tx, ty = int(u * size) % size, int(v * size) % size
                    if textures[int(materials[material[f], M_TEXTURE]), ty, tx, 3] < 100:
                        continue
                depth[y, x] = w
                owner[y, x] = f


@njit(cache=True, fastmath=True)
def rasterise_depth(points: FloatArray, triangles: IntArray, depth: FloatArray) -> None:
    """Keep the smallest z of triangles under an orthographic projection (a shadow map).

    Args:
        points: [V, 3] pixel x, pixel y, z. triangles: [F, 3]. depth: [H, W], changed in place.
    """
    height, width = depth.shape
    for f in range(len(triangles)):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ax, ay, az = points[a, 0], points[a, 1], points[a, 2]
        bx, by, bz = points[b, 0], points[b, 1], points[b, 2]
        cx, cy, cz = points[c, 0], points[c, 1], points[c, 2]
        x0, x1 = max(0, int(min(ax, bx, cx))), min(width - 1, int(max(ax, bx, cx)))
        y0, y1 = max(0, int(min(ay, by, cy))), min(height - 1, int(max(ay, by, cy)))
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        inverse = np.float32(1.0) / area
        for y in range(y0, y1 + 1):
            py = np.float32(y + 0.5)
            for x in range(x0, x1 + 1):
                px = np.float32(x + 0.5)
                la = ((bx - px) * (cy - py) - (by - py) * (cx - px)) * inverse
                lb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) * inverse
                lc = np.float32(1.0) - la - lb
                # A little slack closes the gaps between triangles smaller than a pixel.
                if la < -0.3 or lb < -0.3 or lc < -0.3:
                    continue
                z = la * az + lb * bz + lc * cz
                depth[y, x] = min(depth[y, x], z)


@njit(cache=True, fastmath=True)
def splat_depth(points: FloatArray, depth: FloatArray) -> None:
    """Keep the smallest z in the 3×3 pixels around dense points [V, 3] (pixel x, pixel y, z).

    Ten times faster than triangles, and closed where points lie at most three pixels apart.
    """
    height, width = depth.shape
    for i in range(len(points)):
        x, y, z = int(points[i, 0]), int(points[i, 1]), points[i, 2]
        for v in range(max(0, y - 1), min(height, y + 2)):
            for u in range(max(0, x - 1), min(width, x + 2)):
                depth[v, u] = min(depth[v, u], z)


@njit(cache=True, fastmath=True)
def shadow_at(shadow: FloatArray, to_shadow: FloatArray, x: float, y: float, z: float, bias: float) -> float:
    """Share 0…1 of the light that reaches a point (bilinear over a 3×3 neighbourhood).

    Args:
        shadow: [S, S] depths along the light; ``to_shadow`` [3, 4] maps the camera frame to its pixels and depth.
        x, y, z: the point.
        bias: metres behind the map's surface that still count as lit.
    """
    u = to_shadow[0, 0] * x + to_shadow[0, 1] * y + to_shadow[0, 2] * z + to_shadow[0, 3]
    v = to_shadow[1, 0] * x + to_shadow[1, 1] * y + to_shadow[1, 2] * z + to_shadow[1, 3]
    d = to_shadow[2, 0] * x + to_shadow[2, 1] * y + to_shadow[2, 2] * z + to_shadow[2, 3] - bias
    size = shadow.shape[0]
    if u < 2 or v < 2 or u >= size - 2 or v >= size - 2:
        return 1.0
    iu, iv = int(u), int(v)
    lit = 0.0
    for dv in range(-1, 2):
        for du in range(-1, 2):
            if shadow[iv + dv, iu + du] >= d:
                lit += 1.0
    return lit / 9.0


@njit(cache=True, fastmath=True)
def _hash(x: int, y: int, z: int) -> float:
    n = (x * 73856093) ^ (y * 19349663) ^ (z * 83492791)
    n = (n ^ (n >> 13)) * 1274126177
    return float(n & 0xFFFF) / 65535.0


@njit(cache=True, fastmath=True)
def value_noise(x: float, y: float, z: float, seed: int) -> float:
    """Smooth noise 0…1 with unit lattice."""
    ix, iy, iz = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    fx, fy, fz = x - ix, y - iy, z - iz
    fx, fy, fz = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy), fz * fz * (3 - 2 * fz)
    total = 0.0
    for dz in range(2):
        for dy in range(2):
            for dx in range(2):
                w = (fx if dx else 1 - fx) * (fy if dy else 1 - fy) * (fz if dz else 1 - fz)
                total += w * _hash(ix + dx + seed, iy + dy, iz + dz)
    return total


@njit(cache=True, fastmath=True)
def _pattern(row: FloatArray, x: float, y: float, z: float) -> float:
    """How much of the second colour (0…1) a fabric shows at a rest-pose point in metres."""
    kind = int(row[M_PATTERN])
    f, duty, seed = row[M_FREQUENCY], row[M_DUTY], int(row[M_SEED])
    c, s = np.cos(row[M_ANGLE]), np.sin(row[M_ANGLE])
    p, q = (c * x - s * y) * f, (s * x + c * y) * f
    cell_p, cell_q = np.floor(p), np.floor(q)
    p, q = p - cell_p, q - cell_q
    t = 0.0
    if kind == PATTERN_STRIPES:
        t = 1.0 if q < duty else 0.0
    elif kind == PATTERN_CHECKS:
        t = 1.0 - (int(cell_p) + int(cell_q)) % 2
    elif kind == PATTERN_TARTAN:
        t = (0.5 if p < duty else 0.0) + (0.5 if q < duty else 0.0)
    elif kind == PATTERN_DOTS:
        t = 1.0 if (p - 0.5) ** 2 + (q - 0.5) ** 2 < duty * duty * 0.25 else 0.0
    elif kind == PATTERN_BLOTCH:
        t = 1.0 if value_noise(x * f, y * f, z * f, seed) < duty else 0.0
    elif kind == PATTERN_PRINT and z > 0.02 and abs(x) < 0.13 and abs(y - 1.28) < 0.10 * duty + 0.02:
        # A block of "letters" on the chest.
        t = 1.0 if value_noise(x * f * 3, y * f * 3, 0.0, seed) > 0.45 else 0.0
    elif kind == PATTERN_GRADIENT:
        t = min(1.0, max(0.0, (y - 0.8) * 1.5))
    return t


@njit(cache=True, fastmath=True)
def _albedo(
    row: FloatArray, textures: ByteArray, linear: FloatArray, u: float, v: float, x: float, y: float, z: float
) -> tuple[float, float, float]:
    """Colour of a material at texture coordinates (u, v) and the rest-pose point (x, y, z)."""
    r, g, b = row[M_R], row[M_G], row[M_B]
    if row[M_PATTERN] > 0:
        t = _pattern(row, x, y, z)
        r = r * (1 - t) + row[M_R2] * t
        g = g * (1 - t) + row[M_G2] * t
        b = b * (1 - t) + row[M_B2] * t
    texture = int(row[M_TEXTURE])
    if texture >= 0:
        size = textures.shape[1]
        texel = textures[texture, int(v * size) % size, int(u * size) % size]
        tr, tg, tb = linear[texel[0]], linear[texel[1]], linear[texel[2]]
        if int(row[M_KIND]) != KIND_TEXTURE:
            # Only the cloth's own light and dark is kept, relative to its mean (M_DETAIL holds 1 / mean).
            tr = min((tr * 0.3 + tg * 0.6 + tb * 0.1) * row[M_DETAIL], np.float32(1.6))
            tg = tr
            tb = tr
        r, g, b = r * tr, g * tg, b * tb
    return r, g, b


@njit(cache=True, fastmath=True)
def _wrinkle(
    row: FloatArray, nx: float, ny: float, nz: float, x: float, y: float, z: float
) -> tuple[float, float, float, float]:
    """Low-frequency noise bends a normal at the rest-pose point (x, y, z); the fourth value darkens the folds."""
    q, seed, k = 22.0, int(row[M_SEED]), row[M_NOISE]
    n0 = value_noise(x * q, y * q, z * q, seed)
    n1 = value_noise(x * q + 7.3, y * q * 0.6, z * q + 3.1, seed + 5)
    n2 = value_noise(x * q * 0.7 + 1.7, y * q + 5.2, z * q, seed + 9)
    nx, ny, nz = nx + (n0 - 0.5) * k, ny + (n1 - 0.5) * k, nz + (n2 - 0.5) * k
    s = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz)
    return nx * s, ny * s, nz * s, 1.0 - 0.25 * k * n0


@njit(cache=True, fastmath=True)
def _highlight(nx: float, ny: float, nz: float, gx: float, gy: float, sun: FloatArray) -> float:
    """Blinn's highlight 0…1 for a pixel's ray (gx, gy, 1)."""
    view = np.sqrt(gx * gx + gy * gy + 1)
    hx, hy, hz = sun[0] - gx / view, sun[1] - gy / view, sun[2] - 1 / view
    s = 1.0 / max(np.sqrt(hx * hx + hy * hy + hz * hz), 1e-6)
    return max(0.0, (nx * hx + ny * hy + nz * hz) * s) ** 24


@njit(cache=True, fastmath=True)
def _irradiance(h: FloatArray, k: int, nx: float, ny: float, nz: float) -> float:
    """Order-2 irradiance of channel k along a normal; ``h`` is [9, 3]."""
    e = h[0, k] + h[1, k] * ny + h[2, k] * nz + h[3, k] * nx + h[4, k] * nx * ny + h[5, k] * ny * nz
    return max(0.0, e + h[6, k] * (3 * nz * nz - 1) + h[7, k] * nx * nz + h[8, k] * (nx * nx - ny * ny))


@njit(cache=True, fastmath=True)
def shade(
    K: FloatArray,
    depth: FloatArray,
    owner: IntArray,
    points: FloatArray,
    normal: FloatArray,
    rest: FloatArray,
    triangles: IntArray,
    uv: FloatArray,
    material: IntArray,
    materials: FloatArray,
    textures: ByteArray,
    harmonics: FloatArray,
    sun_direction: FloatArray,
    sun_colour: FloatArray,
    shadow: FloatArray,
    to_shadow: FloatArray,
    linear: FloatArray,
    out: FloatArray,
) -> None:
    """Colour every covered pixel.

    Of two pixels side by side that show the same material only one is shaded, left and right in turns from row to row:
    a picture of half the size has two samples of every pixel, and four at edges.

    Args:
        K: [3, 3] of this buffer. depth, owner: [H, W] from ``rasterise``; W is even.
        points: [V, 3] projected; normal: [V, 3] camera frame; rest: [V, 3] rest-pose metres.
        harmonics: [9, 3] order-2 irradiance coefficients in the camera frame.
        sun_direction: [3] towards the light, camera frame; sun_colour: [3].
        shadow, to_shadow: see ``shadow_at``.
        linear: [256] sRGB → linear table.
        out: [H, W, 4] linear RGB and coverage, changed in place.
    """
    height, width = depth.shape
    for y in range(height):
        for step in range(width):
            x = step ^ (y & 1)
            f, beside = owner[y, x], x ^ 1
            if f < 0:
                continue
            if step & 1 and owner[y, beside] >= 0 and material[owner[y, beside]] == material[f]:
                for k in range(4):
                    out[y, x, k] = out[y, beside, k]
                continue
            a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
            px, py = np.float32(x + 0.5), np.float32(y + 0.5)
            ax, ay = points[a, 0], points[a, 1]
            bx, by = points[b, 0], points[b, 1]
            cx, cy = points[c, 0], points[c, 1]
            area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
            la = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area
            lb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area
            lc = np.float32(1.0) - la - lb
            z = np.float32(1.0) / depth[y, x]
            la *= points[a, 2] * z
            lb *= points[b, 2] * z
            lc *= points[c, 2] * z
            nx = la * normal[a, 0] + lb * normal[b, 0] + lc * normal[c, 0]
            ny = la * normal[a, 1] + lb * normal[b, 1] + lc * normal[c, 1]
            nz = la * normal[a, 2] + lb * normal[b, 2] + lc * normal[c, 2]
            s = np.float32(1.0) / max(np.sqrt(nx * nx + ny * ny + nz * nz), np.float32(1e-6))
            gx, gy = (px - K[0, 2]) / K[0, 0], (py - K[1, 2]) / K[1, 1]
            if (nx * gx + ny * gy + nz) * s > 0.15:  # seen from behind: a garment's inner side
                s = -s
            nx, ny, nz = nx * s, ny * s, nz * s
            rx = la * rest[a, 0] + lb * rest[b, 0] + lc * rest[c, 0]
            ry = la * rest[a, 1] + lb * rest[b, 1] + lc * rest[c, 1]
            rz = la * rest[a, 2] + lb * rest[b, 2] + lc * rest[c, 2]
            row = materials[material[f]]
            u = (la * uv[f, 0, 0] + lb * uv[f, 1, 0] + lc * uv[f, 2, 0]) * row[M_UV_SCALE]
            v = (la * uv[f, 0, 1] + lb * uv[f, 1, 1] + lc * uv[f, 2, 1]) * row[M_UV_SCALE]
            albedo = _albedo(row, textures, linear, u, v, rx, ry, rz)
            dim, gleam = 1.0, 0.0
            if row[M_NOISE] > 0:
                nx, ny, nz, dim = _wrinkle(row, nx, ny, nz, rx, ry, rz)
            lit = nx * sun_direction[0] + ny * sun_direction[1] + nz * sun_direction[2]
            if lit > 0:
                lit *= shadow_at(shadow, to_shadow, gx * z, gy * z, z, 0.025)
                if row[M_SPECULAR] > 0 and lit > 0:
                    gleam = row[M_SPECULAR] * _highlight(nx, ny, nz, gx, gy, sun_direction)
            else:
                lit = 0.0
            for k in range(3):
                light = _irradiance(harmonics, k, nx, ny, nz) + sun_colour[k] * lit
                out[y, x, k] = albedo[k] * dim * light + sun_colour[k] * gleam
            out[y, x, 3] = 1.0


def srgb_table() -> FloatArray:
    """[256] sRGB value → linear light."""
    return _SRGB_TO_LINEAR
