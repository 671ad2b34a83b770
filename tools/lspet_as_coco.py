"""Writes some of LSPET's training photos as COCO keypoints, to try fine-tuning on a small set of real people.

python tools/lspet_as_coco.py --data ../shared/data --count 300 --output runs/small
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pose3d_ros.crop import box_of_joints
from pose3d_ros.data.lspet import Photos, read_lspet
from pose3d_ros.skeleton import COCO_17

_VISIBLE = 2


def annotation(photos: Photos, i: int) -> dict[str, Any]:
    """The person of photo i."""
    known, joints = photos.labelled[i], photos.joints_px[i]
    x0, y0, x1, y1 = box_of_joints(joints[known]).tolist()
    keypoints = [[*joints[j], _VISIBLE] if known[j] else [0, 0, 0] for j in COCO_17]
    return {
        "id": i,
        "image_id": i,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "keypoints": np.ravel(keypoints).tolist(),
        "iscrowd": 0,
    }


def main() -> None:
    """Writes annotations.json and the photos beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder that has lspet/")
    parser.add_argument("--count", type=int, default=300, help="photos (default 300)")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    photos = read_lspet(args.data / "lspet", "train")
    chosen = np.linspace(0, len(photos) - 1, args.count).astype(int).tolist()
    (args.output / "images").mkdir(parents=True, exist_ok=True)
    for i in chosen:
        cv2.imwrite(str(args.output / f"images/{i:05d}.jpg"), photos.image(i))
    images = [{"id": i, "file_name": f"{i:05d}.jpg"} for i in chosen]
    content = {"images": images, "annotations": [annotation(photos, i) for i in chosen]}
    (args.output / "annotations.json").write_text(json.dumps(content))


if __name__ == "__main__":
    main()
