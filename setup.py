"""Installs the package for ROS 2 (through colcon) and for a virtual environment (through pip)."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "pose3d_ros"
SHARE = f"share/{NAME}"


def files(pattern: str) -> list[str]:
    return [str(path) for path in sorted(Path().glob(pattern)) if path.is_file()]


def package_data() -> list[str]:
    """Everything in the package that is not code: the demo's clip, training configurations, …"""
    root = Path(NAME)
    return [
        str(path.relative_to(root))
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    ]


setup(
    name=NAME,
    version="0.1.0",
    description="3D human pose from a robot's camera, for ROS 2",
    author="pose3d_ros authors",
    maintainer="pose3d_ros authors",
    maintainer_email="pose3d-ros@example.com",
    license="Apache-2.0",
    python_requires=">=3.10",
    # What it needs beyond this is in package.xml (ROS 2) and requirements/ (virtual environments).
    install_requires=["setuptools"],
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: package_data()},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (SHARE, ["package.xml"]),
        (f"{SHARE}/launch", files("launch/*.launch.py")),
        (f"{SHARE}/config", files("config/*")),
        (f"{SHARE}/models", files("models/*")),
        (f"{SHARE}/models/rendered", files("models/rendered/*")),
    ],
    zip_safe=False,
    entry_points={
        "console_scripts": [
            f"doctor = {NAME}.ros.doctor:main",
            f"pose3d = {NAME}.cli:main",
            f"pose3d_node = {NAME}.ros.pose3d_node:main",
            f"build_engine = {NAME}.build_engine:main",
            f"raised_hand = {NAME}.ros.raised_hand_node:main",
            f"video_publisher = {NAME}.ros.video_publisher:main",
        ],
    },
)
