"""Runs the stages of a GPU check under a deadline. Every program has its own timeout and process group, its output goes to the log of
its stage, and results.json is rewritten after every stage, so that completed stages count even if the check is cut short."""

import collections
import glob
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time

import summary

Done = collections.namedtuple("Done", "code out err seconds timed_out")
KILL_GRACE = 3  # seconds for a program to end after SIGTERM
SHARED_LOGS = {"products": "device"}


class Failed(Exception):
    """A stage failed for the reason given."""


class Skipped(Exception):
    """A stage does not apply here; that is no failure."""


def is_program(path):
    return os.path.isfile(path) and os.access(path, os.X_OK)


class Tree:
    """What was built: a CMake build folder or an unpacked prebuilt tree, which have the same layout."""

    def __init__(self, root):
        self.root = os.path.abspath(root)
        self.descent = os.path.join(self.root, "bin", "descent")
        # A build for the simulated device of tests/simulated: the check is rehearsed, with just enough work to show that it works.
        self.simulated = os.path.exists(os.path.join(self.root, "lib", "libsimulated_cuda.so"))

    def programs(self):
        """Test programs by name; those of the kernels, built by nvcc, are in a folder of their own."""
        found = {}
        # Tests of the simulated device itself; a build folder may still have copies of them from an earlier layout.
        simulated = {os.path.basename(path) for path in glob.glob(os.path.join(self.root, "tests", "simulated", "*"))}
        for path in sorted(glob.glob(os.path.join(self.root, "tests", "*")) + glob.glob(os.path.join(self.root, "tests", "kernels", "*"))):
            name = os.path.basename(path)
            if is_program(path) and "." not in name and name not in simulated:
                found[name] = path
        return found

    def kernel_programs(self):
        return {name: path for name, path in self.programs().items() if os.path.basename(os.path.dirname(path)) == "kernels"}

    def ordered(self):
        """All test programs, the most informative about the GPU first."""
        kernels = self.kernel_programs()

        def rank(name):
            if name in kernels:
                return 2
            return 0 if name.startswith("op_cases") else 1 if "cuda" in name or "graph" in name or "capture" in name else 3
        return sorted(self.programs().items(), key=lambda item: (rank(item[0]), item[0]))


def library_folders(programs, environment):
    """The folders of the shared libraries that the loader does not find by default: CUDA's, cuBLAS and cuDNN, from a toolkit or from
    Python wheels."""
    places = []
    for name in ("CUDA_HOME", "CUDA_PATH", "CUDAToolkit_ROOT"):
        if os.environ.get(name):
            places.append(os.environ[name])
    places += sorted(glob.glob("/usr/local/cuda*"), reverse=True) + ["/opt/cuda"]
    folders = [os.path.join(place, part) for place in places for part in ("lib64", "lib", "targets/x86_64-linux/lib")]
    for site in sys.path:
        folders += sorted(glob.glob(os.path.join(site, "nvidia", "*", "lib")))
    folders += ["/usr/lib/x86_64-linux-gnu", "/usr/lib64"]
    missing = set()
    for program in programs:
        try:
            listed = subprocess.run(["ldd", program], env=environment, capture_output=True, text=True, check=False).stdout
        except OSError:
            continue
        missing |= set(re.findall(r"^\s*(\S+) => not found", listed, re.MULTILINE))
    found = []
    for name in sorted(missing):
        for folder in folders:
            if os.path.exists(os.path.join(folder, name)):
                if folder not in found:
                    found.append(folder)
                break
    return found


