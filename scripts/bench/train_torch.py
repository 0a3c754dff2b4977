"""Takes training steps with PyTorch in float32 and channels_last; one of the contenders of train_peers.py.

    python train_torch.py NETWORK BATCHES SIZE THREADS
"""

import sys
import time

import numpy as np
import torch

from networks_torch import NETWORKS

PIXELS = 48 * 48


def main():
    name, file, size, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    # As fer and TensorFlow do.
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    network, penalty = NETWORKS[name]()
    network = network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, eps=1e-7)
    data = np.fromfile(file, np.uint8).reshape(-1, int(size), 1 + PIXELS)
    batches = [
        (
            torch.from_numpy(batch[:, 1:].astype(np.float32) / 255).reshape(-1, 1, 48, 48)
            .to(memory_format=torch.channels_last),
            torch.from_numpy(batch[:, 0].astype(np.int64)),
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
            loss = torch.nn.functional.cross_entropy(network(images), labels) + penalty()
            loss.backward()
            optimizer.step()
            value = loss.item()
        print(time.perf_counter() - began, value, flush=True)


if __name__ == "__main__":
    main()
