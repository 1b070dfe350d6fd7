#!/usr/bin/env python3
"""Times whole training steps and single-image inference of descent against PyTorch, side by side in one run, and prints ratios.

Every PyTorch setting is a process of its own (torch_worker.py) and stays up; in each round every contestant, descent included, runs
one block of steps in turn, so that a slow minute of the machine hits all of them. Reported are medians over the rounds, PyTorch's
best setting, and the share of the FMA peak: the highest that descent measured in the job's rounds. Where convolution gradients skip
the zeros that ReLU and pooling leave, the nominal FLOPs that the share counts are more than those done, and it may pass 100 %.

    python3 -m venv torch-env && torch-env/bin/pip install torch numpy
    torch-env/bin/python bench/compare_torch.py --descent build/release/bin/descent
    torch-env/bin/python bench/compare_torch.py --descent build/cuda/bin/descent --device cuda

On a GPU (compare_cuda.py) the peers are PyTorch eager, torch.compile, and one CUDA graph of the whole step, which is the real bar.
"""

import argparse
import json
import os
import statistics
import sys

import compare_cuda
from peers import Torch, descent

IMAGES = 60000
BASELINE = "baseline build"

# MFLOP per image, forward and backward: multiply-adds count two, no gradient for the first layer's input.
MFLOP = {"mlp": 3.2, "lenet5": 2.3, "cnn": 25.0, "cnn-bn": 25.0}
DENSE = ["eager", "fused+malloc", "fused+compile+malloc"]
CONV = ["eager", "fused+malloc", "fused+channels_last+malloc", "fused+channels_last+compile+malloc"]
INFER = ["eager", "channels_last", "compile", "freeze"]
TRAIN_JOBS = [("C1", "mlp", DENSE, 117), ("C2", "lenet5", CONV, 117), ("C3", "cnn", CONV, 30), ("C3", "cnn-bn", CONV, 30)]
INFER_JOBS = [("C4", "mlp", INFER, 3000), ("C4", "cnn", INFER, 1500)]
MUST = {"mlp": 1.5, "lenet5": 2.0, "cnn": 1.4, "cnn-bn": 1.4, "infer mlp": 1.2, "infer cnn": 2.5}


def compare(job, settings, infer, steps, args):
    workers = {}
    for setting in settings:
        words = ["--steps", str(steps), "--threads", str(args.threads)] + (["--infer", "--batch-size", "1"] if infer else [])
        worker = Torch(job, setting, words).wait_until_ready()
        if worker.failure is not None:
            print(f"  {job}: PyTorch can't run {setting} here: {' '.join(worker.failure)}", file=sys.stderr)
            continue
        workers[setting] = worker
    times, peaks = {name: [] for name in ["descent", *workers]}, []
    words = ["--infer" if infer else "--train", job, "--steps", str(steps), "--blocks", "1"]
    if args.baseline:
        times[BASELINE] = []
    for _ in range(args.rounds):
        result = descent(args.descent, [*words, "--threads", str(args.threads)])
        times["descent"].append(result["block_seconds"])
        peaks.append(result["peak_gflops_f32"])
        if args.baseline:
            times[BASELINE].append(descent(args.baseline, [*words, "--threads", str(args.threads)])["block_seconds"])
        for name, worker in workers.items():
            times[name].append(worker.block())
    version = next(iter(workers.values())).version if workers else "?"
    for worker in workers.values():
        worker.close()
    per_image = {name: statistics.median(t) / (steps * (1 if infer else 128)) for name, t in times.items()}
    return per_image, version, max(peaks)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--descent", required=True, help="the descent command")
    parser.add_argument("--baseline", help="another build's command, which takes turns in the same rounds (CPU only)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--jobs", help="comma-separated (default: all)")
    parser.add_argument("--settings", help="comma-separated PyTorch settings instead of all of them")
    parser.add_argument("--json", help="write the results there too")
    parser.add_argument("--classes", default="T,S,B", help="on CUDA: T (TF32 on both sides), S (strict f32), B (bf16 beside f32 weights)")
    parser.add_argument("--seconds", type=float, help="on CUDA: begin no job that would not end in this time")
    args = parser.parse_args()
    if args.device == "cuda":
        compare_cuda.compare(args)
        return
    wanted = (args.jobs or "mlp,lenet5,cnn,cnn-bn,infer-mlp,infer-cnn").split(",")
    peak = descent(args.descent, ["--peak", "--threads", str(args.threads)])
    print(f"FMA peak {peak['gflops_f32']:.0f} GFLOP/s, copy rate {peak['copy_gb_s']:.1f} GB/s, {args.threads} threads, "
          f"medians of {args.rounds}")
    rows = []
    for infer, jobs in ((False, TRAIN_JOBS), (True, INFER_JOBS)):
        for goal, job, settings, steps in jobs:
            key = ("infer-" if infer else "") + job
            if key not in wanted:
                continue
            chosen = args.settings.split(",") if args.settings else settings
            per_image, version, job_peak = compare(job, chosen, infer, steps, args)
            peers = {k: v for k, v in per_image.items() if k not in ("descent", BASELINE)}
            before = f", {per_image[BASELINE] / per_image['descent']:.3f}x the baseline build" if args.baseline else ""
            best = min(peers, key=peers.get)
            row = {"goal": goal, "job": key, "torch": version, "ratio": peers[best] / per_image["descent"],
                   "must": MUST[key.replace("-", " ", 1) if infer else key], "best_setting": best, "seconds_per_image": per_image,
                   "peak_gflops_f32": job_peak}
            if infer:
                print(f"{goal} {key}: descent {1 / per_image['descent']:,.0f} images/s, PyTorch {version} {1 / peers[best]:,.0f} "
                      f"({best}): {row['ratio']:.2f}x (must {row['must']}x){before}")
            else:
                row["share_of_peak"] = MFLOP[job] * 1e-3 / per_image["descent"] / job_peak
                print(f"{goal} {key}: descent {IMAGES * per_image['descent']:.2f} s/epoch ({row['share_of_peak']:.0%} of the FMA peak, "
                      f"{job_peak:.0f} GFLOP/s), "
                      f"PyTorch {version} {IMAGES * peers[best]:.2f} ({best}): {row['ratio']:.2f}x (must {row['must']}x){before}")
            for name, seconds in sorted(peers.items(), key=lambda item: item[1]):
                value = f"{1 / seconds:,.0f} images/s" if infer else f"{IMAGES * seconds:.2f} s/epoch"
                print(f"     {name:36s} {value}")
            sys.stdout.flush()
            rows.append(row)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as out:
            json.dump({"peak": peak, "threads": args.threads, "rounds": args.rounds, "results": rows}, out, indent=1)
            out.write("\n")


if __name__ == "__main__":
    main()
