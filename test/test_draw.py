from __future__ import annotations

import numpy as np
import pytest

from pose3d_ros import draw, skeleton
from pose3d_ros.camera import Camera
from pose3d_ros.person import JointState, Person

CAMERA = Camera.from_horizontal_fov(640, 480, 60)
GREY = np.full((480, 640, 3), 100, np.uint8)


def person(x_m: float = 0.0, number: int = 1, state: JointState = JointState.VISIBLE, score: float = 1.0) -> Person:
    """Somebody upright at 3 m: every joint on a spiral, so that no two coincide."""
    j = np.arange(24)
    joints = np.stack([x_m + 0.3 * np.sin(1.7 * j), np.linspace(-0.8, 0.9, 24), 3 + 0.2 * np.cos(j)], 1)
    px = CAMERA.project(joints)
    return Person(
        id=number,
        box=np.concatenate([px.min(0), px.max(0)]),
        score=0.9,
        joints_px=px,
        joints_px_cov=np.tile(np.diag([16.0, 4.0]), (24, 1, 1)),
        joint_score=np.full(24, score),
        joint_state=np.full(24, state, np.uint8),
        joints_m=joints,
        joints_m_cov=np.tile(0.001 * np.eye(3), (24, 1, 1)),
    )


def without_metres(someone: Person) -> Person:
    values = {**vars(someone), "joints_m": None, "joints_m_cov": None}
    return Person(**values)


def changed(image: np.ndarray) -> np.ndarray:
    return (image != GREY).any(-1)


def test_joints_and_bones_are_drawn_where_they_are() -> None:
    someone = person()
    drawn = draw.draw_people(GREY, [someone], labels=False)
    assert drawn.shape == GREY.shape
    assert drawn.dtype == np.uint8
    assert (GREY == 100).all()
    inked = changed(drawn)
    for x, y in np.round(someone.joints_px).astype(int):
        assert inked[y, x]
    for parent, child in skeleton.BONES:
        x, y = np.round(someone.joints_px[[parent, child]].mean(0)).astype(int)
        assert inked[y, x]
    rows, columns = np.nonzero(inked)
    assert rows.min() > someone.joints_px[:, 1].min() - 20
    assert columns.max() < someone.joints_px[:, 0].max() + 20


@pytest.mark.parametrize(("name", "colour"), [("left_wrist", draw.LEFT_BGR), ("right_toe", draw.RIGHT_BGR)])
def test_sides_have_their_colours(name: str, colour: tuple[int, int, int]) -> None:
    someone = person()
    x, y = np.round(someone.joints_px[skeleton.INDEX[name]]).astype(int)
    assert np.abs(draw.draw_people(GREY, [someone])[y, x].astype(int) - colour).max() <= 3


def test_what_is_not_seen_is_hollow_and_dashed() -> None:
    solid = draw.draw_people(GREY, [person()], labels=False)
    hollow = draw.draw_people(GREY, [person(state=JointState.INFERRED)], labels=False)
    assert (hollow.max(-1) > 200).sum() < 0.8 * (solid.max(-1) > 200).sum()
    x, y = np.round(person().joints_px[skeleton.INDEX["left_wrist"]]).astype(int)
    assert hollow[y, x].max() < 60


def test_a_low_score_is_faint() -> None:
    sure, unsure = (draw.draw_people(GREY, [person(score=score)], labels=False) for score in (1.0, 0.1))
    assert np.abs(unsure.astype(int) - GREY).sum() < 0.6 * np.abs(sure.astype(int) - GREY).sum()


def test_ellipses_show_the_covariance() -> None:
    plain = draw.draw_people(GREY, [person()])
    with_ellipses = draw.draw_people(GREY, [person()], ellipses=True)
    assert changed(with_ellipses).sum() > changed(plain).sum()


@pytest.mark.parametrize(
    "shift",
    [[0, 0], [-10_000, 0], [300, -250], [1e9, 1e9]],
    ids=["inside", "outside", "half out", "far out"],
)
def test_people_at_the_edge_do_no_harm(shift: list[float]) -> None:
    someone = person()
    moved = Person(**{**vars(someone), "joints_px": someone.joints_px + shift})
    draw.draw_people(GREY, [moved], ellipses=True)


