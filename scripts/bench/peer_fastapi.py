"""The service that a Python user writes: FastAPI, uvicorn with a worker a core, a request a run of ONNX Runtime."""

import os

import cv2
import numpy as np
import onnxruntime
from fastapi import FastAPI, HTTPException, Request

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
[tensor] = session.get_inputs()
LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
app = FastAPI()


@app.post("/classify")
async def classify(request: Request):
    pixels = cv2.imdecode(np.frombuffer(await request.body(), np.uint8), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise HTTPException(422, "not an image")
    pixels = cv2.resize(pixels, (48, 48)).astype(np.float32) / 255
    [row] = session.run(None, {tensor.name: pixels.reshape([1, *tensor.shape[1:]])})[0]
    best = int(row.argmax())
    return {"label": LABELS[best], "confidence": float(row[best]), "probabilities": dict(zip(LABELS, map(float, row)))}
