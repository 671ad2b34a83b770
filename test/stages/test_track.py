"""Tracks: stable ids, births and deaths by stamp, filtering, joint states, replay."""

import numpy as np
import pytest

from pose3d_ros.crop import iou
from pose3d_ros.person import JointState
from pose3d_ros.skeleton import NUM_JOINTS
from pose3d_ros.stages.track import Measurement, PointFilter, Tracker, TrackerConfig, distinct, within

FRAME_NS = 33_333_333
BODY_PX = np.random.default_rng(3).uniform((-40, -100), (40, 100), (NUM_JOINTS, 2))
BODY_M = np.concatenate([BODY_PX / 100, np.zeros((NUM_JOINTS, 1))], axis=1)
BODY_M[0] = 0


def person(x: float, y: float = 240.0, size: float = 1.0, score: float = 0.9):
    """Box, joints and scores of a person at a place in the image."""
    joints = BODY_PX * size + (x, y)
    return np.concatenate([joints.min(0), joints.max(0)]), joints, np.full(NUM_JOINTS, score)


def measurement(people, root=(0.0, 0.0, 3.0), states=None) -> Measurement:
    n = len(people)
    boxes, joints, score = (np.stack([p[k] for p in people]) for k in range(3))
    cov = np.tile(np.diag([0.01, 0.01, 0.05]) ** 2, (n, 1, 1))
    return Measurement(
        boxes, joints, score, np.tile(BODY_M, (n, 1, 1)), np.full((n, NUM_JOINTS), 0.03), np.tile(root, (n, 1)), cov,
        cov, states,
    )  # fmt: skip


def step(tracker: Tracker, frame: int, people, **values):
    tracker.predict(frame * FRAME_NS)
    if not people:
        return tracker.update([], Measurement(np.zeros((0, 4)), np.zeros((0, 24, 2)), np.zeros((0, 24))))
    seen = measurement(people, **values)
    return tracker.update(tracker.assign(seen.boxes, seen.joints_px, seen.score), seen)


def test_first_frame_is_published():
    people = step(Tracker(), 0, [person(100), person(400)])
    assert [p.id for p in people] == [1, 2]
    assert people[0].joints_m.shape == (NUM_JOINTS, 3)
    np.testing.assert_allclose(people[0].joints_m[0], (0, 0, 3))


def test_ids_stay_at_one_image_a_second_and_end_after_a_long_gap():
    tracker = Tracker(TrackerConfig(timeout_s=0.5))
    frames = [0, 30, 60, 90, 150]  # 30 a second
    assert [step(tracker, k, [person(100)])[0].id for k in frames] == [1, 1, 1, 1, 2]


def test_who_is_missing_in_a_slow_image_is_gone():
    tracker = Tracker(TrackerConfig(timeout_s=0.5, confirm_hits=1))
    step(tracker, 0, [person(100)])
    assert step(tracker, 30, []) == []


def test_min_hits_delays_a_birth():
    tracker = Tracker(TrackerConfig(min_hits=3))
    assert [len(step(tracker, k, [person(100)])) for k in range(4)] == [0, 0, 1, 1]


def test_ids_survive_a_crossing_and_the_order_of_detections():
    tracker = Tracker()
    rng = np.random.default_rng(0)
    for k in range(60):
        a, b = person(100 + 8 * k, size=1.0), person(580 - 8 * k, size=0.8)
        swap = rng.random() < 0.5
        out = step(tracker, k, [b, a] if swap and k else [a, b])
        where = {p.id: p.joints_px.mean(0)[0] for p in out}
        assert where[1] == pytest.approx(a[1].mean(0)[0])
        assert where[2] == pytest.approx(b[1].mean(0)[0])


