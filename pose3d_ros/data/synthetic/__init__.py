"""Renders synthetic people with exact joints (CC0 MakeHuman bodies, CMU motion capture).

``assets`` → ``body``, ``clothes``, ``person`` (a pool of dressed people in the rest pose) → ``poses``, ``retarget``
(their pose) → ``looks``, ``lighting``, ``backgrounds`` (what the picture is of) → ``raster``, ``render`` (linear light
and labels) → ``photograph`` (a JPEG) → ``shards``. ``scene`` puts a picture together, ``film`` a
short film, of which ``clip`` is one and ``crossing`` are others; ``cli`` is ``python -m pose3d_ros.data.synthetic``.
"""
