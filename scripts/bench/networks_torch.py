"""The networks of src/model in PyTorch, for train_torch.py."""

import torch
from torch import nn


def notebook():
    def block(inputs, outputs, kernel):
        return [
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.ReLU(),
            nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01), nn.MaxPool2d(2), nn.Dropout(0.25),
        ]

    def dense(inputs, outputs):
        return [
            nn.Linear(inputs, outputs), nn.ReLU(), nn.BatchNorm1d(outputs, eps=1e-3, momentum=0.01), nn.Dropout(0.25),
        ]

    network = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), *block(32, 64, 3), *block(64, 128, 5), *block(128, 512, 3), *block(512, 512, 3),
        nn.Flatten(), *dense(2048, 256), *dense(256, 512), nn.Linear(512, 7),
    )
    penalised = [layer for layer in network if isinstance(layer, nn.Conv2d) and layer.out_channels == 512]
    return network, lambda: 0.01 * sum(layer.weight.square().sum() for layer in penalised)


def conv_norm(inputs, outputs, kernel, stride):
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = conv_norm(inputs, outputs, 3, stride)
        self.second = conv_norm(outputs, outputs, 3, 1)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else conv_norm(inputs, outputs, 1, stride)

    def forward(self, x):
        return torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))


def compact():
    network = nn.Sequential(
        conv_norm(1, 32, 3, 1), nn.ReLU(), conv_norm(32, 64, 3, 2), nn.ReLU(), Block(64, 64, 1), Block(64, 128, 2),
        Block(128, 192, 2), Block(192, 256, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(256, 7),
    )
    return network, lambda: 0.0


NETWORKS = {"notebook": notebook, "compact": compact}