@pytest.mark.parametrize("seed", range(20))
def test_ids_survive_a_crossing_behind_somebody_with_noise(seed):
    """The farther one is not seen as long as the nearer one covers most of them."""
    tracker = Tracker()
    rng = np.random.default_rng(seed)
    hidden = 0
    for k in range(60):
        places = {1: person(100 + 8 * k), 2: person(580 - 8 * k, size=0.8)}
        if abs(places[1][1].mean(0)[0] - places[2][1].mean(0)[0]) < 60:
            del places[2]
            hidden += 1
        seen = list(places)
        if k:
            rng.shuffle(seen)
        noisy = [(box, joints + rng.normal(0, 3, joints.shape), score) for box, joints, score in map(places.get, seen)]
        out = step(tracker, k, noisy)
        assert {p.id: seen[p.row] for p in out if p.row >= 0} == {name: name for name in seen}
    assert 5 <= hidden <= 10


RED, BLUE = np.array([[50.0, 60, 40]] * 2), np.array([[40.0, 10, -60]] * 2)


def see(tracker: Tracker, frame: int, people, looks=None):
    """Ids of people who look so."""
    tracker.predict(frame * FRAME_NS)
    seen = measurement(people)
    tracks = tracker.assign(seen.boxes, seen.joints_px, seen.score, looks and np.stack(looks))
    tracker.update(tracks, seen)
    return [track.id for track in tracks]


@pytest.mark.parametrize(("looks", "ids"), [(None, [1]), ([BLUE], [2]), ([RED], [1])])
def test_looks_tell_who_steps_out_of_the_crowd(looks, ids):
    """Where red, who stands, was last, somebody is seen; blue is expected a step beside."""
    tracker = Tracker()
    for frame in range(12):
        see(tracker, frame, [person(300), person(500 - 12 * frame)], [RED, BLUE])
    assert see(tracker, 17, [person(304)], looks) == ids


@pytest.mark.parametrize(
    ("x", "size", "looks", "seconds", "expected"),
    [
        (330, 1.0, RED, 1.0, 1),
        (330, 1.0, BLUE, 1.0, 2),
        (330, 1.0, np.full((2, 3), np.nan), 1.0, 2),
        (620, 1.0, RED, 1.0, 2),
        (330, 2.0, RED, 1.0, 2),
        (330, 1.0, RED, 4.0, 2),
    ],
    ids=["red", "blue", "unknown", "far away", "twice as large", "too late"],
)
def test_who_was_lost_is_known_again(x, size, looks, seconds, expected):
    tracker = Tracker()
    for frame in range(10):
        see(tracker, frame, [person(300)], [RED])
    for frame in range(10, 10 + round(30 * seconds)):
        step(tracker, frame, [])
    assert tracker.tracks == ()
    assert see(tracker, 10 + round(30 * seconds), [person(x, size=size)], [looks]) == [expected]


def test_who_is_known_again_has_their_size_unless_the_calibration_changed():
    for changes, size in ((False, 0.8), (True, 1.0)):
        tracker = Tracker()
        for frame in range(10):
            see(tracker, frame, [person(300)], [RED])
        tracker.tracks[0].size = 0.8
        for frame in range(10, 40):
            step(tracker, frame, [])
        if changes:
            tracker.forget_metres()
        tracker.predict(40 * FRAME_NS)
        box, joints, score = person(300)
        [track] = tracker.assign(box[None], joints[None], score[None], RED[None])
        assert (track.id, track.size) == (1, size)


def test_somebody_seen_for_a_moment_is_not_known_again():
    tracker = Tracker()
    see(tracker, 0, [person(300)], [RED])
    step(tracker, 1, [])
    assert see(tracker, 5, [person(300)], [RED]) == [2]


def test_looks_are_not_learned_in_a_crowd():
    """Whoever stands before somebody has their colours to lend."""
    tracker = Tracker()
    for frame in range(10):
        see(tracker, frame, [person(200), person(500)], [RED, BLUE])
    for frame in range(10, 40):
        see(tracker, frame, [person(200), person(230)], [BLUE, BLUE])
    assert np.allclose(tracker.tracks[0].looks, RED)


