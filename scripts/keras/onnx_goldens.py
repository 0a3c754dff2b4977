"""Writes small ONNX classifiers with every kind of output and input, and what onnxruntime answers: expectations of tests.

    python3 scripts/keras/onnx_goldens.py [-o tests/golden/onnx]

All of them are one network for the faces in examples/faces: a convolution, a global maximum and a dense layer, with a sharp head.
`NAME.onnx` are the models. `answers.json` has for each model the list `input`, how pixels go in, and for each face the outputs.
Nothing in the files is fer's: what their outputs are has to be found out. The same versions give the same bytes.
"""

import env

env.enter()

import argparse
import json
from pathlib import Path

from files import write
from images import pixels

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]
FACES = sorted((ROOT / "examples/faces").glob("*.png"))
SIDE = 48
CLASSES = 7
FLOAT, HALF, UINT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8


class Model:
    """A graph in the making, whose last tensor is `last`."""

    def __init__(self, values=CLASSES, elem=FLOAT, nhwc=False, sharp=12.0):
        self.elem, self.nhwc, self.nodes, self.weights, self.more = elem, nhwc, [], [], []
        self.random = np.random.default_rng(7)
        self.last = "input"
        if elem == UINT8:
            self.add("Cast", to=FLOAT).add("Div", self.constant(255.0))
        if nhwc:
            self.add("Transpose", perm=[0, 3, 1, 2])
        kernel = self.random.normal(0, 0.3, (8, 3, 3, 3))
        self.add("Conv", self.constant(kernel)).add("Relu").add("GlobalMaxPool").add("Flatten")
        self.features = self.last
        dense = self.random.normal(0, 1, (8, CLASSES))[:, :values]
        self.add("Gemm", self.constant(dense * sharp), self.constant(self.random.normal(0, 1, CLASSES)[:values]))

    @property
    def type(self):
        return HALF if self.elem == HALF else FLOAT

    def constant(self, value, dtype=None):
        name = f"c{len(self.weights)}"
        array = np.asarray(value, dtype or (np.float16 if self.type == HALF else np.float32))
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def add(self, operator, *inputs, of=None, **attributes):
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [of or self.last, *inputs], [output], **attributes))
        self.last = output
        return self

    def quantized(self, zero, scale):
        """As static quantization leaves it: the values rounded to 8 bits."""
        constants = self.constant(scale), self.constant(zero, np.uint8)
        return self.add("QuantizeLinear", *constants).add("DequantizeLinear", *constants)

    def softmax(self):
        return self.add("Softmax", axis=1)

    def softmax_by_hand(self):
        logits = self.last
        self.add("ReduceMax", axes=[1], keepdims=1)
        self.add("Sub", self.last, of=logits).add("Exp")
        powers = self.last
        self.add("ReduceSum", self.constant([1], np.int64), keepdims=1)
        return self.add("Div", self.last, of=powers)

    def sigmoid_by_hand(self):
        return self.add("Neg").add("Exp").add("Add", self.constant(1.0)).add("Reciprocal")

    def proto(self, metadata=None):
        shape = [SIDE, SIDE, 3] if self.nhwc else [3, SIDE, SIDE]
        outputs = [helper.make_tensor_value_info(self.last, self.type, None)]
        graph = helper.make_graph(
            self.nodes, "golden", [helper.make_tensor_value_info("input", self.elem, ["N", *shape])],
            outputs, self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        inferred = onnx.shape_inference.infer_shapes(model)
        types = {item.name: item for item in inferred.graph.value_info}
        del model.graph.output[:]
        for name in [*self.more, self.last]:
            model.graph.output.append(next(o for o in [*inferred.graph.output, *types.values()] if o.name == name))
        helper.set_model_props(model, metadata or {})
        return model


def models():
    """Names and models; the classifier's output is the last."""
    names = ["anger", "contempt", "disgust", "fear", "it's joy", "neutral", "sad"]
    ultralytics = {"description": "Ultralytics", "task": "classify", "stride": "1", "imgsz": f"[{SIDE}, {SIDE}]",
                   "names": str(dict(enumerate(names)))}
    yield "softmax", Model().softmax().proto()
    yield "logits", Model(sharp=2).proto()
    yield "softmax_by_hand", Model().softmax_by_hand().proto()
    yield "quantized_softmax", Model().softmax().quantized(0, 1 / 256).proto()
    yield "clipped_softmax", Model().softmax().add("Clip").proto()
    half = Model(sharp=2).softmax()
    half.add("Mul", half.constant(0.5)).add("Add", half.last)
    yield "mean_of_softmaxes", half.proto()
    joined = Model(sharp=2).softmax()
    yield "joined_classes", joined.add("MatMul", joined.constant(np.eye(4)[[0, 0, 1, 2, 2, 3, 3]])).proto()
    yield "sigmoids", Model(sharp=2).add("Sigmoid").proto()
    yield "quantized_sigmoids", Model(sharp=2).add("Sigmoid").quantized(0, 1 / 256).proto()
    yield "sigmoids_by_hand", Model(sharp=2).sigmoid_by_hand().proto()
    yield "one_sigmoid", Model(values=1, sharp=2).add("Sigmoid").proto()
    yield "one_logit", Model(values=1, sharp=2).proto()
    yield "half", Model(elem=HALF, sharp=2).softmax().proto()
    yield "uint8_nhwc", Model(elem=UINT8, nhwc=True).softmax().proto()
    yield "ultralytics", Model().softmax().proto(ultralytics)
    two = Model().softmax()
    two.more.append(two.features)
    yield "two_outputs", two.proto()


def answers(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    port, output = session.get_inputs()[0], model.graph.output[-1].name
    rows = []
    for face in FACES:
        image = pixels(face, SIDE, SIDE, 3)
        if port.type != "tensor(uint8)":
            image = image.astype(np.float32) * np.float32(1 / 255)
        if port.shape[1] == 3:
            image = image.transpose(2, 0, 1)
        image = image.astype(np.float16) if port.type == "tensor(float16)" else image
        rows.append([float(value) for value in session.run([output], {port.name: image[None]})[0][0]])
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "tests/golden/onnx", metavar="FOLDER")
    folder = parser.parse_args().output
    found = {}
    for name, model in models():
        onnx.checker.check_model(model, full_check=True)
        write(folder / f"{name}.onnx", model.SerializeToString(deterministic=True))
        found[name] = answers(model)
    text = ",\n".join(f'"{name}": {json.dumps(rows)}' for name, rows in found.items())
    write(folder / "answers.json", f"{{\n{text}\n}}\n".encode())


if __name__ == "__main__":
    main()
