"""The whole check of a GPU; tools/gpu_check.sh builds or unpacks what it runs."""

import argparse
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import runner  # noqa: E402
import stages  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, help="folder for results.json, summary.md and the logs")
    parser.add_argument("--tree", required=True, help="build folder or prebuilt tree")
    parser.add_argument("--source", required=True, help="folder with bench/ and tests/")
    parser.add_argument("--seconds", type=float, default=530, help="of the whole check")
    parser.add_argument("--only", help="comma-separated stages")
    parser.add_argument("--dry-run", action="store_true", help="say what would run")
    args = parser.parse_args()
    tree = runner.Tree(args.tree)
    wanted = args.only.split(",") if args.only else [name for name, _, _ in stages.STAGES]
    unknown = set(wanted) - {name for name, _, _ in stages.STAGES}
    if unknown:
        parser.error(f"no stage {', '.join(sorted(unknown))}")
    if args.dry_run:
        for name, seconds, function in stages.STAGES:
            if name in wanted:
                print(f"{name:12s} at most {seconds:3d} s  {' '.join(function.__doc__.split())}")
        programs = tree.ordered()
        print(f"{len(programs)} test programs in {tree.root}/tests, {len(tree.kernel_programs())} of kernels" +
              ("" if not programs else ": " + ", ".join(name for name, _ in programs)))
        return 0
    check = runner.Check(args.out, tree, args.seconds, args.source)
    check.results["libraries"] = check.use_libraries()
    usable = True
    for name, seconds, function in stages.STAGES:
        if name not in wanted:
            continue
        if not usable:
            check.not_run(name, "there is no device")
            continue
        record = check.stage(name, seconds, function, name in stages.MAY_BE_LATE)
        usable = name != "device" or record["status"] == "passed"
    skipped = ", ".join(stage["name"] for stage in check.results["stages"] if stage["status"] == "skipped")
    print(f"{'passed' if check.results['passed'] else 'NOT passed'}{f' (skipped: {skipped})' if skipped else ''} in {check.results['seconds']} s: {check.out}/summary.md")
    return 0 if check.results["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
