# SPDX-License-Identifier: Apache-2.0
"""The figures as one JSON document and as tables in Markdown, which are the same on a terminal and in
REPORT.md."""

import json
import statistics
import sys
from pathlib import Path

from bench import machine
from everyone import FOR_FAULTS, FOR_RATES

NAMES = {"copy": "two bare COPY connections", **{kind.key: kind.name for kind in FOR_RATES + FOR_FAULTS}}
ONE, TWO = "projectionist", "projectionist-2"
# {figure: {theirs: least}}; foreign key off. Two workers are one process, too: the rate is of two, what
# a row and a process cost of one.
AIMS = {
    "rate": {"copy": 0.9, "python": 4, "debezium": 3, "flink": 2.2},
    "cpu_a_row_going": {"python": 14, "debezium": 15, "flink": 8},
    "peak": {"python": 3, "debezium": 3, "flink": 3},
}
FAULTS = {
    "kill": "kill -9 half way",
    "poison": "a record that is none, half way",
    "postgres": "Postgres killed half way, and away for 10 s",
    "anew": "the topic made anew half way",
    "anew_stopped": "the same while it was stopped, and as long again",
}
REPORT = Path(__file__).resolve().parents[1] / "REPORT.md"


# --- figures ---------------------------------------------------------------------------------

def median(runs, figure):
    """None: there is none."""
    values = [run[figure] for run in runs if run and figure in run]
    return statistics.median(values) if values else None


def ratio(runs, ours, theirs, figure):
    """How many times ours is better, round by round, the median; None: no round has both."""
    values = [our[figure] / their[figure] if figure == "rate" else their[figure] / our[figure]
              for our, their in zip(runs.get(ours, []), runs.get(theirs, []))
              if our and their and figure in our and figure in their]
    return statistics.median(values) if values else None


def others(results):
    """The most of the machine that processes which are no part of this took in a run."""
    groups = [results[part] for part in ("telemetry", "foreign_key") if part in results]
    groups += [results["lifecycles"]["runs"]] if "lifecycles" in results else []
    return max((run["cpu"]["others_share"] for runs in groups for each in runs.values()
                for run in each if run), default=0)


# --- tables ----------------------------------------------------------------------------------

