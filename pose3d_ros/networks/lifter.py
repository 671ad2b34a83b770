"""Stage 2: from 2D rays to root-relative metres, a residual network per frame, or recurrent: with what it said before.

Everything that the robot needs lies in the graph: rays are turned so that the person is on the optical axis and
divided by the person's angular size, the network runs, and the result is turned back into the camera frame. Pixels
never enter, so a camera that was not trained on makes no difference.

The recurrent network's state is its own answer to the last two frames: pose, motion and how sure it was. Compared with
what is measured now, it tells outliers from movement, and fills in what is hidden. A state that means something, and is
what it says, can be learned from single steps of thousands of people; a GRU's (Cho et al. 2014), which this network had
before, takes its meaning from long sequences, of which a step holds few.

Source: residual fully connected lifting after Martinez et al. 2017 (arXiv:1705.03098).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from pose3d_ros.skeleton import NUM_JOINTS, ROOT, STATURE_SD, indices

MIN_SCORE = 0.05
"""Joints below this score are taken as not reported."""

_TORSO = indices("pelvis", "spine", "thorax", "neck", "left_hip", "right_hip", "left_shoulder", "right_shoulder")
_CENTRE_WEIGHT = [1.0 if joint in _TORSO else 0.1 for joint in range(NUM_JOINTS)]
_MEAN_RADIUS_M = 0.52  # weighted RMS distance of the joints from their centre, for a standing adult
_MAX_COORDINATE = 6.0
_START_SCALE_M = 0.03
_FEATURES = 4 * NUM_JOINTS + 4
_STATE = 7 * NUM_JOINTS + 1  # the last two poses, metres; the last log scale; how many, 0...2
_REMEMBERED = 7 * NUM_JOINTS + 2
_USUAL_STEP_M = 0.05
_OUTPUTS = 5 * NUM_JOINTS + 1


@dataclass(frozen=True)
class LifterConfig:
    """kind: "recurrent" or "mlp" (per frame). width: of all layers. blocks: residual blocks after the first."""

    kind: str = "recurrent"
    width: int = 320
    blocks: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("recurrent", "mlp"):
            raise ValueError(f"lifter kind must be 'recurrent' or 'mlp', not {self.kind!r}")

    @property
    def state_size(self) -> int:
        """H of the recurrent state [N,H]; a per-frame network passes a state of one zero through."""
        return _STATE if self.kind == "recurrent" else 1

    @property
    def features(self) -> int:
        """Number of the network's inputs."""
        return _FEATURES + (_REMEMBERED if self.kind == "recurrent" else 0)

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
    x, y = centre[:, 0], centre[:, 1]
    flat = torch.sqrt(1 + x * x)
    length = torch.sqrt(1 + x * x + y * y)
    sin_pan, cos_pan = x / flat, 1 / flat
    sin_tilt, cos_tilt = y / length, flat / length
    zero = torch.zeros_like(x)
    rows = [
        torch.stack([cos_pan, zero, -sin_pan], -1),
        torch.stack([-sin_tilt * sin_pan, cos_tilt, -sin_tilt * cos_pan], -1),
        torch.stack([cos_tilt * sin_pan, sin_tilt, cos_tilt * cos_pan], -1),
    ]
    return torch.stack(rows, -2)


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
        self.enter = nn.Sequential(nn.Linear(config.features, width), nn.LayerNorm(width), nn.ReLU())
        self.encoder = _Residual(width, config.dropout)
        self.blocks = nn.Sequential(*(_Residual(width, config.dropout) for _ in range(config.blocks)))
        self.head = nn.Linear(width, _OUTPUTS)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("sigma_scale", torch.ones(NUM_JOINTS))

    def forward(
        self, rays: Tensor, cov: Tensor, score: Tensor, up: Tensor, state: Tensor, *, half: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One frame of N people.

        Args: rays [N,24,2], cov [N,24,2,2] (normalised coordinates), score [N,24] in 0..1, up [N,3] unit
            vector against gravity in the camera frame (zeros: unknown), state [N,H] (zeros for a new track).
        Returns: joints_m [N,24,3] (metres, camera frame, pelvis at 0), Laplace scale [N,24] in metres, not yet
            calibrated (`sigma`), new state [N,H].

        ``half`` runs the hidden layers in bfloat16 (training on CPUs that have it); geometry, the first and the last
        layer always stay in float32, as 8 bits of mantissa would cost millimetres there.
        """
        view = canonical_view(rays, cov, score)
        given = [_features(view, up)]
        if self.config.kind == "recurrent":
            given.append(_remembered(view, state))
        features = self.enter(torch.cat(given, dim=1))
        with torch.autocast(rays.device.type, torch.bfloat16, enabled=half):
            features = self.blocks(self.encoder(features))
        joints, scale = _decode(self.head(features.float()), view)
        if self.config.kind == "recurrent":
            state = _new_state(joints, scale, state)
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

        ``state`` [B,H] is that before the first frame; zero when left out. No gradient goes through the state: what
        is remembered is taken as it is, so that a few frames of many people teach as much as many frames of few.
        """
        if state is None:
            state = rays.new_zeros(len(rays), self.config.state_size)
        frames = []
        for t in range(rays.shape[1]):
            *out, state = self(rays[:, t], cov[:, t], score[:, t], up, state.detach(), half=half)
            frames.append(out)
        joints, scale = zip(*frames, strict=True)
        return torch.stack(joints, dim=1), torch.stack(scale, dim=1), state.detach()

    def sigma(self, joints: Tensor, scale: Tensor) -> Tensor:
        """Standard deviation of one axis [...,24] in metres.

        An isotropic 3D Laplace density exp(-r/b)/(8πb³) has variance 4b² per axis; ``sigma_scale`` is its calibration
        on held-out people. A person larger by the factor (1 + s) moves each joint by s·|joint|: a third of that
        variance goes to each axis.
        """
        size_variance = (STATURE_SD**2 / 3) * joints.square().sum(-1)
        return torch.sqrt((2 * scale * self.sigma_scale).square() + size_variance + 1e-6)


def _features(view: Canonical, up: Tensor) -> Tensor:
    """The network's input [N,100]."""
    turned_up = torch.matmul(view.rotation, up[..., None])[..., 0]
    log_sigma = torch.log(view.sigma).clamp(-7.0, 1.0) * view.mask / 3
    return torch.cat([view.points.flatten(1), view.score, log_sigma, torch.log(view.size), turned_up], dim=1)


def _remembered(view: Canonical, state: Tensor) -> Tensor:
    """The state [N,169] as the network's input [N,170], turned into the present view."""
    last, before, log_scale, count = torch.split(state, [3 * NUM_JOINTS, 3 * NUM_JOINTS, NUM_JOINTS, 1], dim=1)
    one, two = count.clamp(max=1), (count - 1).clamp(min=0)
    turn = view.rotation.transpose(1, 2)
    pose = torch.matmul(last.unflatten(1, (-1, 3)), turn).flatten(1) / _MEAN_RADIUS_M
    step = torch.matmul((last - before).unflatten(1, (-1, 3)), turn).flatten(1) / _USUAL_STEP_M
    return torch.cat([one * pose, two * step, one * log_scale, one, two], dim=1)


def _new_state(joints: Tensor, scale: Tensor, state: Tensor) -> Tensor:
    """The state [N,169] after a frame with these joints [N,24,3] and scales [N,24]."""
    log_scale = torch.log(scale / _START_SCALE_M)
    count = (state[:, -1:] + 1).clamp(max=2)
    return torch.cat([joints.flatten(1), state[:, : 3 * NUM_JOINTS], log_scale, count], dim=1)


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
