"""Declared networks that Keras computes.

Networks of `keras.applications`, users' `.keras` files and presets of keras_hub. One module opens
each kind, `declare.py` finds their layers and check vector, and `declared.py` loads them for the
engine.
"""
