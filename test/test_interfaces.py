"""The interface packages that are generated where ROS 2 comes as wheels: do other ROS 2 nodes understand them?"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# What upstream's packages say; a node of any ROS 2 installation (Iron or newer) announces the same.
UPSTREAM_HASHES = {
    "hri_msgs/msg/IdsList": "RIHS01_7e0812d1ac945c98fd3e393568d581ad0ab567f37b24eff633eab778c1bfe62d",
    "hri_msgs/msg/NormalizedRegionOfInterest2D": (
        "RIHS01_2e50c93f1ca166ee77af9a5424dc951ae4e452b740162a7f83c082d917dcaff5"
    ),
    "hri_msgs/msg/Skeleton2D": "RIHS01_1cb61f012db6ca43c48fa0097ccab9a00108ea39323c13f01bb983323c1e3420",
    "vision_msgs/msg/Detection2DArray": "RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "tf2_msgs/msg/TFMessage": "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
}
DISCOVERY_TIMEOUT_S = 60.0

needs_wheels = pytest.mark.skipif(
    not (Path(sys.prefix) / "share" / "rosidl_generator_py").exists(),
    reason="this Python's ROS 2 does not come from the wheels: its interface packages are upstream's own",
)


@pytest.fixture(scope="module")
def generator():
    """tools/generate_interfaces.py as a module."""
    path = ROOT / "tools" / "generate_interfaces.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", UPSTREAM_HASHES)
def test_type_hash_is_upstream_s(name):
    package, kind, message = name.split("/")
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    files = [Path(prefix) / "share" / package / kind / f"{message}.json" for prefix in prefixes if prefix]
    file = next((file for file in files if file.exists()), None)
    if file is None:
        pytest.skip(f"{package} of this ROS 2 comes without type descriptions (as Humble's do)")
    hashes = {entry["type_name"]: entry["hash_string"] for entry in json.loads(file.read_text())["type_hashes"]}
    assert hashes[name] == UPSTREAM_HASHES[name]


def test_the_hash_is_what_a_publisher_announces():
    """What other participants are told over DDS."""
    rclpy = pytest.importorskip("rclpy")
    pytest.importorskip("rclpy.type_hash", reason="this ROS 2 does not announce type hashes (as Humble)")
    from tf2_msgs.msg import TFMessage

    context, topic = rclpy.Context(), f"/tf_of_{os.getpid()}"  # nobody else's
    rclpy.init(context=context)
    try:
        speaker = rclpy.create_node("speaker", context=context)
        listener = rclpy.create_node("listener", context=context)
        speaker.create_publisher(TFMessage, topic, 100)
        deadline = time.monotonic() + DISCOVERY_TIMEOUT_S
        while not (found := listener.get_publishers_info_by_topic(topic)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [info.topic_type for info in found] == ["tf2_msgs/msg/TFMessage"]
        announced = found[0].topic_type_hash
        assert f"RIHS01_{bytes(announced.value).hex()}" == UPSTREAM_HASHES["tf2_msgs/msg/TFMessage"]
    finally:
        rclpy.shutdown(context=context)


def test_fields_of_tf_message():
    messages = pytest.importorskip("tf2_msgs.msg")
    fields = messages.TFMessage.get_fields_and_field_types()
    assert fields == {"transforms": "sequence<geometry_msgs/TransformStamped>"}


@needs_wheels
@pytest.mark.parametrize("source", sorted((ROOT / "interfaces").iterdir()), ids=lambda path: path.name)
def test_installed_package_is_made_from_our_definition(generator, source):
    assert (generator.SHARE / source.name / generator.STAMP).read_text() == generator.fingerprint(source)
    assert generator.build(source) is False  # nothing to do


@needs_wheels
def test_messages_services_and_arrays_are_generated_and_compiled(generator, tmp_path):
    """A package of more kinds than we ship, without installing it."""
    source = tmp_path / "made_up_msgs"
    for file, text in {
        "msg/Limb.msg": "std_msgs/Header header\nuint8 LEFT=1\nfloat32[3] joints\nstring<=8 name\n",
        "msg/Body.msg": "made_up_msgs/Limb[] limbs\ngeometry_msgs/Pose[<=4] poses\n",
        "srv/Count.srv": "bool all\n---\nint32 people\n",
    }.items():
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        (source / file).write_text(text)
    work = tmp_path / "work"
    work.mkdir()
    package = generator.Package(source, work)
    package.generate()
    libraries = package.compile()
    assert len(libraries) == len(generator.LIBRARIES)
    assert all(library.stat().st_size for library in libraries)
    hashes = json.loads((work / "hash" / "msg" / "Body.json").read_text())["type_hashes"]
    assert hashes[0]["type_name"] == "made_up_msgs/msg/Body"


@needs_wheels
def test_stamp_follows_the_definition(generator, tmp_path):
    message = tmp_path / "made_up_msgs" / "msg" / "One.msg"
    message.parent.mkdir(parents=True)
    message.write_text("int32 a\n")
    before = generator.fingerprint(message.parent.parent)
    message.write_text("int32 b\n")
    assert generator.fingerprint(message.parent.parent) != before


def test_empty_package_is_refused(generator, tmp_path):
    with pytest.raises(generator.GenerationError, match=r"holds no msg/\*\.msg"):
        generator.definition_files(tmp_path)


def test_missing_compiler_is_named(generator, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(generator.GenerationError, match=r"no-such-compiler is missing: apt install gcc g\+\+"):
        generator.compilers()