def test_nobody_is_in_the_strips_beside_the_picture():
    boxes = np.array(
        [[630, 100, 650, 300], [600, 100, 660, 300], [-10, 0, 10, 480], [300, 470, 340, 600], [-9, 0, -1, 9]]
    )
    assert within(boxes, 640, 480).tolist() == [False, True, False, True, False]


def test_who_is_hardly_seen_does_not_run_away():
    """A glimpse of joints elsewhere, of hardly any score, moves nobody."""
    tracker = Tracker()
    for frame in range(20):
        step(tracker, frame, [person(300)])
    step(tracker, 20, [person(330, score=0.03)])
    step(tracker, 21, [])
    assert abs(tracker.tracks[0].velocity_px[0]) < 0.2 * 30 / (FRAME_NS * 1e-9)


def test_unseen_people_are_predicted_then_end():
    tracker = Tracker(TrackerConfig(timeout_s=0.5))
    for k in range(5):
        step(tracker, k, [person(100)])
    out = step(tracker, 14, [])
    assert out[0].row == -1
    assert (out[0].joint_state == JointState.PREDICTED).all()
    assert step(tracker, 24, []) == []
    assert step(tracker, 25, [person(100)])[0].id == 2


def test_who_walks_out_of_the_picture_is_gone():
    tracker = Tracker()
    for k in range(10):
        step(tracker, k, [person(520 + 10 * k)])
    tracker.predict(10 * FRAME_NS)
    tracker.end_outside(640, 480)
    assert len(tracker.tracks) == 1
    tracker.predict(14 * FRAME_NS)
    tracker.end_outside(640, 480)
    assert tracker.tracks == ()


def test_who_is_cut_off_by_the_edge_keeps_the_id_while_seen():
    """Somebody close, of whom the picture shows the head: the legs below count as joints, too."""
    tracker = Tracker()
    for frame, y in enumerate(np.linspace(400, 560, 30)):
        tracker.predict(frame * FRAME_NS)
        tracker.end_outside(640, 480)
        seen = measurement([person(300, y)])
        [out] = tracker.update(tracker.assign(seen.boxes, seen.joints_px, seen.score), seen)
        assert out.id == 1
    assert out.box[1] < 480 < out.box[[1, 3]].mean()
    tracker.predict(90 * FRAME_NS)
    tracker.end_outside(640, 480)
    assert tracker.tracks == ()


def test_stamps_that_nearly_coincide_throw_nobody_out_of_the_picture():
    tracker = Tracker()
    for frame in range(10):
        step(tracker, frame, [person(100 + 3 * frame)])
    tracker.predict(9 * FRAME_NS + 50_000)
    seen = measurement([person(130)])
    tracker.update(tracker.assign(seen.boxes, seen.joints_px, seen.score), seen)
    tracker.predict(10 * FRAME_NS + 50_000)
    assert abs(tracker.tracks[0].velocity_px[0] - 90) < 100


def test_a_root_that_cannot_be_placed_does_not_run_away():
    tracker = Tracker()
    for frame in range(30):
        step(tracker, frame, [person(100)], root=(0, 0, 3 - 0.04 * frame))
    for frame in range(30, 120):
        [out] = step(tracker, frame, [person(100)], root=(np.nan, np.nan, np.nan))
    assert out.joints_m[0, 2] > 1.4


def test_a_flash_in_the_pan_is_not_carried_on():
    tracker = Tracker()
    step(tracker, 0, [person(100)])
    assert step(tracker, 1, []) == []
    assert step(tracker, 2, [person(100)])[0].id == 2


