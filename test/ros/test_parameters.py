"""The table of parameters: complete, sound, and the same as the pipeline's settings."""

from dataclasses import fields
from pathlib import Path

import pytest

from pose3d_ros.pipeline_settings import PipelineSettings
from pose3d_ros.ros.parameters import PARAMETERS, pipeline_settings, problems_together

BY_NAME = {spec.name: spec for spec in PARAMETERS}
CONFIG = Path(__file__).parents[2] / "config" / "pose3d.yaml"


@pytest.mark.parametrize("spec", PARAMETERS, ids=lambda spec: spec.name)
def test_every_parameter_is_described_and_its_default_allowed(spec):
    assert spec.description.endswith(".")
    assert spec.problem(spec.default) is None
    if type(spec.default) in (int, float):
        assert spec.minimum is not None
        assert spec.maximum is not None


def test_names_are_unique():
    assert len(BY_NAME) == len(PARAMETERS)


def test_the_pipelines_settings_are_parameters_with_its_defaults():
    for field in fields(PipelineSettings):
        assert BY_NAME[field.name].default == getattr(PipelineSettings(), field.name)
    assert pipeline_settings({spec.name: spec.default for spec in PARAMETERS}) == PipelineSettings()


@pytest.mark.parametrize("spec", [BY_NAME[f.name] for f in fields(PipelineSettings)], ids=lambda spec: spec.name)
def test_the_pipeline_takes_the_ends_of_every_range(spec):
    for value in spec.choices or (spec.minimum, spec.maximum):
        together = {
            "score_threshold": {"new_person_threshold": 0.99},
            "new_person_threshold": {"score_threshold": 0.01},
        }
        PipelineSettings(**{**together.get(spec.name, {}), spec.name: type(spec.default)(value)})


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("threads", 0, "between 1 and 64"),
        ("threads", 2.0, "whole number"),
        ("threads", True, "whole number"),
        ("score_threshold", 1, "write 1.0"),
        ("score_threshold", 1.5, "between"),
        ("score_threshold", float("nan"), "between"),
        ("track_timeout_s", -1.0, "between"),
        ("reliability", "fast", "one of auto, reliable, best_effort"),
        ("image_transport", "theora", "one of raw, compressed"),
        ("publish_tf", "yes", "bool"),
        ("tf_prefix", "", "frame names"),
        ("tf_prefix", "/person", "frame names"),
        ("tf_prefix", "person 1", "frame names"),
        ("target_frame", "/base_link", "frame names"),
        ("fusion_frame", "/base_link", "frame names"),
        ("ground_frame", "base link", "frame names"),
        ("cameras", "front", "list of texts"),
        ("cameras", [1, 2], "list of texts"),
        ("cameras", ["front", "le ft"], "'le ft': camera names"),
        ("hard_frames_dir", "~somebody/frames", "only one's own can be named"),
    ],
)
def test_wrong_values_are_refused_with_a_reason(name, value, text):
    problem = BY_NAME[name].problem(value)
    assert problem.startswith(name)
    assert text in problem


@pytest.mark.parametrize("folder", ["", "~", "~/frames", "/data/frames", "frames~1"])
def test_folders_for_hard_frames(folder):
    assert BY_NAME["hard_frames_dir"].problem(folder) is None


def test_what_must_fit_together_is_checked_together():
    values = {spec.name: spec.default for spec in PARAMETERS}
    assert problems_together(values) == []
    (problem,) = problems_together({**values, "score_threshold": 0.7})
    assert "new_person_threshold is 0.5, below the score_threshold of 0.7" in problem
    assert problems_together({**values, "score_threshold": 0.7, "new_person_threshold": 0.8}) == []


@pytest.mark.parametrize(
    ("cameras", "frame", "text"),
    [
        ([""], "", ""),
        (["front"], "", ""),
        (["front", "left"], "base", ""),
        ([], "", "cameras is empty"),
        (["front", "front"], "", "a name of its own"),
        (["front", ""], "", "only a single camera"),
        (["front", "fused"], "", "what comes of them all"),
        (["front"], "base", "two cameras or more"),
    ],
)
def test_cameras_are_checked_together(cameras, frame, text):
    values = {spec.name: spec.default for spec in PARAMETERS}
    problems = problems_together({**values, "cameras": cameras, "fusion_frame": frame})
    assert bool(problems) == bool(text)
    assert text in "".join(problems)


@pytest.mark.parametrize(
    ("height_m", "pitch_deg", "frame", "text"),
    [
        (1.2, 0.0, "", ""),
        (1.2, -5.0, "", ""),
        (0.0, 0.0, "base_footprint", ""),
        (0.0, 5.0, "", "camera_pitch_deg is 5.0: it needs camera_height_m"),
        (0.0, 5.0, "base_footprint", "it needs camera_height_m"),
        (1.2, 0.0, "base_footprint", "set one of them"),
    ],
)
def test_what_tells_the_ground_is_checked_together(height_m, pitch_deg, frame, text):
    values = {spec.name: spec.default for spec in PARAMETERS}
    values |= {"camera_height_m": height_m, "camera_pitch_deg": pitch_deg, "ground_frame": frame}
    problems = problems_together(values)
    assert bool(problems) == bool(text)
    assert text in "".join(problems)


def test_fused_people_and_those_of_each_camera_may_have_frames_of_their_own():
    values = {spec.name: spec.default for spec in PARAMETERS} | {"cameras": ["front", "left"]}
    assert problems_together({**values, "fusion_frame": "base_link", "target_frame": "map"}) == []


@pytest.mark.skipif(not CONFIG.is_file(), reason="no config/pose3d.yaml here")
def test_the_configuration_file_has_every_parameter_with_its_default():
    yaml = pytest.importorskip("yaml")
    content = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    (sections,) = content.values()
    values = sections["ros__parameters"]
    assert {name: type(value) for name, value in values.items()} == {s.name: type(s.default) for s in PARAMETERS}
    assert values == {spec.name: spec.default for spec in PARAMETERS}
