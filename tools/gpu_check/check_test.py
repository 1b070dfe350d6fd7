"""Tests of the check itself, without a GPU: its parsers on output of the programs, and whole runs with fakes for all programs.
python3 -m unittest discover -s tools/gpu_check -p '*_test.py'"""

import contextlib
import io
import json
import os
import sys
import tempfile
import time
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import check  # noqa: E402
import parse  # noqa: E402
import runner  # noqa: E402
import stages  # noqa: E402
import summary  # noqa: E402

GTEST = {"tests": 4, "testsuites": [{"name": "Sum", "testsuite": [
    {"name": "Small", "status": "RUN", "result": "COMPLETED"},
    {"name": "Large", "status": "RUN", "result": "COMPLETED", "failures": [{"failure": "sum_test.cpp:7\nExpected: 1\n  Actual: 2\nmore"}]},
    {"name": "OnTheMoon", "status": "RUN", "result": "SKIPPED"},
    {"name": "DISABLED_Never", "status": "NOTRUN", "result": "SUPPRESSED"}]}]}

MEMCHECK = """========= COMPUTE-SANITIZER
========= Invalid __global__ read of size 4 bytes
=========     at sum_kernel(float*)+0x40
========= ERROR SUMMARY: 1 error
"""


def metrics(losses):
    lines = [{"type": "step", "step": step, "loss": loss} for step, loss in losses.items()]
    return "".join(json.dumps(line) + "\n" for line in [*lines, {"type": "epoch", "epoch": 0, "loss": 1}])


class Parsers(unittest.TestCase):
    def test_gtest(self):
        report = parse.gtest(json.dumps(GTEST))
        self.assertEqual((report["ran"], report["failed"], report["skipped"]), (2, 1, 1))
        self.assertEqual(report["failures"], ["Sum.Large: sum_test.cpp:7 Expected: 1   Actual: 2"])
        for text in ("", "[]", '{"tests": '):
            with self.assertRaises(parse.Unreadable):
                parse.gtest(text)

    def test_sanitizer(self):
        self.assertEqual(parse.sanitizer(MEMCHECK), {"errors": 1, "first": "Invalid __global__ read of size 4 bytes"})
        self.assertEqual(parse.sanitizer("========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n"), {"errors": 0, "first": ""})
        race = "========= RACECHECK SUMMARY: 2 hazards displayed (1 error, 1 warning)\n"
        self.assertEqual(parse.sanitizer("========= Error: Race reported\n" + race), {"errors": 2, "first": "Error: Race reported"})
        refused = "========= COMPUTE-SANITIZER\n========= Device not supported\n"
        with self.assertRaises(parse.Unreadable):
            parse.sanitizer(refused)
        self.assertEqual(parse.sanitizer_refusal(refused), "Device not supported")
        self.assertEqual(parse.sanitizer_refusal("========= Error: Failed to initialize the tool\n"), "Error: Failed to initialize the tool")
        # A finding is no refusal, and counts even if the run was cut short.
        uninitialized = "========= Uninitialized __global__ memory read of size 4 bytes\n"
        for text in (MEMCHECK.split("========= ERROR")[0], uninitialized, "========= Error: Race reported between Write and Read\n"):
            self.assertEqual(parse.sanitizer_refusal(text), "")
            self.assertTrue(parse.sanitizer_finding(text))
        self.assertEqual(parse.sanitizer_finding(refused), "")

    def test_losses(self):
        one = parse.losses(metrics({1: 2.0, 2: 1.0, 3: 0.5}))
        self.assertEqual(one, {1: 2.0, 2: 1.0, 3: 0.5})
        near = parse.compare_losses(one, {1: 2.0, 2: 1.001, 3: 0.5}, 3, 1e-2)
        self.assertEqual((near["step"], near["complaint"]), (2, ""))
        self.assertAlmostEqual(near["largest"], 0.001 / 1.001)
        self.assertIn("at step 2", parse.compare_losses(one, {1: 2.0, 2: 1.1, 3: 0.5}, 3, 1e-2)["complaint"])
        self.assertIn("no loss of step 3", parse.compare_losses(one, {1: 2.0, 2: 1.0}, 3, 1e-2)["complaint"])
        self.assertIn("not finite", parse.compare_losses(one, {**one, 2: float("nan")}, 3, 1e-2)["complaint"])
        with self.assertRaises(parse.Unreadable):
            parse.losses('{"type": "step"\n')

    def test_result(self):
        self.assertEqual(parse.result('a line\n{\n "a": 1\n}\n'), {"a": 1})
        with self.assertRaises(parse.Unreadable):
            parse.result("nothing")

    def test_kernels(self):
        cpu = {"kernels": [{"op": "relu", "size": "8", "seconds": 2e-3, "gb_s": 10, "share_of_peak": 0.5}]}
        cuda = {"kernels": [{"op": "relu", "size": "8", "seconds": 1e-5, "gb_s": 2000, "share_of_peak": 0.9},
                            {"op": "new", "size": "8", "seconds": 1e-5, "gflops": 3, "share_of_peak": 0.1}]}
        rows = parse.kernels(cpu, cuda)
        self.assertAlmostEqual(rows[0]["speedup"], 200)
        self.assertIsNone(rows[1]["speedup"])
        with self.assertRaises(parse.Unreadable):
            parse.kernels(cpu, {})

    def test_summary_of_half_a_result(self):
        page = summary.markdown({"started": "now", "passed": False, "stages": [
            {"name": "training", "status": "failed", "reason": "a | b", "seconds": 1, "details": {"f32": {"mlp": {}}}}]})
        self.assertIn("NOT passed", page)
        self.assertIn("a \\| b", page)
        self.assertIn("incomplete", page)


