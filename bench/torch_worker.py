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
    if job == "cnn-example":
        return nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
            *flatten_linear(9216, nn.Dropout(0.5)))
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


class CudaTraining:
    """The same step with everything on the GPU, for one peer: `eager`, `compile` (max-autotune), or `graph`, ONE CUDA graph of the whole
    step including the gather. The last two use fused Adam; the word channels_last selects that layout of the filters."""

    def __init__(self, job, setting, batch_size, tf32, bf16):
        if not torch.cuda.is_available():
            raise SystemExit("torch_worker: PyTorch " + torch.__version__ +
                             (" finds no CUDA device" if torch.backends.cuda.is_built() else " is built without CUDA"))
        torch.manual_seed(1)
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True
        self.batch_size = batch_size
        self.images = torch.rand(60000, 1, 28, 28, device="cuda")
        self.labels = torch.randint(0, 10, (60000,), device="cuda")
        self.model = make_model(job).cuda()
        if "channels_last" in setting:
            self.model = self.model.to(memory_format=torch.channels_last)

        def forward(x, y):  # a graph must contain its own casts of the weights, so they are not cached between steps
            with torch.autocast("cuda", dtype=torch.bfloat16, enabled=bf16, cache_enabled=False):
                return nn.functional.cross_entropy(self.model(x), y)

        self.forward = torch.compile(forward, mode="max-autotune") if "compile" in setting else forward
        fast = "eager" not in setting
        self.optimizer = torch.optim.Adam(self.model.parameters(), fused=True if fast else None, capturable=fast)
        self.order = torch.empty(60000, dtype=torch.int64, device="cuda")
        self.first = torch.arange(batch_size, device="cuda")
        self.place = torch.empty_like(self.first)
        self.start_epoch()
        self.graph = None
        if "graph" in setting:
            self.capture()

    def start_epoch(self):
        self.order.copy_(torch.randperm(60000, device="cuda"))
        self.place.copy_(self.first)
        self.at = 0

    def captured_step(self):  # its position in the order is stored on the GPU
        index = self.order.index_select(0, self.place)
        self.place.add_(self.batch_size)
        return self.step(index)

    def step(self, index):
        loss = self.forward(self.images.index_select(0, index), self.labels.index_select(0, index))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss

    def capture(self):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(5):
                self.captured_step()
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(self.graph):
            self.loss = self.captured_step()
        self.start_epoch()

    def run(self, steps):
        for _ in range(steps):
            if self.at + self.batch_size > 60000:
                self.start_epoch()
            if self.graph is not None:
                self.graph.replay()
            else:
                self.loss = self.step(self.order[self.at:self.at + self.batch_size])
            self.at += self.batch_size
        if not torch.isfinite(self.loss):  # waits for the GPU
            raise SystemExit("torch_worker: the loss is not finite")
        torch.cuda.synchronize()


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
    parser.add_argument("--setting", required=True, help="words joined by +: eager, fused, channels_last, compile, max, freeze, graph")
    parser.add_argument("--infer", action="store_true")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=117)
    parser.add_argument("--warmup", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--tf32", action="store_true", help="on CUDA: products may round their inputs to TF32")
    parser.add_argument("--bf16", action="store_true", help="on CUDA: mixed precision, autocast to bf16")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    setting = args.setting.split("+")
    if args.device == "cuda":
        if args.infer:
            parser.error("--device cuda trains only")
        contestant = CudaTraining(args.job, setting, args.batch_size, args.tf32, args.bf16)
    else:
        contestant = (Inference if args.infer else Training)(args.job, setting, args.batch_size)
    contestant.run(args.warmup)
    print("ready", torch.__version__, flush=True)
    for line in sys.stdin:
        if line.strip() != "go":
            break
        # The process was stopped: warm up threads and caches, or the GPU's clock, first.
        contestant.run(min(3 if args.device == "cpu" else 200, args.steps))
        start = time.perf_counter()
        contestant.run(args.steps)
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
