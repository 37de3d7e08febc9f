"""The checks of the stage `speed`: how fast, against what the card can do and against PyTorch on the same card."""

import os
import statistics
import time

import parsers
from cards import data_sheet, step_flops
from checks import Check, Outcome, Skip
from peers import OutOfMemory, Peer, PeerFailure, prepare

# ELECTRA-Small at 128 x 128 on an H100: the first mark and the goal, milliseconds a step.
SMALL_MARK, SMALL_GOAL = 8.0, 4.5
# A calibration product this much slower than the best means that the card was busy or hot: the pair is repeated.
CALIBRATION_DROP = 0.15


class StepFailure(Exception):
    def __init__(self, message, out_of_memory=False):
        super().__init__(message)
        self.out_of_memory = out_of_memory


class Speed:
    """Holds what later checks build on: roofs and step times."""

    def __init__(self, resources):
        self.resources = resources
        self.sheet = data_sheet(resources.card["name"])
        self.roofs = {}
        self.base_rows = None
        self.best_weights = "autocast"

    # ---------------------------------------------------------------------------------------------------------- roofs

    def measure_roofs(self, context):
        resources = self.resources
        script = os.path.join(resources.root, "bench", "peers", "torch_roofs.py")
        device = "cuda:0" if resources.emulated else self._torch_device()
        result = context.run("roofs", [resources.python, script, "--device", device])
        found = parsers.last_json(result.output)
        if not result.ok or found is None or "error" in found:
            raise Skip(found["error"] if found else f"PyTorch could not measure: {result.tail(1) or result.ending}")
        self.roofs = found
        sheet = self.sheet or {}
        rows = []
        for key, name, unit in (
            ("copy_gb_s", "copy in device memory", "GB/s"),
            ("bf16_tflops", "bf16 products", "TFLOP/s"),
            ("f32_tflops", "f32 products", "TFLOP/s"),
        ):
            part = None if key not in sheet else f"{100 * found[key] / sheet[key]:.0f} %"
            rows.append((name, unit, found[key], sheet.get(key), part))
        shapes = [(s["name"], f"{s['m']} x {s['n']} x {s['k']}", s["tflops"]) for s in found["shapes"]]
        tables = [
            {"title": "Roofs", "columns": ("", "unit", "measured", "data sheet", ""), "rows": rows},
            {
                "title": "cuBLASLt through PyTorch at the shapes of a step, bf16",
                "columns": ("product", "m x n x k", "TFLOP/s"),
                "rows": shapes,
            },
        ]
        summary = f"copy {found['copy_gb_s']:.0f} GB/s, bf16 {found['bf16_tflops']:.0f} TFLOP/s"
        return Outcome("pass", summary, found, tables=tables)

    def _torch_device(self):
        return self.resources.device if ":" in self.resources.device else "cuda:0"

    # ---------------------------------------------------------------------------------------------------------- steps

    def step(self, context, size, rows, length, precision, graphs, steps, timeout=240):
        """Seconds of our step and what else `bench step` says. Raises StepFailure."""
        resources = self.resources
        if context.left < 2:
            raise StepFailure("no time was left")
        command = resources.cli("bench", "step", "--json", "--device", resources.device, "--precision", precision)
        command += ["--model-size", size, "--batch-size", str(rows), "--max-seq-length", str(length)]
        command += ["--steps", str(steps)]
        environment = {} if graphs else {"ELECTRA_CUDA_GRAPHS": "0"}
        result = context.run(f"{size} {rows} x {length} {precision}", command, timeout, **environment)
        found = parsers.last_json(result.output)
        if not result.ok or found is None or "error" in found:
            error = (found or {}).get("error", {})
            message = error.get("message") or f"{result.ending}: {result.tail(3)}"
            memory = "OUT_OF_MEMORY" in error.get("code", "") or "out of memory" in message.lower()
            raise StepFailure(message, memory)
        return found

    def _row(self, size, rows, length, precision, graphs, found):
        seconds = found["sec_per_step"]
        flops = step_flops(size, rows, length) / seconds / 1e12
        peak = (self.sheet or {}).get(f"{precision}_tflops")
        roof = self.roofs.get(f"{precision}_tflops")
        return (
            f"{size} {rows} x {length}",
            precision,
            "yes" if graphs else "no",
            1e3 * seconds,
            rows / seconds,
            rows * length / seconds,
            flops,
            None if peak is None else f"{100 * flops / peak:.1f} %",
            None if roof is None else f"{100 * flops / roof:.1f} %",
            found.get("engine_mb"),
        )

    COLUMNS = (
        *("step", "type", "graph", "ms", "sequences/s", "tokens/s"),
        *("TFLOP/s", "of the data sheet", "of measured products", "engine MiB"),
    )

    def small(self, context):
        rows, length, steps = (2, 16, 1) if self.resources.emulated else (128, 128, 60)
        found, table, failures = {}, [], []
        # One step of twelve layers is all that the emulator has time for.
        for precision in ("f32",) if self.resources.emulated else ("bf16", "f32"):
            for graphs in (True,) if self.resources.emulated else (True, False):
                try:
                    result = self.step(context, "small", rows, length, precision, graphs, steps)
                except StepFailure as failure:
                    failures.append(f"{precision}, {'with' if graphs else 'without'} graphs: {failure}")
                    continue
                found[f"{precision}{'' if graphs else ', no graph'}"] = result
                table.append(self._row("small", rows, length, precision, graphs, result))
        if not found:
            return Outcome("fail", "no step could be run", detail=failures)
        summary = ", ".join(f"{name} {1e3 * r['sec_per_step']:.2f} ms" for name, r in found.items())
        status = "fail" if failures else "pass"
        if "H100" in self.resources.card["name"] and "bf16" in found:
            milliseconds = 1e3 * found["bf16"]["sec_per_step"]
            summary += f"; first mark {SMALL_MARK} ms, goal {SMALL_GOAL} ms"
            if milliseconds > SMALL_MARK:
                status = "fail"
                failures.append(f"{milliseconds:.2f} ms a step is above the first mark of {SMALL_MARK} ms")
        title = f"Steps of ELECTRA-Small, {rows} x {length}"
        return Outcome(status, summary, found, failures, [self._table(title, table)])

    def base(self, context):
        length, found, table, notes, failures = 512, {}, [], [], []
        for precision, graphs in (("bf16", True), ("bf16", False), ("f32", True)):
            # Without a graph, and in f32, no more than fitted before.
            rows = min(256, self.base_rows or 256)
            while rows >= 16:
                try:
                    result = self.step(context, "base", rows, length, precision, graphs, 8)
                except StepFailure as failure:
                    if failure.out_of_memory:
                        notes.append(f"{rows} rows in {precision} do not fit: {failure}")
                        rows //= 2
                        continue
                    failures.append(f"{precision}, {rows} rows: {failure}")
                    break
                if self.base_rows is None and precision == "bf16":
                    self.base_rows = rows
                found[f"{precision} {rows} x {length}{'' if graphs else ', no graph'}"] = result
                table.append(self._row("base", rows, length, precision, graphs, result))
                break
        if not found:
            return Outcome("fail", "no step could be run", detail=failures + notes)
        summary = ", ".join(f"{name} {1e3 * r['sec_per_step']:.0f} ms" for name, r in found.items())
        tables = [self._table("Steps of ELECTRA-Base", table, "; ".join(notes))]
        return Outcome("fail" if failures else "pass", summary, found, failures + notes, tables)

    def _table(self, title, rows, note=""):
        return {"title": title, "columns": self.COLUMNS, "rows": rows, "note": note}

    # ---------------------------------------------------------------------------------------------------------- peers

    def _peer(self, context, size, rows, length, mode, weights, graph):
        label = f"PyTorch {mode}, {weights}{', graph' if graph else ''}"
        arguments = ["--size", size, "--rows", str(rows), "--length", str(length), "--mode", mode]
        arguments += ["--weights", weights, *(["--graph"] if graph else [])]
        device = "cpu" if self.resources.emulated else self._torch_device()
        return Peer(label, self.resources, [*arguments, "--device", device], context.log)

    def _alternate(self, context, ours, peers, rounds, steps):
        """Rounds of ours and every peer, one after the other; times by label. A round with a slow card is repeated."""
        times = {label: [] for label in ["ours", *(peer.label for peer in peers)]}
        best, repeats, notes, done = 0.0, 0, [], 0
        while done < rounds and context.left > 15:
            once = {"ours": 1e3 * ours()["sec_per_step"]}
            slowest = None
            for peer in list(peers):
                try:
                    answer = peer.run(steps, min(60, context.left))
                except PeerFailure as failure:
                    notes.append(str(failure))
                    peers.remove(peer)
                    continue
                once[peer.label] = answer["ms"]
                speed = answer.get("calibration_tflops")
                if speed is not None:
                    best = max(best, speed)
                    slowest = speed if slowest is None else min(slowest, speed)
            if slowest is not None and slowest < (1 - CALIBRATION_DROP) * best and repeats < 2:
                repeats += 1
                notes.append(f"a round was repeated: the calibration product fell to {100 * slowest / best:.0f} %")
                continue
            for label, milliseconds in once.items():
                times[label].append(milliseconds)
            done += 1
        return times, notes

    def _compare(self, context, title, ours, variants, rounds, steps):
        """Prepares peers side by side, then alternates with ours. `variants`: arguments of _peer."""
        began = time.monotonic()
        peers, notes = [], []
        try:
            try:
                peers = [self._peer(context, *variant) for variant in variants]
            except PeerFailure as failure:
                raise Skip(str(failure)) from failure
            # What is left must do for the rounds.
            ready, reasons = prepare(peers, max(20, context.left - 40))
            preparation = time.monotonic() - began
            if not ready:
                first = next(iter(reasons.values()))
                if all(isinstance(reason, OutOfMemory) for reason in reasons.values()):
                    raise first
                raise Skip(f"no peer got ready in {preparation:.0f} s: {first}")
            notes += [str(reason) for reason in reasons.values()]
            notes += [f"{peer.label}: {peer.ready['note']}" for peer in ready if peer.ready.get("note")]
            times, more = self._alternate(context, ours, ready, rounds, steps)
            notes += more
        except StepFailure as failure:
            return Outcome("fail", f"ours could not be run: {failure}", detail=notes), {}
        finally:
            for peer in peers:
                peer.close()
        if not times["ours"]:
            raise Skip(f"no time for a round after {preparation:.0f} s of preparation")
        rows, ratios = [], {}
        for label, values in times.items():
            if not values:
                continue
            # Each round compares runs that were made right after each other.
            ratio = statistics.median(v / o for v, o in zip(values, times["ours"]))
            ratios[label] = ratio
            rows.append((label, statistics.median(values), min(values), max(values), len(values), f"{ratio:.2f}"))
        table = {
            "title": title,
            "columns": ("", "ms (median)", "least", "most", "rounds", "time against ours"),
            "rows": rows,
            "note": "; ".join(notes),
        }
        others = {label: ratio for label, ratio in ratios.items() if label != "ours"}
        numbers = {"milliseconds": times, "ratios": ratios, "preparation_s": preparation}
        if not others:
            return Outcome("skip", "no peer finished a round", numbers, notes, [table]), ratios
        fastest = min(others, key=others.get)
        summary = f"ours {statistics.median(times['ours']):.2f} ms; {fastest} takes {others[fastest]:.2f} times as long"
        # An emulator's speed is nobody's business.
        lost = others[fastest] < 1 and not self.resources.emulated
        slower = [f"{fastest} is faster than ours: {others[fastest]:.2f}"] if lost else []
        return Outcome("fail" if slower else "pass", summary, numbers, slower + notes, [table]), ratios

    def small_peers(self, context):
        if self.resources.emulated:
            variants = [("tiny", 2, 16, "eager", "autocast", False)]
            rows, length, steps = 2, 16, 1
        else:
            rows, length, steps = 128, 128, 40
            variants = [
                ("small", rows, length, "eager", "autocast", False),
                ("small", rows, length, "compiled", "autocast", True),
                ("small", rows, length, "compiled", "bf16", True),
            ]

        precision = "f32" if self.resources.emulated else "bf16"

        def ours():
            return self.step(context, "small", rows, length, precision, True, steps)

        title = f"ELECTRA-Small {rows} x {length}, {precision}, in alternation"
        outcome, ratios = self._compare(context, title, ours, variants, 1 if self.resources.emulated else 3, steps)
        compiled = {label: ratio for label, ratio in ratios.items() if "compiled" in label}
        if compiled and ", bf16" in min(compiled, key=compiled.get):
            self.best_weights = "bf16"
        return outcome

    def base_peers(self, context):
        rows = self.base_rows or 64
        while rows >= 16:

            def ours(rows=rows):
                return self.step(context, "base", rows, 512, "bf16", True, 6)

            variant = ("base", rows, 512, "compiled", self.best_weights, False)
            try:
                title = f"ELECTRA-Base {rows} x 512, bf16, in alternation"
                return self._compare(context, title, ours, [variant], 2, 6)[0]
            except OutOfMemory:
                rows //= 2
        raise Skip("PyTorch ran out of memory even with 16 rows")

    def base_eager(self, context):
        rows = min(64, self.base_rows or 64)

        def ours():
            return self.step(context, "base", rows, 512, "bf16", True, 6)

        variant = ("base", rows, 512, "eager", "autocast", False)
        return self._compare(context, f"ELECTRA-Base {rows} x 512, bf16, eager", ours, [variant], 2, 6)[0]

    def small_f32_peer(self, context):
        def ours():
            return self.step(context, "small", 128, 128, "f32", True, 20)

        variants = [("small", 128, 128, "eager", "f32", False), ("small", 128, 128, "compiled", "f32", True)]
        return self._compare(context, "ELECTRA-Small 128 x 128, f32, in alternation", ours, variants, 2, 20)[0]

    # ------------------------------------------------------------------------------------------------------ operators

    def operators(self, context):
        """The operator bench against the roofs: what an operator's bytes and FLOPs would take at best."""
        resources = self.resources
        arguments = [resources.programs["tests"], "bench", *(["optimizer"] if resources.emulated else [])]
        results = [
            context.run(f"bench {precision}", [*arguments, "--precision", precision], context.left / share)
            for precision, share in (("bf16", 2), ("f32", 1))
        ]
        measured = [row for result in results for row in parsers.bench(result.output)]
        if not measured:
            detail = [line for result in results for line in result.tail(8).splitlines()]
            return Outcome("fail", f"nothing was measured: {results[0].ending}", detail=detail)
        memory = self.roofs.get("copy_gb_s") or (self.sheet or {}).get("copy_gb_s")
        rows = []
        for row in measured:
            peak = self.roofs.get(f"{row['column']}_tflops") or (self.sheet or {}).get(f"{row['column']}_tflops")
            row["roof_ms"] = roof_milliseconds(row, peak, memory)
            if row["roof_ms"] is not None:
                row["part_of_roof"] = row["roof_ms"] / row["ms"]
            # Smaller ones take as long as a launch does, whatever they do.
            if (row["roof_ms"] or 0) < 0.004 and not resources.emulated:
                continue
            part = None if "part_of_roof" not in row else f"{100 * row['part_of_roof']:.0f} %"
            tflops = None if row["gflops"] is None else row["gflops"] / 1e3
            rows.append((row["group"], row["name"], row["column"], row["ms"], tflops, row["gbytes"], part))
        table = {
            "title": "Operators, forward and backward",
            "note": "Against the roof: what bytes and FLOPs take at the measured speeds, over what the operator took. "
            "Cases that would take less than 4 µs stand in the JSON file alone.",
            "columns": ("operator", "case", "type", "ms", "TFLOP/s", "GB/s", "of the roof"),
            "rows": rows,
        }
        failed = [f"{result.label}: {result.ending}" for result in results if not result.ok]
        summary = f"{len(measured)} cases" + (f"; {'; '.join(failed)}" if failed else "")
        return Outcome("fail" if failed else "pass", summary, {"cases": measured}, failed, [table])


