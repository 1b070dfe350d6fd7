#!/usr/bin/env python3
"""ptx.py PTXAS OBJECT...: what nvcc made of the kernels, checked without a GPU.

No floating-point atomics, whose sums would depend on the order of arrival; 16-byte loads and stores in the kernels that
are written for them; no local memory. Reads the PTX out of objects compiled with -no-compress, and has ptxas make
machine code of it for compute capability 9.0, which reports what each kernel takes.
"""
import concurrent.futures
import pathlib
import re
import subprocess
import sys
import tempfile

# Kernel instances that must move 16 bytes at a time: the required instructions (and how many, if parameters are loaded
# this way too), and a regular expression on the demangled name. Other instances are for pointers or sizes that don't
# allow it. Random numbers are generated four at a time, which is 8 bytes in bf16; conversions between bf16 and f32 also
# move four at a time, so their bf16 side is 8 bytes.
VECTOR_KERNELS = [line.split(None, 1) for line in r"""
load,store ::map_kernel<
load       ::convert_kernel<__nv_bfloat16, float>
store      ::convert_kernel<float, __nv_bfloat16>
load,store ::binary_kernel<[^,]*, [248],
load,store ::scale_by_kernel<
store      ::fill_kernel<
load,store ::epilogue(_relu)?_kernel<
load,store ::optim_kernel<
load,store ::dropout_kernel<[a-z]+>
store      ::(uniform|normal)_kernel<[a-z]+>
load,store ::(index_select|copy_block)_kernel<descent::gpu::Pack<
store      ::gather_images_kernel<[a-z]+, 4>
load,store ::(max|average|global_average)_pool(_backward)?_kernel<[a-z0-9_]+, [248][,>]
load,store ::max_pool_2x2(_backward)?_kernel<[a-z0-9_]+, [248], descent::gpu::Place(Bytes|Bits), true>
load:7,store ::batch_pool_kernel<[a-z0-9_]+, descent::gpu::NormWidth<[248], true>
load,store ::batch_(gradient|pool_gradient)_kernel<[a-z0-9_]+, descent::gpu::NormWidth<[248], true>
load:8,store ::batch_normalize_kernel<[a-z0-9_]+, descent::gpu::NormWidth<[248], true>
load,store ::layer(_gradient)?_kernel<[a-z0-9_]+, descent::gpu::NormWidth<[248], true>
load       ::(batch_moments|gradient_sums)_kernel<[a-z0-9_]+, descent::gpu::NormWidth<[248], true>
load       ::reduce_(short|long)_rows_kernel<descent::gpu::[A-Z][A-Za-z<>]*, (float|double|__nv_bfloat16),
load       ::reduce_(columns|few_rows)_kernel<descent::gpu::[A-Z][A-Za-z<>]*, [248], (float|double|__nv_bfloat16),
store      ::max_backward_zero_kernel<
load,store ::(softmax|softmax_backward|cross_entropy)_streamed_kernel<
load,store ::pairwise_loss_kernel<
load:2,store ::conv_(tile|patch)_kernel<
load       ::conv_filter_kernel<
""".strip().splitlines()]
# Kernels that may use local memory, none of them performance-critical: those of f64, which serves to check gradients,
# and normal, whose sine and cosine reduce large arguments there.
LOCAL_MEMORY = re.compile(r"^[^(]*(<double|Sum<double>)|::normal_kernel<")
# Not our kernels: CUB does the sorting.
FOREIGN = re.compile(r"(^|[ (<:])(cub|thrust)::")

FUNCTION = re.compile(r"^(?:\.visible |\.weak |\.extern )*\.?(?:entry|func)[^\n]*?\b([A-Za-z_$][\w$]*)\(", re.MULTILINE)
OPERATION = re.compile(r"^\s*(?:@!?%\w+\s+)?((?:ld|st|atom|red)\.[\w.:]+)", re.MULTILINE)
BY_16_BYTES = re.compile(r"\.(v4\.[bfus]32|v2\.[bfus]64)$")
# Floating-point atomics, and compare-and-swap, with which they can be emulated.
FLOAT_ATOMIC = re.compile(r"\.(b?f(16|32|64)(x2)?|cas)(\.|$)")


