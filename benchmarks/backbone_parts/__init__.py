"""The parts of `backbones.py`, a module for each of its tables."""
