#!/usr/bin/env python3
"""Plants faults in the CUDA kernels, one at a time, and asks the tests that run the kernels on the CPU whether they notice. A mutant
(mutants.py) replaces one piece of a file of src/cuda in a copy; its test is compiled against the copy with the build's own command and
run, under ASan, and for faults in synchronization under the race checker. At least 95 % must be caught; the list explains the others.
The build folder must hold the tests of tests/simt, built.

    tests/simt/mutate.py build/release [--check] [-j 2] [--only pool] [--part 1/4] [--json results.json]
"""

import argparse
import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True

from mutants import MUTANTS

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WANTED = 0.95
COMPILE_SECONDS, RUN_SECONDS = 600, 120


class Build:
    """Compile and link commands of the programs TEST_asan and TEST_race, taken from a build folder."""

    def __init__(self, folder):
        self.folder = os.path.abspath(folder)
        with open(os.path.join(self.folder, "compile_commands.json"), encoding="utf-8") as file:
            self.entries = json.load(file)
        self.lock = threading.Lock()

    def compile_command(self, test, mode):
        for entry in self.entries:
            words = shlex.split(entry["command"]) if "command" in entry else entry["arguments"]
            if os.path.basename(entry["file"]) == f"{test}_test.cpp" and f"{test}_{mode}.dir" in " ".join(words):
                return words, entry["directory"]
        raise SystemExit(f"mutate: {self.folder} does not build {test}_{mode}")

    def link_command(self, test, mode):
        for folder, _, files in os.walk(os.path.join(self.folder, "tests")):
            if os.path.basename(folder) == f"{test}_{mode}.dir" and "link.txt" in files:
                with open(os.path.join(folder, "link.txt"), encoding="utf-8") as file:
                    return shlex.split(file.read()), os.path.dirname(os.path.dirname(folder))
        with self.lock:
            done = subprocess.run(["ninja", "-C", self.folder, "-t", "commands", f"{test}_{mode}"], capture_output=True, text=True,
                                  check=False)
        lines = [line for line in done.stdout.splitlines() if re.search(rf" -o \S*{test}_{mode}( |$)", line)]
        if not lines:
            raise SystemExit(f"mutate: no command links {test}_{mode}: {done.stderr.strip()}")
        return [word for word in shlex.split(lines[-1]) if word not in (":", "&&")], self.folder


def replace_value(words, option, value):
    """The words with the value of `-o` (or -MF, ...) replaced; the old value."""
    at = words.index(option) + 1
    return [*words[:at], value, *words[at + 1:]], words[at]


def read(mutant):
    with open(os.path.join(SOURCE, "src", "cuda", mutant.file), encoding="utf-8") as file:
        return file.read()


def check_list():
    stale = [(m, read(m).count(m.text)) for m in MUTANTS if read(m).count(m.text) != 1]
    for mutant, count in stale:
        print(f"mutate: {mutant.file} has {count} times, not once: {mutant.text!r}")
    print(f"{len(MUTANTS)} mutants, {len(stale)} of them stale")
    return 1 if stale else 0


def mutate(mutant, folder):
    """A copy of the mutant's file, mutated, below `folder`, which goes before src/ in the search path."""
    path = os.path.join("cuda", mutant.file)
    text = read(mutant)
    if text.count(mutant.text) != 1:
        raise SystemExit(f"mutate: {mutant.file} has {text.count(mutant.text)} times, not once: {mutant.text!r}")
    copy = os.path.join(folder, path)
    os.makedirs(os.path.dirname(copy), exist_ok=True)
    with open(copy, "w", encoding="utf-8") as file:
        file.write(text.replace(mutant.text, mutant.becomes))


