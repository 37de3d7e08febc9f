"""What checks are made of: a name, a limit, a function that measures, and what comes of it."""

import os
import time
import traceback
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Tuple

import parsers
from runner import Command, run, run_many


@dataclass
class Outcome:
    status: str  # pass, fail, skip
    summary: str
    numbers: Dict = field(default_factory=dict)
    detail: List[str] = field(default_factory=list)
    tables: List[Dict] = field(default_factory=list)


@dataclass
class Check:
    name: str
    limit: float  # seconds at most
    least: float  # with fewer seconds left it is not worth starting
    run: Callable[["Context"], Outcome]
    needs: Tuple[str, ...] = ()  # keys of Resources.missing, or kinds of programs


class Skip(Exception):
    """A check that cannot be made here."""


class Context:
    """What a check is given: the resources, and how long it may take."""

    def __init__(self, resources, seconds, log):
        self.resources = resources
        self.log = log
        self._end = time.monotonic() + seconds

    @property
    def left(self):
        return max(0.0, self._end - time.monotonic())

    def run(self, label, arguments, timeout=None, **environment):
        limit = self.left if timeout is None else min(timeout, self.left)
        return run(self._command(label, arguments, limit, environment), self.log)

    def run_many(self, arguments_list, jobs, **environment):
        commands = [self._command(label, args, self.left, environment) for label, args in arguments_list]
        return run_many(commands, jobs, self.log)

    def _command(self, label, arguments, limit, environment):
        resources = self.resources
        return Command(label, arguments, limit, resources.environment(**environment), resources.root)


def counted(results, what):
    """The outcome of test programs that end with `N passed, N failed`."""
    passed = failed = 0
    detail = []
    for result in results:
        found = parsers.counts(result.output)
        detail += parsers.failures(result.output)
        if found is not None:
            passed += found[0]
            failed += found[1]
        if found is None or (not result.ok and found[1] == 0):
            # A crash after the last count is a failure too.
            failed += 1
            detail += [f"{result.label}: {result.ending}", *result.tail(12).splitlines()]
    worst = max((w for w in (parsers.worst_of_tolerance(r.output) for r in results) if w is not None), default=None)
    summary = f"{passed} passed, {failed} failed"
    if worst is not None:
        summary += f"; largest error {worst:.2f} of the tolerance"
    if passed == 0 and failed == 0:
        return Outcome("skip", f"{what}: no case was selected")
    numbers = {"passed": passed, "failed": failed, "largest_error_of_tolerance": worst}
    return Outcome("fail" if failed else "pass", summary, numbers, detail[:60])


def _without_places(text, resources):
    """Where things lie on one machine is of no use in a report that is kept."""
    for folder in (resources.work, resources.root, os.path.expanduser("~")):
        if len(folder) > 1:
            text = text.replace(folder + os.sep, "")
    return text


def perform(check, resources, report, stage, deadline, log_folder):
    """Makes one check within what is left of the stage's time, and reports it."""
    left = deadline - time.monotonic()
    missing = [resources.missing[need] for need in check.needs if need in resources.missing]
    began = time.monotonic()
    if missing:
        outcome = Outcome("skip", missing[0])
    elif left < check.least:
        outcome = Outcome("skip", f"no time: {max(0, left):.0f} s were left, it wants {check.least:.0f}")
    else:
        name = "".join(c if c.isalnum() else "-" for c in check.name.lower()).strip("-")
        with open(os.path.join(log_folder, f"{name}.log"), "w", encoding="utf-8") as log:
            try:
                outcome = check.run(Context(resources, min(check.limit, left), log))
            except Skip as reason:
                outcome = Outcome("skip", str(reason))
            except Exception:  # one broken check must not cost the others' results
                outcome = Outcome("fail", "the check itself broke", detail=traceback.format_exc().splitlines())
    seconds = time.monotonic() - began
    outcome.summary = " ".join(_without_places(outcome.summary, resources).split())
    outcome.detail = [line for text in outcome.detail for line in _without_places(text, resources).splitlines()]
    print(f"{outcome.status.upper():4} {check.name} ({seconds:.1f} s): {outcome.summary}", flush=True)
    for line in outcome.detail[:20] if outcome.status == "fail" else ():
        print(f"     {line}", flush=True)
    entry = {"name": check.name, "status": outcome.status, "seconds": round(seconds, 2), "summary": outcome.summary}
    for key in ("numbers", "detail", "tables"):
        if getattr(outcome, key):
            entry[key] = getattr(outcome, key)
    report.add(stage, entry)
    return outcome
