# pose3d_node on a desktop computer with an NVIDIA GPU: ROS 2 Jazzy, TensorRT and CUDA's runtime from pip.
# The computer needs NVIDIA's driver and its container toolkit.
#
#   docker build -f docker/desktop.Dockerfile -t pose3d_ros .
#   docker run --rm --gpus all --network host --ipc host -v pose3d_cache:/root/.cache pose3d_ros \
#     ros2 launch pose3d_ros pose3d.launch.py image:=/camera/image_raw
#
# TENSORRT: pip's name and version; tensorrt-cu12 for CUDA 12, tensorrt-cu13 for CUDA 13, as the driver allows.
FROM ros:jazzy-ros-base
ARG TENSORRT=tensorrt-cu12==10.13.3.9

ENV DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8
SHELL ["/bin/bash", "-eo", "pipefail", "-c"]

WORKDIR /ros2_ws
COPY package.xml src/pose3d_ros/
RUN apt-get update && rosdep update --rosdistro jazzy \
 && rosdep install --from-paths src --ignore-src -y --rosdistro jazzy \
 && apt-get install -y --no-install-recommends python3-pip \
 && rm -rf /var/lib/apt/lists/* \
 && pip3 install --no-cache-dir --break-system-packages "numpy<2" onnx onnxruntime "$TENSORRT"

COPY . src/pose3d_ros
RUN source /opt/ros/jazzy/setup.bash && colcon build --packages-select pose3d_ros

ENTRYPOINT ["/bin/bash", "-c", "source install/setup.bash && exec \"$@\"", "--"]
CMD ["ros2", "launch", "pose3d_ros", "pose3d.launch.py"]
