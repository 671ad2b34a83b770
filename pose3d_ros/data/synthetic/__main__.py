"""``python -m pose3d_ros.data.synthetic``."""

import sys

from pose3d_ros.data.synthetic.cli import main

if __name__ == "__main__":
    sys.exit(main())
