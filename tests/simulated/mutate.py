#!/usr/bin/env python3
"""Plants faults in the CUDA backend, one at a time, and asks the tests that run it on the simulated device whether they notice. A
mutant (mutants_kernels.py, mutants_host.py) replaces one piece of a file of src/cuda or src/core in a copy. For a kernel its test is compiled
against the copy; for the host's side the objects that contain the file are, and the test is linked with them. A test has to fail, first
under the simulated device's own order of warps and blocks, then under others. At least 95 % must be caught; the list explains the others.
The build folder must hold the tests, built (preset simulated).

    tests/simulated/mutate.py build/simulated [--check] [-j 2] [--only pool] [--part 1/4] [--json results.json]
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import signal
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True

from mutants import MUTANTS
from mutate_build import Broken, Build, KERNEL_TESTS

WANTED = 0.95
RUN_SECONDS = 300  # of CPU time
TOO_LONG = (124, 137, -signal.SIGXCPU, -signal.SIGKILL, 128 + signal.SIGXCPU)  # exit statuses of runs that exceed it
# The orders in which a test runs until it fails: of warps and blocks, and of streams for the host side.
KERNEL_MODES = {"forward": {}, "reverse": {"SIMULATED_ORDER": "reverse"}, "random": {"SIMULATED_ORDER": "random"}}
HOST_MODES = {"lazy": {}, "eager": {"SIMULATED_STREAMS": "eager"}, "random": {"SIMULATED_STREAMS": "random", "SIMULATED_ORDER": "random"}}


def is_kernel(mutant):
    return mutant.file.endswith(".cuh") or mutant.file.startswith("core/")


def below_src(name):
    """A mutant's file, relative to src: what it shares with the CPU begins with core/, everything else is in src/cuda."""
    return name if name.startswith("core/") else f"cuda/{name}"


def modes_of(mutant):
    return KERNEL_MODES if is_kernel(mutant) else HOST_MODES


class Test:
    """A program from a mutant's list of tests, with the environment and the filter given there."""

    def __init__(self, text):
        words = text.split()
        self.env = {}
        while "=" in words[0]:
            name, value = words.pop(0).split("=", 1)
            self.env[name] = value
        self.program = words[0]
        self.filter = words[1] if len(words) > 1 else "*"

    def source(self):
        return f"{KERNEL_TESTS}/{self.program.removesuffix('_gpu')}_test.cpp"


class Runner:
    """Runs programs, and excludes their tests that fail or are skipped without a fault: those prove nothing."""

    def __init__(self, build):
        self.build = build
        self.useless = {}
        self.lock = threading.Lock()

    def run(self, path, test, mode, folder, leave_out=(), fail_fast=True):
        env = {**os.environ, **mode, **test.env}
        tests = test.filter + ("-" + ":".join(leave_out) if leave_out else "")
        words = [path, "--gtest_brief=1", f"--gtest_filter={tests}"] + (["--gtest_fail_fast"] if fail_fast else [])
        return self.build.run(words, folder, RUN_SECONDS, env)

    def left_out(self, test, mode):
        """The tests to leave out; it is an error if none of the program's tests is left."""
        key = (test.program, test.filter, *sorted({**mode, **test.env}.items()))
        with self.lock:
            if key not in self.useless:
                with tempfile.TemporaryDirectory() as folder:
                    done = self.run(self.build.program(test.program), test, mode, folder, fail_fast=False)
                names = sorted(set(re.findall(r"(?:FAILED  |SKIPPED )\] ([\w/]+\.[\w/]+)", done.stdout)))
                passed = re.search(r"PASSED  \] (\d+) tests?", done.stdout)
                if passed is None or int(passed.group(1)) == 0 or (done.returncode != 0 and not names):
                    raise SystemExit(f"mutate: without a fault no test of {test.program} passes ({mode}): ended with {done.returncode}\n"
                                     f"{(done.stdout + done.stderr)[-2000:]}")
                failed = [name for name in names if f"FAILED  ] {name}" in done.stdout]
                if failed:
                    print(f"mutate: {test.program} fails without a fault ({mode}): {' '.join(failed)}", flush=True)
                self.useless[key] = names
            return self.useless[key]


def text_of(build, mutant):
    with open(os.path.join(build.source, "src", below_src(mutant.file)), encoding="utf-8") as file:
        return file.read()


def check_list(build):
    stale = [(m, text_of(build, m).count(m.text)) for m in MUTANTS if text_of(build, m).count(m.text) != 1]
    for mutant, count in stale:
        print(f"mutate: {mutant.file} has {count} times, not once: {mutant.text!r}")
    print(f"{len(MUTANTS)} mutants, {len(stale)} of them stale")
    return 1 if stale else 0