def table(*rows):
    """In Markdown; the first column is text, the others are numbers."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(cells[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                               for i, (cell, width) in enumerate(zip(row, widths))) + " |"
             for row in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) if i == 0 else "-" * (width + 1) + ":"
                                   for i, width in enumerate(widths)) + "|")
    return "\n".join(lines) + "\n"


def short(why):
    """Without the place of a log, which is of one machine."""
    return why.splitlines()[0].partition("; its log is ")[0]


def number(value, form):
    return "" if value is None else format(value, form)


def rates(runs, unit):
    rows = [("", unit, "least", "most", "CPU µs a row", "without its start", "peak MiB",
             "s to first row")]
    for key, each in runs.items():
        found = [run["rate"] for run in each if run]
        rows.append((NAMES[key], number(median(each, "rate"), ",.0f") or "failed",
                     number(min(found, default=None), ",.0f"), number(max(found, default=None), ",.0f"),
                     number(median(each, "cpu_a_row"), ".1f"),
                     number(median(each, "cpu_a_row_going"), ".1f"),
                     number(median(each, "peak"), ",.0f"),
                     number(median(each, "to_first_write"), ".1f")))
    return table(*rows)


def comparison(runs, aims):
    """How many times ours is better."""
    def cell(ours, theirs, figure, aim):
        value = number(ratio(runs, ours, theirs, figure), ".2f")
        return f"{value} (aim {aim})" if value and aim else value

    rows = [("ours, how many times better than", "rows/s, one worker", "rows/s, two workers",
             "CPU a row", "memory")]
    for theirs in runs:
        if theirs not in (ONE, TWO):
            aim = {figure: aims.get(figure, {}).get(theirs) for figure in AIMS}
            rows.append((NAMES[theirs], cell(ONE, theirs, "rate", None),
                         cell(TWO, theirs, "rate", aim["rate"]),
                         cell(ONE, theirs, "cpu_a_row_going", aim["cpu_a_row_going"]),
                         cell(ONE, theirs, "peak", aim["peak"])))
    return table(*rows)


def differing(outcome):
    if outcome is None:
        return "failed"
    columns = ", ".join(outcome["columns"])
    return f"{outcome['wrong']:,}" + (f" ({columns})" if columns else "")


def speeds(document):
    about, results = document["machine"], document["results"]
    lines = [f"{about['cores']} cores ({about['processor']}), programs of "
             f"{about['commit'] or 'an unnamed state'}, {document['rounds']} rounds, medians; processes "
             f"that are no part of it took at most {others(results):.0%} of the machine.\n"]
    for part, title in (("telemetry", "off"), ("foreign_key", "on")):
        if part in results:
            lines += [f"**{document['events']:,} events of telemetry into `safari_events`, foreign key "
                      f"{title}**\n", rates(results[part], "rows/s"),
                      comparison(results[part], AIMS if part == "telemetry" else {})]
    if "lifecycles" in results:
        lives = results["lifecycles"]
        lines += [f"**{lives['events']:,} events of {lives['commands']:,} real jobs into "
                  "`safari_commands`**\n", rates(lives["runs"], "events/s"),
                  comparison(lives["runs"], {}),
                  table(("rows that are wrong", "as published",
                         f"{lives['again']:,} events told again"),
                        *((NAMES[key], differing(each[-1]), differing(lives["repeated"][key]) if key in lives["repeated"] else "")
                          for key, each in lives["runs"].items() if each))]
    lines += [f"{failed['what']}: {failed['subject']} failed: {short(failed['why'])}\n"
              for failed in results["failed"]]
    return "\n".join(lines)


def stuck(outcome):
    """In words; rows that are missing are not lost where a program stands and waits."""
    if outcome["missing"] == 0:
        return "no"
    if outcome["answering"] == 12:
        return "no, it goes on without them"
    where = "all" if outcome["answering"] == 0 else f"{12 - outcome['answering']} of 12"
    return f"{where} partitions: {outcome['stuck'] or 'it runs, and writes nothing'}"


def faults(document):
    about, results = document["machine"], document["results"]
    lines = [f"{document['events']:,} events of telemetry, 5,000 a second, {about['cores']} cores "
             f"({about['processor']}), programs of {about['commit'] or 'an unnamed state'}.\n"]
    for fault, title in FAULTS.items():
        if fault not in results:
            continue
        rows = [(title, "rows missing", "twice", "s to next row", "s to all rows", "started again",
                 "stuck")]
        for key, outcome in results[fault].items():
            rows.append((NAMES[key], f"{outcome['missing']:,}", f"{outcome['twice']:,}",
                         number(outcome["first"], ".1f"), number(outcome["whole"], ".1f"),
                         outcome["restarts"], stuck(outcome)))
            if after := outcome.get("remedy"):
                rows.append((f"{NAMES[key]}, after what it says is to be done", f"{after['missing']:,}",
                             f"{after['twice']:,}", "", number(after["whole"], ".1f"), "", ""))
        lines.append(table(*rows))
    lines += [f"{failed['what']}: {failed['subject']} failed: {short(failed['why'])}\n"
              for failed in results["failed"]]
    return "\n".join(lines)


# --- where they go ---------------------------------------------------------------------------

DOCUMENTS = {"peers.json": speeds, "peers-faults.json": faults}


def keep(name, options, results, folder):
    """Writes what there is so far; the document."""
    document = {"events": options.events, "rounds": options.rounds, "machine": machine(),
                "results": results}
    (folder / name).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return document


def tell(name, options, document):
    print(json.dumps(document, indent=2) if options.json else DOCUMENTS[name](document))


def into_report(folder):
    """Puts the tables of the last runs into REPORT.md, each between its two marks."""
    text, found = REPORT.read_text(encoding="utf-8"), []
    for name, written in DOCUMENTS.items():
        path = folder / name
        before, begin, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end of {name} -->\n")
        if path.exists() and end:
            document = json.loads(path.read_text(encoding="utf-8"))
            text = before + begin + "\n" + written(document) + "\n" + end + after
            found.append(name)
    REPORT.write_text(text, encoding="utf-8")
    print(f"REPORT.md has the tables of {' and '.join(found) or 'nothing'}", file=sys.stderr)
    return bool(found)
