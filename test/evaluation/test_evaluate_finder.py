"""The finder's figures against what can be told by hand."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pose3d_ros import cli
from pose3d_ros.evaluation import evaluate_finder
from pose3d_ros.evaluation.evaluate_finder import Scene, average_precision, matches, share_found
from pose3d_ros.models import Model, read_models, record_model

IMAGE = np.zeros((100, 100, 3), np.uint8)
FIRST, SECOND, THIRD = ([0.0, 0, 20, 40], [50.0, 0, 70, 40], [30.0, 60, 50, 100])


def scene(boxes, hidden=()):
    return Scene(IMAGE, np.array(boxes).reshape(-1, 4), np.array(hidden).reshape(-1, 4))


class Says:
    """A finder that says what it is told, one answer a picture."""

    def __init__(self, *answers):
        self._answers = iter(answers)

    def find(self, image, score_threshold):
        boxes, scores = next(self._answers)
        return np.array(boxes).reshape(-1, 4), np.array(scores, float)


def test_each_person_is_found_once_and_hidden_ones_do_not_count():
    finds = np.array([FIRST, FIRST, THIRD, SECOND])
    assert matches(finds, scene([FIRST, SECOND], hidden=[THIRD])) == [True, False, None, True]


def test_share_found():
    finder = Says(([FIRST], [0.9]), ([], []), ([SECOND], [0.9]), ([[50, 0, 70, 25]], [0.9]))
    people = [scene([FIRST]), scene([FIRST]), scene([FIRST]), scene([SECOND])]
    assert share_found(finder, people) == 50


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.9, 0.8, 0.1], 1.0),  # the false alarm comes last
        ([0.9, 0.1, 0.5], 0.5 * 1 + 0.5 * 2 / 3),  # between the two
        ([0.8, 0.1, 0.9], 2 / 3),  # first: two of three, wherever it is cut
    ],
)
def test_average_precision(scores, expected):
    finder = Says(([FIRST, SECOND, THIRD], scores))
    assert average_precision(finder, [scene([FIRST, SECOND])]) == pytest.approx(expected)


def test_figures_are_recorded_with_the_file_that_was_measured(tmp_path, monkeypatch):
    """The one in 8 bits; somebody stands where the tiny finder sees them, and somebody does not."""
    pytest.importorskip("onnx", reason="the tests make small networks with onnx")
    import tiny_networks

    models = tiny_networks.write_models(tmp_path / "models")
    int8 = models / "find_int8.onnx"
    int8.write_bytes((models / "find.onnx").read_bytes())
    record_model(replace(read_models(models)["find"], int8=Model("find", int8, "")))
    bright = np.full((*tiny_networks.FINDER_SIZE[::-1], 3), 240, np.uint8)
    here, elsewhere = np.array([tiny_networks.FINDER_BOX]), np.array([[0.0, 0, 20, 40]])
    people = [Scene(bright, here, elsewhere[:0]), Scene(bright, elsewhere, here)]
    (tmp_path / "lspet").mkdir()
    monkeypatch.setattr(evaluate_finder, "lspet_people", lambda folder: iter(people))
    rendered = SimpleNamespace(labelled_scenes=lambda folder: iter([*people, people[0]]))
    monkeypatch.setitem(sys.modules, "pose3d_ros.training.synthetic_source", rendered)  # which needs torch
    words = ["evaluate", "finder", "--model", int8, "--data", tmp_path, "--rendered", tmp_path, "--record"]
    assert cli.main([str(word) for word in words]) == 0
    found = read_models(models)["find"]
    assert not found.figures
    assert found.int8.figures == {"LSPET val-00: found %": 50.0, "rendered crowds: AP50": 0.667}
    found.int8.verify()


@pytest.mark.parametrize(("boxes", "seen"), [([(60.0, 20.0, 100.0, 110.0)], 1), ([], 0)])
def test_the_pipeline_searches_with_the_finder_that_is_measured(tmp_path, monkeypatch, capsys, boxes, seen):
    """The package's own sees somebody in every bright picture."""
    onnx = pytest.importorskip("onnx", reason="the tests make small networks with onnx")
    import tiny_networks

    package = read_models(tiny_networks.write_models(tmp_path / "models"))
    monkeypatch.setattr(evaluate_finder, "pipeline_models", lambda: package)
    bright = np.full((*tiny_networks.FINDER_SIZE[::-1], 3), 240, np.uint8)
    monkeypatch.setattr(evaluate_finder, "pictures_of_nobody", lambda data: {"walls": [bright, bright // 100]})
    finder = tmp_path / "other.onnx"
    onnx.save(tiny_networks.finder(np.reshape(boxes, (-1, 4))), finder)
    assert cli.main(["evaluate", "finder", "--model", str(finder), "--data", str(tmp_path)]) == 0
    said = f"(walls, 2): the finder sees somebody in {seen}, the whole pipeline in {seen}\n"
    assert said in capsys.readouterr().out
