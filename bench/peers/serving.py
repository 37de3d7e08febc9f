"""What the CPU peers share: they prepare once, then run when told to, so that runs of both sides can alternate.

A peer prints one JSON document a line: `ready` after its preparation, one `run` for each line `run N` on stdin, `error`.
"""

import json
import os
import sys

try:
    import resource
except ImportError:  # Windows
    resource = None


def say(**what):
    print(json.dumps(what), flush=True)


def peak_mb():
    """Highest resident memory of this process so far, MiB."""
    if resource is None:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one_thread():
    """Before a library with a pool of its own is imported."""
    for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def serve(prepare, options):
    """prepare(options) gives (what to say when ready, a function of N that gives the figures of a run)."""
    try:
        ready, run = prepare(options)
        say(event="ready", **ready)
        if not options.serve:
            say(event="run", **run(options.steps), peak_mb=peak_mb())
            return 0
        for line in sys.stdin:
            words = line.split()
            if not words:
                continue
            if words[0] != "run":
                break
            say(event="run", **run(int(words[1])), peak_mb=peak_mb())
        return 0
    except Exception as error:  # told on stdout, where the caller reads
        say(event="error", kind=type(error).__name__, message=str(error).splitlines()[0] if str(error) else "")
        return 1
