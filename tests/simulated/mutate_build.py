"""Access to a build folder for mutate.py: its compile and link commands, and programs relinked with some rebuilt objects."""

import json
import os
import re
import shlex
import subprocess
import threading

COMPILE_SECONDS = 900
KERNEL_TESTS = "tests/kernels"  # NAME_test.cpp there is the program NAME_gpu


class Broken(Exception):
    """A mutant that does not compile or link."""


def replace_value(words, option, value):
    """The words with the value of `-o` (or -MF, ...) replaced, and the old value."""
    at = words.index(option) + 1
    return [*words[:at], value, *words[at + 1:]], words[at]


def kernel_names(fat_binary):
    """The entries of the PTX in a fat binary that is not compressed."""
    return sorted(re.findall(rb"\.entry ([\w$]+)", fat_binary))


class Build:
    """A build folder of Ninja's or Make's, with the sources that it was made of. `launcher`: words before every command that
    compiles."""

    def __init__(self, folder, launcher=()):
        self.folder = os.path.abspath(folder)
        self.launcher = list(launcher)
        self.lock = threading.Lock()
        with open(os.path.join(self.folder, "CMakeCache.txt"), encoding="utf-8") as file:
            self.source = re.search(r"^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$", file.read(), re.M).group(1)
        self.entries = {}  # keyed by source and, for files compiled more than once, the target's folder
        with open(os.path.join(self.folder, "compile_commands.json"), encoding="utf-8") as file:
            for entry in json.load(file):
                words = shlex.split(entry["command"]) if "command" in entry else entry["arguments"]
                self.entries.setdefault(os.path.normpath(entry["file"]), []).append((words, entry["directory"]))
        self.links = {}
        self.program_objects = {}

    @staticmethod
    def run(words, where, seconds=COMPILE_SECONDS, env=None, launcher=()):
        # Limits the CPU time, so that a busy machine does not change verdicts, and the wall-clock time, to end deadlocks. The limits
        # do not include the time that the launcher waits for its turn.
        limits = ["timeout", "-k", "5", str(6 * seconds), "prlimit", f"--cpu={seconds}"]
        return subprocess.run([*launcher, *limits, *words], cwd=where, env=env, capture_output=True, text=True, errors="replace", check=False)

    def compile_command(self, source, target=""):
        """The compile command, without precompiled header or cache (they only know the unmodified file), and its working folder."""
        for words, where in self.entries.get(os.path.join(self.source, source), []):
            if f"{target}.dir" not in " ".join(words):
                continue
            while not re.search(r"(nvcc|c\+\+|g\+\+|clang\+\+|cc|gcc)(-[\d.]+)?$", words[0]):
                words = words[1:]
            while "-include" in words and "cmake_pch" in words[words.index("-include") + 1]:
                at = words.index("-include")
                words = words[:at] + words[at + 2:]
            return [word for word in words if not word.startswith(("-Werror", "-Winvalid-pch"))], where
        raise SystemExit(f"mutate: {self.folder} does not compile {source} {target}")

    def link_command(self, program):
        """The link command of the program, and its working folder."""
        with self.lock:
            if program not in self.links:
                self.links[program] = self.find_link(program)
            return self.links[program]

    def find_link(self, program):
        for folder, _, files in os.walk(os.path.join(self.folder, "tests")):
            if os.path.basename(folder) == f"{program}.dir" and "link.txt" in files:
                with open(os.path.join(folder, "link.txt"), encoding="utf-8") as file:
                    return shlex.split(file.read()), os.path.dirname(os.path.dirname(folder))
        done = subprocess.run(["ninja", "-C", self.folder, "-t", "commands", program], capture_output=True, text=True, check=False)
        lines = [line for line in done.stdout.splitlines() if re.search(rf" -o \S*/{program}( |$)", line)]
        if not lines:
            raise SystemExit(f"mutate: no command links {program}: {done.stderr.strip()}")
        return [word for word in shlex.split(lines[-1]) if word not in (":", "&&")], self.folder

    def program(self, name):
        """The program from the build."""
        words, where = self.link_command(name)
        return os.path.normpath(os.path.join(where, words[words.index("-o") + 1]))

    def compile(self, source, target, copy, folder, to="-c"):
        """The object of a source, from its `copy`, with `folder` before src/; compiled once and run once, so -O0 for the host.
        With `to` -fatbin, the device code that nvcc makes."""
        words, where = self.compile_command(source, target)
        output = os.path.join(folder, re.sub(r"\W", "_", source) + ".o")
        words, old = replace_value(words, "-o", output)
        if "-MF" in words:
            words, _ = replace_value(words, "-MF", os.path.join(folder, "deps.d"))
        original = os.path.join(self.source, source)
        words = [copy if os.path.normpath(word) == original else word for word in words]
        words = [to if word == "-c" else word for word in words if not re.fullmatch(r"-O[0-3s]|-g\d?|-Xcompiler=-O\d", word)]
        done = self.run([words[0], f"-I{folder}", "-w", "-O0", *words[1:]], where, launcher=self.launcher)
        if done.returncode != 0:
            first = re.search(r"error: .*|error : .*", done.stderr)
            raise Broken(first.group(0) if first else (done.stderr or done.stdout).strip()[:200])
        return output, os.path.normpath(os.path.join(where, old))

    def with_new_kernels(self, source, target, folder):
        """The build's own object of a test with the kernels of a file changed in `folder`, or None where the object would not fit:
        the fat binary is the only part of it that comes from device code."""
        fat, old = self.compile(source, target, os.path.join(self.source, source), folder, "-fatbin")
        fat, section = self.renamed(fat, "new.fatbin"), os.path.join(folder, "old.fatbin")
        copied = self.run(["objcopy", "-O", "binary", "--only-section=.nv_fatbin", "--set-section-flags", ".nv_fatbin=alloc", old, section],
                          folder)
        if copied.returncode != 0:
            return None
        with open(fat, "rb") as one, open(section, "rb") as other:
            names = kernel_names(one.read())
            if not names or names != kernel_names(other.read()):
                return None
        made = os.path.join(folder, "test.o")
        done = self.run(["objcopy", f"--update-section=.nv_fatbin={fat}", old, made], folder)
        return (made, old) if done.returncode == 0 else None

    @staticmethod
    def renamed(path, name):
        to = os.path.join(os.path.dirname(path), name)
        os.rename(path, to)
        return to

    def link(self, program, objects, folder):
        """The program with `objects` (new path, old path): one of its own is replaced, one of an archive comes before it."""
        words, where = self.link_command(program)
        output = os.path.join(folder, program)
        words, _ = replace_value(words, "-o", output)
        before = []
        for made, old in objects:
            places = [i for i, word in enumerate(words) if os.path.normpath(os.path.join(where, word)) == old]
            if places:
                words[places[0]] = made
            else:
                before.append(made)
        at = words.index("-o")
        done = self.run([*words[:at], *before, *words[at:]], where)
        if done.returncode != 0:
            raise Broken(done.stderr.strip()[:200])
        return output