def test_one_person_found_twice_is_kept_once():
    """Although one of the two mistook a leg; two people side by side are both kept."""
    box, joints, score = person(100)
    mistaken = joints.copy()
    mistaken[:8] += 80
    boxes = np.stack([box, box + np.array([-20, -10, 60, 40])])
    assert distinct(boxes, np.stack([joints, mistaken]), np.stack([score, 0.9 * score])).tolist() == [True, False]
    beside = np.stack([joints, joints + np.array([60, 0])])
    assert distinct(np.stack([box, box + np.array([60, 0, 60, 0])]), beside, np.stack([score, score])).all()


def test_prediction_follows_the_motion_and_its_sigma_grows():
    tracker = Tracker()
    for k in range(10):
        before = step(tracker, k, [person(100 + 10 * k)], root=(0.1 * k, 0, 3))
    box = tracker.tracks[0].box[0]
    tracker.predict(10 * FRAME_NS)
    assert tracker.tracks[0].box[0] - box == pytest.approx(10, rel=0.05)
    after = step(tracker, 13, [])
    assert after[0].joints_m[0, 0] > 0.95
    assert (np.trace(after[0].joints_cov[5]) > np.trace(before[0].joints_cov[5])).all()


def test_velocities_are_those_of_the_joints_and_die_out_unseen():
    tracker = Tracker()
    for k in range(40):
        moving = measurement([person(100 + 3 * k)], root=(0.03 * k, 0, 3))
        moving.joints_m[0, 13] += (0, 0.02 * k, 0)
        tracker.predict(k * FRAME_NS)
        (out,) = tracker.update(tracker.assign(moving.boxes, moving.joints_px, moving.score), moving)
    np.testing.assert_allclose(out.joints_m_s[0], [0.9, 0, 0], atol=0.02)
    np.testing.assert_allclose(out.joints_m_s[13], [0.9, 0.6, 0], atol=0.02)
    for k in range(40, 56):
        (gone,) = step(tracker, k, [])
    assert np.abs(gone.joints_m_s).max() < 0.1


def test_low_scores_are_inferred():
    box, joints, score = person(100)
    score[5] = 0.2
    out = step(Tracker(), 0, [(box, joints, score)])
    assert out[0].joint_state[5] == JointState.INFERRED
    assert out[0].joint_state[6] == JointState.VISIBLE


def test_a_jump_back_in_time_resets():
    tracker = Tracker()
    step(tracker, 100, [person(100), person(300)])
    assert [p.id for p in step(tracker, 0, [person(300)])] == [1]
    assert len(tracker.tracks) == 1


def test_replay_gives_the_same():
    def play():
        tracker, rng = Tracker(), np.random.default_rng(5)
        outs = []
        for k in range(20):
            outs += step(tracker, k, [person(100 + rng.normal(0, 3)), person(300 + rng.normal(0, 3))])
        return np.stack([p.joints_m for p in outs])

    np.testing.assert_array_equal(play(), play())


def test_root_depth_noise_does_not_shake_the_limbs():
    tracker, rng = Tracker(), np.random.default_rng(6)
    for k in range(30):
        out = step(tracker, k, [person(100)], root=(0, 0, 3 + rng.normal(0, 0.1)))
        relative = out[0].joints_m - out[0].joints_m[0]
        np.testing.assert_allclose(relative, BODY_M, atol=1e-6)


def test_lifter_states_stay_with_their_track():
    tracker = Tracker()
    tracker.predict(0)
    seen = measurement([person(100), person(400)], states=np.array([[1] * 4, [2] * 4], np.float32))
    tracks = tracker.assign(seen.boxes, seen.joints_px, seen.score)
    assert tracker.states(tracks) == [None, None]
    tracker.update(tracks, seen)
    tracker.predict(FRAME_NS)
    seen = measurement([person(400), person(100)])
    tracks = tracker.assign(seen.boxes, seen.joints_px, seen.score)
    np.testing.assert_array_equal([state[0] for state in tracker.states(tracks)], [2, 1])


