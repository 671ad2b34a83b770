"""Networks that may need minutes before their first frame, because their engines are built first."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pose3d_ros.backend import can_build, engines_instead, open_engines, prepare_engines
from pose3d_ros.engines.build_progress import BuildCancelledError
from pose3d_ros.engines.cuda import CudaError
from pose3d_ros.engines.engine import EngineError
from pose3d_ros.loaded_networks import Networks
from pose3d_ros.model_health import reference_in
from pose3d_ros.models import pipeline_models
from pose3d_ros.pipeline import Outcome, View, process_together
from pose3d_ros.pipeline_settings import PipelineSettings
from pose3d_ros.stage_times import StageTimes

_CLOSE_TIMEOUT_S = 0.3


class PreparedNetworks:
    """Networks: at once or, where TensorRT works, in a while; their engines are loaded or built in the background.

    Meanwhile `is_ready` is False, `description` says what is going on, and `done` how much of it, 0...1, is over.
    If that fails, `failure` says why, and they will never be ready. If the GPU fails later, ONNX Runtime takes over
    where the wish allows it, and `description` says why.
    timings_ms: milliseconds that each of STAGES took on the last frames. reference: their figures of health.
    Raises EngineError like Networks where they are made at once, and where a network is missing or damaged.
    """

    def __init__(self, models_dir: Path | None = None, settings: PipelineSettings | None = None) -> None:
        self._wish = (settings or PipelineSettings()).wish
        self._networks: Networks | None = None
        self._cancelled = threading.Event()
        self._news = "loading TensorRT engines"
        self.done = 0.0
        self.failure = ""
        self.timings_ms = StageTimes().ms
        self._thread: threading.Thread | None = None
        self._models = pipeline_models(models_dir)
        self.reference = reference_in(self._models.values())
        if can_build(self._wish):
            self._thread = threading.Thread(target=self._prepare, name="pose3d_build", daemon=True)
            self._thread.start()
        else:
            self._networks = Networks(open_engines(self._models, self._wish))

    @property
    def is_ready(self) -> bool:
        """May frames be processed?"""
        return self._networks is not None

    @property
    def description(self) -> str:
        """The networks and where they run, or what is being done until they do."""
        return self._networks.description if self._networks else self.failure or self._news

    def process(self, views: Sequence[View]) -> list[Outcome]:
        """What comes of frames, see process_together. Raises EngineError while the networks are not ready."""
        networks = self._networks
        if networks is None:
            raise EngineError(self.description)
        times = StageTimes()
        self.timings_ms = times.ms
        outcomes = process_together(networks, views, times)
        lost = next((error for error in outcomes if isinstance(error, CudaError) and error.is_lasting), None)
        if lost is not None:
            self._replace(networks, lost)
        return outcomes

    def close(self) -> None:
        """Gives a build up, and frees what the engines hold. No frame may be in process.

        An engine that is being loaded cannot be given up; it is freed when it is there.
        """
        self._cancelled.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_TIMEOUT_S)
        if self._networks is not None:
            self._networks.close()
            self._networks = None

    def _replace(self, networks: Networks, error: CudaError) -> None:
        """Has ONNX Runtime take over from networks whose GPU is lost."""
        with suppress(EngineError):  # where it may not or cannot, every frame fails, and says what to do
            self._networks = Networks(engines_instead(self._models, self._wish, error))
            networks.close()

    def _prepare(self) -> None:
        try:
            engines = prepare_engines(self._models, self._wish, self._report, self._cancelled.is_set)
            networks = Networks(engines)
            if self._cancelled.is_set():
                networks.close()
            else:
                self._networks = networks
        except BuildCancelledError as error:
            self._news = str(error)
        except Exception as error:  # whatever it is, nobody else would tell
            self.failure = str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"

    def _report(self, done: float | None, text: str) -> None:
        self.done, self._news = done or 0.0, text
