# SPDX-License-Identifier: Apache-2.0
"""Charts as SVG, of what the measurements write: lines over time, and bars."""

import html

WIDTH, LEFT, RIGHT = 900, 70, 170
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a", "#bf3989", "#0969da")


def _text(x, y, text, anchor="start", size=12):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">'
            f'{html.escape(str(text))}</text>')


def _svg(height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">'
            f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n')


def _round_up(value):
    step = 1.0
    while step * 10 <= value:
        step *= 10
    while step > value > 0:
        step /= 10
    return next(step * factor for factor in (1, 2, 5, 10) if step * factor >= value)


def _panel(top, height, title, series, span, marks):
    most = _round_up(max((y for points in series.values() for _, y in points), default=1) or 1)
    right, bottom = WIDTH - RIGHT, top + height
    parts = [_text(LEFT, top - 8, title, size=14)]

    def place(x, y):
        return LEFT + (right - LEFT) * x / span, bottom - height * min(y, most) / most

    for quarter in range(5):
        _, y = place(0, most * quarter / 4)
        parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d0d7de"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{most * quarter / 4:g}", "end"))
    for x, colour in marks:
        at, _ = place(x, 0)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{bottom}" '
                     f'stroke="{colour}" stroke-dasharray="2 3" opacity="0.6"/>')
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.4"/>')
        parts.append(f'<rect x="{right + 12}" y="{top + 18 * number}" width="12" height="3" '
                     f'fill="{colour}"/>')
        parts.append(_text(right + 30, top + 18 * number + 5, name))
    return parts


def lines(path, title, panels, marks):
    """panels: [(title, {name: [(seconds, value)]})], one below the other over the same seconds;
    marks: [(seconds, what)], of which each kind has a colour and a line of the legend."""
    span = max((x for _, series in panels for points in series.values() for x, _ in points),
               default=1) or 1
    kinds = {what: COLOURS[-1 - number % len(COLOURS)]
             for number, what in enumerate(dict.fromkeys(what for _, what in marks))}
    height = 230
    parts = [_text(LEFT, 26, title, size=16)]
    for number, (name, series) in enumerate(panels):
        parts += _panel(70 + number * (height + 60), height, name, series, span,
                        [(x, kinds[what]) for x, what in marks])
    bottom = 70 + len(panels) * (height + 60) - 40
    for quarter in range(5):
        parts.append(_text(LEFT + (WIDTH - RIGHT - LEFT) * quarter / 4, bottom,
                           f"{span * quarter / 4:.0f} s", "middle"))
    for number, (what, colour) in enumerate(kinds.items()):
        parts.append(f'<rect x="{LEFT + 200 * number}" y="{bottom + 16}" width="14" height="3" '
                     f'fill="{colour}"/>')
        parts.append(_text(LEFT + 200 * number + 20, bottom + 21, what))
    path.write_text(_svg(bottom + 40, parts), encoding="utf-8")


def bars(path, title, rows):
    """rows: [(label, value, aim or None)]; the aim is a mark on the bar."""
    most = _round_up(max((max(value, aim or 0) for _, value, aim in rows), default=1) or 1)
    left, step = 470, 26
    width = WIDTH - left - 70
    parts = [_text(20, 28, title, size=16)]
    for number, (label, value, aim) in enumerate(rows):
        y = 50 + step * number
        met = aim is None or value >= aim
        parts.append(_text(left - 8, y + 13, label, "end", 10))
        parts.append(f'<rect x="{left}" y="{y}" width="{width * value / most:.1f}" height="16" '
                     f'fill="{COLOURS[0] if met else COLOURS[1]}"/>')
        parts.append(_text(left + width * value / most + 6, y + 13, f"{value:.2f}"))
        if aim is not None:
            at = left + width * aim / most
            parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y - 3}" y2="{y + 19}" '
                         'stroke="black" stroke-width="2"/>')
    parts.append(_text(left, 50 + step * len(rows) + 16, "| the aim; red: not met"))
    path.write_text(_svg(80 + step * len(rows), parts), encoding="utf-8")
