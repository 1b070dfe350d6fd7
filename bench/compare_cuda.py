"""compare_torch.py on a GPU: whole training steps of descent against three peers. P-eager is typical PyTorch code; P-compile is
torch.compile(mode="max-autotune") with fused Adam; P-graph, the strongest peer, is ONE CUDA graph of the whole step, the better of two
layouts. Both sides keep the images on the GPU and compute in the same class of precision: T may round the inputs of products to TF32, S
may not, B is mixed precision, bf16 with f32 weights (PyTorch's autocast)."""

import json
import os
import signal
import statistics
import sys
import tempfile
import time

from peers import Torch, descent

DENSE = ["eager", "compile", "graph"]
CONV = ["eager", "compile+channels_last", "graph", "graph+channels_last"]
# Goal, job, the model of descent and torch_worker, batch, PyTorch's settings, required speedups in class T over P-eager and P-graph.
JOBS = [
    ("G1", "mlp", "mlp", 128, DENSE, 15, 2),
    ("G3", "lenet5", "lenet5", 128, CONV, 20, 2.8),
    ("G4", "cnn", "cnn", 128, CONV, 7, 2),
    ("G2", "mlp-1024", "mlp", 1024, DENSE, 10, 2),
    ("G5", "cnn-example", "cnn-example", 128, CONV, 3, 1.5),
]
PRECISION = {"T": "tf32", "S": "f32", "B": "bf16"}
WORDS = {"T": ["--tf32"], "S": [], "B": ["--tf32", "--bf16"]}  # options of torch_worker
STEPS = {"eager": 600, "compile": 1500, "graph": 4000}  # steps per block

# The CNN of PyTorch's MNIST example, which is no preset.
EXAMPLE = {"name": "cnn-example", "input": [28, 28, 1], "layers": [
    {"type": "Conv2d", "out_channels": 32, "kernel_size": 3}, {"type": "ReLU"},
    {"type": "Conv2d", "out_channels": 64, "kernel_size": 3}, {"type": "ReLU"},
    {"type": "MaxPool2d", "kernel_size": 2}, {"type": "Dropout", "p": 0.25}, {"type": "Flatten"},
    {"type": "Linear", "out_features": 128}, {"type": "ReLU"}, {"type": "Dropout", "p": 0.5}, {"type": "Linear", "out_features": 10}]}


def peer_of(setting):
    return setting.split("+")[0]


def start(job, model, batch, settings, klass):
    words = ["--device", "cuda", "--batch-size", str(batch), "--warmup", "30", *WORDS[klass]]
    return {setting: Torch(model, setting, [*words, "--steps", str(STEPS[peer_of(setting)])]) for setting in settings}


def ready(job, workers):
    """Waits for the workers; returns those that can run."""
    running = {}
    for setting, worker in workers.items():
        if worker.wait_until_ready().failure is None:
            running[setting] = worker
        else:
            print(f"  {job}: PyTorch can't run {setting} here: {' '.join(worker.failure)}", file=sys.stderr)
    return running


def measure(job, model, batch, workers, klass, args):
    """Median seconds per step over the rounds, by peer and by setting; every contestant runs a block in every round."""
    words = ["--train", model, "--device", "cuda", "--precision", PRECISION[klass], "--batch-size", str(batch), "--blocks", "1"]
    times = {name: [] for name in ["descent", *workers]}
    for _ in range(args.rounds):
        result = descent(args.descent, words)
        times["descent"].append(result["block_seconds"] / result["steps"])
        for setting, worker in workers.items():
            times[setting].append(worker.block() / STEPS[peer_of(setting)])
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    best = {"descent": medians.pop("descent")}
    for setting, seconds in sorted(medians.items(), key=lambda item: item[1]):
        best.setdefault(peer_of(setting), seconds)
    return best, medians


def compare(args):
    begin = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("compare_torch: stopped"))
    wanted = args.jobs.split(",") if args.jobs else [job for _, job, *_ in JOBS]
    peak = descent(args.descent, ["--peak", "--device", "cuda"])
    results = {"peak": peak, "rounds": args.rounds, "results": []}
    print(f"{peak.get('device_name', 'cuda')}: {peak['gflops_f32']:,.0f} GFLOP/s, copy {peak['copy_gb_s']:,.0f} GB/s, "
          f"medians of {args.rounds}", flush=True)
    started = []
    longest = 0.0
    try:
        with tempfile.TemporaryDirectory() as scratch:
            example = os.path.join(scratch, "cnn-example.json")
            with open(example, "w", encoding="utf-8") as file:
                json.dump(EXAMPLE, file)
            for klass in args.classes.split(","):
                # All are started at once: importing PyTorch takes longest, and those that are ready are stopped while they wait.
                queue = []
                for goal, job, model, batch, settings, *must in JOBS:
                    if job in wanted:
                        chosen = [setting for setting in settings if not args.settings or peer_of(setting) in args.settings.split(",")]
                        workers = start(job, model, batch, chosen, klass)
                        started += workers.values()
                        queue.append((goal, job, model, batch, workers, must))
                queue = [(goal, job, model, batch, ready(job, workers), must) for goal, job, model, batch, workers, must in queue]
                for goal, job, model, batch, workers, must in queue:
                    left = args.seconds - (time.monotonic() - begin) if args.seconds else float("inf")
                    if not workers or left < longest:
                        print(f"{goal} {job} {klass}: not measured, " + ("no peer runs" if not workers else "the time is used up"))
                        continue
                    at = time.monotonic()
                    best, settings = measure(job, example if model == "cnn-example" else model, batch, workers, klass, args)
                    for worker in workers.values():
                        worker.close()
                    longest = max(longest, time.monotonic() - at)
                    row = {"goal": goal, "job": job, "class": klass, "batch": batch, "torch": next(iter(workers.values())).version,
                           "seconds_per_step": best, "settings": settings,
                           "ratios": {name: seconds / best["descent"] for name, seconds in best.items() if name != "descent"},
                           "must": dict(zip(("eager", "graph"), must)) if klass == "T" else {}}
                    results["results"].append(row)
                    show(row)
                    if args.json:
                        with open(args.json, "w", encoding="utf-8") as out:
                            json.dump(results, out, indent=1)
                            out.write("\n")
    finally:
        for worker in started:
            worker.kill()
    if not results["results"]:
        raise SystemExit("compare_torch: nothing could be compared")


def show(row):
    peers = ", ".join(f"{name} {row['seconds_per_step'][name] * 1e6:.1f} ({ratio:.2f}x" +
                      (f", must {row['must'][name]:g}x" if name in row["must"] else "") + ")" for name, ratio in row["ratios"].items())
    print(f"{row['goal']} {row['job']} class {row['class']}, batch {row['batch']}: us/step descent "
          f"{row['seconds_per_step']['descent'] * 1e6:.1f}; PyTorch {row['torch']} {peers}", flush=True)
