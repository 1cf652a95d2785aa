"""Plain Keras script of the seeds' system S0, `dense`: as its document's steps are."""

import json
import sys
import time

import keras
import numpy as np

with np.load(sys.argv[1]) as arrays:
    x_train, y_train = arrays["x_train"], arrays["y_train"]
    x_test, y_test = arrays["x_test"], arrays["y_test"]

x_train = x_train.reshape((60000, 28 * 28)).astype("float32") / 255
x_test = x_test.reshape((10000, 28 * 28)).astype("float32") / 255

model = keras.Sequential(
    [
        keras.layers.Dense(512, activation="relu"),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile(
    optimizer="rmsprop",
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)

start = time.perf_counter()
model.fit(x_train, y_train, batch_size=128, epochs=5, verbose=0)
fit_s = time.perf_counter() - start

loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(json.dumps({"system": "dense", "fit_s": fit_s, "epochs": 5, "test_loss": loss, "test_accuracy": accuracy}))
