"""Plain Keras script of the seeds' system S4, `cnn`: as its document's steps are."""

import json
import sys
import time

import keras
import numpy as np

with np.load(sys.argv[1]) as arrays:
    x_train, y_train = arrays["x_train"], arrays["y_train"]
    x_test, y_test = arrays["x_test"], arrays["y_test"]

x_train = np.expand_dims(x_train, -1).astype("float32") / 255
x_test = np.expand_dims(x_test, -1).astype("float32") / 255

model = keras.Sequential(
    [
        keras.layers.Input((28, 28, 1)),
        keras.layers.Conv2D(32, (3, 3), activation="relu"),
        keras.layers.MaxPooling2D((2, 2)),
        keras.layers.Conv2D(64, (3, 3), activation="relu"),
        keras.layers.MaxPooling2D((2, 2)),
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(10),
    ]
)
model.compile(
    optimizer="adam",
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)

start = time.perf_counter()
model.fit(x_train, y_train, batch_size=32, epochs=10, verbose=0)
fit_s = time.perf_counter() - start

loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(json.dumps({"system": "cnn", "fit_s": fit_s, "epochs": 10, "test_loss": loss, "test_accuracy": accuracy}))
