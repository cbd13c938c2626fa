"""Declared networks that Keras computes.

In: the name of a network of `keras.applications`, a user's `.keras` file or a preset of keras_hub,
and the names of layers. Out: its declaration, and the loaded backbone. One module opens each kind,
`declare.py` finds the layers and the check vector, and `declared.py` loads them for the engine.
"""
