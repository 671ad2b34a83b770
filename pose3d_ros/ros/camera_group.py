"""A node's cameras: they share the networks, and the thread that works on their images."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pose3d_ros.prepared_networks import PreparedNetworks
from pose3d_ros.ros.camera_stream import CameraStream, Job
from pose3d_ros.ros.diagnosis import build_finding, engine_finding
from pose3d_ros.ros.frame_tree import FrameTree
from pose3d_ros.ros.fusion import Fusion
from pose3d_ros.ros.health import Finding
from pose3d_ros.ros.managed_node import ManagedNode
from pose3d_ros.ros.parameter_declaration import Values
from pose3d_ros.ros.worker import Worker

if TYPE_CHECKING:  # hri_msgs is not everywhere
    from pose3d_ros.ros.hri_outputs import HriOutputs


class CameraGroup:
    """Works on the newest image of each camera that has one, all at once: crops of all cameras in one batch.

    However many images one camera sends, it has no more than one in each batch, so that no other starves.
    Publishers exist from the beginning to `destroy`, which closes the networks too; subscriptions and thread from
    `start` to `stop`. values: returns the node's parameters, of one moment. frames: TF, where parameters ask for it.
    fusion: of all cameras' people, where that is wanted. hri: publishes people as bodies too, likewise: the fused ones
    if there are any, else those of each camera.
    """

    def __init__(
        self,
        node: ManagedNode,
        networks: PreparedNetworks,
        values: Callable[[], Values],
        frames: FrameTree | None = None,
        fusion: Fusion | None = None,
        hri: HriOutputs | None = None,
    ) -> None:
        self._node = node
        self._networks = networks
        self._fusion = fusion
        self._hri = hri
        of_cameras = hri if fusion is None else None
        self._streams = [
            CameraStream(node, name, networks, values, self._is_wanted, frames, of_cameras)
            for name in values()["cameras"]
        ]
        self._worker: Worker[Job] | None = None
        self._started: list[CameraStream] = []  # or half so
        self._is_destroyed = False
        self._said = {networks.description}  # by whoever made them

    def start(self) -> None:
        """Connects the topics and begins to work; whoever was followed before is forgotten."""
        if self._fusion is not None:
            self._fusion.restart()
        self._worker = worker = Worker(self._work, f"{self._node.get_name()}_worker")
        self._started = []
        for stream in self._streams:
            self._started.append(stream)
            stream.start(lambda job: worker.put(job.stream, job))

    def stop(self) -> None:
        """Disconnects the topics, however far `start` came; images that wait are lost."""
        for stream in self._started:
            stream.stop()
        for job in self._worker.close() if self._worker else ():
            job.stream.overtaken()

    def join(self, timeout_s: float) -> bool:
        """Waits, after `stop`, for the images in hand; False if they took longer.

        What is left of the time hard frames have to be written; a disk that takes longer goes on by itself.
        """
        deadline = time.monotonic() + timeout_s
        is_idle = self._worker is None or self._worker.join(timeout_s)
        for stream in self._started:
            stream.join(max(deadline - time.monotonic(), 0.0))
        return is_idle

    def clear(self) -> None:
        """Takes what was shown out of RViz."""
        for stream in self._streams:
            stream.clear()
        if self._fusion is not None:
            self._fusion.clear()
        if self._hri is not None:
            self._hri.clear()

    def destroy(self) -> None:
        """Ends the publishers, and frees the networks once no image is in them any more."""
        self._is_destroyed = True
        for stream in self._streams:
            stream.destroy()
        if self._fusion is not None:
            self._fusion.destroy()
        if self._hri is not None:
            self._hri.destroy()
        if self._worker is None or self._worker.join(0):
            self._networks.close()
        else:
            threading.Thread(target=self._close_when_idle, args=(self._worker,), daemon=True).start()

    # ---- the executor's thread -------------------------------------------------------------------------------------

    def findings(self) -> list[Finding]:
        """What there is to say of cameras and networks since the last call; looks after the topics, too."""
        if self._hri is not None:
            self._hri.forget_the_silent()
        of_fusion = [self._fusion.finding()] if self._fusion is not None else []
        of_cameras = (finding for stream in self._streams for finding in stream.findings())
        return [*of_cameras, *of_fusion, self.networks_finding()]

    def stats(self) -> dict[str, Any]:
        """All figures of cameras and networks."""
        return {
            "cameras": {stream.name: stream.stats() for stream in self._streams},
            "networks": {"description": self._networks.description, "stages_ms": dict(self._networks.timings_ms)},
            "reference": {name: known._asdict() for name, known in self._networks.reference.items()},
        }

    def networks_finding(self) -> Finding:
        """What there is to say of the networks; their engines may be built before the work has started."""
        networks = self._networks
        if not networks.is_ready:
            if networks.failure and self._is_new(networks.failure):
                self._node.get_logger().error(networks.failure)
            return build_finding(networks.description, networks.done, networks.failure)
        if self._is_new(networks.description):
            self._node.get_logger().info(networks.description)
        failure = next((stream.failure for stream in self._streams if stream.failure), "")
        return engine_finding(networks.description, dict(networks.timings_ms), failure)

    def _is_wanted(self, values: Values) -> bool:
        """Whether anybody listens to what comes of all cameras together."""
        of_fusion = self._fusion is not None and self._fusion.wanted(values)
        return of_fusion or (self._hri is not None and self._hri.wanted)

    def _is_new(self, text: str) -> bool:
        """Has this not been said yet? Then it is now."""
        is_new = text not in self._said
        self._said.add(text)
        return is_new

    def _close_when_idle(self, worker: Worker[Job]) -> None:
        worker.join()
        self._networks.close()

    # ---- the worker's thread ---------------------------------------------------------------------------------------

    def _work(self, jobs: list[Job]) -> None:
        prepared = [(job, view) for job in jobs if (view := job.stream.view(job)) is not None]
        outcomes = self._networks.process([view for _, view in prepared])
        if self._is_destroyed:  # meanwhile, by who has waited long enough
            return
        for (job, view), outcome in zip(prepared, outcomes, strict=True):
            job.stream.finish(job, view, outcome)
        if self._fusion is not None and prepared:
            newest_ns = max(view.frame.stamp_ns for _, view in prepared)
            self._fusion.update(newest_ns, {stream.name: stream.seen for stream in self._streams}, jobs[-1].values)
