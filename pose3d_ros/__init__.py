"""3D human pose for ROS 2 robots: camera images in, 3D joints with honest uncertainties out."""
