# pose3d_node on a Jetson with JetPack 6. CUDA and TensorRT are in the base image, ROS 2 Humble comes from apt.
#
#   docker build -f docker/jetpack6.Dockerfile -t pose3d_ros .
#   docker run --rm --runtime nvidia --network host --ipc host -v pose3d_cache:/root/.cache pose3d_ros \
#     ros2 launch pose3d_ros pose3d.launch.py image:=/camera/image_raw
#
# L4T: the Jetson's own release (head -1 /etc/nv_tegra_release), or an older one of R36.
ARG L4T=r36.4.0
FROM nvcr.io/nvidia/l4t-jetpack:${L4T}

ENV DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8
SHELL ["/bin/bash", "-eo", "pipefail", "-c"]

RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl \
 && key=/usr/share/keyrings/ros-archive-keyring.gpg \
 && curl -fsSL https://raw.githubusercontent.com/ros/rosdistro/master/ros.key -o "$key" \
 && echo "deb [arch=arm64 signed-by=$key] http://packages.ros.org/ros2/ubuntu jammy main" \
    > /etc/apt/sources.list.d/ros2.list \
 && apt-get update \
 && apt-get install -y --no-install-recommends \
    ros-humble-ros-base python3-colcon-common-extensions python3-pip python3-rosdep \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /ros2_ws
COPY package.xml src/pose3d_ros/
# OpenCV from pip, as JetPack's packages bring one of their own; NumPy as apt's SciPy wants it.
RUN apt-get update && rosdep init && rosdep update --rosdistro humble \
 && rosdep install --from-paths src --ignore-src -y --rosdistro humble --skip-keys python3-opencv \
 && rm -rf /var/lib/apt/lists/* \
 && pip3 install --no-cache-dir "numpy<1.25" "opencv-python-headless<4.12" onnx onnxruntime

COPY . src/pose3d_ros
RUN source /opt/ros/humble/setup.bash && colcon build --packages-select pose3d_ros

ENTRYPOINT ["/bin/bash", "-c", "source install/setup.bash && exec \"$@\"", "--"]
CMD ["ros2", "launch", "pose3d_ros", "pose3d.launch.py"]
