"""How the pipeline works, as its user sets it."""

from __future__ import annotations

from dataclasses import dataclass

from pose3d_ros.backend import BACKENDS, PRECISIONS, Wish
from pose3d_ros.stages.track import TrackerConfig


@dataclass(frozen=True)
class PipelineSettings:
    """How the pipeline works. Raises ValueError naming the setting, its value and what it may be.

    threads: CPU threads of a network. backend, precision: what runs the networks, see pose3d_ros.backend.
    max_people: most people in a frame.
    score_threshold: least confidence that a thing is a person, of its joints and of an outside detector, 0...1.
    new_person_threshold: least probability, by finder and joints together, of somebody who was not there before, not
    less: things that look a little like a person shall not come and go.
    visible_threshold: least score of a joint that counts as visible.
    smoothing: how calm the joints are over time; divides the accelerations that people are believed capable of.
    find_every_n_frames: how often the whole image is searched while everybody known is in view.
    track_timeout_s: how long a person who is not seen is carried on.
    """

    threads: int = 2
    backend: str = "auto"
    precision: str = "auto"
    max_people: int = 20
    score_threshold: float = 0.3
    new_person_threshold: float = 0.5
    visible_threshold: float = TrackerConfig.visible_score
    smoothing: float = 1.0
    find_every_n_frames: int = 10
    track_timeout_s: float = 0.5

    def __post_init__(self) -> None:
        for name in ("threads", "max_people", "find_every_n_frames"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value}: it must be a whole number, 1 or more")
        for name, choices in (("backend", BACKENDS), ("precision", PRECISIONS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is '{getattr(self, name)}': it must be one of {', '.join(choices)}")
        for name in ("score_threshold", "new_person_threshold", "visible_threshold"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must lie between 0 and 1")
        if self.new_person_threshold < self.score_threshold:
            raise ValueError(
                f"new_person_threshold is {self.new_person_threshold}, below the score_threshold of "
                f"{self.score_threshold}: whoever is taken up would be given up in the next frame; change both together"
            )
        if not 0 < self.smoothing < float("inf"):
            raise ValueError(f"smoothing is {self.smoothing}: it must be more than 0")
        if not 0 <= self.track_timeout_s < float("inf"):
            raise ValueError(f"track_timeout_s is {self.track_timeout_s}: it must be 0 s or more")

    @property
    def wish(self) -> Wish:
        """How the networks shall run. The lifter is so small that sharing it among threads would only delay it."""
        return Wish(self.backend, self.precision, {"find": self.threads, "pose2d": self.threads, "lift": 1})