COMMAND = '''
args = sys.argv[1:]
if args[0] == "--version": print("descent 1")
elif args[0] == "info": print(json.dumps({"cuda": FAKE.get("device", True), "cuda_unavailable": "no driver"}))
elif "--help" in args: print("--no-graph")
elif args[0] == "train":
    def value(name): return args[args.index(name) + 1]
    out, cuda = value("--out"), value("--device") == "cuda"
    os.makedirs(out)
    drift = FAKE.get("drift", 0) if cuda else 0
    with open(out + "/metrics.jsonl", "w") as file:
        for step in range(1, 101):
            file.write(json.dumps({"type": "step", "step": step, "loss": 2 / step + drift}) + "\\n")
    print(json.dumps({"test_accuracy": 0.97, "seconds": 1.5, "sha256": FAKE.get("sum", "s") if "--no-graph" in args else "s"}))
else:
    table = {"gflops_f32": 100, "copy_gb_s": 10, "device": "x", "seconds_per_epoch": 0.5, "graph_nodes": 17}
    table["kernels"] = [{"op": "relu", "size": "8", "seconds": 1e-3, "gb_s": 9, "share_of_peak": 0.9}]
    print(json.dumps(table))
'''
PROBE = '''
rows = []
for masked in (True, False):
    for end in ("DEFAULT", "DRELU"):
        row = {"in": 84, "out": 10, "batch": 128, "pass": "data", "types": "tf32", "end": end, "alignment": 16, "masked": masked}
        row.update({"algorithms": 0} if end == "DRELU" else {"algorithms": 2, "microseconds": 3 if masked else 2})
        if FAKE.get("refuses") and end == "DEFAULT": row["call"] = "CUBLAS_STATUS_NOT_SUPPORTED"
        rows.append(row)
print(json.dumps({"cublaslt": 130100, "cases": [] if FAKE.get("silent") else rows}))
'''
TEST = '''
for word in sys.argv:
    if word.startswith("--gtest_output=json:"):
        tests = [{"name": "A", "status": "RUN", "result": FAKE.get("result", "COMPLETED")}]
        if FAKE.get("fails"): tests[0]["failures"] = [{"failure": "a.cpp:1"}]
        with open(word.split(":", 1)[1], "w") as file: json.dump({"testsuites": [{"name": "S", "testsuite": tests}]}, file)
if FAKE.get("fails"): sys.exit(1)
'''
# One row with a time for each requested setting; fails if the setting FAKE["broken"] is requested.
COMPARE = '''
def value(name): return sys.argv[sys.argv.index(name) + 1]
settings = value("--settings").split(",")
if FAKE.get("broken") in settings: sys.exit(1)
rows = [{"goal": "G1", "job": "mlp", "class": "T", "seconds_per_step": {name: 1e-4 for name in settings}, "ratios": {}}]
with open(value("--json"), "w") as file: json.dump({"results": rows}, file)
'''
# Behaves for each tool as FAKE says: "errors", "refuses", "crashes", "runs nothing"; otherwise it runs the program without errors.
SANITIZER = '''
import subprocess
tool = sys.argv[sys.argv.index("--tool") + 1]
program = next(i for i, word in enumerate(sys.argv) if "/tests/" in word)
with open(FAKE["log"], "a") as file: file.write(tool + " " + os.path.basename(sys.argv[program]) + "\\n")
how = FAKE.get(tool, "")
print("========= COMPUTE-SANITIZER", flush=True)
if how == "refuses": print("========= Error: the debugger interface is not permitted in this container"); sys.exit(1)
if how == "crashes": os.abort()
if how != "runs nothing": subprocess.run(sys.argv[program:])
print("========= ERROR SUMMARY: %d errors" % (3 if how == "errors" else 0))
'''


