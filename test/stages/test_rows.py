"""Batches taken apart."""

import numpy as np

from pose3d_ros.stages.rows import split


def test_parts_are_in_order_and_may_be_empty():
    parts = split((np.arange(5), np.arange(10).reshape(5, 2)), [2, 0, 3])
    assert [[array.tolist() for array in part] for part in parts] == [
        [[0, 1], [[0, 1], [2, 3]]],
        [[], []],
        [[2, 3, 4], [[4, 5], [6, 7], [8, 9]]],
    ]


def test_no_parts():
    assert split((np.zeros((0, 2)), np.zeros(0)), []) == []
