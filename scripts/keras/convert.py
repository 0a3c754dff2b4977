"""Converts a Keras classifier to ONNX (opset 18) and checks the result against Keras.

    python3 scripts/keras/convert.py MODEL.keras|MODEL.h5 [-o models/notebook.onnx] [--labels a,b,c]
                                     [--scale S] [--resize nearest|antialias] [--crop CROP]

The ONNX model takes `input`, float32 `[N, H, W, C]`, and gives `probabilities` (or `logits`, if the model does not end in a
softmax), float32 `[N, classes]`. What a user of the file must know, such as labels, pixel scale and size, is in its metadata
under `fer.*`. The same weights give the same bytes, from .keras and from .h5, on every run.
"""

import env

env.enter()

import argparse
import json
import logging
import os
import re

from files import write
from load import FER_LABELS, SCALE, TINY, Classifier, UserError, short

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx
from onnx import helper, numpy_helper

OPSET = 18
# The ONNX IR of opset 18: any runtime that knows the opset reads it.
IR_VERSION = 8
TOLERANCE = 1e-5


def main():
    options = arguments()
    classifier = Classifier(options.model)
    labels = options.labels or (FER_LABELS if classifier.classes == len(FER_LABELS) else None)
    if labels is None:
        raise UserError(f"{options.model}: {classifier.classes} classes: give their names with --labels")
    if len(labels) != classifier.classes or len(set(labels)) != len(labels):
        raise UserError(f"--labels: {classifier.classes} different names needed, {len(set(labels))} given")

    graph = Graph(trace(classifier), classifier)
    graph.fix_reshapes()
    graph.restore_batch_norms()
    graph.sort()
    graph.rename("probabilities" if classifier.gives_probabilities else "logits")
    zeroed = graph.flush_tiny_weights()
    model = finish(graph, classifier, labels, options)
    onnx.checker.check_model(model, full_check=True)
    difference = compare(model, classifier)

    write(options.output, model.SerializeToString(deterministic=True))
    operators = [node.op_type for node in model.graph.node]
    counts = ", ".join(f"{operators.count(name)} {name}" for name in dict.fromkeys(operators))
    print(f"{options.output}: {os.path.getsize(options.output):,} bytes, opset {OPSET}")
    print(f"{len(operators)} nodes: {counts}")
    print(f"{zeroed:,} weights below {TINY:g} set to zero")
    print(f"largest difference from Keras {difference:.1e}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", help="a .keras or .h5 file")
    parser.add_argument("-o", "--output", default="models/notebook.onnx", metavar="FILE", help="default: %(default)s")
    parser.add_argument("--labels", type=lambda text: text.split(","), metavar="A,B,C",
                        help="class names in the order of the outputs; default for 7 classes: " + ",".join(FER_LABELS))
    parser.add_argument("--scale", type=float, default=SCALE, metavar="S",
                        help="factor from 0..255 pixels to the input; default: 1/255")
    parser.add_argument("--resize", choices=["nearest", "antialias"], default="nearest",
                        help="how images of another size were resized in training; default: %(default)s")
    parser.add_argument("--crop", metavar="CROP",
                        help="how faces were cut out of pictures in training, as square,scale=1.04,upright=15; "
                             "default: not stated")
    return parser.parse_args()


def trace(classifier):
    """The model as tf2onnx converts it."""
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    shape = [None, classifier.height, classifier.width, classifier.channels]
    signature = [tf.TensorSpec(shape, tf.float32, name="input")]
    function = tf.function(lambda images: classifier.model(images, training=False), input_signature=signature)
    try:
        return tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)[0]
    except Exception as error:
        raise UserError(f"{classifier.path}: tf2onnx cannot convert it: {short(error)}") from None


