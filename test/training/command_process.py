"""One of several processes that carry out a command together; started by torchrun: the words after `pose3d`."""

import sys

from pose3d_ros.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
