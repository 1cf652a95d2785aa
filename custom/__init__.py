"""Your own Keras code: networks, losses, metrics, optimizers and callbacks that params.yaml names.

Every training depends on this folder: after a change in it all models are trained again. docs/custom-models.md
explains the functions; example.py has one of each kind.
"""
