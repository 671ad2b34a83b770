"""Frames -> people: runs the frames of one or several cameras through one set of networks. It does no arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from pose3d_ros.backend import Engines, open_engines
from pose3d_ros.follower import Follower
from pose3d_ros.loaded_networks import Lift, Locate, Networks, Question, Search, Steps
from pose3d_ros.models import pipeline_models
from pose3d_ros.person import Frame, Person
from pose3d_ros.pipeline_settings import PipelineSettings
from pose3d_ros.stage_times import StageTimes

Outcome: TypeAlias = list[Person] | Exception
"""The people in a frame, or what went wrong with it."""

Value = TypeVar("Value")
_Ask: TypeAlias = Callable[[Sequence[Any]], Sequence[Any]]


class View(NamedTuple):
    """A frame, and who follows the people of its camera."""

    follower: Follower
    frame: Frame


def process_together(networks: Networks, views: Sequence[View], times: StageTimes) -> list[Outcome]:
    """What comes of the frames of several cameras, one frame each, see answer_together.

    times: what the stages took is added.
    """
    return answer_together(networks, [view.follower.follow(view.frame, times) for view in views], times)


def answer_together(networks: Networks, steps: Sequence[Steps[Value]], times: StageTimes) -> list[Value | Exception]:
    """What all steps return, or what went wrong; every network answers those who ask it in one batch.

    The trouble of one is not the others', but for a network that fails: then all that asked it fail.
    times: what the networks took is added.
    """
    ways = [_Way(each) for each in steps]
    asks: list[tuple[type[Question], str, _Ask]] = [
        (Search, "find", networks.search),
        (Locate, "pose2d", networks.locate),
        (Lift, "lift", networks.lift),
    ]
    # The earlier networks first, so that those who ask twice are waited for before the later ones run.
    while waiting := [(kind, stage, ask) for kind, stage, ask in asks if any(type(w.question) is kind for w in ways)]:
        kind, stage, ask = waiting[0]
        asking = [way for way in ways if type(way.question) is kind]
        try:
            with times.of(stage):
                answers = ask([way.question for way in asking])
        except Exception as error:
            for way in asking:
                way.fail(error)
        else:
            for way, answer in zip(asking, answers, strict=True):
                way.go_on(answer)
    return [way.outcome for way in ways]


class _Way(Generic[Value]):
    """Steps on their way. question: what it asks now; None at the end, where the outcome is known."""

    def __init__(self, steps: Steps[Value]) -> None:
        self._steps = steps
        self.question: Question | None = None
        self.outcome: Value | Exception
        self.go_on(None)

    def go_on(self, answer: Any) -> None:
        try:
            self.question = self._steps.send(answer)
        except StopIteration as end:
            self.question, self.outcome = None, end.value
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        self._steps.close()
        self.question, self.outcome = None, error


class Pipeline:
    """The whole way of one camera's frames, with the state of the people it follows.

    models_dir: a folder with models.json; None for the package's own. engines: used instead, where they are open
    already; the pipeline closes them.
    timings_ms: milliseconds that each of STAGES took on the last frame. description: the networks and where they run.
    Raises EngineError when a network is missing, damaged, or not what its stage needs.
    """

    def __init__(
        self, models_dir: Path | None = None, settings: PipelineSettings | None = None, engines: Engines | None = None
    ) -> None:
        settings = settings or PipelineSettings()
        self._networks = Networks(engines or open_engines(pipeline_models(models_dir), settings.wish))
        self._follower = Follower(settings)
        self.description = self._networks.description
        self.timings_ms = StageTimes().ms

    def change(self, settings: PipelineSettings) -> None:
        """Other settings from the next frame on, see Follower.change."""
        self._follower.change(settings)

    def close(self) -> None:
        """Frees what the engines hold; the pipeline must not be used again."""
        self._networks.close()

    def reset(self) -> None:
        """Forgets everybody."""
        self._follower.reset()

    def process(self, frame: Frame) -> list[Person]:
        """The people in a frame, see Follower.follow. Raises EngineError when a network fails."""
        times = StageTimes()
        self.timings_ms = times.ms
        [outcome] = process_together(self._networks, [View(self._follower, frame)], times)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def ahead(self, stamp_ns: int) -> list[Person]:
        """The people of the last frame at a later time, see Follower.ahead."""
        return self._follower.ahead(stamp_ns)
