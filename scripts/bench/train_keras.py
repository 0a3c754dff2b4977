"""Takes training steps with Keras on TensorFlow; one of the contenders of train_peers.py.

    python train_keras.py NETWORK BATCHES SIZE THREADS

The notebook's network is built as its notebook does. The steps are those of `fit`; what `fit` does before the first and after
the last batch of a call is not timed.
"""

import os
import sys
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from keras import layers

PIXELS = 48 * 48


def notebook():
    def block(outputs, kernel, penalty=None):
        regularizer = keras.regularizers.l2(penalty) if penalty else None
        return [
            layers.Conv2D(outputs, kernel, padding="same", activation="relu", kernel_regularizer=regularizer),
            layers.BatchNormalization(), layers.MaxPooling2D(2), layers.Dropout(0.25),
        ]

    def dense(outputs):
        return [layers.Dense(outputs, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.25)]

    return keras.Sequential([
        keras.Input((48, 48, 1)), layers.Conv2D(32, 3, activation="relu"), *block(64, 3), *block(128, 5),
        *block(512, 3, 0.01), *block(512, 3, 0.01), layers.Flatten(), *dense(256), *dense(512),
        layers.Dense(7, activation="softmax"),
    ])


def vgg():
    network = keras.Sequential([keras.Input((48, 48, 1))])
    for i, width in enumerate((32, 64, 128, 192, 256)):
        if i:
            network.add(layers.MaxPooling2D(2))
        for _ in range(2):
            network.add(layers.Conv2D(width, 3, padding="same", use_bias=False))
            network.add(layers.BatchNormalization())
            network.add(layers.ReLU())
    for layer in (layers.GlobalAveragePooling2D(), layers.Dropout(0.2), layers.Dense(7, activation="softmax")):
        network.add(layer)
    return network


NETWORKS = {"notebook": notebook, "vgg": vgg}


class Clock(keras.callbacks.Callback):
    """The time from the first batch of an epoch to the end of its last one, and that one's loss."""

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 0:
            self.began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.seconds, self.loss = time.perf_counter() - self.began, logs["loss"]


def main():
    name, file, size, threads = sys.argv[1:]
    tf.config.threading.set_intra_op_parallelism_threads(int(threads))
    keras.utils.set_random_seed(0)
    model = NETWORKS[name]()
    model.compile(optimizer=keras.optimizers.Adam(1e-4), loss="categorical_crossentropy")
    data = np.fromfile(file, np.uint8).reshape(-1, 1 + PIXELS)
    size = int(size)
    images = (data[:, 1:].astype(np.float32) / 255).reshape(-1, 48, 48, 1)
    targets = np.eye(7, dtype=np.float32)[data[:, 0]]
    clock = Clock()
    print("ready", flush=True)
    for line in sys.stdin:
        count = int(line) * size
        chosen = np.arange(count) % len(images)
        model.fit(images[chosen], targets[chosen], batch_size=size, shuffle=False, verbose=0, callbacks=[clock])
        print(clock.seconds, clock.loss, flush=True)


if __name__ == "__main__":
    main()
