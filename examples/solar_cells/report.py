"""The results of the study as a document and as a table."""

from dataclasses import asdict

import numpy as np
from differences import compare
from rivals import MOBILENET, RANDOM, WINNER

from nascli.files import read_json
from nascli.pipeline.run.result import versions
from nascli.profiles.devices.device import this_cpu


def outcomes(documents, classes):
    """Return, by measure, what each image counts and whether each network is right about it.

    A cell is defective where the experts' probability is above one half: two thirds, or one.
    """
    labels = np.array(documents[WINNER][0]["labels"])
    defective = labels >= classes // 2
    shares = np.where(defective, 1 / max(1, defective.sum()), 1 / max(1, (~defective).sum()))
    even = np.full(len(labels), 1 / len(labels))
    top1 = {k: np.array([np.array(d["predicted"]) == labels for d in v]) for k, v in documents.items()}
    binary = {
        k: np.array([(np.array(d["defective"]) > 0.5) == defective for d in v]) for k, v in documents.items()
    }
    return labels, {
        "top1": (even, top1),
        "defective": (even, binary),
        "defective_balanced": (shares / shares.sum(), binary),
    }


def results(members, documents, options, classes):
    """Return the document of the results."""
    labels, measures = outcomes(documents, classes)
    scores, differences = {}, {}
    for measure, (weights, right) in measures.items():
        scores[measure] = {name: (rows @ weights).tolist() for name, rows in right.items()}
        differences[measure] = {
            rival: asdict(compare(right[WINNER], right[rival], weights, labels, np.random.default_rng(0)))
            for rival in (MOBILENET, RANDOM)
        }
    recipe = read_json(options.out / "trained" / f"{WINNER}-0" / "settings.json")["recipe"]
    return {
        "data": options.data.partition(":")[0],
        "test_images": len(labels),
        "test_images_by_class": np.bincount(labels, minlength=classes).tolist(),
        "space": options.space,
        "budget": options.budget,
        "search": list(options.changes),
        "recipe": recipe,
        "seeds": options.seeds,
        "tolerance": options.tolerance,
        "processor": this_cpu().title,
        "versions": versions(),
        "networks": {
            name: [{**asdict(member), "space": member.space.rpartition("/")[2]} for member in group]
            for name, group in members.items()
        },
        "scores": scores,
        "differences": differences,
        "training_seconds": {k: [round(d["seconds"]) for d in v] for k, v in documents.items()},
    }


TITLES = {
    "top1": "top-1, 4 classes",
    "defective": "defective or not",
    "defective_balanced": "defective or not, balanced",
}
NAMES = {WINNER: "winner of the search", MOBILENET: "MobileNetV2, scaled", RANDOM: "random architectures"}


def table(document):
    """Return the results as Markdown."""
    rows = [
        f"# {document['data']}, {document['budget']} at batch 1, {document['seeds']} seeds",
        "",
        f"{document['test_images']} test images, by class {document['test_images_by_class']}; "
        f"space `{document['space']}`; {document['processor']}. Means over seeds, with the standard deviation.",
        "",
        f"| network | measured | MACs | params | {' | '.join(TITLES.values())} |",
        f"|{'---|' * (4 + len(TITLES))}",
    ]
    for name, group in document["networks"].items():
        milliseconds = sorted(1000 * member["seconds"] for member in group)
        span = (
            f"{milliseconds[0]:.3f} ms"
            if len(group) == 1
            else f"{milliseconds[0]:.3f} to {milliseconds[-1]:.3f} ms"
        )
        macs, params = (np.mean([member[key] for member in group]) for key in ("macs", "params"))
        cells = [document["scores"][measure][name] for measure in TITLES]
        shown = [f"{100 * np.mean(s):.1f} ± {100 * np.std(s, ddof=1):.1f} %" for s in cells]
        rows.append(
            f"| {NAMES[name]} | {span} | {macs / 1e6:.1f}M | {params / 1e3:.0f}k | {' | '.join(shown)} |"
        )
    rows += [
        "",
        "The winner minus a rival, in points, paired by seed. The first interval (Student's t) is about other seeds on "
        "these test images, the second one (bootstrap) about other seeds and other photographs. *Visible* is the "
        "smallest true difference that so many seeds show four times out of five, given the spread found here.",
        "",
        "| measure | rival | difference | 95 %, seeds | 95 %, seeds and images | visible |",
        "|---|---|---|---|---|---|",
    ]
    for measure, by_rival in document["differences"].items():
        for rival, row in by_rival.items():
            p = {key: 100 * value for key, value in row.items()}
            rows.append(
                f"| {TITLES[measure]} | {NAMES[rival]} | {p['mean']:+.1f} | {p['low']:+.1f} to {p['high']:+.1f} | "
                f"{p['image_low']:+.1f} to {p['image_high']:+.1f} | {p['visible']:.1f} |"
            )
    return "\n".join(rows) + "\n"
