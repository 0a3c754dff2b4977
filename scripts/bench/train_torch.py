"""Takes training steps with PyTorch; one of the contenders of train_peers.py.

    python train_torch.py NETWORK BATCHES SIZE THREADS [DEVICE [eager|compiled]]

On the CPU (the default) in float32 and channels_last. On another device `eager` is float32, whose products are TF32 where PyTorch
makes them so by default; `compiled` is torch.compile, bfloat16 by autocast, and channels_last, on any device.
"""

import sys
import time

import numpy as np
import torch

from networks_torch import NETWORKS

PIXELS = 48 * 48


def main():
    name, file, size, threads, *how = sys.argv[1:]
    device, way = (*how, "eager")[:2] if how else ("cpu", "eager")
    compiled = way == "compiled"
    layout = torch.channels_last if compiled or device == "cpu" else torch.contiguous_format
    torch.set_num_threads(int(threads))
    # As fer and TensorFlow do.
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    network, penalty = NETWORKS[name]()
    network = network.to(device).to(memory_format=layout).train()
    answer = torch.compile(network) if compiled else network
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, eps=1e-7)
    data = np.fromfile(file, np.uint8).reshape(-1, int(size), 1 + PIXELS)
    batches = [
        (
            torch.from_numpy(batch[:, 1:].astype(np.float32) / 255).reshape(-1, 1, 48, 48)
            .to(device).to(memory_format=layout),
            torch.from_numpy(batch[:, 0].astype(np.int64)).to(device),
        )
        for batch in data
    ]
    done = 0
    print("ready", flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        for _ in range(int(line)):
            images, labels = batches[done % len(batches)]
            done += 1
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=compiled):
                logits = answer(images)
            loss = torch.nn.functional.cross_entropy(logits.float(), labels) + penalty()
            loss.backward()
            optimizer.step()
        value = loss.item()
        if device != "cpu":
            torch.cuda.synchronize()
        print(time.perf_counter() - began, value, flush=True)


if __name__ == "__main__":
    main()