class Check:
    def __init__(self, out, tree, seconds, source):
        self.out, self.tree, self.source = os.path.abspath(out), tree, source
        self.deadline = time.monotonic() + seconds
        self.started = time.monotonic()
        self.environment = dict(os.environ)
        if tree.simulated:  # races are left to the regular tests
            self.environment.setdefault("SIMULATED_RACES", "off")
        self.results = {"started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "tree": tree.root, "simulated": tree.simulated, "stages": [], "passed": False}
        self.log = None
        self.lock = threading.Lock()
        os.makedirs(self.out, exist_ok=True)

    def left(self):
        return self.deadline - time.monotonic()

    def use_libraries(self):
        """Lets our programs find the tree's libraries and CUDA's; PyTorch gets neither, as it has its own."""
        given = os.environ.get("LD_LIBRARY_PATH", "")
        folders = [os.path.join(self.tree.root, name) for name in ("lib", "deps")]

        def use(more):
            self.environment["LD_LIBRARY_PATH"] = ":".join(filter(None, [*folders, *more, given]))

        use([])
        programs = [self.tree.descent, os.path.join(self.tree.root, "lib", "libdescent.so"), *self.tree.programs().values()]
        found = library_folders([program for program in programs[:4] if os.path.exists(program)], self.environment)
        use(found)
        system = os.path.join(self.tree.root, "deps", "system")
        if os.path.isdir(system) and not self.starts():  # this machine's own C++ library is too old
            use([*found, system])
        return found

    def starts(self):
        try:
            return subprocess.run([self.tree.descent, "--version"], env=self.environment, capture_output=True, timeout=20,
                                  check=False).returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            return False

    def write_log(self, text):
        with self.lock:
            self.log.write(text if text.endswith("\n") else text + "\n")
            self.log.flush()

    def run(self, command, seconds, environment=None):
        """Runs a program for at most `seconds`, or the time left for the whole check."""
        seconds = max(1.0, min(seconds, self.left()))
        begin = time.monotonic()
        timed_out = False
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                       errors="replace", env=environment or self.environment, start_new_session=True)
        except OSError as error:
            self.write_log(f"$ {shlex.join(command)}\n{error}")
            return Done(127, "", str(error), 0.0, False)
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            timed_out = True
            os.killpg(process.pid, signal.SIGTERM)
            try:
                out, err = process.communicate(timeout=KILL_GRACE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                out, err = process.communicate()
        done = Done(process.returncode, out, err, time.monotonic() - begin, timed_out)
        end = f"ran past {seconds:.0f} s" if timed_out else f"ended with {done.code}"
        self.write_log(f"$ {shlex.join(command)}\n{_shortened(out)}{_shortened(err)}-- {end}, {done.seconds:.1f} s\n")
        return done

    def not_run(self, name, reason, status="not run"):
        record = {"name": name, "status": status, "reason": reason, "seconds": 0.0, "details": {}}
        self.results["stages"].append(record)
        self.save()
        return record

    def stage(self, name, seconds, function, may_be_late=False):
        """Runs function(check, details), whose return value is a note or None, and records the result."""
        if self.left() < 5:
            return self.not_run(name, "the time of the whole check was used up", "skipped" if may_be_late else "not run")
        details = {}
        record = {"name": name, "status": "passed", "reason": "", "seconds": 0.0, "details": details}
        self.results["stages"].append(record)
        begin = time.monotonic()
        whole, self.deadline = self.deadline, min(self.deadline, begin + seconds)
        print(f"== {name} (at most {self.left():.0f} s)", flush=True)
        # Two short stages share a log, so that no more files are written than the check promises.
        shared = SHARED_LOGS.get(name)
        before = any(stage["name"] == shared for stage in self.results["stages"])
        with open(os.path.join(self.out, (shared or name) + ".log"), "a" if before else "w", encoding="utf-8") as self.log:
            try:
                record["reason"] = function(self, details) or ""
            except Skipped as skipped:
                record.update(status="skipped", reason=str(skipped))
            except Failed as failed:
                record.update(status="failed", reason=str(failed))
            except Exception as error:  # the other stages should still run
                record.update(status="failed", reason=f"{type(error).__name__}: {error}")
            self.log.write(f"{record['status']} {record['reason']}\n")
        self.deadline = whole
        record["seconds"] = round(time.monotonic() - begin, 1)
        print(f"== {name}: {record['status']} in {record['seconds']} s {record['reason']}", flush=True)
        self.save()
        return record

    def save(self):
        self.results["seconds"] = round(time.monotonic() - self.started, 1)
        stages = self.results["stages"]
        self.results["passed"] = bool(stages) and all(stage["status"] in ("passed", "skipped") for stage in stages)
        for name, text in (("results.json", json.dumps(self.results, indent=1) + "\n"), ("summary.md", summary.markdown(self.results))):
            temporary = os.path.join(self.out, name + ".tmp")
            with open(temporary, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, os.path.join(self.out, name))


def _shortened(text, most=200000):
    if len(text) > most:
        text = text[:most // 2] + "\n[...]\n" + text[-most // 2:]
    return text if not text or text.endswith("\n") else text + "\n"