def roof_milliseconds(row, peak_tflops, memory_gb_s):
    """What a case takes at best: the longer of its arithmetic and its transfers; None without roofs."""
    seconds = row["ms"] * 1e-3
    times = []
    if row["gflops"] and peak_tflops:
        times.append(row["gflops"] * 1e9 * seconds / (peak_tflops * 1e12))
    if row["gbytes"] and memory_gb_s:
        times.append(row["gbytes"] * seconds / memory_gb_s)
    return max(times) * 1e3 if times else None


def speed_checks(resources):
    speed = Speed(resources)
    node = ("node", "package", "addon")
    checks = [
        Check("roofs", 60, 15, speed.measure_roofs),
        Check("step, small", 240 if resources.emulated else 60, 15, speed.small, node),
        Check("peers, small, bf16", 240 if resources.emulated else 170, 60, speed.small_peers, (*node, "torch")),
        Check("operators against the roofs", 70, 20, speed.operators, ("tests",)),
    ]
    if not resources.emulated:
        checks += [
            Check("step, base", 90, 30, speed.base, node),
            Check("peer, base, bf16", 130, 60, speed.base_peers, (*node, "torch")),
            Check("peer, base, eager", 50, 30, speed.base_eager, (*node, "torch")),
            Check("peers, small, f32", 120, 60, speed.small_f32_peer, (*node, "torch")),
        ]
    return checks
