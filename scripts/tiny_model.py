"""Draws tests/fixtures/tiny.onnx, a user's own model as fer meets it: RGB, NCHW, logits, no metadata, a few subnormal weights.

    python3 scripts/tiny_model.py

scripts/test compiles it in (FER_MODEL) and compares the compiled-in code with ONNX Runtime. Same bytes on every run.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts" / "keras"))

import env

env.enter()

import numpy as np
import onnx
from files import write
from onnx import TensorProto, helper, numpy_helper


def main():
    random = np.random.default_rng(7)
    kernel = random.normal(0, 0.5, (4, 3, 3, 3)).astype(np.float32)
    kernel[3, 0, 0] = [1e-39, -1e-40, 1e-35]
    weights = {
        "kernel": kernel,
        "bias": random.normal(0, 0.1, 4).astype(np.float32),
        "dense": random.normal(0, 1, (3, 4)).astype(np.float32),
        "dense_bias": random.normal(0, 0.1, 3).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "kernel", "bias"], ["conv"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense", "dense_bias"], ["scores"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="fer")
    onnx.checker.check_model(model, full_check=True)
    write(ROOT / "tests" / "fixtures" / "tiny.onnx", model.SerializeToString(deterministic=True))


main()
