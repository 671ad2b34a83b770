"""Renders synthetic people with exact joints (CC0 MakeHuman bodies, CMU motion capture)."""
