"""The networks of crates/fer-train/src/model in PyTorch, for train_torch.py."""

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
    penalized = [layer for layer in network if isinstance(layer, nn.Conv2d) and layer.out_channels == 512]
    return network, lambda: 0.01 * sum(layer.weight.square().sum() for layer in penalized)


def vgg():
    layers, inputs = [], 1
    for i, width in enumerate((32, 64, 128, 192, 256)):
        layers += [nn.MaxPool2d(2)] if i else []
        for _ in range(2):
            layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            inputs = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(inputs, 7)]
    return nn.Sequential(*layers), lambda: 0.0


NETWORKS = {"notebook": notebook, "vgg": vgg}
