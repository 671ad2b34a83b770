"""Stage 2: from 2D rays to root-relative metres, per frame (residual MLP) or over time (causal GRU).

Everything that the robot needs lies in the graph: rays are turned so that the person is on the optical axis and
divided by the person's angular size, the network runs, and the result is turned back into the camera frame. Pixels
never enter, so a camera that was not trained on makes no difference.

Sources: residual fully connected lifting after Martinez et al. 2017 (arXiv:1705.03098); GRU after Cho et al. 2014.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pose3d_ros.skeleton import NUM_JOINTS, ROOT, STATURE_SD, indices

MIN_SCORE = 0.05
"""Joints below this score are taken as not reported."""

_TORSO = indices("pelvis", "spine", "thorax", "neck", "left_hip", "right_hip", "left_shoulder", "right_shoulder")
_CENTRE_WEIGHT = [1.0 if joint in _TORSO else 0.1 for joint in range(NUM_JOINTS)]
_MEAN_RADIUS_M = 0.52  # weighted RMS distance of the joints from their centre, for a standing adult
_MAX_COORDINATE = 6.0
_START_SCALE_M = 0.03
_FEATURES = 4 * NUM_JOINTS + 4
_OUTPUTS = 5 * NUM_JOINTS + 1


@dataclass(frozen=True)
class LifterConfig:
    """kind: "gru" (over time) or "mlp" (per frame). width: of all layers. blocks: residual blocks before the head."""

    kind: str = "gru"
    width: int = 320
    blocks: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("gru", "mlp"):
            raise ValueError(f"lifter kind must be 'gru' or 'mlp', not {self.kind!r}")

    @property
    def state_size(self) -> int:
        """H of the recurrent state [N,H]; a per-frame network passes a state of one zero through."""
        return self.width if self.kind == "gru" else 1

    def as_dict(self) -> dict[str, object]:
        """Plain values for a checkpoint."""
        return asdict(self)


@dataclass(frozen=True)
class Canonical:
    """A person in the canonical view: ``points`` [N,24,2] = rotated rays / size, ``sigma`` [N,24] likewise.

    ``rotation`` [N,3,3] takes camera coordinates to canonical ones; ``size`` [N,1] is the angular RMS radius;
    ``score`` [N,24] is 0 and ``mask`` [N,24] is 0 where the joint was not reported.
    """

    points: Tensor
    sigma: Tensor
    score: Tensor
    mask: Tensor
    rotation: Tensor
    size: Tensor


def _view_rotation(centre: Tensor) -> Tensor:
    """[N,3,3] that turns the ray ``centre`` [N,2] onto the optical axis: first about y (pan), then about x (tilt)."""
    x, y = centre.split(1, dim=1)
    flat = torch.sqrt(1 + x * x)
    length = torch.sqrt(1 + x * x + y * y)
    sin_pan, cos_pan = x / flat, 1 / flat
    sin_tilt, cos_tilt = y / length, flat / length
    rows = [
        *(cos_pan, torch.zeros_like(x), -sin_pan),
        *(-sin_tilt * sin_pan, cos_tilt, -sin_tilt * cos_pan),
        *(cos_tilt * sin_pan, sin_tilt, cos_tilt * cos_pan),
    ]
    return torch.cat(rows, 1).unflatten(1, (3, 3))


def canonical_view(rays: Tensor, cov: Tensor, score: Tensor) -> Canonical:
    """Turn the person onto the optical axis and divide by the angular size.

    The centre is the mean of the reported joints weighted by score, torso ten times the limbs, so that a waving arm
    does not turn the view and a missing pelvis does not matter. Nothing reported: the view stays as it is.

    Args: rays [N,24,2], cov [N,24,2,2] (both normalised coordinates), score [N,24].
    """
    mask = (score > MIN_SCORE).to(rays.dtype)
    weight = torch.tensor(_CENTRE_WEIGHT, dtype=rays.dtype, device=rays.device)
    seen = (mask * score)[..., None]
    weighted = weight[:, None] * seen
    centre = (weighted * rays).sum(1) / (weighted.sum(1) + 1e-6)
    rotation = _view_rotation(centre)
    ray3 = torch.cat([rays, torch.ones_like(rays[..., :1])], dim=-1)
    turned = torch.matmul(ray3, rotation.transpose(1, 2))
    points = turned[..., :2] / turned[..., 2:].clamp(min=0.05)
    size = torch.sqrt((seen * points.square()).sum((1, 2)) / (seen.sum((1, 2)) + 1e-6) + 1e-6)[:, None]
    points = (points / size[..., None]).clamp(-_MAX_COORDINATE, _MAX_COORDINATE) * mask[..., None]
    sigma = torch.sqrt(0.5 * (cov[..., 0, 0] + cov[..., 1, 1]) + 1e-12) / size
    return Canonical(points, sigma, score * mask, mask, rotation, size)


class _Residual(nn.Module):
    """x + W2 · relu(norm(W1 x)): Martinez' block with layer norm, which needs no batch statistics on the robot."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.enter = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.leave(self.dropout(torch.relu(self.norm(self.enter(x)))))


