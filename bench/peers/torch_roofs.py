#!/usr/bin/env python3
"""What this card reaches at best, measured through PyTorch: GB/s of a copy, TFLOP/s of matrix products by cuBLASLt.

    python3 bench/peers/torch_roofs.py [--device cuda:0]

Prints one JSON document. Products are of random numbers (zeros run faster than real data), f32 ones without TF32. The shapes
under `shapes` are those of a training step: ELECTRA-Small at 128 x 128 and Base at 256 x 512.
"""

import argparse
import json
import statistics
import sys

# Rows, columns, inner extent; what for. The last kind, weight gradients, has a long inner extent and a small result.
SHAPES = (
    ("small: query, key, value", 16384, 768, 256),
    ("small: feed-forward up", 16384, 1024, 256),
    ("small: feed-forward down", 16384, 256, 1024),
    ("small: weight gradient of feed-forward up", 256, 1024, 16384),
    ("small: weight gradient of the output", 256, 256, 16384),
    ("small: generator's feed-forward up", 16384, 256, 64),
    ("small: logits of 384 slots", 384, 30528, 128),
    ("base: query, key, value", 131072, 2304, 768),
    ("base: feed-forward up", 131072, 3072, 768),
    ("base: feed-forward down", 131072, 768, 3072),
    ("base: weight gradient of feed-forward up", 768, 3072, 131072),
    ("base: logits of all slots", 20224, 30528, 768),
)


def measure(torch, call, device, repeats=7, inner=5):
    """Median seconds of a call."""
    for _ in range(3):
        call()
    times = []
    for _ in range(repeats):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(inner):
            call()
        end.record()
        torch.cuda.synchronize(device)
        times.append(begin.elapsed_time(end) * 1e-3 / inner)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description="Roofs of a card.")
    parser.add_argument("--device", default="cuda:0")
    options = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print(json.dumps({"error": f"PyTorch {torch.__version__} sees no GPU"}))
        return 1
    device = torch.device(options.device)
    torch.cuda.set_device(device)
    torch.manual_seed(1)
    properties = torch.cuda.get_device_properties(device)
    result = {
        "torch": torch.__version__,
        "name": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "l2_mib": getattr(properties, "L2_cache_size", 0) / 2**20,
    }

    def copy():
        # Far larger than any cache. Bytes read and bytes written both count.
        source = torch.randn(2**28, device=device)
        target = torch.empty_like(source)
        return 2 * source.numel() * 4 / measure(torch, lambda: target.copy_(source), device) / 1e9

    result["copy_gb_s"] = copy()

    def product(rows, columns, inner, dtype):
        a = torch.randn(rows, inner, device=device, dtype=dtype)
        b = torch.randn(inner, columns, device=device, dtype=dtype)
        out = torch.empty(rows, columns, device=device, dtype=dtype)
        seconds = measure(torch, lambda: torch.mm(a, b, out=out), device)
        return 2.0 * rows * columns * inner / seconds / 1e12

    torch.backends.cuda.matmul.allow_tf32 = False
    result["bf16_tflops"] = max(product(n, n, n, torch.bfloat16) for n in (4096, 8192))
    result["f32_tflops"] = product(4096, 4096, 4096, torch.float32)
    result["shapes"] = []
    for name, rows, columns, inner in SHAPES:
        try:
            speed = product(rows, columns, inner, torch.bfloat16)
        except torch.cuda.OutOfMemoryError:
            continue
        entry = {"name": name, "m": rows, "n": columns, "k": inner, "tflops": speed}
        result["shapes"].append(entry)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
