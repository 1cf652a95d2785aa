"""A project's own Keras code, from its folder `custom`: networks, losses, metrics, optimizers, callbacks."""
