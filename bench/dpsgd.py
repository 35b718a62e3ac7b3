"""The dpsgd benchmark's steps in PyTorch and Opacus: MODEL BATCH SECONDS CLIPPING_NORM NOISE_MULTIPLIER.

Prints one JSON object: versions, and for "plain" and "private" the wall and CPU milliseconds of every
step, interleaved, on one thread. Without Opacus there is no "private"; without PyTorch, {}.
"""

import json
import sys
import time


def network(torch, name):
    nn = torch.nn
    if name == "dense":
        return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 10),
    )


def main():
    name, batch, seconds, clipping_norm, noise_multiplier = sys.argv[1], *map(float, sys.argv[2:6])
    batch = int(batch)
    try:
        import torch
    except ImportError:
        print("{}")
        return
    torch.set_num_threads(1)
    report = {"torch": torch.__version__}
    features = torch.rand(batch, 784)
    labels = torch.randint(0, 10, (batch,))

    def stepper(model, optimizer):
        def step():
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(features), labels).backward()
            optimizer.step()
        return step

    model = network(torch, name)
    steps = {"plain": stepper(model, torch.optim.SGD(model.parameters(), lr=0.01))}
    try:
        import opacus
        from opacus.grad_sample import GradSampleModule
        from opacus.optimizers import DPOptimizer

        report["opacus"] = opacus.__version__
        model = GradSampleModule(network(torch, name))
        optimizer = DPOptimizer(
            torch.optim.SGD(model.parameters(), lr=0.01),
            noise_multiplier=noise_multiplier,
            max_grad_norm=clipping_norm,
            expected_batch_size=batch,
        )
        steps["private"] = stepper(model, optimizer)
    except ImportError:
        pass
    times = {kind: {"wall": [], "cpu": []} for kind in steps}
    for step in steps.values():
        step()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["plain"]["wall"]) < 3:
        for kind, step in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            times[kind]["wall"].append((time.perf_counter() - wall) * 1e3)
            times[kind]["cpu"].append((time.process_time() - cpu) * 1e3)
    print(json.dumps({**report, **times}))


main()
