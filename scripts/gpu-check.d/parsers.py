"""What the programs print, as numbers."""

import json
import re


def counts(output):
    """(passed, failed) of the last line of the form `N passed, N failed`, or None."""
    found = re.findall(r"^(\d+) passed, (\d+) failed\b", output, re.MULTILINE)
    return None if not found else tuple(map(int, found[-1]))


def failures(output, most=12):
    """Lines that say FAIL, and how many were left out."""
    lines = [line for line in output.splitlines() if line.startswith("FAIL")]
    return lines[:most] + ([f"… and {len(lines) - most} more"] if len(lines) > most else [])


def devices(output):
    """What the operator tests say they run on, `device: NAME, PRODUCTS, PRECISION`, or those of products, `PRODUCTS`."""
    return re.findall(r"^(?:device: (?=.)|(?=cuBLASLt|built-in))(.+)$", output, re.MULTILINE)


def worst_of_tolerance(output):
    found = re.findall(r"largest error ([\d.]+) of the tolerance", output)
    return max(map(float, found), default=None)


_bench_cell = re.compile(
    r"^\s*(?P<column>\S.*?)\s+(?P<ms>[\d.]+) ms(?:\s+(?P<gflops>[\d.]+) GFLOP/s)?(?:\s+(?P<gbytes>[\d.]+) GB/s)?\s*$"
)


def bench(output):
    """Rows of the operator bench: dictionaries of group, name, column (precision), ms, gflops, gbytes (per second)."""
    rows = []
    for line in output.splitlines():
        first, *cells = line.split("|")
        # The group is padded to 26 characters, but may be longer.
        end = first.find(" ", 26)
        for cell in cells:
            match = _bench_cell.match(cell)
            if match is None or end < 0:
                continue
            rows.append(
                {
                    "group": first[:end].strip(),
                    "name": first[end:].strip(),
                    "column": match["column"],
                    "ms": float(match["ms"]),
                    "gflops": float(match["gflops"]) if match["gflops"] else None,
                    "gbytes": float(match["gbytes"]) if match["gbytes"] else None,
                }
            )
    return rows


def sanitizer(output):
    """Errors that compute-sanitizer counted, or None if it did not get as far as counting."""
    total = None
    for found in re.findall(r"(?:ERROR SUMMARY: (\d+) error|RACECHECK SUMMARY: (\d+) hazard)", output):
        total = (total or 0) + int(found[0] or found[1])
    return total


def last_json(output):
    """The last JSON document that begins at the start of a line, or None."""
    decoder = json.JSONDecoder()
    for match in reversed(list(re.finditer(r"^[{\[]", output, re.MULTILINE))):
        try:
            return decoder.raw_decode(output, match.start())[0]
        except ValueError:
            continue
    return None
