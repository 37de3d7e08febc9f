"""scripts/gpu-check: see there, and docs/gpu-check.md."""

import argparse
import os
import signal
import sys
import time

import runner
from checks import Check, Outcome, perform
from correctness import correctness_checks
from report import Report
from resources import PROGRAMS, Resources
from speed import speed_checks

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Of one stage, programs and kit included. Below the eight minutes that it may take, so that the end is an orderly one.
BUDGET = 460.0


class Interrupted(BaseException):
    """A signal; no check may take it for an error of its own."""


def parse():
    parser = argparse.ArgumentParser(
        prog="scripts/gpu-check",
        description="Checks the CUDA backend on a machine with a GPU and measures it; writes a report.",
    )
    parser.add_argument("--stage", choices=("correctness", "speed", "all"), default="all")
    parser.add_argument("--out", default=os.path.join(ROOT, "bench", "results"), help="folder of the report")
    parser.add_argument(
        "--kit",
        default=os.path.join(ROOT, "build", "gpu-check-kit"),
        help="folder that scripts/gpu-check-kit made (default: build/gpu-check-kit)",
    )
    parser.add_argument("--work", default=os.path.join(ROOT, "build", "gpu-check"), help="folder for working files")
    parser.add_argument("--device", default="cuda:0", help="cuda:N, or emulated, to try this script without a GPU")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds that each stage may take (default: 460)")
    parser.add_argument("--only", default="", help="only checks whose names contain one of these, with commas")
    parser.add_argument("--programs", help="folder of test programs that are built already")
    parser.add_argument("--list", action="store_true", help="list the checks and end")
    options = parser.parse_args()
    if options.device != "emulated" and options.device.partition(":")[0] != "cuda":
        parser.error(f"--device is {options.device}; it must be cuda, cuda:N or emulated")
    if options.budget <= 0:
        parser.error("--budget must be positive")
    return options


def prepare(resources, options):
    """A check like the others: unpacks the kit, finds or builds the programs."""

    def check(context):
        resources.unpack_kit()
        resources.find_node()
        if resources.package:
            resources.check_addon(build=not resources.emulated)
        carried = os.path.join(resources.work, "native")
        folders = [options.programs] if options.programs else []
        if resources.emulated:
            folders.append(os.path.join(resources.root, "build", "emulated"))
        elif resources.kit.get("sources") == resources.sources:
            folders.append(carried)
        elif resources.kit:
            resources.notes.append("the kit was made of other sources than these; building here")
        how = "found"
        ok = resources.find_programs(folders)
        why = "there are none"
        if ok:
            ok, result = resources.program_starts()
            why = f"{result.ending}: {result.tail(2)}"
        # Compiling takes minutes: only where it can help.
        if not ok and not resources.emulated and (not resources.programs or resources.is_misfit(result)):
            resources.notes.append(f"no prebuilt test programs that run ({why})")
            targets = ["electra_cuda", *resources.program_names().values()]
            how = "built here"
            ok = resources.build(targets, min(300, context.left)) and resources.find_programs(
                [os.path.join(resources.work, "build")]
            )
            if ok:
                place_library(resources)
                ok, result = resources.program_starts()
                why = f"{result.ending}: {result.tail(2)}"
            else:
                why = resources.notes[-1]
        for kind in PROGRAMS:
            # Without gemm_tests the linear layers stand in for them.
            if kind != "gemm_tests" and (not ok or kind not in resources.programs):
                resources.missing[kind] = f"no {resources.program_names()[kind]} that runs: {why}"
        # Without PyTorch only the peers are left out, and they say so.
        missing = [text for what, text in resources.missing.items() if what != "torch"]
        if missing:
            return Outcome("fail", "; ".join(missing), detail=[*resources.notes, *missing])
        return Outcome("pass", "; ".join([f"test programs {how}", *resources.notes]))

    return Check("preparation", 400, 0, check)


def place_library(resources):
    """The library that was built here goes where the addon looks for it, if the package is the kit's."""
    built = os.path.join(resources.work, "build", "electra_cuda.so")
    if resources.package and resources.package != resources.root and os.path.isfile(built):
        target = os.path.join(resources.package, "build", "Release")
        os.makedirs(target, exist_ok=True)
        os.replace(built, os.path.join(target, "electra_cuda.so"))


def find_torch(resources):
    """Peers need PyTorch; asking for its place costs nothing, importing it takes seconds."""
    result = runner.run(
        runner.Command(
            "torch",
            [
                resources.python,
                "-c",
                "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)",
            ],
            30,
        )
    )
    if not result.ok:
        resources.missing["torch"] = f"{os.path.basename(resources.python)} has no PyTorch (PYTHON names another)"


def interrupt(number, frame):
    # Threads that wait for programs come to an end with them.
    runner.end_all()
    raise Interrupted(signal.Signals(number).name)


def main():
    options = parse()
    # Where the toolkit usually is, for machines that have it and do not say so.
    os.environ["PATH"] += os.pathsep + "/usr/local/cuda/bin"
    # Line by line, also into a file: whoever is cut off has seen everything until then.
    sys.stdout.reconfigure(line_buffering=True)
    os.makedirs(options.work, exist_ok=True)
    stages = ("correctness", "speed") if options.stage == "all" else (options.stage,)
    began = time.monotonic()
    resources = Resources(
        ROOT, os.path.abspath(options.work), options.kit and os.path.abspath(options.kit), options.device
    )
    makers = {"correctness": correctness_checks, "speed": speed_checks}
    if resources.card is None and not options.list:
        print(f"gpu-check: {resources.card_reason}", file=sys.stderr)
        print("  --device emulated tries this script without a GPU", file=sys.stderr)
        return 2
    if options.list:
        resources.card = resources.card or {"name": ""}
        for stage in stages:
            for check in makers[stage](resources):
                print(f"{stage}: {check.name} (at most {check.limit:.0f} s)")
        return 0

    report = Report(os.path.abspath(options.out), resources.card["name"], resources.describe())
    print(f"gpu-check: {resources.card['name']}, report {report.base}.md")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, interrupt)
    find_torch(resources)
    stage = stages[0]
    prepared = False
    try:
        for stage in stages:
            # The first stage pays for the preparation.
            start = began if stage == stages[0] else time.monotonic()
            deadline = start + options.budget
            report.begin_stage(stage, options.budget)
            if not prepared:
                first = prepare(resources, options)
                perform(first, resources, report, stage, deadline, resources.logs)
                prepared = True
            for check in makers[stage](resources):
                if any(text in check.name.lower() for text in options.only.lower().split(",")):
                    perform(check, resources, report, stage, deadline, resources.logs)
            report.end_stage(stage)
    except Interrupted as reason:
        # Once more would leave the report half written.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        report.end_stage(stage, why=f"stopped by {reason}")
        print(f"gpu-check: stopped by {reason}; what was measured stands in {report.base}.md", file=sys.stderr)
        return 1
    finally:
        runner.end_all()
    passed, failed, skipped = report.counts(stages)
    print(f"\nreport: {report.base}.md, {report.base}.json")
    print(f"{passed} passed, {failed} failed, {skipped} not run")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
