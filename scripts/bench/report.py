"""Turns the measurements of peers.py into Markdown.

A run is `{"seconds": wall clock of the process, "cpu_seconds": ..., "peak_bytes": ...}`; a round is `{contender: {"first": run,
"all": run}}`, where "first" classified one image and "all" classified all of them.
"""

import statistics

MEASURES = {
    "images/s": lambda case, images: images / case["all"]["seconds"],
    "images/s without start-up": lambda case, images: (images - 1) / (case["all"]["seconds"] - case["first"]["seconds"]),
    "first result, s": lambda case, images: case["first"]["seconds"],
    "peak memory, MiB": lambda case, images: case["all"]["peak_bytes"] / 2**20,
}


def markdown(data):
    """The report on everything that was measured; `data` is what --json writes."""
    rounds, images = data["rounds"], data["images"]
    names = list(rounds[0])
    lines = [f"## fer and its peers: {images:,} images, {count(len(rounds), 'round')}", "", *facts(data), ""]
    lines += [
        "Median (lowest–highest) of the rounds. Every run is a process of its own; \"images/s\" counts all of it, from start "
        "to end; \"without start-up\" takes off the time of the run with one image, which is also the \"first result\". fer "
        "prepares ONNX Runtime more briefly for a few images, so its longer preparation for many stays in its rate.",
        "",
        *table(MEASURES, {
            name: [spread(measure(round_[name], images) for round_ in rounds) for measure in MEASURES.values()]
            for name in names
        }),
        "",
        "Ratios within a round, median (lowest–highest). Of images/s more than 1 is in favor of the first named, of the "
        "others less than 1.",
        "",
        *table([name.split(",")[0] for name in MEASURES], {
            f"{fer} ÷ {peer}": [
                spread(measure(round_[fer], images) / measure(round_[peer], images) for round_ in rounds)
                for measure in MEASURES.values()
            ]
            for fer, peer in pairs(names)
        }),
        "",
        agreement(data["agreement"]),
    ]
    if data["memory"]:
        lines += ["", *memory(data["memory"])]
    return "\n".join(lines)


def facts(data):
    load = ", ".join(f"{value:.1f}" for value in data["load"])
    yield f"- Date: {data['date']}"
    yield f"- Machine: {data['cpu']}, {count(data['cores'], 'core')}, {data['system']}; load average at the start {load}"
    for name, versions in data["versions"].items():
        yield f"- {name}: " + ", ".join(f"{package} {version}" for package, version in versions.items())
    yield f"- Command: `{data['command']}`"


def pairs(names):
    """Each fer with each contender after it."""
    return [(fer, peer) for at, fer in enumerate(names) if fer.startswith("fer") for peer in names[at + 1 :]]


def agreement(found):
    different = found["images"] - found["same"]
    text = f"All {found['contenders']} contenders give the same label on {found['same']:,} of {found['images']:,} images"
    if different:
        text += f" ({count(different, 'image')} differ: {', '.join(found['different'][:5])}{', …' if different > 5 else ''})"
    return f"{text}; the largest difference of a probability is {found['largest_difference']:.1e}."


def memory(rounds):
    """Peak memory of fer by number of images."""
    counts = list(next(iter(rounds[0].values())))
    yield "Peak memory by number of images, MiB, median (lowest–highest):"
    yield ""
    yield from table([f"{int(images):,} images" for images in counts] + ["ratio"], {
        name: [spread(round_[name][images]["peak_bytes"] / 2**20 for round_ in rounds) for images in counts]
        + [spread(round_[name][counts[-1]]["peak_bytes"] / round_[name][counts[0]]["peak_bytes"] for round_ in rounds)]
        for name in rounds[0]
    })


def table(heads, rows):
    yield "|  | " + " | ".join(heads) + " |"
    yield "|---|" + "---:|" * len(heads)
    for name, cells in rows.items():
        yield "| " + " | ".join([name, *cells]) + " |"


def spread(values):
    """Median (lowest–highest), with three digits that count."""
    values = sorted(values)
    middle = statistics.median(values)
    digits = 0 if middle >= 100 else 1 if middle >= 10 else 2 if middle >= 1 else 3
    low, middle, high = (f"{value:,.{digits}f}" for value in (values[0], middle, values[-1]))
    return f"{middle} ({low}–{high})"


def count(number, noun):
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
