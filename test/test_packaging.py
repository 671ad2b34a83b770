"""What gets installed, and whether the files that describe the package agree with each other and with the code."""

from __future__ import annotations

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from pose3d_ros.ros.parameters import PARAMETERS, Change

ROOT = Path(__file__).resolve().parent.parent
NAME = "pose3d_ros"

# apt's packages by the module that they bring.
ROSDEP_KEYS = {
    "cv2": "python3-opencv",
    "numpy": "python3-numpy",
    "scipy": "python3-scipy",
    "tqdm": "python3-tqdm",
    "yaml": "python3-yaml",
}
# Imported where they are used, with an error or a way round where they are missing; see package.xml.
OPTIONAL = {"cv_bridge", "numba", "onnx", "onnxruntime", "onnxscript", "sensor_msgs_py", "skimage", "tensorrt", "torch"}


@pytest.fixture(scope="module")
def package():
    return ElementTree.parse(ROOT / "package.xml").getroot()


@pytest.fixture
def setup_arguments(monkeypatch):
    """What setup.py gives to setuptools."""
    setuptools = pytest.importorskip("setuptools")
    given = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "setup", given.update)
    runpy.run_path(str(ROOT / "setup.py"))
    return given


def installed_files(setup_arguments):
    return {file: folder for folder, files in setup_arguments["data_files"] for file in files}


def test_package_xml_is_an_ament_python_package(package):
    assert package.get("format") == "3"
    assert package.findtext("name") == NAME
    assert package.findtext("export/build_type") == "ament_python"
    assert package.findtext("license") == "Apache-2.0"


def test_one_version_everywhere(package, setup_arguments):
    version = package.findtext("version")
    assert setup_arguments["version"] == version
    assert setup_arguments["name"] == package.findtext("name")
    # The newest entry of the change log is this version, or is to become it.
    newest = re.search(r"^(.+)\n-{3,}\n(.*)$", (ROOT / "CHANGELOG.rst").read_text(), re.MULTILINE)
    assert newest is not None
    assert version in newest[1] or (newest[1] == "Forthcoming" and version in newest[2])


def test_licence_text():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert f"{NAME} authors" in text


def test_every_import_is_a_declared_dependency(package):
    declared = {element.text for kind in ("depend", "exec_depend") for element in package.iter(kind)}
    wanted = {}
    for file in [*(ROOT / NAME).rglob("*.py"), *(ROOT / "launch").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module or ""]
            else:
                continue
            for module in modules:
                wanted.setdefault(module.partition(".")[0], file.relative_to(ROOT))
    ours = sys.stdlib_module_names | OPTIONAL | {NAME}
    missing = {name: str(file) for name, file in wanted.items() if name not in ours}
    missing = {name: file for name, file in missing.items() if ROSDEP_KEYS.get(name, name) not in declared}
    assert not missing


def test_no_bond(package):
    """A lifecycle manager that insists on one would wait in vain: the node sends none."""
    assert not [element.text for element in package.iter() if "bond" in (element.text or "")]


def test_share_holds_what_lies_in_the_tree(setup_arguments):
    installed = installed_files(setup_arguments)
    assert installed["package.xml"] == f"share/{NAME}"
    assert installed[f"resource/{NAME}"] == "share/ament_index/resource_index/packages"
    for pattern in ("launch/*.launch.py", "config/*", "models/**/*"):
        for file in filter(Path.is_file, ROOT.glob(pattern)):
            path = file.relative_to(ROOT)
            assert installed.pop(str(path)) == f"share/{NAME}/{path.parent}"
    assert set(installed) == {"package.xml", f"resource/{NAME}"}


def test_all_packages_are_installed(setup_arguments):
    folders = {file.parent.relative_to(ROOT) for file in (ROOT / NAME).rglob("*.py")}
    assert set(setup_arguments["packages"]) == {".".join(folder.parts) for folder in folders}


def test_package_data_are_all_other_files(setup_arguments):
    data = setup_arguments["package_data"][NAME]
    assert all((ROOT / NAME / file).is_file() for file in data)
    assert not [file for file in data if "__pycache__" in file]
    assert {f"assets/{file.name}" for file in (ROOT / NAME / "assets").glob("*") if file.is_file()} <= set(data)


def test_console_scripts_exist(setup_arguments):
    scripts = dict(re.split(r"\s*=\s*", line) for line in setup_arguments["entry_points"]["console_scripts"])
    assert set(scripts) == {"pose3d", "build_engine", "doctor", "pose3d_node", "raised_hand", "video_publisher"}
    for target in scripts.values():
        module, _, function = target.partition(":")
        tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.fixture
