"""Gives YuNet's ONNX file a free size and one output: models/yunet.onnx.

    python scripts/detector/yunet.py face_detection_yunet_2023mar.onnx -o models/yunet.onnx

The weights stay as they are. The published file is fixed at 640x640 by its input's type, its
constant reshapes, and nothing else: the network has convolutions, poolings and doublings alone. The
input becomes [1, 3, height, width], both multiples of 32. The reshapes to [1, H*W, C] keep their
constants, which already say -1 for H*W. The twelve outputs become one, `anchors` [1, N, 16]: for the
strides 8, 16 and 32, and for each cell, row by row, cls, obj, bbox (4) and kps (10).
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
    model = onnx.load_from_string(source)
    graph = model.graph
    for node in graph.node:
        if node.op_type == "Reshape":
            shape = next(i for i in graph.initializer if i.name == node.input[1])
            values = numpy_helper.to_array(shape)
            assert values.shape == (3,) and values[0] == 1 and values[1] == -1, values
        if node.op_type == "Resize":
            # Both dimensions are doubled; named by scales, they are for any size.
            scales = helper.make_tensor(node.output[0] + "_scales", TensorProto.FLOAT, [4], [1, 1, 2, 2])
            graph.initializer.append(scales)
            del node.input[1:]
            node.input.extend(["", scales.name])
    for stride in STRIDES:
        names = [f"{part}_{stride}" for part in PARTS]
        graph.node.append(helper.make_node("Concat", names, [f"anchors_{stride}"], axis=2))
    names = [f"anchors_{stride}" for stride in STRIDES]
    graph.node.append(helper.make_node("Concat", names, ["anchors"], axis=1))
    size = [1, 3, "height", "width"]
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, size)
    anchors = helper.make_tensor_value_info("anchors", TensorProto.FLOAT, [1, "anchors", 16])
    used = {name for node in graph.node for name in node.input}
    constants = [i for i in graph.initializer if i.name in used]
    graph = helper.make_graph(list(graph.node), "yunet", [image], [anchors], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    # Opset 13 has the same meaning of all these operators as 11.
    onnx.checker.check_model(made)
    return made


def check(source: bytes, made: bytes) -> None:
    """The same values as the published file at its size, to the bit."""
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 640, 640)).astype(np.float32)
    before, after = (onnxruntime.InferenceSession(b, providers=["CPUExecutionProvider"]) for b in (source, made))
    parts = dict(zip([o.name for o in before.get_outputs()], before.run(None, {"input": image})))
    expected = np.concatenate(
        [np.concatenate([parts[f"{p}_{s}"] for p in PARTS], axis=2) for s in STRIDES], axis=1)
    found = after.run(None, {"input": image})[0]
    assert found.shape == expected.shape and np.array_equal(found, expected), abs(found - expected).max()
    print(f"equal to the published file at 640x640: {found.shape}")


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
