"""The steps of a frame's way: arrays in, arrays out."""