def mutate(build, mutant, folder):
    """A copy of the mutant's file, mutated, below `folder`, which goes before src/ in the search path."""
    text = text_of(build, mutant)
    if text.count(mutant.text) != 1:
        raise SystemExit(f"mutate: {mutant.file} has {text.count(mutant.text)} times, not once: {mutant.text!r}")
    copy = os.path.join(folder, below_src(mutant.file))
    os.makedirs(os.path.dirname(copy), exist_ok=True)
    with open(copy, "w", encoding="utf-8") as file:
        file.write(text.replace(mutant.text, mutant.becomes))
    return copy


def only_device_code(build, mutant):
    """Whether the change is in a device-only function: then the host part of an object does not change."""
    text = text_of(build, mutant)
    begin = text.index(mutant.text)
    heads, start = [], 0  # the text before the opening brace of each block around the change
    for token in re.finditer(r"//[^\n]*|\"(?:\\.|[^\"\\])*\"|[{};]", text[:begin]):
        if token.group() == "{":
            heads.append(text[start:token.start()])
        elif token.group() == "}":
            heads.pop()
        start = token.end()
    for _ in range(mutant.text.count("}") - mutant.text.count("{")):
        heads.pop()  # it extends beyond the innermost block
    heads.append(text[start:begin])
    device = [head for head in heads if re.search(r"__(global|device)__", head)]
    return bool(device) and not any("__host__" in head for head in heads)


def including(build, mutant):
    """The sources of src/cuda that contain the mutant's file."""
    if mutant.objects:
        return mutant.objects
    if mutant.file.endswith((".cu", ".cpp")):
        return (mutant.file,)
    folder = pathlib.Path(build.source, "src", "cuda")
    reached, todo = {mutant.file}, [mutant.file]
    files = {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*"))
             if path.suffix in (".h", ".cuh", ".cu", ".cpp")}
    while todo:
        wanted = f'#include "{below_src(todo.pop())}"'
        found = [name for name, text in files.items() if wanted in text and name not in reached]
        reached.update(found)
        todo.extend(found)
    return tuple(name for name in sorted(reached) if name.endswith((".cu", ".cpp")))


def objects_of(build, mutant, test, folder):
    """The objects of the program to rebuild: pairs of the new object and the old one."""
    copy = mutate(build, mutant, folder)
    if is_kernel(mutant):
        source = test.source()
        if only_device_code(build, mutant):
            made = build.with_new_kernels(source, test.program, folder)
            if made:
                return [made]
        return [build.compile(source, test.program, os.path.join(build.source, source), folder)]
    made = []
    for name in including(build, mutant):
        source = os.path.join("src", "cuda", name)
        target = "descent_cuda" if name.endswith(".cu") else "descent_cuda_host"
        made.append(build.compile(source, target, copy if name == mutant.file else os.path.join(build.source, source), folder))
    return made


def reason(ran):
    """The failure message of a program, in one line."""
    found = re.findall(r"simulated\S*: .*|what\(\):.*|race .*|FAILED  \] \S+", ran.stdout + ran.stderr)
    lines = ran.stderr.strip().splitlines()
    return (found or lines or [f"ended with {ran.returncode}"])[0].strip(" ,")[:160]


