"""Formats results.json as a page of Markdown."""


def _table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |")
    return lines


def _number(value, form, missing="-"):
    return missing if value is None else format(value, form)


def _tests(details):
    rows = []
    for row in details.get("programs", []):
        state = "not run" if row.get("not_run") else "; ".join(row["failures"][:3]) or "ok"
        rows.append([row["program"], row["ran"], row["skipped"], row.get("seconds", "-"), state])
    return _table(["program", "ran", "skipped", "seconds", ""], rows)


def _sanitizers(details):
    programs = sorted({row["program"] for row in details.get("runs", [])})
    tools = list(dict.fromkeys(row["tool"] for row in details.get("runs", [])))
    cell = {(row["program"], row["tool"]): row["first"] or str(row["errors"]) for row in details.get("runs", [])}
    return _table(["errors", *tools], [[program, *(cell.get((program, tool), "-") for tool in tools)] for program in programs])


def _training(details):
    rows = []
    for dtype in ("f64", "f32"):
        for model, row in details.get(dtype, {}).items():
            accuracy, seconds = row["accuracy"], row["seconds"]
            losses = ", ".join(f"{_number(part['largest'], '.1e')} in {part['first']} steps (<= {part['bound']:.0e})" for part in row["losses"])
            rows.append([model, dtype, losses, f"{accuracy['cpu']:.4f}", f"{accuracy['cuda']:.4f}", f"{seconds['cpu']:.2f}",
                         f"{seconds['cuda']:.2f}"])
    lines = _table(["model", "type", "largest difference of losses", "accuracy CPU", "GPU", "seconds CPU", "GPU"], rows)
    for model, sums in details.get("same_bits", {}).items():
        lines.append(f"- {model}: {'the same bits' if len(set(sums.values())) == 1 else 'DIFFERENT bits'} from {', '.join(sums)}")
    return lines


def _bench(details):
    lines = []
    for where in ("cpu", "cuda"):
        peak = details.get(where, {})
        if "gflops_f32" in peak:
            lines.append(f"- {where}: {peak.get('device_name', peak.get('device', ''))} {peak['gflops_f32']:,.0f} GFLOP/s, "
                         f"copy {peak['copy_gb_s']:,.0f} GB/s")
    lines += _table(["op", "size", "CPU us", "GPU us", "speed-up", "GB/s", "GFLOP/s", "of peak"],
                    [[row["op"], row["size"], _number(row["cpu_us"], ",.1f"), _number(row["cuda_us"], ",.1f"),
                      _number(row["speedup"], ",.1f"), _number(row["gb_s"], ",.0f"), _number(row["gflops"], ",.0f"),
                      _number(row["share_of_peak"], ".0%")] for row in details.get("kernels", [])])
    if details.get("jobs"):
        heads = list(dict.fromkeys(key for row in details["jobs"] for key in row if key not in ("model", "nodes")))
        if heads:
            lines += ["", "Seconds per training epoch of 60,000 images, batch 128:", ""]
            lines += _table(["model", *heads], [[row["model"], *(_number(row.get(head), ".4f") for head in heads)] for row in details["jobs"]])
        nodes = {row["model"]: row["nodes"] for row in details["jobs"] if row.get("nodes")}
        if nodes:
            heads = list(dict.fromkeys(key for counts in nodes.values() for key in counts))
            lines += ["", "Nodes of the graph of a training step:", ""]
            lines += _table(["model", *heads], [[model, *(counts.get(head, "-") for head in heads)] for model, counts in nodes.items()])
    return lines


def _products(details):
    lines = [f"- cuBLASLt {details['version']}"]
    lines += _table(["no algorithm for", "at (in-out:batch)"], [[end, " ".join(sizes)] for end, sizes in details["without"].items()])
    if details["mask"]["worst"]:
        lines += ["", "The mask of reduction schemes costs most here (time with it, of that without):", ""]
        lines += _table(["case", "ratio"], [[row["case"], f"{row['ratio']:.2f}"] for row in details["mask"]["worst"]])
    return lines


def _torch(details):
    rows = []
    for row in details.get("results", []):
        for name, seconds in row.get("seconds_per_step", {}).items():
            ratio = row.get("ratios", {}).get(name)
            rows.append([row["goal"], row["job"], row["class"], name, f"{seconds * 1e6:,.1f}", _number(ratio, ".2f"),
                         _number(row.get("must", {}).get(name), "g")])
    return _table(["goal", "job", "class", "", "us/step", "descent is faster by", "must be"], rows)


SECTIONS = {"products": _products, "tests": _tests, "sanitizers": _sanitizers, "training": _training, "bench": _bench, "torch": _torch}


def markdown(results):
    lines = ["# GPU check", "", f"{'Passed' if results['passed'] else 'NOT passed'}; started {results['started']}, "
             f"{results.get('seconds', 0)} s.", ""]
    if results.get("simulated"):
        lines += ["**A rehearsal on a simulated device, with as little work as shows that the check works. Nothing here comes from a GPU.**", ""]
    lines += _table(["stage", "result", "seconds", ""],
                    [[stage["name"], stage["status"], stage["seconds"], stage["reason"]] for stage in results["stages"]])
    for stage in results["stages"]:
        section = SECTIONS.get(stage["name"])
        if section is None or not stage["details"]:
            continue
        try:
            body = section(stage["details"])
        except (KeyError, TypeError, ValueError) as error:  # a stage that was cut short has incomplete details
            body = [f"(incomplete: {type(error).__name__} {error})"]
        lines += ["", f"## {stage['name']}", "", *body]
    return "\n".join(lines) + "\n"
