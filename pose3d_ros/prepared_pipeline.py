"""A pipeline that may need minutes before its first frame, because its engines are built first."""

from __future__ import annotations

import threading
from pathlib import Path

from pose3d_ros.backend import can_build, prepare_engines
from pose3d_ros.engines.build_progress import BuildCancelledError
from pose3d_ros.engines.engine import EngineError
from pose3d_ros.models import pipeline_models
from pose3d_ros.person import Frame, Person
from pose3d_ros.pipeline import Pipeline, PipelineSettings


class PreparedPipeline:
    """A pipeline: at once or, where TensorRT works, in a while; its engines are loaded or built in the background.

    Meanwhile `is_ready` is False, `description` says what is going on, and `done` how much of it, 0...1, is over.
    If that fails, `failure` says why, and it will never be ready.
    Raises EngineError like Pipeline where it is made at once, and where a network is missing or damaged.
    """

    def __init__(self, models_dir: Path | None = None, settings: PipelineSettings | None = None) -> None:
        self._settings = settings or PipelineSettings()
        self._pipeline: Pipeline | None = None
        self._cancelled = threading.Event()
        self._news = "loading TensorRT engines"
        self.done = 0.0
        self.failure = ""
        self._thread: threading.Thread | None = None
        if can_build(self._settings.wish):
            self._models = pipeline_models(models_dir)
            self._thread = threading.Thread(target=self._prepare, name="pose3d_build", daemon=True)
            self._thread.start()
        else:
            self._pipeline = Pipeline(models_dir, self._settings)

    @property
    def is_ready(self) -> bool:
        """May frames be processed?"""
        return self._pipeline is not None

    @property
    def description(self) -> str:
        """The networks and where they run, or what is being done until they do."""
        return self._pipeline.description if self._pipeline else self.failure or self._news

    @property
    def timings_ms(self) -> dict[str, float]:
        """Milliseconds that each stage took on the last frame."""
        return self._pipeline.timings_ms if self._pipeline else {}

    def process(self, frame: Frame) -> list[Person]:
        """The people in a frame. Raises EngineError when a network fails, or while the pipeline is not ready."""
        return self._ready().process(frame)

    def ahead(self, stamp_ns: int) -> list[Person]:
        """The people of the last frame as they will be at a later time. Raises EngineError while it is not ready."""
        return self._ready().ahead(stamp_ns)

    def change(self, settings: PipelineSettings) -> None:
        """Other settings from the next frame on, see Pipeline.change. Raises EngineError while it is not ready."""
        self._ready().change(settings)

    def reset(self) -> None:
        """Forgets everybody."""
        if self._pipeline is not None:
            self._pipeline.reset()

    def close(self) -> None:
        """Gives a build up, and frees what the engines hold. No frame may be in process."""
        self._cancelled.set()
        if self._thread is not None:
            self._thread.join()
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None

    def _ready(self) -> Pipeline:
        if self._pipeline is None:
            raise EngineError(self.description)
        return self._pipeline

    def _prepare(self) -> None:
        try:
            engines = prepare_engines(self._models, self._settings.wish, self._report, self._cancelled.is_set)
            self._pipeline = Pipeline(settings=self._settings, engines=engines)
        except BuildCancelledError as error:
            self._news = str(error)
        except Exception as error:  # whatever it is, nobody else would tell
            self.failure = str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"

    def _report(self, done: float | None, text: str) -> None:
        self.done, self._news = done or 0.0, text
