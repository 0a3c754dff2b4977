"""Gives YuNet's ONNX file a free size and one output: models/yunet.onnx.

    python scripts/detector/yunet.py face_detection_yunet_2023mar.onnx -o models/yunet.onnx

The weights stay as they are. The published file is fixed at 640x640 by its input's type, its
constant reshapes, and nothing else: the network has convolutions, poolings and doublings alone. The
input becomes [1, 3, height, width], both multiples of 32. The four heads of a level, each a
convolution of one pixel and a depthwise one, become one head of 16 channels: their kernels one after
another. The twelve outputs become one, `anchor_logits` [1, N, 16]: for the strides 8, 16 and 32, and
for each cell, row by row, cls, obj, bbox (4) and kps (10). cls and obj stay as they are before the
sigmoid, which is needed of the few cells alone that may be faces.
Needs the packages onnx, numpy and onnxruntime.
"""

import argparse
import hashlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
STRIDES = (8, 16, 32)
PARTS = ("cls", "obj", "bbox", "kps")


def free(source: bytes) -> onnx.ModelProto:
    graph = onnx.load_from_string(source).graph
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    maker = {output: node for node in graph.node for output in node.output}
    heads = {stride: [head(maker, f"{part}_{stride}") for part in PARTS] for stride in STRIDES}
    replaced = {id(node) for level in heads.values() for nodes in level for node in nodes}
    levels = {level[0][0].input[0]: stride for stride, level in heads.items()}
    assert len(levels) == len(STRIDES), levels
    nodes = []
    for node in graph.node:
        if id(node) in replaced:
            continue
        if node.op_type == "Resize":
            # Both dimensions are doubled; named by scales, they are for any size.
            scales = node.output[0] + "_scales"
            constants[scales] = np.array([1, 1, 2, 2], np.float32)
            del node.input[1:]
            node.input.extend(["", scales])
        nodes.append(node)
        stride = levels.get(node.output[0])
        if stride:
            nodes.extend(joined(heads[stride], stride, constants))
    constants["cells"] = np.array([1, -1, 16], np.int64)
    nodes.append(helper.make_node("Concat", [f"level_{s}" for s in STRIDES], ["anchor_logits"], axis=1))
    used = {name for node in nodes for name in node.input}
    constants = [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used]
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "height", "width"])
    anchors = helper.make_tensor_value_info("anchor_logits", TensorProto.FLOAT, [1, "anchors", 16])
    graph = helper.make_graph(nodes, "yunet", [image], [anchors], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    # Opset 13 has the same meaning of all these operators as 11.
    onnx.checker.check_model(made)
    return made


def head(maker: dict, output: str) -> list:
    """The nodes of a published output: its two convolutions, then what only moves values, and the sigmoid."""
    nodes = []
    while not nodes or nodes[0].op_type != "Conv" or nodes[1].op_type != "Conv":
        nodes.insert(0, maker[output])
        output = nodes[0].input[0]
    kinds = [node.op_type for node in nodes]
    assert kinds in (["Conv", "Conv", "Transpose", "Reshape"], ["Conv", "Conv", "Transpose", "Reshape", "Sigmoid"]), kinds
    return nodes


def joined(heads: list, stride: int, constants: dict) -> list:
    """One head of 16 channels in place of several."""
    convolutions = []
    for place, kind in enumerate(("pointwise", "depthwise")):
        layers = [nodes[place] for nodes in heads]
        names = [f"{kind}_{stride}_{part}" for part in ("weight", "bias")]
        for i, name in enumerate(names, 1):
            constants[name] = np.concatenate([constants[layer.input[i]] for layer in layers])
        attributes = {a.name: helper.get_attribute_value(a) for a in layers[0].attribute}
        attributes["group"] = 1 if kind == "pointwise" else len(constants[names[1]])
        source = layers[0].input[0] if place == 0 else f"pointwise_{stride}"
        convolutions.append(helper.make_node("Conv", [source, *names], [f"{kind}_{stride}"], **attributes))
    return [
        *convolutions,
        helper.make_node("Transpose", [f"depthwise_{stride}"], [f"cells_{stride}"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", [f"cells_{stride}", "cells"], [f"level_{stride}"]),
    ]


def check(source: bytes, made: bytes) -> None:
    """The same values as the published file at its size, but for the order of sums."""
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 640, 640)).astype(np.float32)
    before, after = (onnxruntime.InferenceSession(b, providers=["CPUExecutionProvider"]) for b in (source, made))
    parts = dict(zip([o.name for o in before.get_outputs()], before.run(None, {"input": image})))
    expected = np.concatenate(
        [np.concatenate([parts[f"{p}_{s}"] for p in PARTS], axis=2) for s in STRIDES], axis=1)
    found = after.run(None, {"input": image})[0]
    found[:, :, :2] = 1 / (1 + np.exp(-found[:, :, :2]))
    assert found.shape == expected.shape and np.allclose(found, expected, rtol=1e-5, atol=1e-5), abs(found - expected).max()
    print(f"as the published file at 640x640: {found.shape}, to {abs(found - expected).max():.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("-o", "--output", required=True)
    arguments = parser.parse_args()
    with open(arguments.source, "rb") as file:
        source = file.read()
    assert hashlib.sha256(source).hexdigest() == SHA256, "not OpenCV Zoo's file of March 2023"
    made = free(source).SerializeToString()
    check(source, made)
    with open(arguments.output, "wb") as file:
        file.write(made)
    print(f"{arguments.output}: {len(made)} bytes, SHA-256 {hashlib.sha256(made).hexdigest()}")


if __name__ == "__main__":
    main()
