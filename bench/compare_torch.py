#!/usr/bin/env python3
"""Times whole training steps and single-image inference of descent against PyTorch, side by side in one run, and prints ratios.

Every PyTorch setting is a process of its own (torch_worker.py) and stays up; in each round every contestant, descent included, runs
one block of steps in turn, so that a slow minute of the machine hits all of them. Reported are medians over the rounds, PyTorch's
best setting, and the share of the FMA peak: the highest that descent measured in the job's rounds. Where convolution gradients skip
the zeros that ReLU and pooling leave, the nominal FLOPs that the share counts are more than those done, and it may pass 100 %.

    python3 -m venv torch-env && torch-env/bin/pip install torch numpy
    torch-env/bin/python bench/compare_torch.py --descent build/release/descent
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "8589934592", "MALLOC_TOP_PAD_": "268435456"}
IMAGES = 60000

# MFLOP per image, forward and backward: multiply-adds count two, no gradient for the first layer's input.
MFLOP = {"mlp": 3.2, "lenet5": 2.3, "cnn": 25.0, "cnn-bn": 25.0}
DENSE = ["eager", "fused+malloc", "fused+compile+malloc"]
CONV = ["eager", "fused+malloc", "fused+channels_last+malloc", "fused+channels_last+compile+malloc"]
INFER = ["eager", "channels_last", "compile", "freeze"]
TRAIN_JOBS = [("C1", "mlp", DENSE, 117), ("C2", "lenet5", CONV, 117), ("C3", "cnn", CONV, 30), ("C3", "cnn-bn", CONV, 30)]
INFER_JOBS = [("C4", "mlp", INFER, 3000), ("C4", "cnn", INFER, 1500)]
MUST = {"mlp": 1.5, "lenet5": 2.0, "cnn": 1.4, "cnn-bn": 1.4, "infer mlp": 1.2, "infer cnn": 2.5}


def clean_environment(extra=None):
    env = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    env.update(extra or {})
    return env


class Torch:
    """A PyTorch setting in its own process, stopped while others run: its threads would spin beside theirs."""

    def __init__(self, job, setting, infer, steps, threads):
        command = [sys.executable, os.path.join(HERE, "torch_worker.py"), "--job", job, "--setting", setting,
                   "--steps", str(steps), "--threads", str(threads)] + (["--infer", "--batch-size", "1"] if infer else [])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        start_new_session=True,
                                        env=clean_environment(MALLOC if "malloc" in setting else None))
        words = self.process.stdout.readline().split()
        self.failure = None if words[:1] == ["ready"] else self.process.stderr.read().strip().splitlines()[-1:]
        self.version = words[1] if not self.failure and len(words) > 1 else "?"
        self.signal(signal.SIGSTOP)

    def signal(self, number):
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def block(self):
        self.signal(signal.SIGCONT)
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        seconds = float(self.process.stdout.readline())
        self.signal(signal.SIGSTOP)
        return seconds

    def close(self):
        self.signal(signal.SIGCONT)
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait()


def descent(binary, words, threads):
    command = [binary, "bench", *words, "--threads", str(threads), "--json"]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"compare_torch: {' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def compare(job, settings, infer, steps, args):
    workers = {}
    for setting in settings:
        worker = Torch(job, setting, infer, steps, args.threads)
        if worker.failure is not None:
            print(f"  {job}: PyTorch can't run {setting} here: {' '.join(worker.failure)}", file=sys.stderr)
            continue
        workers[setting] = worker
    times, peaks = {name: [] for name in ["descent", *workers]}, []
    words = ["--infer" if infer else "--train", job, "--steps", str(steps), "--blocks", "1"]
    for _ in range(args.rounds):
        result = descent(args.descent, words, args.threads)
        times["descent"].append(result["block_seconds"])
        peaks.append(result["peak_gflops_f32"])
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
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--jobs", default="mlp,lenet5,cnn,cnn-bn,infer-mlp,infer-cnn")
    parser.add_argument("--settings", help="comma-separated PyTorch settings instead of all of them")
    parser.add_argument("--json", help="write the results there too")
    args = parser.parse_args()
    wanted = args.jobs.split(",")
    peak = descent(args.descent, ["--peak"], args.threads)
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
            peers = {k: v for k, v in per_image.items() if k != "descent"}
            best = min(peers, key=peers.get)
            row = {"goal": goal, "job": key, "torch": version, "ratio": peers[best] / per_image["descent"],
                   "must": MUST[key.replace("-", " ", 1) if infer else key], "best_setting": best, "seconds_per_image": per_image,
                   "peak_gflops_f32": job_peak}
            if infer:
                print(f"{goal} {key}: descent {1 / per_image['descent']:,.0f} images/s, PyTorch {version} {1 / peers[best]:,.0f} "
                      f"({best}): {row['ratio']:.2f}x (must {row['must']}x)")
            else:
                row["share_of_peak"] = MFLOP[job] * 1e-3 / per_image["descent"] / job_peak
                print(f"{goal} {key}: descent {IMAGES * per_image['descent']:.2f} s/epoch ({row['share_of_peak']:.0%} of the FMA peak, "
                      f"{job_peak:.0f} GFLOP/s), "
                      f"PyTorch {version} {IMAGES * peers[best]:.2f} ({best}): {row['ratio']:.2f}x (must {row['must']}x)")
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