def test_unknown_joints_are_left_out() -> None:
    someone = person()
    px, cov = someone.joints_px.copy(), someone.joints_px_cov.copy()
    px[3], cov[5] = np.nan, np.nan
    drawn = draw.draw_people(GREY, [Person(**{**vars(someone), "joints_px": px, "joints_px_cov": cov})], ellipses=True)
    assert changed(drawn).any()
    px[:] = np.nan
    assert not changed(draw.draw_people(GREY, [Person(**{**vars(someone), "joints_px": px})])).any()


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (2160, 3840), (1920, 1080)])
def test_any_size_of_image(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    assert draw.draw_people(image, [person()]).shape == image.shape


def test_the_3d_view_shows_people_on_a_floor() -> None:
    empty = draw.draw_3d([], (320, 240))
    one = draw.draw_3d([person()], (320, 240))
    assert one.shape == empty.shape == (240, 320, 3)
    assert (one == np.array(draw.LEFT_BGR)).all(-1).any() or (
        np.abs(one.astype(int) - draw.LEFT_BGR).max(-1) < 60
    ).any()
    with_ellipsoids = draw.draw_3d([person()], (320, 240), ellipsoids=True)
    assert (with_ellipsoids != one).any()
    assert draw.draw_3d([without_metres(person())], (320, 240)).shape == (240, 320, 3)


def test_everybody_fits_into_the_view() -> None:
    people = [person(-2.0, 1), person(2.5, 2)]
    view = draw.View.around(people)
    assert view is not None
    eye = draw._Eye(view, (640, 480))
    for someone in people:
        pixels, _ = eye.project(someone.joints_m)
        assert (pixels > 0).all()
        assert (pixels < [640, 480]).all()
    assert draw.View.around([without_metres(person())]) is None


def test_the_view_turns_round_people() -> None:
    view = draw.View(np.array([0, 0, 3.0]), azimuth_deg=0, elevation_deg=0)
    assert np.allclose(view.axes(), np.eye(3))
    for azimuth, elevation in ((40, 10), (-120, 35), (180, 0)):
        axes = draw.View(np.zeros(3), azimuth_deg=azimuth, elevation_deg=elevation).axes()
        assert np.allclose(axes @ axes.T, np.eye(3))
        assert np.linalg.det(axes) == pytest.approx(1)
        assert axes[1, 1] > 0  # down stays down
        assert axes[2, 1] >= 0  # looks from above


def test_a_tilted_camera_is_levelled() -> None:
    up = np.array([0.1, -np.cos(0.5), -np.sin(0.5)])
    view = draw.View.around([person()], up=up)
    assert view is not None
    assert np.allclose(view.level @ view.level.T, np.eye(3))
    assert np.linalg.det(view.level) == pytest.approx(1)
    assert np.allclose(view.level @ up / np.linalg.norm(up), [0, -1, 0])
    assert np.allclose(draw.View.around([person()]).level, np.eye(3))
    straight_down = draw.View.around([person()], up=(0, 0, -1))
    assert np.allclose(straight_down.level @ [0, 0, 1], [0, 1, 0])
    assert draw.draw_3d([person()], (64, 48), view, ellipsoids=True).shape == (48, 64, 3)


def test_the_view_follows_slowly() -> None:
    here, there = (draw.View(np.full(3, x), radius_m=1 + x, floor_m=x) for x in (0.0, 1.0))
    between = here.towards(there, 0.25)
    assert np.allclose(between.centre, 0.25)
    assert (between.radius_m, between.floor_m) == (1.25, 0.25)


def test_the_view_stands_beside_the_picture() -> None:
    both = draw.beside_3d(GREY, [person()])
    assert both.shape[0] == 480
    assert both.shape[1] % 2 == 0
    assert np.array_equal(both[:, :640], GREY)
    assert draw.beside_3d(np.zeros((961, 541, 3), np.uint8), [person()]).shape == (961, 541 + 577, 3)


def moved(someone: Person, x_px: float, y_px: float) -> Person:
    return Person(**{**vars(someone), "joints_px": someone.joints_px + np.array([x_px, y_px])})


def test_no_skeleton_lies_over_a_label() -> None:
    first = moved(person(), 0, 60)
    x, y = round(first.joints_px[:, 0].mean()), round(first.joints_px[:, 1].min() - 1.6 * 0.016 * 640)
    second = moved(person(number=2), *([x, y] - person().joints_px[skeleton.INDEX["left_wrist"]]))
    label = np.s_[y - 5 : y + 6, x - 20 : x + 21]
    assert np.ptp(draw.draw_people(GREY, [first, second], labels=False)[label], axis=-1).max() > 100
    assert np.ptp(draw.draw_people(GREY, [first, second])[label], axis=-1).max() < 80


def test_labels_do_not_lie_over_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    places = []
    monkeypatch.setattr(draw, "_pill", lambda image, text, at, half, height: places.append(at))
    crowd = [moved(person(number=i), x, 60) for i, x in enumerate((0, 10, 5, 300))]
    draw.draw_people(GREY, [*crowd, moved(person(), -5000, 0)])  # who is outside has none
    heights = [y for _, y in places]
    assert len(heights) == 4
    assert min(heights[0] - heights[1], heights[1] - heights[2]) > 12
    assert heights[3] == heights[0]
