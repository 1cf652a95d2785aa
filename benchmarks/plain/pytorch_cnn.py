"""Plain PyTorch script of the layers of `cnn`: an epoch by batches of 32 in each precision and memory layout."""

import json
import sys
import time

import numpy as np
import torch
from torch import nn

SAMPLES, BATCH = int(sys.argv[2]), 32

with np.load(sys.argv[1]) as arrays:
    images = torch.from_numpy(arrays["x_train"][:SAMPLES, None].astype("float32") / 255)
    labels = torch.from_numpy(arrays["y_train"][:SAMPLES].astype("int64"))


def epoch(precision: str, layout: str) -> tuple[float, float]:
    """Wall time and processor time of an epoch, after a few steps that do not count."""
    torch.manual_seed(0)
    memory = getattr(torch, layout)
    layers = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(1600, 64), nn.ReLU(), nn.Linear(64, 10))
    model = model.to(memory_format=memory)
    optimizer, loss_of = torch.optim.Adam(model.parameters(), foreach=True), nn.CrossEntropyLoss()
    batches = torch.randperm(SAMPLES)[: SAMPLES // BATCH * BATCH].reshape(-1, BATCH)

    def step(batch: torch.Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            outputs = model(images[batch].to(memory_format=memory))
        loss_of(outputs.float(), labels[batch]).backward()
        optimizer.step()

    for batch in batches[:20]:
        step(batch)
    wall, processor = time.perf_counter(), time.process_time()
    for batch in batches:
        step(batch)
    return time.perf_counter() - wall, time.process_time() - processor


for precision in ("bfloat16", "float32"):
    for layout in ("channels_last", "contiguous_format"):
        wall_s, processor_s = epoch(precision, layout)
        print(json.dumps({"way": f"{precision} {layout}", "wall_s": wall_s, "processor_s": processor_s}))
