"""One PyTorch contestant of compare_torch.py, in a process of its own: builds a job under one setting, then runs a block of
steps for every line "go" on standard input and prints its seconds. Data is normalized beforehand and lies in memory; a batch is
one index_select, as a careful PyTorch user would do it."""

import argparse
import sys
import time

import torch
from torch import nn


def flatten_linear(out_channels, *rest):
    return [nn.Flatten(), nn.Linear(out_channels, 128), nn.ReLU(), *rest, nn.Linear(128, 10)]


def make_model(job):
    if job == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    if job == "lenet5":
        return nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))
    if job == "cnn":
        return nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2), *flatten_linear(3136))
    if job == "cnn-bn":
        return nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2), *flatten_linear(3136, nn.Dropout(0.25)))
    raise SystemExit(f"torch_worker: unknown job {job}")


class Training:
    """Forward, loss, backward and Adam over shuffled batches of 60,000 synthetic images (speed does not depend on their content)."""

    def __init__(self, job, setting, batch_size):
        torch.manual_seed(1)
        self.batch_size = batch_size
        self.images = torch.rand(60000, 1, 28, 28)
        self.labels = torch.randint(0, 10, (60000,))
        self.model = make_model(job)
        self.channels_last = "channels_last" in setting
        if self.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        self.forward = lambda x, y: nn.functional.cross_entropy(self.model(x), y)
        if "compile" in setting:
            self.forward = torch.compile(self.forward, mode="max-autotune" if "max" in setting else None)
        self.optimizer = torch.optim.Adam(self.model.parameters(), fused="fused" in setting or None)
        self.order = torch.randperm(60000)
        self.at = 0

    def run(self, steps):
        loss = None
        for _ in range(steps):
            if self.at + self.batch_size > 60000:
                self.order, self.at = torch.randperm(60000), 0
            index = self.order[self.at:self.at + self.batch_size]
            self.at += self.batch_size
            x = self.images.index_select(0, index)
            if self.channels_last:
                x = x.contiguous(memory_format=torch.channels_last)
            loss = self.forward(x, self.labels.index_select(0, index))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        if not torch.isfinite(loss):
            raise SystemExit("torch_worker: the loss is not finite")


class Inference:
    """One image at a time through the model in evaluation mode."""

    def __init__(self, job, setting, batch_size):
        torch.manual_seed(1)
        self.images = torch.rand(256, batch_size, 1, 28, 28)
        model = make_model(job).eval()
        if "channels_last" in setting:
            model = model.to(memory_format=torch.channels_last)
            self.images = [x.contiguous(memory_format=torch.channels_last) for x in self.images]
        if "compile" in setting:
            model = torch.compile(model, mode="max-autotune" if "max" in setting else None)
        if "freeze" in setting:
            with torch.inference_mode():
                model = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, self.images[0])))
        self.model = model

    def run(self, steps):
        with torch.inference_mode():
            for i in range(steps):
                self.model(self.images[i % 256])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job", required=True)
    parser.add_argument("--setting", required=True, help="words joined by +: eager, fused, channels_last, compile, max, freeze")
    parser.add_argument("--infer", action="store_true")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=117)
    parser.add_argument("--warmup", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    contestant = (Inference if args.infer else Training)(args.job, args.setting.split("+"), args.batch_size)
    contestant.run(args.warmup)
    print("ready", torch.__version__, flush=True)
    for line in sys.stdin:
        if line.strip() != "go":
            break
        contestant.run(min(3, args.steps))  # it was stopped: wake threads and caches first
        start = time.perf_counter()
        contestant.run(args.steps)
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
