"""Metrics and the tables made of them."""
