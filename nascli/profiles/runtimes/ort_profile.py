"""The profile of ONNX Runtime: seconds of each node, from the file that its profiler writes."""

from __future__ import annotations

import json
from collections import defaultdict

import numpy as np

from nascli.errors import DeviceError
from nascli.profiles.runtimes.base import NodeTime

_SUFFIX = "_kernel_time"
# Name, kind, and place in the graph.
_Node = tuple[str, str, str]


def parse_profile(text: str, runs: int, warmup: int) -> list[NodeTime]:
    """Return the median seconds of each node, in the order in which nodes ran first.

    A node that runs several times in one run of the model, such as one in the body of a loop, counts with the sum of
    its times. The node that has this body counts with them once more.

    Args:
        text: The file, a JSON list of events with durations in microseconds.
        runs: How often the model ran, including `warmup`.
        warmup: How many of these runs are left out; they came first.

    Raises:
        DeviceError: The text is no such list, or holds another number of runs.
    """
    current: dict[_Node, float] = defaultdict(float)
    finished: list[dict[_Node, float]] = []
    try:
        # Events are listed as they end: those of a run's nodes lie before the event of the run.
        for event in json.loads(text):
            if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
                name = str(event["name"]).removesuffix(_SUFFIX)
                # Nodes that ONNX Runtime adds share a name, and differ by their place in the graph.
                told = event["args"]
                current[name, str(told["op_name"]), str(told["node_index"])] += float(event["dur"]) * 1e-6
            elif event.get("cat") == "Session" and event["name"] == "model_run":
                finished.append(dict(current))
                current.clear()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DeviceError(f"the profile of ONNX Runtime cannot be read: {error!r}") from error
    if len(finished) != runs:
        raise DeviceError(f"the profile of ONNX Runtime holds {len(finished)} runs, not {runs}.")
    seconds: dict[_Node, list[float]] = defaultdict(list)
    for run in finished[warmup:]:
        for node, taken in run.items():
            seconds[node].append(taken)
    return [NodeTime(name, kind, float(np.median(taken))) for (name, kind, _), taken in seconds.items()]
