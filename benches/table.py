"""Findings as a table in Markdown: medians over the rounds."""

import statistics

HIDDEN = {"sent", "idle_mib", "unsent", "duplicated", "behind_us"}


def table(findings):
    lines = []
    for name, proxies in findings.items():
        columns = list(dict.fromkeys(column for rounds in proxies.values() for column in rounds[0]))
        columns = [column for column in columns if column not in HIDDEN]
        lines += ["", f"| {name} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        for proxy, rounds in proxies.items():
            cells = [cell(rounds, column) for column in columns]
            lines.append(f"| {proxy} | " + " | ".join(cells) + " |")
        lines += ratio(proxies, columns)
    return "\n".join(lines)


def cell(rounds, column):
    values = [figures[column] for figures in rounds if column in figures]
    return f"{statistics.median(values):,.0f}" if values else ""


def ratio(proxies, columns):
    """The director beside nginx, where both were measured."""
    if not {"director", "nginx"} <= set(proxies):
        return []
    cells = []
    for column in columns:
        pair = [statistics.median(figures.get(column, 0) for figures in proxies[name]) for name in ("director", "nginx")]
        cells.append(f"{pair[0] / pair[1]:.2f}" if all(pair) else "")
    return ["| director / nginx | " + " | ".join(cells) + " |"]