def test_what_the_lifter_remembers_is_not_carried_over_a_gap():
    """It has learned from images some tenths of a second apart at most."""
    tracker = Tracker(TrackerConfig(confirm_hits=1))
    step(tracker, 0, [person(100)], states=np.ones((1, 4), np.float32))
    for frame, kept in ((9, True), (18, True), (30, False)):
        tracker.predict(frame * FRAME_NS)
        seen = measurement([person(100)], states=np.ones((1, 4), np.float32))
        tracks = tracker.assign(seen.boxes, seen.joints_px, seen.score)
        assert [state is not None for state in tracker.states(tracks)] == [kept]
        tracker.update(tracks, seen)


def test_another_calibration_makes_metres_begin_anew():
    tracker = Tracker()
    for frame in range(10):
        step(tracker, frame, [person(100)], root=(0.0, 0.0, 4.0), states=np.ones((1, 4), np.float32))
    tracker.forget_metres()
    (out,) = step(tracker, 10, [person(100)], root=(0.0, 0.0, 6.0))
    assert (out.id, out.joints_m[0, 2]) == (1, 6.0)
    assert np.abs(out.joints_m_s).max() == 0


def test_without_3d_only_pixels_come_out():
    tracker = Tracker()
    tracker.predict(0)
    box, joints, score = (x[None] for x in person(100))
    out = tracker.update(tracker.assign(box, joints, score), Measurement(box, joints, score))
    assert out[0].joints_m is None
    assert out[0].joints_px.shape == (NUM_JOINTS, 2)


def test_metres_go_with_the_calibration_and_come_back():
    tracker = Tracker()
    step(tracker, 0, [person(100)])
    seen = measurement([person(100)])._replace(joints_m=None, sigma_m=None, root_m=None)
    tracker.predict(FRAME_NS)
    (out,) = tracker.update(tracker.assign(seen.boxes, seen.joints_px, seen.score), seen)
    assert (out.id, out.joints_m, out.joints_cov) == (1, None, None)
    (back,) = step(tracker, 2, [person(100)], root=(0.0, 0.0, 2.0))
    assert (back.id, back.joints_m[0, 2]) == (1, 2.0)


def test_filter_smooths_and_stays_calibrated():
    rng, sigma = np.random.default_rng(7), 0.03
    time = np.arange(300) / 30
    truth = 0.1 * np.sin(2 * np.pi * 0.7 * time)[:, None, None] * np.ones((1, 20, 3))
    measured = truth + rng.normal(0, sigma, truth.shape)
    noise = np.tile(sigma**2 * np.eye(3), (20, 1, 1))
    points = PointFilter(measured[0], noise)
    filtered = [measured[0]]
    for z in measured[1:]:
        points.predict(1 / 30, 4.0)
        points.correct(z, noise)
        filtered.append(points.position)
    error = np.stack(filtered)[30:] - truth[30:]
    assert error.std() < 0.85 * sigma
    predicted_sigma = np.sqrt(points.position_cov[:, 0, 0].mean())
    assert 0.6 < (np.abs(error) < predicted_sigma).mean() < 0.8


def test_one_wild_measurement_moves_a_point_little():
    noise = np.tile(0.02**2 * np.eye(3), (1, 1, 1))
    points = PointFilter(np.zeros((1, 3)), noise)
    for k in range(20):
        points.predict(1 / 30, 30.0)
        points.correct(np.full((1, 3), 2.0 if k == 19 else 0.0), noise)
    assert np.abs(points.position).max() < 0.5


def test_distinct_keeps_the_better_of_two():
    a, b, c = person(100, score=0.6), person(103, score=0.9), person(400)
    keep = distinct(*(np.stack([p[k] for p in (a, b, c)]) for k in range(3)))
    np.testing.assert_array_equal(keep, [False, True, True])


def test_iou():
    a = np.array([[0, 0, 2, 2.0]])
    np.testing.assert_allclose(iou(a, np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6.0]])), [[1, 1 / 3, 0]])
