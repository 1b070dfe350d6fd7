"""The stages of a GPU check, most valuable first. Each is a function that takes the check and a dictionary for its details, and raises
Failed or Skipped with the reason."""

import concurrent.futures
import importlib.util
import json
import os
import shutil
import sys
import tempfile

import parse
from runner import Failed, Skipped

PARALLEL = max(1, min(6, (os.cpu_count() or 2) // 2))
MODELS = ("mlp", "lenet5", "cnn-bn")
FIRST_STEPS = 100
COMPILING = 45  # with fewer seconds left torch.compile is not started
BATCH = 128
# Largest relative difference of a step's loss between the devices, up to a step. Different summation orders cause differences that grow
# chaotically: between f32 and f64 on one CPU it was 5e-8 at step 10, but 2e-3 (mlp) and 8e-2 (cnn-bn) at step 100. In f64 the initial
# difference is 1e9 times smaller, so that is the strict comparison; f32 shows that nothing else differs.
LOSS_BOUNDS = {"f64": ((FIRST_STEPS, 1e-6),), "f32": ((10, 1e-4), (FIRST_STEPS, 0.25))}
ACCURACY_BOUND = 0.005  # as a fraction of 1, after an epoch
SANITIZERS = {
    "memcheck": [],
    "racecheck": ["--racecheck-report", "all"],
    "initcheck": [],
    "synccheck": [],
}
# A rehearsal runs one in 64 tests, the kernels with this name, and trainings of 5 steps of 4 images: enough to replay the captured graph.
REHEARSAL = {"share_of_tests": 64, "kernels": "softmax", "steps": 5, "batch": 4}
# Leaves out f64 kernels, which are the same templates, and tests that are slow on purpose.
SANITIZER_FILTER = "-*/1.*:*Slow*"


def device(check, details):
    """The device and its driver, the compiler, and whether descent can use the device."""
    smi = check.run(["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm,compute_cap", "--format=csv,noheader"], 20)
    if smi.code == 0:
        details["nvidia_smi"] = smi.out.strip()
    nvcc = check.run([shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc", "--version"], 10)
    if nvcc.code == 0:
        details["nvcc"] = nvcc.out.strip().splitlines()[-1]
    found = "nvidia-smi is not here" if smi.code == 127 else "nvidia-smi found none" if smi.code != 0 or not smi.out.strip() else ""
    if not os.path.exists(check.tree.descent):
        raise Failed(f"no CUDA device: {found}" if found else f"nothing is built in {check.tree.root}")
    info = check.run([check.tree.descent, "info", "--json"], 60)
    if info.code != 0:
        raise Failed(f"descent info ended with {info.code}: {info.err.strip()[:300]}")
    told = details["descent"] = parse.result(info.out)
    if not told.get("cuda"):
        raise Failed("no CUDA device: " + "; ".join(filter(None, [found, told.get("cuda_unavailable", "")])))
    return details.get("nvidia_smi", "").splitlines()[0] if not found else found


def _run_test(check, name, path, scratch):
    report = os.path.join(scratch, name + ".json")
    environment = dict(check.environment)
    if check.tree.simulated:  # GoogleTest's sharding of tests
        environment.update(GTEST_TOTAL_SHARDS=str(REHEARSAL["share_of_tests"]), GTEST_SHARD_INDEX="0")
    done = check.run([path, "--gtest_brief=1", "--gtest_filter=-*Slow*", "--gtest_output=json:" + report], 120, environment)
    row = {"program": name, "seconds": round(done.seconds, 1), "ran": 0, "failed": 0, "skipped": 0, "failures": []}
    try:
        with open(report, encoding="utf-8") as file:
            row.update(parse.gtest(file.read()))
    except (OSError, parse.Unreadable) as error:
        if not done.timed_out and done.code == 0:
            row["failures"].append(f"no report: {error}")
    if done.timed_out:
        row["failures"].append("timed out")
    elif done.code != 0 and not row["failures"]:
        row["failures"].append(f"ended with {done.code}: {(done.err or done.out).strip()[-300:]}")
    return row


def tests(check, details):
    """Every test program; those of the GPU first, several at a time."""
    programs = check.tree.ordered()
    if not programs:
        raise Failed(f"no test programs in {check.tree.root}/tests")
    kernels = check.tree.kernel_programs()
    rows = details["programs"] = []
    with tempfile.TemporaryDirectory() as scratch, concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        running = []
        for name, path in programs:
            running.append((name, pool.submit(lambda n=name, p=path: _run_test(check, n, p, scratch) if check.left() > 3 else None)))
        for name, future in running:
            row = future.result()
            rows.append(row or {"program": name, "ran": 0, "failed": 0, "skipped": 0, "failures": [], "not_run": True})
    for row in rows:
        if row["program"] in kernels and not row["failures"] and not row.get("not_run") and row["ran"] == 0:
            row["failures"].append("every test was skipped, as without a device")
    ran, skipped = sum(row["ran"] for row in rows), sum(row["skipped"] for row in rows)
    bad = [row["program"] for row in rows if row["failures"]]
    late = [row["program"] for row in rows if row.get("not_run")]
    text = f"{ran} tests ran in {len(rows) - len(late)} programs, {skipped} were skipped"
    if bad:
        raise Failed(f"{text}; failures in {', '.join(bad)}")
    if late:
        raise Failed(f"{text}; no time was left for {', '.join(late)}")
    return text


def products(check, details):
    """Which ends of a matrix product cuBLASLt has an algorithm for, at the presets' sizes, and what its reduction mask costs."""
    probe = os.path.join(check.tree.root, "bin", "cublaslt_probe")
    if not os.path.exists(probe):
        raise Failed(f"{probe} is not built")
    done = check.run([probe], 60)
    if done.timed_out or done.code != 0:
        raise Failed("cublaslt_probe " + ("timed out" if done.timed_out else f"ended with {done.code}: {done.err.strip()[-300:]}"))
    details.update(parse.products(parse.result(done.out)))
    if details["refused_by_the_call"]:
        raise Failed(f"cuBLASLt names algorithms that it refuses to run: {'; '.join(details['refused_by_the_call'][:5])}")
    ratio = details["mask"]["median_ratio"]
    return f"{details['cases']} cases" + (f"; with the mask {ratio:.2f} of the time without it (median)" if ratio else "")


def _sanitize(check, tool, which, name, path, scratch):
    """Runs a program under a tool. "errors" is None without a verdict; then "skipped" or "refused", if set, says why that is no failure."""
    row = {"tool": which, "program": name, "errors": None, "first": ""}
    if check.left() < 5:
        return {**row, "first": "no time was left", "skipped": True}
    report = os.path.join(scratch, f"{name}-{which}.json")
    done = check.run([tool, "--tool", which, *SANITIZERS[which], "--print-limit", "10", path, "--gtest_brief=1",
                      "--gtest_filter=" + SANITIZER_FILTER, "--gtest_output=json:" + report], 90)
    row["seconds"] = round(done.seconds, 1)
    text = done.out + done.err
    try:
        row.update(parse.sanitizer(text))
    except parse.Unreadable as error:
        row["first"] = parse.sanitizer_finding(text)
        row["errors"] = 1 if row["first"] else None
        no_verdict = str(error)
    else:
        no_verdict = f"no errors, but the program ended with {done.code}" if done.code != 0 else ""
    if row["errors"]:
        return row
    # Some versions write a summary without errors for a program that they could not start.
    started = os.path.exists(report)
    refusal = "" if started or done.timed_out else parse.sanitizer_refusal(text)
    if done.timed_out:
        row.update(errors=None, first=f"not done in {done.seconds:.0f} s", skipped=True)
    elif refusal:
        row.update(errors=None, first=refusal, refused=True)
    elif no_verdict or not started:
        row.update(errors=None, first=no_verdict or "no errors, but no test ran")
    return row


def sanitizers(check, details):
    """compute-sanitizer over the tests of the kernels: memcheck over all of them first, then the other tools. What no time is left for,
    and a tool that refuses to work on this machine, is said and is no failure."""
    if check.tree.simulated:
        raise Skipped("compute-sanitizer watches GPUs alone")
    tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not os.access(tool, os.X_OK):
        raise Skipped("compute-sanitizer, which comes with the CUDA Toolkit, is not here")
    kernels = check.tree.kernel_programs()
    if not kernels:
        raise Failed(f"no tests of kernels in {check.tree.root}/tests/kernels")
    rows = details["runs"] = []
    refusals = details["refused"] = {}

    def one(which, name):
        if which in refusals:  # it would refuse every other program too
            return {"tool": which, "program": name, "errors": None, "first": "refused", "refused": True}
        row = _sanitize(check, tool, which, name, kernels[name], scratch)
        if row.get("refused"):
            refusals.setdefault(which, row["first"])
        return row

    with tempfile.TemporaryDirectory() as scratch, concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        for which in SANITIZERS:
            rows += pool.map(lambda name, which=which: one(which, name), kernels)
    bad = [row for row in rows if row["errors"]]
    clean = [row for row in rows if row["errors"] == 0]
    late = [row for row in rows if row.get("skipped")]
    unclear = [row for row in rows if row["errors"] is None and not row.get("skipped") and not row.get("refused")]
    text = "; ".join(filter(None, [
        f"{len(clean)} runs without errors",
        late and "no time for " + ", ".join(f"{which} of {sum(row['tool'] == which for row in late)} programs"
                                            for which in SANITIZERS if any(row["tool"] == which for row in late)),
        refusals and "refused on this machine: " + ", ".join(f"{which} ({said})" for which, said in refusals.items())]))
    if bad:
        raise Failed("errors in " + ", ".join(f"{row['program']} ({row['tool']})" for row in bad) + f"; {text}")
    if unclear:
        raise Failed(f"{text}; no result of " + ", ".join(f"{row['program']} ({row['tool']}: {row['first']})" for row in unclear))
    if not clean:
        raise Skipped(text)
    return text


def _train(check, scratch, name, words):
    folder = os.path.join(scratch, name)
    if check.tree.simulated:
        images = REHEARSAL["steps"] * REHEARSAL["batch"]
        words = [*words, "--batch-size", str(REHEARSAL["batch"]), "--limit-train", str(images), "--limit-test", str(images)]
    else:
        words = ["--batch-size", str(BATCH), *words]
    done = check.run([check.tree.descent, "train", "--seed", "1", "--epochs", "1", "--out", folder, "--json", "--quiet", *words], 120)
    if done.timed_out or done.code != 0:
        raise Failed(f"descent train {' '.join(words)}: " + ("timed out" if done.timed_out else f"ended with {done.code}: "
                                                             f"{done.err.strip()[-300:]}"))
    told = parse.result(done.out)
    with open(os.path.join(folder, "metrics.jsonl"), encoding="utf-8") as file:
        told["losses"] = parse.losses(file.read())
    told["whole_seconds"] = round(done.seconds, 2)
    return told


def _data():
    folder = os.environ.get("DESCENT_DATA_DIR", "")
    return "mnist" if folder and os.path.isdir(folder) else "synthetic"


def training(check, details):
    """The same seed on the CPU and on the GPU, and replayed graphs against kernels queued one by one."""
    data = details["data"] = _data()
    offers = check.run([check.tree.descent, "train", "--help"], 20).out
    complaints = []
    details["f64"], details["f32"], details["same_bits"] = {}, {}, {}
    most = REHEARSAL["steps"] if check.tree.simulated else FIRST_STEPS
    with tempfile.TemporaryDirectory() as scratch:
        for dtype, bounds in LOSS_BOUNDS.items():
            for model in MODELS:
                words = ["--model", model, "--data", data, "--dtype", dtype, "--metrics-every", "1"]
                if dtype == "f64" and not check.tree.simulated:
                    words += ["--limit-train", str(FIRST_STEPS * BATCH), "--limit-test", "1000"]
                try:
                    runs = {where: _train(check, scratch, f"{model}-{dtype}-{where}", [*words, "--device", where])
                            for where in ("cpu", "cuda")}
                except (Failed, parse.Unreadable, OSError) as error:
                    complaints.append(f"{model} {dtype}: {error}")
                    continue
                row = {"losses": [parse.compare_losses(runs["cpu"]["losses"], runs["cuda"]["losses"], min(steps, most), bound)
                                  for steps, bound in bounds]}
                row["accuracy"] = {where: run["test_accuracy"] for where, run in runs.items()}
                row["seconds"] = {where: run["seconds"] for where, run in runs.items()}
                details[dtype][model] = row
                complaints += [f"{model} {dtype}: {part['complaint']}" for part in row["losses"] if part["complaint"]]
                if dtype == "f32" and abs(row["accuracy"]["cpu"] - row["accuracy"]["cuda"]) > ACCURACY_BOUND:
                    complaints.append(f"{model}: test accuracy {row['accuracy']['cpu']:.4f} on the CPU, {row['accuracy']['cuda']:.4f} on the GPU")
        for model in MODELS:
            words = ["--model", model, "--data", data, "--device", "cuda"]
            variants = {"graph": [], "graph again": []}
            if "--no-graph" in offers:
                variants["no graph"] = ["--no-graph"]
            try:
                sums = {name: _train(check, scratch, f"{model}-{name.replace(' ', '-')}", [*words, *more])["sha256"]
                        for name, more in variants.items()}
            except (Failed, parse.Unreadable, OSError) as error:
                complaints.append(f"{model}: {error}")
                continue
            details["same_bits"][model] = sums
            if len(set(sums.values())) != 1:
                complaints.append(f"{model}: model.safetensors differs between {', '.join(sums)}")
    if "--no-graph" not in offers:
        complaints.append("descent train has no --no-graph: graphs were not compared with plain launches")
    if complaints:
        raise Failed("; ".join(complaints))
    return f"{', '.join(MODELS)} on {data}: losses and accuracies agree, the same bits in every run"


def bench(check, details):
    """The kernel table and whole training steps on both devices, in one go."""
    tables = {}
    some, least = [], []
    if check.tree.simulated:
        some = ["--op", REHEARSAL["kernels"]]
        least = ["--batch-size", str(REHEARSAL["batch"]), "--steps", "1", "--blocks", "1"]
    for where in ("cpu", "cuda"):
        done = check.run([check.tree.descent, "bench", "--device", where, "--json", *some], 45)
        if done.timed_out or done.code != 0:
            raise Failed(f"descent bench --device {where}: " + ("timed out" if done.timed_out else done.err.strip()[-300:]))
        tables[where] = parse.result(done.out)
        details[where] = {key: value for key, value in tables[where].items() if key != "kernels"}
    details["kernels"] = parse.kernels(tables["cpu"], tables["cuda"])
    details["jobs"] = []
    variants = [("cpu", []), ("cuda", [])]
    if not check.tree.simulated:
        variants += [("cuda, no graph", ["--no-graph"]), ("cuda, tf32", ["--precision", "tf32"]), ("cuda, bf16", ["--precision", "bf16"])]
    for model in ("mlp", "lenet5", "cnn", "cnn-bn"):
        row = {"model": model}
        for where, more in variants:
            done = check.run([check.tree.descent, "bench", "--train", model, "--device", where.split(",")[0], "--json", *least, *more], 25)
            if done.code == 0 and not done.timed_out:
                told = parse.result(done.out)
                if not check.tree.simulated:
                    row[where] = told["seconds_per_epoch"]
                if nodes := told.get("graph_nodes", told.get("nodes")):  # of the captured step
                    row.setdefault("nodes", {})[where] = nodes
            elif where in ("cpu", "cuda"):
                raise Failed(f"descent bench --train {model} --device {where} " + ("timed out" if done.timed_out else
                                                                                    f"ended with {done.code}: {done.err.strip()[-300:]}"))
        details["jobs"].append(row)
    best = max((row for row in details["kernels"] if row["share_of_peak"] is not None), key=lambda row: row["share_of_peak"], default=None)
    return f"{len(details['kernels'])} kernels" + (f"; {best['op']} at {best['share_of_peak']:.0%} of the peak" if best else "")


def torch(check, details):
    """Training steps against PyTorch eager and one CUDA graph of its step, in class T; then, in what time is left, the MLP's compiled."""
    if check.tree.simulated:
        raise Skipped("PyTorch would need a GPU")
    if importlib.util.find_spec("torch") is None:
        raise Skipped(f"{sys.executable} has no PyTorch")
    with tempfile.TemporaryDirectory() as scratch:
        # PyTorch uses its own libraries: only the command descent gets ours.
        command = os.path.join(scratch, "descent")
        with open(command, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\nLD_LIBRARY_PATH='{check.environment['LD_LIBRARY_PATH']}'\nexport LD_LIBRARY_PATH\n"
                       f"exec '{check.tree.descent}' \"$@\"\n")
        os.chmod(command, 0o755)

        def compare(name, *words):
            result = os.path.join(scratch, name)
            done = check.run([sys.executable, os.path.join(check.source, "bench", "compare_torch.py"), "--device", "cuda", "--descent",
                              command, "--json", result, "--classes", "T", "--seconds", str(int(check.left() - 8)), *words],
                             check.left(), dict(os.environ))
            try:
                with open(result, encoding="utf-8") as file:
                    return done, json.load(file)
            except (OSError, ValueError):
                return done, {}

        done, found = compare("torch.json", "--settings", "eager,graph")
        details.update(found)
        if done.timed_out or done.code != 0:
            raise Failed("compare_torch.py " + ("timed out" if done.timed_out else f"ended with {done.code}: {done.err.strip()[-300:]}"))
        if check.left() > COMPILING:  # optional: running out of time is no failure
            _, compiled = compare("compiled.json", "--settings", "compile", "--jobs", "mlp")
            details.setdefault("results", []).extend(compiled.get("results", []))
    return f"{len(details.get('results', []))} comparisons"


# Name, maximum seconds, function.
STAGES = (("device", 30, device), ("products", 60, products), ("tests", 130, tests), ("sanitizers", 120, sanitizers), ("training", 110, training),
          ("bench", 75, bench), ("torch", 150, torch))
# Stages that are skipped when the time is used up; if one of the others could not run, the check has not passed.
MAY_BE_LATE = ("sanitizers", "torch")