class Graph:
    """A graph in the making: `nodes` in order, and `constants`, the arrays of its initializers by name."""

    def __init__(self, model, classifier):
        self.classifier = classifier
        self.weights = classifier.weights()
        self.nodes = list(model.graph.node)
        self.constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
        self.input = model.graph.input[0].name
        self.output = model.graph.output[0].name

    def users(self, name):
        return [node for node in self.nodes if name in node.input]

    def fix_reshapes(self):
        """Makes constants of Reshape shapes that tf2onnx computes at run time.

        A shape that starts with the batch size and is otherwise fixed, seen from its values for two batch sizes, is
        `[-1, ...]`. `sort` then drops the nodes that computed it.
        """
        wanted = [node.input[1] for node in self.nodes if node.op_type == "Reshape" and node.input[1] not in self.constants]
        if not wanted:
            return
        probe = self.to_model([helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None) for name in set(wanted)])
        two, three = (run(probe, images(self.classifier, count), sorted(set(wanted))) for count in (2, 3))
        for name, a, b in zip(sorted(set(wanted)), two, three):
            if a[0] == 2 and b[0] == 3 and np.array_equal(a[1:], b[1:]):
                for node in self.users(name):
                    if node.op_type == "Reshape":
                        node.input[1] = name + "/fixed"
                self.constants[name + "/fixed"] = np.concatenate([[-1], a[1:]]).astype(np.int64)

    def restore_batch_norms(self):
        """Puts BatchNormalization with Keras's own parameters where the traced graph has their product as Mul and Add."""
        layers = [item for item in flat_layers(self.classifier.model) if isinstance(item, keras.layers.BatchNormalization)]
        for mul in [node for node in self.nodes if node.op_type == "Mul"]:
            users = self.users(mul.output[0])
            if len(users) != 1 or users[0].op_type != "Add":
                continue
            add = users[0]
            factor = [self.constants[name] for name in mul.input if name in self.constants]
            offset = [self.constants[name] for name in add.input if name in self.constants]
            data = [name for name in mul.input if name not in self.constants]
            if not (len(factor) == len(offset) == len(data) == 1):
                continue
            for layer in layers:
                parameters = batch_norm_parameters(layer)
                gamma, beta, mean, variance = parameters.values()
                scale = gamma / np.sqrt(variance + np.float32(layer.epsilon))
                if close(factor[0], scale) and close(offset[0], beta - mean * scale):
                    names = [f"{layer.name}/{name}" for name in parameters]
                    self.constants.update(zip(names, parameters.values()))
                    merged = helper.make_node(
                        "BatchNormalization", [data[0], *names], [add.output[0]], name=mul.name,
                        epsilon=layer.epsilon, momentum=layer.momentum,
                    )
                    self.nodes[self.nodes.index(add)] = merged
                    self.nodes.remove(mul)
                    layers.remove(layer)
                    break

    def sort(self):
        """Leaves the nodes that the output needs, each after its inputs, in an order that only the graph decides."""
        makers = {name: node for node in self.nodes for name in node.output}
        ordered, done, stack = [], set(), [(makers[self.output], False)]
        while stack:
            node, ready = stack.pop()
            if ready:
                ordered.append(node)
            elif node.output[0] not in done:
                done.add(node.output[0])
                stack.append((node, True))
                stack.extend((makers[name], False) for name in reversed(node.input) if name in makers)
        self.nodes = ordered
        used = dict.fromkeys(name for node in ordered for name in node.input)
        self.constants = {name: self.constants[name] for name in used if name in self.constants}

    def rename(self, output):
        """Names weights as Keras does (`conv2d/kernel`) and nodes after their layers (`conv2d/Conv`)."""
        candidates = {name: self.weight_names(array) for name, array in self.constants.items()}
        layer_of = self.layer_rule(candidates)
        layers = [layer_of(node.name) for node in self.nodes]
        # A node that tf2onnx added by itself bears no layer's name: it serves the next one.
        for index in reversed(range(len(layers) - 1)):
            layers[index] = layers[index] or layers[index + 1]

        names, taken = {self.input: "input"}, {"input", output}
        for node, layer in zip(self.nodes, layers):
            node.name = unique("/".join(filter(None, [layer, node.op_type])), taken)
            for name in node.input:
                if name in self.constants and name not in names:
                    free = [item for item in candidates[name] if item not in taken]
                    own = [item for item in free if item.split("/")[0] == layer] or free
                    names[name] = unique(own[0] if own else f"{node.name}/constant", taken)
            for name in node.output:
                names[name] = output if name == self.output else unique(f"{node.name}/output", taken)
        for node in self.nodes:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names[name] for name in node.output]
        self.constants = {names[name]: array for name, array in self.constants.items()}
        self.input, self.output = "input", output

    def weight_names(self, array):
        """The names of the Keras weights with these values, perhaps with the axes in ONNX's order."""
        found = []
        for name, weight in self.weights:
            forms = [weight, weight.transpose(3, 2, 0, 1)] if weight.ndim == 4 else [weight]
            if any(form.shape == array.shape and np.array_equal(form, array) for form in forms):
                found.append(name)
        return found

    def layer_rule(self, candidates):
        """A function from a traced node name to a layer name, or to "".

        TensorFlow makes scopes unique: `sequential_1/conv2d_1/Relu` may mean layer `conv2d` or `conv2d_1`. The nodes whose
        weights belong to one layer only tell which.
        """
        known = {item.name for item in flat_layers(self.classifier.model)}

        def exact(name):
            return next((part for part in reversed(name.split("/")[:-1]) if part in known), "")

        def stripped(name):
            parts = (re.sub(r"_\d+$", "", part) for part in reversed(name.split("/")[:-1]))
            return next((part for part in parts if part in known), "")

        owners = [
            (node.name, candidates[name][0].split("/")[0])
            for node in self.nodes for name in node.input if len(candidates.get(name, [])) == 1
        ]
        for rule in (stripped, exact):
            if all(rule(node) in ("", layer) for node, layer in owners):
                return rule
        return lambda name: ""

    def flush_tiny_weights(self):
        """Sets weights below TINY to zero and returns how many there were."""
        count = 0
        for name, array in self.constants.items():
            if array.dtype == np.float32:
                tiny = (np.abs(array) < TINY) & (array != 0)
                count += int(tiny.sum())
                self.constants[name] = np.where(tiny, np.float32(0), array)
        return count

    def to_model(self, outputs):
        shape = ["N", self.classifier.height, self.classifier.width, self.classifier.channels]
        graph = helper.make_graph(
            self.nodes, "fer",
            [helper.make_tensor_value_info(self.input, onnx.TensorProto.FLOAT, shape)],
            outputs,
            [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in self.constants.items()],
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
            producer_name="fer convert.py", producer_version="1",
        )