def colcon():
    """The command."""
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = shutil.which("colcon", path=folders)
    if command is None:
        pytest.skip("colcon is not installed: apt install python3-colcon-common-extensions")
    return command


def test_colcon_build_installs_everything(colcon, setup_arguments, tmp_path):
    source = tmp_path / "src" / NAME
    for name in (NAME, "launch", "config", "models", "resource"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("package.xml", "setup.py", "setup.cfg"):
        shutil.copy(ROOT / name, source)
    built = subprocess.run(
        [colcon, "build"],
        cwd=tmp_path,
        env={**os.environ, "COLCON_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    prefix = tmp_path / "install" / NAME
    for file, folder in installed_files(setup_arguments).items():
        assert (prefix / folder / Path(file).name).read_bytes() == (ROOT / file).read_bytes()
    (clip,) = prefix.rglob(f"{NAME}/assets/clip.mp4")
    for script in setup_arguments["entry_points"]["console_scripts"]:
        assert os.access(prefix / "lib" / NAME / script.split()[0], os.X_OK)
    # This Python, as colcon may have one of its own that lacks what we need.
    asked = subprocess.run(
        [sys.executable, str(prefix / "lib" / NAME / "pose3d"), "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(clip.parents[2])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    assert "usage: pose3d" in asked.stdout


def parameters_of(file):
    return yaml.safe_load((ROOT / "config" / file).read_text())["/**"]["ros__parameters"]


def test_configuration_lists_every_parameter_with_its_default():
    found = parameters_of("pose3d.yaml")
    assert found == {spec.name: spec.default for spec in PARAMETERS}
    # rclpy tells 2 from 2.0, and so does YAML.
    assert {name: type(value) for name, value in found.items()} == {
        spec.name: type(spec.default) for spec in PARAMETERS
    }


def test_configuration_explains_every_parameter():
    lines = (ROOT / "config" / "pose3d.yaml").read_text().splitlines()
    for spec in PARAMETERS:
        at = next(i for i, line in enumerate(lines) if line.strip().startswith(f"{spec.name}:"))
        comment = []
        while lines[at - 1].lstrip().startswith("#"):
            at -= 1
            comment.insert(0, lines[at].strip("# "))
        assert comment, f"{spec.name} has no comment"
        assert (spec.change == Change.LIVE) == (" ".join(comment).endswith("Live.")), spec.name
        if spec.minimum is not None and spec.maximum is not None:
            assert f"({spec.minimum:g} to {spec.maximum:g})" in " ".join(comment)


def test_rviz_shows_the_node_s_topics():
    view = yaml.safe_load((ROOT / "config" / "pose3d.rviz").read_text())["Visualization Manager"]
    topics = {
        display["Class"].rpartition("/")[2]: display["Topic"]["Value"]
        for display in view["Displays"]
        if "Topic" in display
    }
    assert topics == {
        "Image": "/pose3d/overlay",
        "MarkerArray": "/pose3d/markers",
        "PointCloud2": "/pose3d/joints",
    }
    # RViz takes both words for whether a display is on.
    off = {display["Class"] for display in view["Displays"] if not (display["Enabled"] and display["Value"])}
    assert not off & {f"rviz_default_plugins/{kind}" for kind in (*topics, "TF")}
    assert "rviz_default_plugins/TF" in {display["Class"] for display in view["Displays"]}
    grid = next(display for display in view["Displays"] if display["Class"] == "rviz_default_plugins/Grid")
    assert grid["Reference Frame"] == "<Fixed Frame>"


def test_fast_dds_profile_has_room_for_a_full_hd_image():
    spaces = {"dds": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
    profile = ElementTree.parse(ROOT / "config" / "fastdds.xml").getroot()
    transports = {
        transport.findtext("dds:type", namespaces=spaces): transport.findtext("dds:transport_id", namespaces=spaces)
        for transport in profile.iterfind(".//dds:transport_descriptor", spaces)
    }
    assert set(transports) == {"SHM", "UDPv4"}
    used = {element.text for element in profile.iterfind(".//dds:userTransports/dds:transport_id", spaces)}
    assert used == set(transports.values())
    assert profile.findtext(".//dds:useBuiltinTransports", namespaces=spaces) == "false"
    image = 1920 * 1080 * 3
    assert int(profile.findtext(".//dds:maxMessageSize", namespaces=spaces) or 0) > image
    assert int(profile.findtext(".//dds:segment_size", namespaces=spaces) or 0) > 4 * image
