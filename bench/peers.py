"""The contestants of a comparison as processes: PyTorch's settings (torch_worker.py) and the command descent."""

import json
import os
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "8589934592", "MALLOC_TOP_PAD_": "268435456"}


def clean_environment(extra=None):
    env = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    env.update(extra or {})
    return env


class Torch:
    """A PyTorch setting in its own process, stopped while others run: its threads would spin and slow them down."""

    def __init__(self, job, setting, words):
        command = [sys.executable, os.path.join(HERE, "torch_worker.py"), "--job", job, "--setting", setting, *words]
        self.errors = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
                                        start_new_session=True,
                                        env=clean_environment(MALLOC if "malloc" in setting else None))
        self.failure = None
        self.version = "?"

    def wait_until_ready(self):
        words = []
        for line in self.process.stdout:
            words = line.split()
            if words[:1] == ["ready"]:
                break
        if words[:1] != ["ready"]:
            self.process.wait()
            self.errors.seek(0)
            self.failure = self.errors.read().strip().splitlines()[-1:]
        elif len(words) > 1:
            self.version = words[1]
        self.signal(signal.SIGSTOP)
        return self

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

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait()


def descent(binary, words):
    """Runs `descent bench` and returns its JSON object."""
    command = [binary, "bench", *words, "--json"]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"compare_torch: {' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)