def verdict(mutant, build, mode):
    """("caught" | "survived" | "broken", how), of one mode."""
    with tempfile.TemporaryDirectory() as folder:
        mutate(mutant, folder)
        words, where = build.compile_command(mutant.test, mode)
        # A precompiled header, like a cache, knows only the file as it was.
        words = [word for word in words if os.path.basename(word) != "ccache"]
        while "-include" in words and "cmake_pch" in words[words.index("-include") + 1]:
            at = words.index("-include")
            words = words[:at] + words[at + 2:]
        words = [word for word in words if word != "-Werror" and word != "-Winvalid-pch"]
        words, old = replace_value(words, "-o", os.path.join(folder, "test.o"))
        if "-MF" in words:
            words, _ = replace_value(words, "-MF", os.path.join(folder, "test.d"))
        # Each is compiled once and run once, so compiling fast is worth more than running fast.
        compiled = subprocess.run([words[0], f"-I{folder}", "-w", *words[1:], "-O0", "-g0"], cwd=where, capture_output=True, text=True,
                                  timeout=COMPILE_SECONDS, check=False)
        if compiled.returncode != 0:
            first = re.search(r"error: .*", compiled.stderr)
            return "broken", first.group(0) if first else compiled.stderr.strip()[:200]
        words, where = build.link_command(mutant.test, mode)
        words, _ = replace_value(words, "-o", os.path.join(folder, "test"))
        words = [os.path.join(folder, "test.o") if os.path.normpath(os.path.join(where, word)) ==
                 os.path.normpath(os.path.join(where, old)) else word for word in words]
        linked = subprocess.run(words, cwd=where, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False)
        if linked.returncode != 0:
            return "broken", linked.stderr.strip()[:200]
        try:
            ran = subprocess.run([os.path.join(folder, "test"), "--gtest_brief=1", "--gtest_fail_fast"], cwd=folder, capture_output=True,
                                 text=True, errors="replace", timeout=RUN_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return "caught", "it runs forever"
        if ran.returncode == 0:
            return "survived", ""
        text = ran.stdout + ran.stderr
        found = re.search(r"ERROR: AddressSanitizer: \S+|runtime error: .*|simt: .*|race .*|FAILED  \] \S+", text)
        return "caught", found.group(0)[:100] if found else f"ended with {ran.returncode}"


def try_mutant(mutant, build):
    begin = time.monotonic()
    # The race checker sees what no order of threads may show; where it says nothing, ASan's schedules may.
    modes = ("race", "asan") if mutant.kind == "barrier" else ("asan",)
    for mode in modes:
        state, how = verdict(mutant, build, mode)
        if state != "survived":
            break
    return {"file": mutant.file, "kind": mutant.kind, "test": mutant.test, "text": mutant.text, "becomes": mutant.becomes,
            "state": state, "mode": mode, "how": how, "explained": mutant.survives, "seconds": round(time.monotonic() - begin, 1)}


def show(number, row):
    change = f"{' '.join(row['text'].split())}  =>  {' '.join(row['becomes'].split())}"
    how = row["explained"] if row["state"] == "survived" and row["explained"] else row["how"]
    print(f"{number:3d} {row['state']:8s} {row['mode']} {row['kind']:8s} {row['file']:36s} {change[:110]}  {how}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="a build folder of CMake's in which the kernels' tests are built")
    parser.add_argument("-j", "--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="mutants whose file, test or kind contains this")
    parser.add_argument("--part", default="1/1", help="K/N: every N-th of them from the K-th on")
    parser.add_argument("--check", action="store_true", help="only look whether each mutant still fits its file")
    parser.add_argument("--json", help="write the results there; those of other mutants that it holds are kept")
    args = parser.parse_args()
    if args.check:
        return check_list()
    part, parts = map(int, args.part.split("/"))
    chosen = [m for m in MUTANTS if args.only in m.file or args.only in m.test or args.only in m.kind][part - 1::parts]
    build = Build(args.build)
    for mutant in chosen:  # a stale list is found before the first hour
        with tempfile.TemporaryDirectory() as folder:
            mutate(mutant, folder)
        build.compile_command(mutant.test, "asan")
    rows = []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for number, row in enumerate(pool.map(lambda mutant: try_mutant(mutant, build), chosen), 1):
            rows.append(row)
            show(number, row)
    if args.json:
        old = []
        if os.path.exists(args.json):
            with open(args.json, encoding="utf-8") as file:
                old = json.load(file)["mutants"]
        new = {(row["file"], row["text"], row["becomes"]) for row in rows}
        known = {(m.file, m.text, m.becomes) for m in MUTANTS}
        rows = [row for row in old if (row["file"], row["text"], row["becomes"]) in known - new] + rows
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"mutants": rows}, file, indent=1)
            file.write("\n")
    caught = sum(row["state"] == "caught" for row in rows)
    bad = [row for row in rows if row["state"] == "broken" or (row["state"] == "survived" and not row["explained"])]
    print(f"{caught} of {len(rows)} mutants were caught ({caught / max(1, len(rows)):.1%}); {len(bad)} unexplained or not compiling")
    return 0 if rows and not bad and caught >= WANTED * len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
