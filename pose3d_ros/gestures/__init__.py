"""Pure rules over joints and time; knows no ROS."""
