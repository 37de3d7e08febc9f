"""The checks of the stage `correctness`, the quickest and most telling first, for a run may be cut off."""

import math
import os
import threading

import parsers
from checks import Check, Outcome, Skip, counted
from runner import Command, run


def _shards(context, mode, precision, count, *more):
    """One mode of the operator tests, cut into parts that run side by side: the references are slow, and on the CPU."""
    tests = context.resources.programs["tests"]
    commands = []
    for part in range(count):
        arguments = [tests, mode, *more, "--precision", precision, "--shard", f"{part}/{count}"]
        commands.append((f"{mode} {precision} {part}/{count}", arguments))
    return context.run_many(commands, count)


def _operators(mode, precision, filters=()):
    def check(context):
        parts = min(8, os.cpu_count() or 2)
        results = _shards(context, mode, precision, parts, *filters)
        outcome = counted(results, mode)
        named = parsers.devices(results[0].output)
        if named:
            outcome.summary += f"; {named[0]}"
        return outcome

    return check


def _products(built_in):
    """Every epilogue of the one class that multiplies, against products on the CPU."""

    def check(context):
        resources = context.resources
        if not built_in and not resources.cublaslt:
            raise Skip("no cuBLASLt was found; ELECTRA_CUBLASLT may name one")
        environment = {"ELECTRA_CUBLASLT": "built-in"} if built_in else {}
        program = resources.programs.get("gemm_tests")
        if program is not None:
            results = [context.run("products", [program], **environment)]
        else:
            # The linear layers use the same class, if not every epilogue of it.
            arguments = [resources.programs["tests"], "test", "linear"]
            results = [context.run("linear layers", arguments, **environment)]
        outcome = counted(results, "products")
        named = parsers.devices(results[0].output)
        library = "built-in kernels" if built_in else os.path.basename(resources.cublaslt)
        # The tests of the class go through the built-in kernels first, then through the library.
        outcome.summary += f"; {named[-1] if named else library}"
        if not built_in and named and "built-in" in named[-1]:
            outcome.status = "fail"
            outcome.detail.append(f"{resources.cublaslt} was not used: {named[-1]}")
        return outcome

    return check


def _model(context):
    return counted([context.run("model", [context.resources.programs["model_tests"]])], "model")


def _golden(precision):
    def check(context):
        resources = context.resources
        script = os.path.join(resources.root, "scripts", "test-golden.mjs")
        result = context.run(
            f"golden {precision}",
            [resources.node, script],
            ELECTRA_TEST_DEVICE=resources.device,
            ELECTRA_TEST_PRECISION=precision,
        )
        return counted([result], "golden")

    return check


def _agreement(model, precision, steps, free_steps, rate="2e-4"):
    def check(context):
        resources = context.resources
        script = os.path.join(resources.root, "scripts", "compare-devices.mjs")
        file = os.path.join(resources.work, f"agreement-{model}-{precision}.json")
        arguments = [resources.node, script, "--device", resources.device, "--precision", precision]
        arguments += ["--model", model, "--steps", str(steps), "--free-steps", str(free_steps)]
        arguments += ["--learning-rate", rate, "--json", file]
        result = context.run(f"agreement {model} {precision}", arguments)
        outcome = counted([result], "agreement")
        if os.path.exists(file):
            with open(file, encoding="utf-8") as content:
                measured = parsers.last_json(content.read())
            os.remove(file)
            worst = measured["injected"]["worst"]
            weights = measured["injected"]["weights"]
            free = measured.get("free") or {"flips": [], "slots": 0, "largestGap": 0}
            outcome.numbers.update(worst=worst, weights=weights, flips=free["flips"][:50], slots=free["slots"])
            # JavaScript writes NaN as null.
            losses = [math.inf if worst[part] is None else worst[part] for part in ("generator", "discriminator")]
            outcome.summary = (
                f"{measured['injected']['steps']} steps: losses within {max(losses):.1e}, "
                f"weights moved by {100 * weights['movement']:.0f} %; {len(free['flips'])} flips in {free['slots']} slots, "
                f"largest gap {free['largestGap']:.1e}"
            )
        if outcome.status == "fail":
            outcome.detail += result.tail(15).splitlines()
        return outcome

    return check