def flat_layers(model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from flat_layers(layer)
        else:
            yield layer


def batch_norm_parameters(layer):
    """gamma, beta, mean and variance of a Keras BatchNormalization, in ONNX's order."""
    mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    return {
        "gamma": layer.gamma.numpy() if layer.scale else np.ones_like(mean),
        "beta": layer.beta.numpy() if layer.center else np.zeros_like(mean),
        "moving_mean": mean,
        "moving_variance": variance,
    }


def close(constant, expected):
    """Whether a folded constant, `[C]` or `[1, C, 1, 1]`, is what a layer's parameters give."""
    return constant.size == expected.size and np.allclose(constant.ravel(), expected, rtol=1e-5, atol=1e-6)


def unique(name, taken):
    chosen, count = name, 0
    while chosen in taken:
        count += 1
        chosen = f"{name}_{count}"
    taken.add(chosen)
    return chosen


def finish(graph, classifier, labels, options):
    model = graph.to_model([helper.make_tensor_value_info(graph.output, onnx.TensorProto.FLOAT, ["N", classifier.classes])])
    helper.set_model_props(model, {
        "fer.labels": json.dumps(labels, ensure_ascii=False),
        "fer.layout": "NHWC",
        "fer.size": f"{classifier.width}x{classifier.height}",
        "fer.channels": str(classifier.channels),
        "fer.scale": repr(options.scale),
        "fer.resize": options.resize,
        "fer.output": graph.output,
        **({"fer.crop": options.crop} if options.crop else {}),
        "fer.architecture": classifier.model.name,
        "fer.source": f"Keras {classifier.saved_by} model, weights sha256 {classifier.digest()}",
    })
    return model


def images(classifier, count):
    shape = (count, classifier.height, classifier.width, classifier.channels)
    return np.random.default_rng(count).random(shape, dtype=np.float32)


def run(model, batch, outputs=None):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(outputs, {session.get_inputs()[0].name: batch})


def compare(model, classifier):
    """The largest difference from Keras on random images in batches of 1 and 32; an error if it is too large."""
    largest = 0.0
    for count in (1, 32):
        batch = images(classifier, count)
        expected = classifier.model.predict_on_batch(batch)
        largest = max(largest, float(np.abs(run(model, batch)[0] - expected).max() / max(1.0, np.abs(expected).max())))
    if not largest <= TOLERANCE:
        raise UserError(f"{classifier.path}: ONNX Runtime differs from Keras by {largest:.1e}: nothing written")
    return largest


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        env.fail(error)