def verdict(mutant, build, runner):
    """("caught" | "survived" | "broken", test, mode, how)."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            objects = {}
            for name in mutant.tests:
                test = Test(name)
                key = test.program if is_kernel(mutant) else ""
                if key not in objects:
                    objects[key] = objects_of(build, mutant, test, folder)
                program = build.link(test.program, objects[key], folder)
                for mode, env in modes_of(mutant).items():
                    ran = runner.run(program, test, env, folder, runner.left_out(test, env))
                    if ran.returncode == 0:
                        continue
                    if ran.returncode in (126, 127):
                        return "broken", test.program, mode, ran.stderr.strip()[:200]
                    if ran.returncode in TOO_LONG:
                        return "caught", test.program, mode, "it runs forever"
                    return "caught", test.program, mode, reason(ran)
        except Broken as error:
            return "broken", mutant.tests[0], "-", str(error)
    return "survived", mutant.tests[-1], "-", ""


def try_mutant(mutant, build, runner):
    begin = time.monotonic()
    state, test, mode, how = verdict(mutant, build, runner)
    return {"file": mutant.file, "kind": mutant.kind, "side": "kernels" if is_kernel(mutant) else "host", "test": test, "text": mutant.text,
            "becomes": mutant.becomes, "state": state, "mode": mode, "how": how, "explained": mutant.survives,
            "seconds": round(time.monotonic() - begin, 1)}


def show(number, row):
    change = f"{' '.join(row['text'].split())}  =>  {' '.join(row['becomes'].split())}"
    how = row["explained"] if row["state"] == "survived" and row["explained"] else row["how"]
    print(f"{number:3d} {row['state']:8s} {row['mode']:7s} {row['kind']:9s} {row['file']:36s} {change[:110]}  [{row['test']}] {how}", flush=True)


def show_table(rows):
    print(f"\n{'side':8s} {'kind':10s} {'mutants':>7s} {'caught':>7s} {'missed':>7s} {'explained':>9s} {'broken':>7s}")
    counts = collections.defaultdict(collections.Counter)
    for row in rows:
        state = "explained" if row["state"] == "survived" and row["explained"] else row["state"]
        for key in ((row["side"], row["kind"]), (row["side"], "all")):
            counts[key][state] += 1
    for side, kind in sorted(counts, key=lambda key: (key[0], key[1] == "all", key[1])):
        c = counts[side, kind]
        print(f"{side:8s} {kind:10s} {sum(c.values()):7d} {c['caught']:7d} {c['survived']:7d} {c['explained']:9d} {c['broken']:7d}")
    print()


def key_of(row):
    return row["file"], row["text"], row["becomes"]


def cost(mutant):
    """Fastest first: files that g++ compiles, kernels alone, files that nvcc compiles for host and device."""
    if is_kernel(mutant):
        return 1
    return 2 * sum(name.endswith(".cu") for name in mutant.objects or (mutant.file,)) + len(mutant.objects) / 10


def read_json(path):
    """The results in the file for mutants that still exist."""
    if not path or not os.path.exists(path):
        return []
    known = {(m.file, m.text, m.becomes) for m in MUTANTS}
    with open(path, encoding="utf-8") as file:
        return [row for row in json.load(file)["mutants"] if key_of(row) in known]


def write_json(path, rows):
    """Writes the results to the file, next to those of other mutants."""
    new = {key_of(row) for row in rows}
    rows = [row for row in read_json(path) if key_of(row) not in new] + rows
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump({"mutants": rows}, file, indent=1)
        file.write("\n")
    os.replace(path + ".part", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="a build folder of CMake's in which the tests for the simulated device are built")
    parser.add_argument("-j", "--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="mutants whose file, tests, kind or side (kernels, host) contain this")
    parser.add_argument("--part", default="1/1", help="K/N: every N-th of them from the K-th on")
    parser.add_argument("--check", action="store_true", help="only look whether each mutant still fits its file")
    parser.add_argument("--json", help="write the results there as they come; those of other mutants that it holds are kept")
    parser.add_argument("--resume", action="store_true", help="leave out the mutants whose results the JSON file holds")
    parser.add_argument("--launcher", default="", help="words before every command that compiles")
    args = parser.parse_args()
    build = Build(args.build, args.launcher.split())
    if args.check:
        return check_list(build)
    part, parts = map(int, args.part.split("/"))
    chosen = [m for m in MUTANTS if any(args.only in text for text in
                                        (m.file, m.kind, "kernels" if is_kernel(m) else "host", *m.tests))][part - 1::parts]
    held = {key_of(row) for row in read_json(args.json)} if args.resume else set()
    chosen = [m for m in chosen if (m.file, m.text, m.becomes) not in held]
    chosen.sort(key=cost)
    runner = Runner(build)
    for mutant in chosen:  # so that a stale list fails at once, not after hours
        with tempfile.TemporaryDirectory() as folder:
            mutate(build, mutant, folder)
        for test in mutant.tests:
            build.link_command(Test(test).program)
    rows = []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for number, row in enumerate(pool.map(lambda mutant: try_mutant(mutant, build, runner), chosen), 1):
            rows.append(row)
            show(number, row)
            if args.json:
                write_json(args.json, rows)
    show_table(rows)
    for row in rows:
        if row["state"] == "caught" and row["explained"]:
            print(f"mutate: caught, though the list explains why not: {row['file']} {row['text']!r}: {row['explained']}")
    caught = sum(row["state"] == "caught" for row in rows)
    explained = sum(row["state"] == "survived" and bool(row["explained"]) for row in rows)
    bad = len(rows) - caught - explained
    print(f"{caught} of {len(rows)} mutants were caught ({caught / max(1, len(rows)):.1%}); {bad} unexplained or not compiling")
    return 0 if rows and caught >= WANTED * (len(rows) - explained) else 1


if __name__ == "__main__":
    sys.exit(main())