def demangle(names):
    return subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout.splitlines()


def ptx_modules(path):
    data = pathlib.Path(path).read_bytes()
    at = 0
    while (at := data.find(b"\n.version ", at)) >= 0:
        end = data.index(b"\0", at)
        yield data[at + 1 : end].decode()
        at = end


def survey(ptx):
    """Of each function: how many 16-byte loads and stores of global memory it has, and its floating-point atomics."""
    starts = list(FUNCTION.finditer(ptx))
    found = {}
    for start, following in zip(starts, starts[1:] + [None]):
        loads, stores, atomics = found.setdefault(start[1], [0, 0, []])
        body = ptx[start.end() : following.start() if following else len(ptx)]
        for operation in OPERATION.findall(body):
            if operation.startswith(("atom.", "red.")):
                if FLOAT_ATOMIC.search(operation):
                    atomics.append(operation)
            elif BY_16_BYTES.search(operation) and not re.search(r"\.(shared|local|param|const)\b", operation):
                loads += operation.startswith("ld.")
                stores += operation.startswith("st.")
        found[start[1]] = [loads, stores, atomics]
    return found


def resources(ptxas, ptx):
    """Of each kernel, from ptxas: registers, bytes of its stack frame, bytes of spilled registers."""
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "kernels.ptx")
        source.write_text(ptx)
        report = subprocess.run([ptxas, "-v", "-arch=sm_90", "-o", str(source) + ".cubin", str(source)], capture_output=True, text=True)
    if report.returncode != 0:
        sys.exit("ptx: ptxas refuses:\n" + report.stderr)
    taken, frames, name = {}, {}, None
    for line in report.stderr.splitlines():
        if match := re.search(r"Compiling entry function '([^']+)'", line):
            entry = match[1]
        elif match := re.search(r"Function properties for (\S+)", line):
            name = match[1]
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            frames[name] = (int(match[1]), int(match[2]) + int(match[3]))
        elif match := re.search(r"Used (\d+) registers", line):
            taken[entry] = (int(match[1]), *frames.get(entry, (0, 0)))
    return taken


def check(ptxas, path):
    """The complaints about an object, the names of its kernels and functions, and the most registers that one takes."""
    complaints, seen, most = [], [], 0
    modules = list(ptx_modules(path))
    if not modules:
        sys.exit(f"ptx: {path} holds no PTX: compile it with -no-compress")
    for ptx in modules:
        found = survey(ptx)
        for name, (loads, stores, atomics) in zip(demangle(found), found.values()):
            if FOREIGN.search(name):
                continue
            seen.append(name)
            if atomics:
                complaints.append(f"{name}: {', '.join(sorted(set(atomics)))}")
            for needs, pattern in VECTOR_KERNELS:
                if re.search(pattern, name):
                    for need in needs.split(","):
                        what, _, least = need.partition(":")
                        found_of = loads if what == "load" else stores
                        if found_of < int(least or 1):
                            complaints.append(f"{name}: {found_of} {what}s of 16 bytes, expected {least or 1} at least")
        taken = resources(ptxas, ptx)
        for name, (registers, frame, spilled) in zip(demangle(taken), taken.values()):
            if FOREIGN.search(name):
                continue
            most = max(most, registers)
            if (frame or spilled) and not LOCAL_MEMORY.search(name):
                complaints.append(f"{name}: a stack frame of {frame} bytes, {spilled} bytes of spilled registers")
    return [f"{pathlib.Path(path).name}: {complaint}" for complaint in complaints], seen, most


def main():
    ptxas, objects = sys.argv[1], sys.argv[2:]
    complaints, seen, most = [], [], 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for more, names, registers in pool.map(lambda path: check(ptxas, path), objects):
            complaints += more
            seen += names
            most = max(most, registers)
    complaints += [f"no kernel is named like {pattern}" for _, pattern in VECTOR_KERNELS
                   if not any(re.search(pattern, name) for name in seen)]
    for complaint in complaints:
        print("ptx:", complaint)
    print(f"{len(seen)} kernels and functions in {len(objects)} objects: {len(complaints)} complaints; at most {most} registers")
    return 1 if complaints or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
