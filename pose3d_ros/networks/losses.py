"""Losses of stage 2. Joints are [...,24,3] in metres, camera frame, root-relative; ``reliable`` [...,24] tells which
joints the 2D stage really saw.

The occlusion-aware loss. Let e_j = ŷ_j − y_j, b_j the predicted Laplace scale, r_j ∈ {0,1} the joint's reliability and
u_j the unit ray through the true joint. With ŵ and w the predicted and true vectors of a bone, and Δ the difference
between successive frames,

    L = Σ_j ω_j β_j (|e_j| / b_j + 3 log b_j)                                   ω_j = 1 visible, ω_o occluded
      + Σ_{bones with an occluded end} [ λ_len | |ŵ| − |w| |                bone length
                                       + λ_rep | (I − u uᵀ)(ŵ − w) | ]      the limb as the camera would see it
      + Σ_{hinges with an occluded end} λ_lim max(0, −cos-limit violation)  joint limits of elbows and knees
      + Σ_j [ λ_vel |Δe_j| + λ_acc |Δ²e_j| ]                                motion: errors that do not tremble

Each sum stands for a mean, the first one weighted by ω; λ_len, λ_rep, λ_vel and λ_acc are per 5 cm. The first line is
the negative log-likelihood of an isotropic 3D Laplace density exp(−|e|/b) / (8πb³), with β_j = (b_j / 3 cm)^balance
held constant in the gradient (Seitzer et al. 2022): without it, exact input drowns noisy input, whose gradient is
smaller by the ratio of the scales. For a hidden joint the raw position is partly unknowable: a full penalty pulls it to
the mean pose, none leaves it free. So its weight ω_o is below one and its scale is learned, while what is known of it
(length, limits, where the limb falls in the picture) keeps its full weight. The last line counts for sequences of three
frames and more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pose3d_ros.skeleton import BONES, ROOT, indices

POSITION_LOSSES = ("laplace", "mse", "mae", "smooth_l1")

_PARENT = torch.tensor([parent for parent, _ in BONES])
_CHILD = torch.tensor([child for _, child in BONES])
_HINGES = [
    indices(f"{side}_{a}", f"{side}_{b}", f"{side}_{c}")
    for side in ("left", "right")
    for a, b, c in (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle"))
]
_HINGE = torch.tensor([[int(j) for j in hinge] for hinge in _HINGES])
_MAX_FLEXION_COS = -0.87  # elbows and knees fold to about 150° at most


@dataclass(frozen=True)
class LossConfig:
    """position: "laplace" (learned scale), "mse", "mae" or "smooth_l1"; the weights are those of the formula above."""

    position: str = "laplace"
    balance: float = 0.5
    occlusion_aware: bool = True
    occluded_weight: float = 0.5
    bone_length: float = 2.0
    reprojection: float = 2.0
    joint_limit: float = 0.5
    velocity: float = 4.0
    acceleration: float = 0.0

    def __post_init__(self) -> None:
        if self.position not in POSITION_LOSSES:
            raise ValueError(f"position loss must be one of {POSITION_LOSSES}, not {self.position!r}")


def laplace_nll(error: Tensor, scale: Tensor) -> Tensor:
    """Negative log-likelihood [...,24] of the distance |e| under exp(−|e|/b)/(8πb³), without the constant."""
    return error.norm(dim=-1) / scale + 3 * torch.log(scale)


def position_loss(error: Tensor, scale: Tensor, kind: str) -> Tensor:
    """Per joint [...,24]; all but "laplace" ignore the scale and are in units that train at the same step size."""
    if kind == "laplace":
        return laplace_nll(error, scale)
    if kind == "mse":
        return 1e2 * error.square().sum(-1)
    if kind == "mae":
        return 2e1 * error.abs().sum(-1)
    return 2e1 * functional.smooth_l1_loss(error, torch.zeros_like(error), beta=0.05, reduction="none").sum(-1)


def bone_terms(predicted: Tensor, target: Tensor, depth_axis: Tensor) -> tuple[Tensor, Tensor]:
    """Length error and error across the viewing ray of every bone, both [...,23] in metres.

    ``depth_axis`` [...,24,3]: unit rays through the true joints.
    """
    bone = predicted[..., _CHILD, :] - predicted[..., _PARENT, :]
    truth = target[..., _CHILD, :] - target[..., _PARENT, :]
    length = (bone.norm(dim=-1) - truth.norm(dim=-1)).abs()
    error = bone - truth
    axis = depth_axis[..., _CHILD, :]
    across = error - (error * axis).sum(-1, keepdim=True) * axis
    return length, across.norm(dim=-1)


def flexion_excess(joints: Tensor) -> Tensor:
    """How far elbows and knees fold beyond 150°, [...,4], as an excess of the cosine."""
    a, b, c = (joints[..., _HINGE[:, k], :] for k in range(3))
    cosine = functional.cosine_similarity(b - a, c - b, dim=-1, eps=1e-4)
    return (_MAX_FLEXION_COS - cosine).clamp(min=0)


def lifting_loss(
    predicted: Tensor, scale: Tensor, target: Tensor, ray: Tensor, reliable: Tensor, config: LossConfig
) -> Tensor:
    """The whole loss of sequences, a scalar.

    Args:
        predicted, target: [B,T,24,3] root-relative metres.
        scale: [B,T,24] Laplace scale b, metres.
        ray: [B,T,24,3] unit rays through the true joints.
        reliable: [B,T,24] bool.
        config: weights; with ``occlusion_aware`` off, all joints count alike and the structural terms are left out.
    """
    error = predicted - target
    weight = torch.ones_like(scale)
    if config.occlusion_aware:
        weight = torch.where(reliable, weight, config.occluded_weight)
    weight[..., ROOT] = 0
    total = weight.sum()
    if config.position == "laplace":
        weight = weight * (scale.detach() / _BALANCE_SCALE_M) ** config.balance
    loss = (weight * position_loss(error, scale, config.position)).sum() / total
    if config.occlusion_aware:
        hidden = ~reliable
        bone_hidden = (hidden[..., _CHILD] | hidden[..., _PARENT]).to(error.dtype)
        length, across = bone_terms(predicted, target, ray)
        bones = (config.bone_length * length + config.reprojection * across) / _METRE
        loss = loss + (bone_hidden * bones).mean()
        hinge_hidden = hidden[..., _HINGE].any(-1).to(error.dtype)
        loss = loss + config.joint_limit * (hinge_hidden * flexion_excess(predicted)).mean()
    if error.shape[1] > 2:
        step = error[:, 1:] - error[:, :-1]
        loss = loss + config.velocity * step.norm(dim=-1).mean() / _METRE
        if config.acceleration > 0:
            loss = loss + config.acceleration * (step[:, 1:] - step[:, :-1]).norm(dim=-1).mean() / _METRE
    return loss


_BALANCE_SCALE_M = 0.03
_METRE = 0.05
"""Errors of this size in metres count as one: it brings distances to the size of the likelihood's terms."""
