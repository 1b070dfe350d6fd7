"""Parsers for the output of a GPU check's programs: GoogleTest's JSON, compute-sanitizer's summary, metrics.jsonl, and the tables of
`descent bench`. Text in, plain data out; text that does not parse is an error with a message, never a silent pass."""

import json
import math
import re


class Unreadable(Exception):
    """The text is not what the program was expected to write."""


def _object(text, what):
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Unreadable(f"{what}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise Unreadable(f"{what}: expected an object")
    return value


def gtest(text):
    """{"ran", "failed", "skipped": counts, "failures": ["Suite.Test: first line"]} of --gtest_output=json."""
    report = _object(text, "GoogleTest's report")
    ran = failed = skipped = 0
    failures = []
    for suite in report.get("testsuites", []):
        for test in suite.get("testsuite", []):
            if test.get("status") == "NOTRUN":
                continue
            if test.get("result") == "SKIPPED":
                skipped += 1
                continue
            ran += 1
            if test.get("failures"):
                failed += 1
                first = str(test["failures"][0].get("failure", "")).strip().splitlines()
                # The first line is file and line; what failed follows.
                failures.append(f"{suite.get('name', '?')}.{test.get('name', '?')}: {' '.join(first[:3])[:300]}")
    return {"ran": ran, "failed": failed, "skipped": skipped, "failures": failures}


# Messages by which compute-sanitizer says that it can't work on this machine: driver, device, virtualization or permissions.
REFUSALS = re.compile(r"not supported|unsupported|not permitted|permission|privilege|debugger|\binitializ|unable to (?:find|load|launch|attach)|"
                      r"cannot open shared object|internal sanitizer error|incompatible|before first instrumented API call", re.IGNORECASE)
FINDINGS = re.compile(r"^=+ ((?:Invalid |Misaligned |Uninitialized |Barrier error|Divergent thread|Race reported|(?:Error|Warning): Race|"
                      r"Program hit |Malloc/Free error|Double free|Access at |Address ).*)", re.MULTILINE)


def sanitizer_refusal(text):
    """The line by which compute-sanitizer refused to work on this machine, or "". Only for a run that found nothing and in which no test
    ran, so that a finding is never taken for a refusal."""
    return next((line.strip("= \t")[:200] for line in text.splitlines() if REFUSALS.search(line)), "")


def sanitizer_finding(text):
    """The first finding of compute-sanitizer, or "", in a run that did not reach its summary."""
    found = FINDINGS.search(text)
    return found.group(1).strip()[:300] if found else ""


def sanitizer(text):
    """{"errors": n, "first": line} of compute-sanitizer; racecheck counts hazards."""
    summary = re.findall(r"^=+ (?:ERROR SUMMARY: (\d+) errors?|RACECHECK SUMMARY: (\d+) hazards?.*)", text, re.MULTILINE)
    if not summary:
        raise Unreadable("compute-sanitizer wrote no summary")
    errors = sum(int(a or b) for a, b in summary)
    found = re.findall(r"^=+ ((?!COMPUTE-SANITIZER|ERROR SUMMARY|RACECHECK SUMMARY|LEAK SUMMARY)\S.*)", text, re.MULTILINE)
    return {"errors": errors, "first": found[0].strip()[:300] if errors and found else ""}


def losses(text):
    """{step: loss} of metrics.jsonl, whose lines of type "step" are means since the previous one."""
    steps = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        record = _object(line, f"metrics.jsonl, line {number}")
        if record.get("type") == "step":
            steps[int(record["step"])] = float(record["loss"])
    return steps


def compare_losses(one, other, first, bound):
    """Compares steps 1 to `first` of two runs: the largest relative difference and its step. `complaint` is empty if both have every
    step and all are within `bound`."""
    wanted = range(1, first + 1)
    missing = [step for step in wanted if step not in one or step not in other]
    if missing:
        return {"first": first, "largest": None, "step": missing[0], "bound": bound,
                "complaint": f"no loss of step {missing[0]} (is metrics.jsonl written every step?)"}
    largest, at = 0.0, 1
    for step in wanted:
        a, b = one[step], other[step]
        if not (math.isfinite(a) and math.isfinite(b)):
            return {"first": first, "largest": None, "step": step, "bound": bound, "complaint": f"the loss of step {step} is not finite"}
        difference = abs(a - b) / max(abs(a), abs(b), 1e-3)
        if difference > largest:
            largest, at = difference, step
    complaint = "" if largest <= bound else f"losses differ by {largest:.2g} at step {at}, allowed is {bound:.2g}"
    return {"first": first, "largest": largest, "step": at, "bound": bound, "complaint": complaint}


def result(text):
    """The object that a `descent ... --json` command printed last on standard output."""
    lines = text.strip().splitlines()
    for begin in range(len(lines)):
        if lines[begin].startswith("{"):
            try:
                return json.loads("\n".join(lines[begin:]))
            except ValueError:
                continue
    raise Unreadable("no JSON object on standard output")


def products(found):
    """A summary of cublaslt_probe's cases: the rows of the library's own queries (aligned, masked), the cases without an algorithm, those
    whose algorithm the call refuses, and the cost of the mask: the median and the largest ratios of the times with and without it."""
    cases = found.get("cases", [])
    if not cases:
        raise Unreadable("cublaslt_probe printed no cases")

    def name(row):
        return f"{row['pass']} {row['in']}-{row['out']} batch {row['batch']} {row['types']} {row['end']}"

    refused, slower = {}, []
    unmasked = {name(row): row for row in cases if not row["masked"] and row["alignment"] == 16}
    for row in cases:
        if row["masked"] and row["algorithms"] == 0:
            refused.setdefault(f"{row['pass']} {row['types']} {row['end']}, {row['alignment']} bytes", []).append(
                f"{row['in']}-{row['out']}:{row['batch']}")
        if row["masked"] and row.get("microseconds") and unmasked.get(name(row), {}).get("microseconds"):
            slower.append((row["microseconds"] / unmasked[name(row)]["microseconds"], name(row)))
    slower.sort(reverse=True)
    middle = slower[len(slower) // 2][0] if slower else None
    return {"version": found.get("cublaslt"), "cases": len(cases),
            "asked": [row for row in cases if row["masked"] and row["alignment"] == 16],
            "without": refused, "refused_by_the_call": [name(row) for row in cases if row.get("call")],
            "mask": {"median_ratio": middle, "worst": [{"ratio": ratio, "case": case} for ratio, case in slower[:8]]}}


def kernels(cpu, cuda):
    """Joins two kernel tables of `descent bench --json` by op and size. On a simulated device there are no times."""
    by_name = {(row["op"], row["size"]): row for row in cpu.get("kernels", [])}
    rows = []
    for row in cuda.get("kernels", []):
        base = by_name.get((row["op"], row["size"]))
        seconds = None if cuda.get("device") == "simulated" else row["seconds"]
        rows.append({"op": row["op"], "size": row["size"], "cuda_us": seconds and seconds * 1e6,
                     "cpu_us": base["seconds"] * 1e6 if base else None,
                     "speedup": base["seconds"] / seconds if base and seconds else None,
                     "gb_s": row.get("gb_s"), "gflops": row.get("gflops"), "share_of_peak": row.get("share_of_peak")})
    if not rows:
        raise Unreadable("descent bench printed no kernels")
    return rows
