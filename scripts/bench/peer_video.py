"""Follows nothing, but finds and classifies the faces of each frame of a video with OpenCV and Python's ONNX Runtime, and writes JSON
lines; one of the contenders of video.py.

    python peer_video.py DETECTOR.onnx MODEL.onnx VIDEO THREADS

The same weights, sizes and crops as fer (peer_photos.py). The faces of a frame are one batch.
"""

import json
import sys

import cv2
import numpy as np
import onnxruntime
from peer_photos import LABELS, LONGEST, cut, found


def main():
    detector, model, video, threads = sys.argv[1:]
    cv2.setNumThreads(int(threads))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    images = session.get_inputs()[0]
    channels = 1 if images.shape[1] == 1 else 3
    detector = cv2.FaceDetectorYN.create(detector, "", (LONGEST, LONGEST), 0.6, 0.3, 5000)
    capture = cv2.VideoCapture(video)
    number = 0
    while True:
        read, image = capture.read()
        if not read:
            break
        record = {"frame": number, "time": capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, "faces": []}
        faces = found(detector, image)
        if len(faces):
            gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
            tensor = np.stack([cut(gray, face) for face in faces]).astype(np.float32) / np.float32(255)
            rows = session.run(None, {images.name: np.expand_dims(tensor, channels)})[0]
            for face, row in zip(faces, rows):
                record["faces"].append({"box": face[:4].tolist(), "label": LABELS[row.argmax()], "probabilities": row.tolist()})
        print(json.dumps(record), flush=True)
        number += 1


if __name__ == "__main__":
    main()
