"""Programs with a time limit, alone or several at once; none outlives the check that started it."""

import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Dict, List, Optional

# Programs that run now, so that an interrupted check can end them. The lock may be taken again by a signal's handler.
_running = set()
_lock = threading.RLock()
_stopping = threading.Event()


@dataclass
class Command:
    label: str
    arguments: List[str]
    timeout: float
    environment: Dict[str, str] = field(default_factory=dict)
    folder: Optional[str] = None


@dataclass
class Result:
    label: str
    code: Optional[int]  # None: could not be started
    output: str
    seconds: float
    timed_out: bool = False

    @property
    def ok(self):
        return self.code == 0 and not self.timed_out

    @property
    def ending(self):
        """In words, for reports."""
        if self.timed_out:
            return f"stopped after {self.seconds:.0f} s"
        if self.code is None:
            return "could not be started"
        if self.code < 0:
            try:
                return f"ended by {signal.Signals(-self.code).name}"
            except ValueError:
                return f"ended by signal {-self.code}"
        return f"exit code {self.code}"

    def tail(self, lines=20):
        return "\n".join(self.output.rstrip().splitlines()[-lines:])


def end(process, patience=3.0):
    """Ends a process and everything it started: politely, then not."""
    for what in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, what)
        except (ProcessLookupError, PermissionError):
            pass
        try:
            process.wait(timeout=patience)
            return
        except subprocess.TimeoutExpired:
            continue


def end_all():
    """For the end of the whole check: ends what runs, and lets nothing else begin."""
    _stopping.set()
    with _lock:
        processes = list(_running)
    for process in processes:
        end(process, patience=1.0)


def start(command, **streams):
    """A process in a group of its own, known to end_all()."""
    if _stopping.is_set():
        raise OSError("the check is being stopped")
    process = subprocess.Popen(
        command.arguments,
        env={**os.environ, **command.environment},
        cwd=command.folder,
        start_new_session=True,
        **streams,
    )
    with _lock:
        _running.add(process)
    return process


def forget(process):
    with _lock:
        _running.discard(process)


def run(command, log=None):
    """Runs a program to its end or its limit; what it prints is kept, in `log` too (an open file) as it comes."""
    began = time.monotonic()
    try:
        process = start(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as error:
        return Result(command.label, None, str(error), time.monotonic() - began)
    pieces = []

    def read():
        # Read apart from waiting: a child of the program may hold the pipe open for longer than the program lives.
        for line in iter(process.stdout.readline, b""):
            text = line.decode("utf-8", "replace")
            pieces.append(text)
            if log is not None:
                try:
                    log.write(text)
                    log.flush()
                except ValueError:
                    pass

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    timed_out = False
    try:
        process.wait(timeout=max(0.1, command.timeout))
    except subprocess.TimeoutExpired:
        timed_out = True
        end(process)
    # Whatever it left behind in its group goes too.
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    reader.join(timeout=2)
    forget(process)
    return Result(command.label, process.returncode, "".join(pieces), time.monotonic() - began, timed_out)


def run_many(commands, jobs, log=None):
    """Runs programs side by side, `jobs` at a time; results in the order of the commands."""
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        return list(pool.map(lambda command: run(command, log), commands))