class WholeRun(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = self.folder.name
        self.out = os.path.join(self.root, "out")

    def program(self, path, body, fake):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!{sys.executable}\nimport json, os, sys\nFAKE = {fake!r}\n{body}\n")
        os.chmod(path, 0o755)

    def run_check(self, *words, **fake):
        self.program("tree/bin/descent", COMMAND, fake)
        self.program("tree/bin/cublaslt_probe", PROBE, fake)
        self.program("tree/tests/op_cases_test", TEST, {})
        self.program("tree/tests/kernels/pool_test", TEST, fake)
        self.program("tree/tests/kernels/loss_test", TEST, {})
        self.program("bench/compare_torch.py", COMPARE, fake)
        self.program("path/nvidia-smi", 'print("A GPU, 1.0")', fake)
        self.log = os.path.join(self.root, "sanitizer.log")
        self.program("path/compute-sanitizer", SANITIZER, {**fake, "log": self.log})
        path = os.path.join(self.root, "path") + os.pathsep + os.environ.get("PATH", "")
        arguments = ["check.py", "--out", self.out, "--tree", os.path.join(self.root, "tree"), "--source", self.root, *words]
        with mock.patch.dict(os.environ, {"PATH": path}), mock.patch.object(sys, "argv", arguments), \
                mock.patch.object(stages.importlib.util, "find_spec", lambda name: fake.get("torch")), contextlib.redirect_stdout(io.StringIO()):
            code = check.main()
        with open(os.path.join(self.out, "results.json"), encoding="utf-8") as file:
            self.results = json.load(file)
        self.status = {stage["name"]: (stage["status"], stage["reason"]) for stage in self.results["stages"]}
        return code

    def test_all_passes(self):
        self.assertEqual(self.run_check(), 0, self.results)
        self.assertEqual(self.status["torch"][0], "skipped")
        self.assertLessEqual(len(os.listdir(self.out)), 8)
        with open(os.path.join(self.out, "summary.md"), encoding="utf-8") as file:
            page = file.read()
        for text in ("# GPU check", "pool_test", "memcheck", "lenet5", "relu", "the same bits", "DRELU", "Nodes of the graph"):
            self.assertIn(text, page)
        self.assertNotIn("incomplete", page)

    def test_products(self):
        self.assertEqual(self.run_check("--only", "device,products"), 0, self.results)
        self.assertEqual(self.status["products"], ("passed", "4 cases; with the mask 1.50 of the time without it (median)"))
        details = self.results["stages"][1]["details"]
        self.assertEqual(details["without"], {"data tf32 DRELU, 16 bytes": ["84-10:128"]})
        self.assertEqual([row["end"] for row in details["asked"]], ["DEFAULT", "DRELU"])
        for fake in ({"refuses": True}, {"silent": True}):
            self.assertEqual(self.run_check("--only", "products", **fake), 1)

    def test_without_a_device_nothing_else_runs(self):
        self.assertEqual(self.run_check(device=False), 1)
        self.assertEqual(self.status["device"], ("failed", "no CUDA device: no driver"))
        self.assertEqual(self.status["bench"][0], "not run")

    def test_every_kind_of_failure_is_one(self):
        for stage, fake in (("tests", {"fails": True}), ("tests", {"result": "SKIPPED"}), ("sanitizers", {"initcheck": "errors"}),
                            ("training", {"drift": 0.5}), ("training", {"drift": 1e-5}), ("training", {"sum": "other"})):
            with self.subTest(stage=stage, fake=fake):
                self.assertEqual(self.run_check("--only", stage, **fake), 1)
                self.assertEqual(self.status[stage][0], "failed", self.results)

    def time_ends_in(self, tool, said=""):
        """The time runs out in the first run of the tool; `said` is what it had written until then."""
        run = runner.Check.run

        def end(check, command, *words):
            if tool not in command:
                return run(check, command, *words)
            check.deadline = time.monotonic() + 1
            return runner.Done(-15, said, "", 90.0, True)
        return mock.patch.object(runner.Check, "run", end)

    def runs(self):
        with open(self.log, encoding="utf-8") as file:
            return file.read().splitlines()

    def test_memcheck_sees_every_program_before_another_tool_begins(self):
        self.assertEqual(self.run_check("--only", "sanitizers"), 0, self.results)
        tools = [line.split()[0] for line in self.runs()]
        self.assertEqual(tools, ["memcheck"] * 2 + ["racecheck"] * 2 + ["initcheck"] * 2 + ["synccheck"] * 2)
        self.assertEqual(self.status["sanitizers"], ("passed", "8 runs without errors"))

    def test_what_no_time_is_left_for_is_skipped(self):
        with self.time_ends_in("racecheck"):
            self.assertEqual(self.run_check("--only", "sanitizers"), 0, self.results)
        status, reason = self.status["sanitizers"]
        self.assertEqual(status, "passed")
        for text in ("2 runs without errors", "no time for racecheck of 2 programs", "initcheck of 2 programs"):
            self.assertIn(text, reason)
        self.assertNotIn("initcheck", " ".join(self.runs()))
        # Without time for any run the whole stage is skipped; tests that had no time do not pass.
        with self.time_ends_in("memcheck"):
            self.assertEqual(self.run_check("--only", "sanitizers"), 0, self.results)
        self.assertEqual(self.status["sanitizers"][0], "skipped")
        self.assertEqual(self.run_check("--seconds", "2", "--only", "tests,sanitizers"), 1)
        self.assertEqual((self.status["tests"][0], self.status["sanitizers"][0]), ("not run", "skipped"))

    def test_a_finding_counts_though_the_time_ran_out(self):
        with self.time_ends_in("memcheck", MEMCHECK.split("========= ERROR")[0]):
            self.assertEqual(self.run_check("--only", "sanitizers"), 1)
        self.assertIn("(memcheck)", self.status["sanitizers"][1])

    def test_a_sanitizer_that_the_host_refuses_is_told_and_no_failure(self):
        with mock.patch.object(stages, "PARALLEL", 1):
            self.assertEqual(self.run_check("--only", "sanitizers", racecheck="refuses"), 0, self.results)
        status, reason = self.status["sanitizers"]
        self.assertEqual(status, "passed")
        self.assertIn("6 runs without errors", reason)
        self.assertIn("racecheck (Error: the debugger interface is not permitted in this container)", reason)
        self.assertEqual(sum(line.startswith("racecheck") for line in self.runs()), 1)  # not run again for the second program
        refuse = dict.fromkeys(stages.SANITIZERS, "refuses")
        self.assertEqual(self.run_check("--only", "sanitizers", **refuse), 0, self.results)
        self.assertEqual(self.status["sanitizers"][0], "skipped")

    def test_no_verdict_is_no_pass(self):
        for how in ("crashes", "runs nothing"):
            with self.subTest(how=how):
                self.assertEqual(self.run_check("--only", "sanitizers", synccheck=how), 1)
                self.assertIn("synccheck", self.status["sanitizers"][1])

    def test_all_three_peers_and_compiling_may_fail(self):
        for broken, peers in ((None, ["eager", "graph", "compile"]), ("compile", ["eager", "graph"])):
            self.assertEqual(self.run_check("--only", "torch", torch=True, broken=broken), 0, self.results)
            rows = self.results["stages"][0]["details"]["results"]
            self.assertEqual([name for row in rows for name in row["seconds_per_step"]], peers)
        self.assertEqual(self.run_check("--only", "torch", torch=True, broken="eager"), 1)

    def test_the_time_ends(self):
        self.program("tree/tests/slow_test", "import time; time.sleep(60)", {})
        self.assertEqual(self.run_check("--seconds", "9", "--only", "tests,bench"), 1)
        self.assertIn("slow_test", self.status["tests"][1])
        self.assertEqual(self.status["bench"][0], "not run")
        rows = {row["program"]: row for row in self.results["stages"][0]["details"]["programs"]}
        self.assertEqual(rows["slow_test"]["failures"], ["timed out"])
        self.assertEqual(rows["op_cases_test"]["ran"], 1)


if __name__ == "__main__":
    unittest.main()
