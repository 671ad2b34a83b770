"""Stage 1: a crop -> one heatmap per joint, and whether the joint is to be seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from pose3d_ros.networks.low_rank import take_ranks
from pose3d_ros.networks.onnx_file import input_sizes, read_weights
from pose3d_ros.networks.resnet import DEPTHS, FeaturePyramid, ResNet
from pose3d_ros.skeleton import MIRROR, NUM_JOINTS

HEATMAP_STRIDE = 4
MEAN_LEVEL, LEVEL_SCALE = 118, 1 / 58
"""What networks see of a pixel's level of 0...255: its distance from the mean, scaled."""
_BATCHES_SEEN = "num_batches_tracked"
"""What normalisation counts in training; no file to run has it."""


class Pose2DNet(nn.Module):
    """ResNet -> feature pyramid at stride 4 -> heatmaps.

    depth, width: of the ResNet. head_width: channels of the pyramid.
    """

    def __init__(self, depth: int, width: int, head_width: int) -> None:
        super().__init__()
        self.sizes = {"depth": depth, "width": width, "head_width": head_width}
        self.backbone = ResNet(depth, width)
        self.pyramid = FeaturePyramid(self.backbone.channels, head_width)
        self.heads = nn.Conv2d(head_width, 2 * NUM_JOINTS, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [n, 3, s, s], normalised -> heatmap logits [n, 24, s/4, s/4], visibility logits [n, 24].

        A joint's visibility is read where its heatmap lies.
        """
        logits, visibility = self.heads(self.pyramid(self.backbone(images))).split(NUM_JOINTS, 1)
        attention = torch.softmax(logits.detach().float().flatten(2), -1)
        return logits, (attention * visibility.float().flatten(2)).sum(-1)


def load_net(file: Path) -> tuple[Pose2DNet, int]:
    """The network of a checkpoint (its averaged weights) or of an exported .onnx, and the side of its input.

    Raises ValueError when an exported file is none of stage 1 in floating point.
    """
    if file.suffix == ".onnx":
        return _exported_net(file)
    state = torch.load(file, map_location="cpu", weights_only=True)
    config = state["config"]
    net = Pose2DNet(config["depth"], config["width"], config["head_width"])
    take_ranks(net, state["ema"])
    net.load_state_dict(state["ema"])
    return net.eval(), config["input_size"]


def save_net(net: Pose2DNet, size: int, file: Path) -> None:
    """Writes a checkpoint that `load_net` reads and a training goes on from; size: side of the network's input."""
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"config": net.sizes | {"input_size": size}, "ema": net.state_dict()}, file)


def _exported_net(file: Path) -> tuple[Pose2DNet, int]:
    weights = read_weights(file, "net.")
    if not {"backbone.stem.0.1.weight", "heads.weight"} <= set(weights):
        raise ValueError(f"{file} is no stage 1 in floating point, as `pose3d export pose2d` writes it")
    width, head_width = len(weights["backbone.stem.0.1.weight"]), weights["heads.weight"].shape[1]
    for depth in DEPTHS:
        net = Pose2DNet(depth, width, head_width)
        take_ranks(net, weights)
        if {name for name in net.state_dict() if not name.endswith(_BATCHES_SEEN)} == set(weights):
            net.load_state_dict(weights, strict=False)
            return net.eval(), input_sizes(file)[1]
    raise ValueError(f"{file} holds none of the networks that this version knows")


def load_mean_net(checkpoints: Sequence[Path]) -> tuple[Pose2DNet, int]:
    """The network whose weights are the mean of several parts of one training, and the side of the last one's input.

    Parts that went on from each other err differently, and their mean less (Wortsman et al. 2022, "Model soups").
    Raises ValueError when they are of different sizes.
    """
    nets, sizes = zip(*(load_net(checkpoint) for checkpoint in checkpoints), strict=True)
    states = [net.state_dict() for net in nets]
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    if any(other != shapes[0] for other in shapes):
        raise ValueError("the checkpoints are of networks of different sizes: name parts of one training")
    mean = {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(value.dtype)
        for name, value in states[-1].items()
    }
    nets[-1].load_state_dict(mean)
    return nets[-1], sizes[-1]


Look = Callable[[Pose2DNet, Tensor], tuple[Tensor, Tensor]]
"""A network and its images -> heatmap logits and visibility logits."""


def look_once(net: Pose2DNet, images: Tensor) -> tuple[Tensor, Tensor]:
    """What the network finds in the images."""
    return net(images)


def look_both_ways(net: Pose2DNet, images: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of what the network finds in the images and in their mirror images.

    Columns are turned round by gathering them, as not every TensorRT slices backwards.
    """
    logits, visibility = look_once(net, torch.cat([images, _reversed(images)]))
    # Unflattened, not halved: the exported graph keeps a free number of people.
    logits, visibility = logits.unflatten(0, (2, -1)), visibility.unflatten(0, (2, -1))
    there, back, seen_there, seen_back = logits[0], logits[1], visibility[0], visibility[1]
    return (there + _reversed(back[:, MIRROR])) / 2, (seen_there + seen_back[:, MIRROR]) / 2


def _reversed(maps: Tensor) -> Tensor:
    columns = torch.tensor(range(int(maps.shape[-1]))[::-1], device=maps.device)
    return maps.index_select(-1, columns)


def network_input(images: Tensor) -> Tensor:
    """Images [n, h, w, 3] uint8 -> [n, 3, h, w], normalised, channels last."""
    return normalise(images.permute(0, 3, 1, 2).float()).contiguous(memory_format=torch.channels_last)


def normalise(images: Tensor) -> Tensor:
    """[n, 3, h, w] of 0...255 -> about -2...2."""
    return (images - MEAN_LEVEL) * LEVEL_SCALE