class Lifter(nn.Module):
    """Rays, covariance, score, state → root-relative joints in the camera frame, their scale, new state.

    The head gives, per joint, a gate on the measured point, a correction to it, a depth relative to the root and a
    log-scale; and one log-depth of the root. A well-measured joint thus follows its ray, and the network's strength
    goes into depth and into joints that are not seen.
    """

    sigma_scale: Tensor

    def __init__(self, config: LifterConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.enter = nn.Sequential(nn.Linear(_FEATURES, width), nn.LayerNorm(width), nn.ReLU())
        self.encoder = _Residual(width, config.dropout)
        self.gru = nn.GRU(width, width, batch_first=True) if config.kind == "gru" else None
        self.blocks = nn.Sequential(*(_Residual(width, config.dropout) for _ in range(config.blocks)))
        self.head = nn.Linear(width, _OUTPUTS)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("sigma_scale", torch.ones(NUM_JOINTS))

    def forward(
        self, rays: Tensor, cov: Tensor, score: Tensor, up: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One frame of N people.

        Args: rays [N,24,2], cov [N,24,2,2] (normalised coordinates), score [N,24] in 0..1, up [N,3] unit
            vector against gravity in the camera frame (zeros: unknown), state [N,H] (zeros for a new track).
        Returns: joints_m [N,24,3] (metres, camera frame, pelvis at 0), Laplace scale [N,24] in metres, not yet
            calibrated (`sigma`), new state [N,H].
        """
        view = canonical_view(rays, cov, score)
        features = self.encoder(self.enter(_features(view, up)))
        if self.gru is not None:
            weight_in, _, bias_in, _ = self.gru.all_weights[0]
            state = self._gru_step(functional.linear(features, weight_in, bias_in), state)
            features = features + state
        joints, scale = _decode(self.head(self.blocks(features)), view)
        return joints, scale, state

    def forward_sequence(
        self,
        rays: Tensor,
        cov: Tensor,
        score: Tensor,
        up: Tensor,
        state: Tensor | None = None,
        *,
        half: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Whole sequences: [B,T,24,...], up [B,3] → joints_m [B,T,24,3], Laplace scale [B,T,24], last state [B,H].

        ``state`` [B,H] is that before the first frame; zero when left out.
        ``half`` runs the hidden layers in bfloat16 (training on CPUs that have it); geometry, the first and the last
        layer always stay in float32, as 8 bits of mantissa would cost millimetres there.
        """
        batch, frames = rays.shape[:2]
        view = canonical_view(rays.flatten(0, 1), cov.flatten(0, 1), score.flatten(0, 1))
        features = self.enter(_features(view, up.repeat_interleave(frames, dim=0)))
        if state is None:
            state = features.new_zeros(batch, self.config.state_size)
        with torch.autocast(rays.device.type, torch.bfloat16, enabled=half):
            features = self.encoder(features)
            if self.gru is not None:
                states = self._gru_sequence(features.unflatten(0, (batch, frames)), state)
                state = states[:, -1]
                features = features + states.flatten(0, 1)
            features = self.blocks(features)
        joints, scale = _decode(self.head(features.float()), view)
        return joints.unflatten(0, (batch, frames)), scale.unflatten(0, (batch, frames)), state

    def sigma(self, joints: Tensor, scale: Tensor) -> Tensor:
        """Standard deviation of one axis [...,24] in metres.

        An isotropic 3D Laplace density exp(-r/b)/(8πb³) has variance 4b² per axis; ``sigma_scale`` is its calibration
        on held-out people. A person larger by the factor (1 + s) moves each joint by s·|joint|: a third of that
        variance goes to each axis.
        """
        size_variance = (STATURE_SD**2 / 3) * joints.square().sum(-1)
        return torch.sqrt((2 * scale * self.sigma_scale).square() + size_variance + 1e-6)

    def _gru_sequence(self, features: Tensor, state: Tensor) -> Tensor:
        """States [B,T,H] for features [B,T,W] after ``state`` [B,H]; the input's share of the gates in one product."""
        assert self.gru is not None
        weight_in, _, bias_in, _ = self.gru.all_weights[0]
        given = functional.linear(features, weight_in, bias_in)
        states = []
        for step in given.unbind(1):
            state = self._gru_step(step, state)
            states.append(state)
        return torch.stack(states, dim=1)

    def _gru_step(self, given: Tensor, state: Tensor) -> Tensor:
        """One step of `nn.GRU`, written out so that the exported graph holds plain products.

        ``given`` [N,3H]: the input's share of reset, update and new gates.
        """
        assert self.gru is not None
        _, weight, _, bias = self.gru.all_weights[0]
        kept = functional.linear(state, weight, bias)
        reset_in, update_in, new_in = given.split(self.config.width, dim=1)
        reset_kept, update_kept, new_kept = kept.split(self.config.width, dim=1)
        update = torch.sigmoid(update_in + update_kept)
        new = torch.tanh(new_in + torch.sigmoid(reset_in + reset_kept) * new_kept)
        return new + update * (state - new)


def _features(view: Canonical, up: Tensor) -> Tensor:
    """The network's input [N,100]."""
    turned_up = torch.matmul(view.rotation, up[..., None])[..., 0]
    log_sigma = torch.log(view.sigma).clamp(-7.0, 1.0) * view.mask / 3
    return torch.cat([view.points.flatten(1), view.score, log_sigma, torch.log(view.size), turned_up], dim=1)


def _decode(out: Tensor, view: Canonical) -> tuple[Tensor, Tensor]:
    """The head's output [N,121] → root-relative joints [N,24,3] in the camera frame and Laplace scale [N,24]."""
    gate, across, down, depth, log_scale, log_root = torch.split(out, [*([NUM_JOINTS] * 5), 1], dim=1)
    kept = torch.sigmoid(gate + 1.0)[..., None] * view.points
    points = kept + torch.stack([across, down], dim=-1)
    # A point p seen at angular size s and depth Z + z lies p·s·(Z + z) aside; s·Z is the body's own radius.
    depth = depth - depth[:, ROOT : ROOT + 1]
    radius = _MEAN_RADIUS_M * torch.exp(log_root.clamp(-2.0, 2.0))
    aside = points * (radius + view.size * depth)[..., None]
    joints = torch.cat([aside, depth[..., None]], dim=-1)
    joints = joints - joints[:, ROOT : ROOT + 1]
    scale = torch.exp(log_scale.clamp(-4.0, 4.0)) * _START_SCALE_M
    return torch.matmul(joints, view.rotation), scale
