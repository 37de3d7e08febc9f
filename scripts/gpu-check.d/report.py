"""The report: JSON for programs, Markdown for people, both written anew after every check, so that a run that is cut off
leaves all that it found."""

import json
import math
import os
import re
import time

STATUSES = ("pass", "fail", "skip")
WORDS = {"pass": "PASS", "fail": "FAIL", "skip": "not run"}
TITLES = {"correctness": "Correctness", "speed": "Speed"}


def file_name(card, date):
    """gpu-check-<date>-<card>, in characters that every file system takes."""
    plain = re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-") or "unknown"
    plain = re.sub(r"^nvidia-", "", plain)
    return f"gpu-check-{date}-{plain}"


class Report:
    """`header`: what describes card, machine and sources; a flat dictionary, shown as a table."""

    def __init__(self, folder, card, header, date=None):
        self.date = date or time.strftime("%Y-%m-%d")
        self.base = os.path.join(folder, file_name(card, self.date))
        self.data = {"format": 1, "date": self.date, "card": card, "header": header, "stages": {}}
        os.makedirs(folder, exist_ok=True)
        self._take_other_stages()

    def _take_other_stages(self):
        """The two stages may be run one by one: what the same sources gave on the same card that day stays."""
        try:
            with open(f"{self.base}.json", encoding="utf-8") as file:
                old = json.load(file)
        except (OSError, ValueError):
            return
        if old.get("format") != 1 or old.get("header", {}).get("sources") != self.data["header"].get("sources"):
            return
        self.data["stages"] = old.get("stages", {})

    def begin_stage(self, stage, budget):
        self.data["stages"][stage] = {
            "started": time.strftime("%Y-%m-%d %H:%M:%S"),
            "budget_s": budget,
            "seconds": 0,
            "finished": False,
            "checks": [],
        }
        self.write()

    def add(self, stage, check):
        """`check`: name, status, seconds, summary, and possibly numbers, detail (lines) and tables."""
        assert check["status"] in STATUSES, check
        entry = self.data["stages"][stage]
        entry["checks"].append(check)
        entry["seconds"] = round(sum(c["seconds"] for c in entry["checks"]), 1)
        self.write()

    def end_stage(self, stage, why=None):
        entry = self.data["stages"][stage]
        entry["finished"] = why is None
        if why is not None:
            entry["cut_off"] = why
        self.write()

    def counts(self, stages=None):
        """Passed, failed, not run, over the given stages."""
        totals = dict.fromkeys(STATUSES, 0)
        for name, stage in self.data["stages"].items():
            if stages is not None and name not in stages:
                continue
            for check in stage["checks"]:
                totals[check["status"]] += 1
        return totals["pass"], totals["fail"], totals["skip"]

    def write(self):
        passed, failed, skipped = self.counts()
        self.data.update(passed=passed, failed=failed, not_run=skipped)
        _write(f"{self.base}.json", json.dumps(_plain(self.data), indent=1, allow_nan=False) + "\n")
        _write(f"{self.base}.md", markdown(self.data))


def _write(path, text):
    """Through a temporary name: whoever is cut off while writing leaves the previous report whole."""
    temporary = f"{path}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)


def _plain(value):
    """What JSON can hold: no NaN, no infinity, names as text."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _cell(value):
    if value is None:
        return ""
    if isinstance(value, float):
        if not math.isfinite(value):
            return "not finite"
        # Three figures that count, without exponents where people would not write one.
        if value != 0 and not 1e-3 <= abs(value) < 1e6:
            return f"{value:.2e}"
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def table(columns, rows):
    lines = [f"| {' | '.join(map(_cell, columns))} |", f"|{' --- |' * len(columns)}"]
    lines += [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    return "\n".join(lines)


def markdown(data):
    parts = [f"# GPU check: {data['card']}, {data['date']}", ""]
    parts += [f"**{data['passed']} passed, {data['failed']} failed, {data['not_run']} not run.**", ""]
    parts += [table(("", ""), data["header"].items()), ""]
    for name in ("correctness", "speed"):
        stage = data["stages"].get(name)
        if stage is None:
            continue
        parts += [f"## {TITLES[name]}", ""]
        note = f"Began {stage['started']}, {stage['seconds']:.0f} s of at most {stage['budget_s']:.0f} s."
        if not stage["finished"]:
            note += f" **Not finished{': ' + stage['cut_off'] if 'cut_off' in stage else ''}.**"
        parts += [note, ""]
        rows = [(c["name"], WORDS[c["status"]], f"{c['seconds']:.1f}", c["summary"]) for c in stage["checks"]]
        parts += [table(("check", "result", "s", "measured"), rows), ""]
        for check in stage["checks"]:
            for one in check.get("tables", ()):
                parts += [f"### {one['title']}", ""]
                if one.get("note"):
                    parts += [one["note"], ""]
                parts += [table(one["columns"], one["rows"]), ""]
        for check in stage["checks"]:
            if check["status"] == "fail" and check.get("detail"):
                parts += [f"### {check['name']}: what it said", "", "```text", *check["detail"], "```", ""]
    return "\n".join(parts)
