# SPDX-License-Identifier: Apache-2.0
"""The figures as a table, a chart, and one JSON document."""

import json
import statistics

import charts
from bench import machine
from everyone import ALL

NAMES = {"copy": "two bare COPY connections", **{kind.key: kind.name for kind in ALL}}
# ours ÷ theirs, or theirs ÷ ours where less is better; of one process each, foreign key off
AIMS = {
    "rate": {"copy": 0.9, "python": 4},
    "cpu_a_row": {"python": 14},
    "peak": {"python": 3},
}
OURS = ("projectionist", "projectionist-2")
KEPT = ("rate", "cpu_a_row", "peak", "cpu_to_first_write", "to_first_write")


def medians(runs):
    return {key: {name: statistics.median(run[name] for run in each)
                  for name in KEPT if name in each[0]}
            | {"least": min(run["rate"] for run in each), "most": max(run["rate"] for run in each)}
            for key, each in runs.items()}


def ratios(runs):
    """[(label, ours ÷ theirs or theirs ÷ ours, aim)] round by round, medians of them."""
    lines = []
    for ours in OURS:
        for figure, label in (("rate", "rows/s ÷ that of"), ("cpu_a_row", "CPU a row: that of … ÷ ours:"),
                              ("peak", "memory: that of … ÷ ours:")):
            for theirs, each in runs.items():
                if ours not in runs or theirs in OURS or figure not in each[0]:
                    continue
                value = statistics.median(
                    a[figure] / b[figure] if figure == "rate" else b[figure] / a[figure]
                    for a, b in zip(runs[ours], each))
                # What a second connection is for is the rate; the rest is compared with one.
                aim = AIMS[figure].get(theirs) if (ours == OURS[1]) == (figure == "rate") else None
                lines.append((f"{NAMES[ours]}, {label} {NAMES[theirs]}", value, aim))
    return lines


def table(title, rows):
    cells = [title, *rows]
    widths = [max(len(str(row[i])) for row in cells) for i in range(len(title))]
    for row in cells:
        print("  ".join([str(row[0]).ljust(widths[0]),
                         *(str(cell).rjust(width) for cell, width in zip(row[1:], widths[1:]))])
              .rstrip())
    print()


def number(value, form):
    return "" if value is None else format(value, form)


def print_rates(runs):
    table(("", "ROWS/S", "LEAST", "MOST", "CPU µs A ROW", "PEAK MiB", "TO FIRST WRITE s", "ITS CPU s"),
          [(NAMES[key], number(m["rate"], ",.0f"), number(m["least"], ",.0f"),
            number(m["most"], ",.0f"), number(m.get("cpu_a_row"), ".1f"),
            number(m.get("peak"), ".0f"), number(m.get("to_first_write"), ".1f"),
            number(m.get("cpu_to_first_write"), ".1f")) for key, m in medians(runs).items()])


def print_tables(options, about, results):
    print(f"{options.events:,} events, {options.rounds} rounds, {about['cores']} cores "
          f"({about['processor']}), programs of {about['commit'] or about['programs']}\n")
    for part, title in (("telemetry", "Telemetry into safari_events, foreign key off"),
                        ("foreign-key", "Telemetry into safari_events, foreign key on")):
        if part in results:
            print(title)
            print_rates(results[part])
            for label, value, aim in ratios(results[part]):
                print(f"{label}  {value:.2f}" + (f" (aim {aim})" if aim and part == "telemetry" else ""))
            print()


def write(options, results, folder):
    about = machine()
    text = json.dumps({"events": options.events, "rounds": options.rounds, "machine": about,
                       "results": results}, indent=2)
    (folder / "peers.json").write_text(text + "\n", encoding="utf-8")
    if "telemetry" in results:
        charts.bars(folder / "peers.svg",
                    f"{options.events:,} rows, foreign key off, medians of {options.rounds} rounds",
                    [line for line in ratios(results["telemetry"]) if line[1]])
    if options.json:
        print(text)
    else:
        print_tables(options, about, results)
