"""What a frame may carry beside its image, through the whole pipeline: depth, regions, ground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the tests make small networks with onnx")
import simulated_people
import tiny_networks

from pose3d_ros.camera import Camera
from pose3d_ros.person import Frame, Ground, Person, Regions
from pose3d_ros.pipeline import Pipeline, PipelineSettings

pytestmark = pytest.mark.usefixtures("crops_of_one_size")

CAMERA = Camera.from_horizontal_fov(640, 480, 60)
BRIGHT = np.full((480, 640, 3), 240, np.uint8)
FRAME_NS = 33_000_000


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(tiny_networks.write_models(tmp_path), PipelineSettings(threads=1))


def depth_of(person: Person, size: float) -> np.ndarray:
    """Depth of the same picture, of a person larger by `size`, who is farther away by it."""
    assert person.joints_m is not None
    points = person.joints_m * size
    return simulated_people.as_measured(simulated_people.depth_image(points), hole_share=0.2)


def process(pipeline: Pipeline, number: int, **more: object) -> Person:
    [person] = pipeline.process(Frame(BRIGHT, number * FRAME_NS, CAMERA, **more))  # type: ignore[arg-type]
    return person


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_people, "CAMERA", CAMERA)
    monkeypatch.setattr(simulated_people, "FOCAL_PX", float(CAMERA.K[0, 0]))


def test_depth_places_a_tall_person_farther_away_and_makes_them_taller(pipeline: Pipeline, camera: None) -> None:
    without = process(pipeline, 0)
    pipeline.reset()
    person = process(pipeline, 0, depth_m=depth_of(without, 1.1))
    assert person.joints_m[0, 2] == pytest.approx(1.1 * without.joints_m[0, 2], rel=0.025)
    height, height_without = (np.ptp(p.joints_m[:, 1]) for p in (person, without))
    assert height == pytest.approx(1.1 * height_without, rel=0.04)
    assert np.sqrt(person.joints_m_cov[0, 2, 2]) < 0.6 * np.sqrt(without.joints_m_cov[0, 2, 2])
    assert np.abs(CAMERA.project(person.joints_m) - person.joints_px).max() < 8
    assert (np.linalg.eigvalsh(person.joints_m_cov) > 0).all()


def test_a_frame_without_depth_does_not_forget_the_size(pipeline: Pipeline, camera: None) -> None:
    """A depth camera at half the rate must not make people jump to and fro."""
    without = process(pipeline, 0)
    pipeline.reset()
    depth = depth_of(without, 1.1)
    distances = [process(pipeline, i, depth_m=depth if i % 2 == 0 else None).joints_m[0, 2] for i in range(20)]
    assert np.ptp(distances[2:]) < 0.01 * distances[0]
    assert np.ptp(distances) < 0.03 * distances[0]
    assert distances[-1] == pytest.approx(1.1 * without.joints_m[0, 2], rel=0.03)


def test_a_frame_of_wrong_depth_does_not_make_a_child_for_good(pipeline: Pipeline, camera: None) -> None:
    """Something passed before the camera's depth sensor."""
    without = process(pipeline, 0)
    pipeline.reset()
    right, near = depth_of(without, 1.0), depth_of(without, 0.6)
    assert process(pipeline, 0, depth_m=near).joints_m[0, 2] < 0.8 * without.joints_m[0, 2]
    for number in range(1, 9):
        person = process(pipeline, number, depth_m=right)
    assert person.joints_m[0, 2] == pytest.approx(without.joints_m[0, 2], rel=0.05)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 100.0])
def test_depth_that_tells_nothing_changes_nothing(pipeline: Pipeline, value: float) -> None:
    without = process(pipeline, 0)
    pipeline.reset()
    person = process(pipeline, 0, depth_m=np.full((480, 640), value, np.float32))
    np.testing.assert_array_equal(person.joints_m, without.joints_m)
    np.testing.assert_array_equal(person.joints_m_cov, without.joints_m_cov)


def regions(*boxes: tuple[float, float, float, float], score: float = 0.9) -> Regions:
    return Regions(np.array(boxes, float).reshape(-1, 4), np.full(len(boxes), score))


def test_regions_take_the_place_of_the_finder(pipeline: Pipeline) -> None:
    """The bright picture has a person for the finder in its middle; the detector says otherwise."""
    aside = (20.0, 40.0, 180.0, 400.0)
    people = pipeline.process(Frame(BRIGHT, 0, CAMERA, regions=regions(aside)))
    assert pipeline.timings_ms["find"] == 0
    [person] = people
    assert person.box[2] < 250
    assert pipeline.process(Frame(BRIGHT, FRAME_NS, CAMERA, regions=regions(aside)))[0].id == person.id
    both = pipeline.process(Frame(BRIGHT, 2 * FRAME_NS, CAMERA, regions=regions(aside, (400.0, 40.0, 560.0, 400.0))))
    assert [p.id for p in both] == [1, 2]


def test_no_region_is_nobody(pipeline: Pipeline) -> None:
    assert pipeline.process(Frame(BRIGHT, 0, CAMERA, regions=regions())) == []
    unlikely = regions((20.0, 40.0, 180.0, 400.0), score=0.1)
    assert pipeline.process(Frame(BRIGHT, FRAME_NS, CAMERA, regions=unlikely)) == []
    assert len(pipeline.process(Frame(BRIGHT, 2 * FRAME_NS, CAMERA))) == 1  # the finder looks again


def test_a_region_with_nobody_in_it_is_no_person(pipeline: Pipeline) -> None:
    dark = np.zeros_like(BRIGHT)
    assert pipeline.process(Frame(dark, 0, CAMERA, regions=regions((20.0, 40.0, 180.0, 400.0)))) == []


def test_the_ground_moves_a_person_who_stands(pipeline: Pipeline) -> None:
    without = process(pipeline, 0)
    lowest = without.joints_m[:, 1].max() + 0.03
    pipeline.reset()
    person = process(pipeline, 0, ground=Ground(np.array([0.0, -1.0, 0.0]), 1.05 * lowest))
    assert 1.005 * without.joints_m[0, 2] < person.joints_m[0, 2] < 1.06 * without.joints_m[0, 2]
    assert person.joints_m_cov[0, 2, 2] < without.joints_m_cov[0, 2, 2]


def test_depth_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="registered"):
        Frame(BRIGHT, 0, CAMERA, depth_m=np.zeros((240, 320), np.float32))