def _sanitizer(tool, precisions=("f32", "bf16"), parts=96):
    """A sample of the operator tests under compute-sanitizer: as many parts of them as there is time for. The products are
    our own kernels: those of a library are not ours to mend, and would take the time."""

    def check(context):
        resources = context.resources
        jobs = max(1, min(6, (os.cpu_count() or 2) // 2))
        # Neighbouring parts are no more alike than others: cases are dealt out by a hash.
        queue = [(precision, part) for part in range(parts) for precision in precisions]
        lock = threading.Lock()
        done = []

        def work():
            while True:
                with lock:
                    if not queue or context.left < 8:
                        return
                    precision, part = queue.pop(0)
                arguments = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "86", "--print-limit", "10"]
                arguments += [resources.programs["tests"], "test", "--precision", precision]
                arguments += ["--shard", f"{part}/{parts}"]
                label = f"{tool} {precision} {part}/{parts}"
                environment = resources.environment(ELECTRA_CUBLASLT="built-in")
                result = run(Command(label, arguments, context.left, environment, resources.root), context.log)
                with lock:
                    done.append(result)
                if result.code is None or "not supported" in result.output:
                    queue.clear()
                    return

        workers = [threading.Thread(target=work) for _ in range(jobs)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return judge_sanitizer(done, tool, parts * len(precisions))

    return check


def judge_sanitizer(results, tool, parts):
    """Errors are failures; parts that ran out of time are not, unless errors were seen before."""
    cases = errors = finished = 0
    detail = []
    for result in results:
        if result.code is None:
            return Outcome("skip", f"compute-sanitizer {result.ending}: {result.tail(1)}")
        if "not supported" in result.output and parsers.counts(result.output) is None:
            return Outcome("skip", f"compute-sanitizer does not work here: {result.tail(1)}")
        found = parsers.sanitizer(result.output)
        counts = parsers.counts(result.output)
        if result.timed_out and not found:
            # Its summary comes at the end; what it printed before still counts.
            if "========= Error" in result.output or "Invalid __" in result.output:
                found = 1
            else:
                continue
        finished += 1
        cases += sum(counts or (0, 0))
        wrong = (found or 0) + (counts[1] if counts else 0)
        if wrong == 0 and (found is None or result.code != 0):
            wrong = 1
        errors += wrong
        if wrong:
            lines = [line for line in result.output.splitlines() if line.startswith(("=========", "FAIL"))]
            detail += [f"{result.label}: {result.ending}", *(lines[:25] or result.tail(10).splitlines())]
    summary = f"{errors} errors in {cases} cases ({finished} of {parts} parts of the operator tests)"
    if finished == 0:
        return Outcome("skip", f"no part of the operator tests came to an end under {tool}")
    return Outcome("fail" if errors else "pass", summary, {"errors": errors, "cases": cases}, detail[:80])


def correctness_checks(resources):
    on_gpu = not resources.emulated
    # The emulator is slow: there, one family of operators stands for all.
    some = ("activation",) if resources.emulated else ()
    # So few steps move the weights only at a higher rate.
    steps = (5, 3, "1e-3") if resources.emulated else (50, 20)
    node = ("node", "package", "addon")
    checks = [
        Check("products, cuBLASLt", 40, 5, _products(False), ("tests",)),
        Check("products, built in", 40, 5, _products(True), ("tests",)),
        Check("operators, f32", 90, 10, _operators("test", "f32", some), ("tests",)),
        Check("operators, bf16", 90, 10, _operators("test", "bf16", some), ("tests",)),
        Check("training as on the CPU, tiny, f32", 90, 10, _agreement("tiny", "f32", *steps), node),
        Check("golden fixtures, f32", 60, 10, _golden("f32"), node),
        Check("golden fixtures, bf16", 60, 10, _golden("bf16"), node),
        Check("model, real shapes", 120, 15, _model, ("model_tests",)),
        Check("gradients, f32", 90, 10, _operators("grad", "f32", some), ("tests",)),
        Check("gradients, bf16", 90, 10, _operators("grad", "bf16", some), ("tests",)),
        Check("same bits every time, f32", 60, 10, _operators("threads", "f32", some), ("tests",)),
        Check("same bits every time, bf16", 60, 10, _operators("threads", "bf16", some), ("tests",)),
    ]
    if on_gpu:
        checks += [
            Check("memcheck", 70, 20, _sanitizer("memcheck"), ("tests",)),
            Check("racecheck", 70, 20, _sanitizer("racecheck"), ("tests",)),
            Check("training as on the CPU, small, 200 steps", 150, 30, _agreement("small", "f32", 200, 5), node),
            Check("training as on the CPU, tiny, bf16", 60, 10, _agreement("tiny", "bf16", 50, 20), node),
            Check("initcheck", 40, 20, _sanitizer("initcheck"), ("tests",)),
            Check("synccheck", 30, 20, _sanitizer("synccheck"), ("tests",)),
        ]
    return checks
