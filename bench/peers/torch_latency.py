#!/usr/bin/env python3
"""How long PyTorch takes for one answer: a small classifier of Hugging Face transformers, one row of real tokens, one call after the other.

    python3 bench/peers/torch_latency.py --tokens 16 --mode compiled --threads 2 [--serve]

Figures of a run: ms_median, ms_p99, ms_min of N calls, after twenty that are not timed.
"""

import argparse
import statistics
import sys
import time

import serving


def prepare(options):
    import torch
    from torch_classifier import classifier

    torch.set_num_threads(options.threads)
    model = classifier(options.size).eval()
    call = torch.compile(model, dynamic=False) if options.mode == "compiled" else model
    ids = torch.randint(1000, 30000, (1, options.tokens))
    mask = torch.ones_like(ids)

    def run(steps):
        times = []
        with torch.inference_mode():
            for step in range(20 + steps):
                began = time.perf_counter()
                call(input_ids=ids, attention_mask=mask)
                if step >= 20:
                    times.append((time.perf_counter() - began) * 1e3)
        times.sort()
        p99 = times[min(len(times) - 1, round(0.99 * (len(times) - 1)))]
        return dict(ms_median=statistics.median(times), ms_p99=p99, ms_min=times[0])

    run(1)
    return dict(peer=f"PyTorch {torch.__version__}, {options.mode}"), run


def main():
    parser = argparse.ArgumentParser(description="Latency of a classifier in PyTorch.")
    parser.add_argument("--size", choices=("small", "base", "large"), default="small")
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--mode", choices=("eager", "compiled"), default="eager")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--serve", action="store_true")
    return serving.serve(prepare, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
