"""Tables of devices whose latency adds up exactly, so that the truth of every architecture is known."""

import numpy as np

from nascli.execution import Execution
from nascli.lut import Sample, Setup, Store, program_key
from nascli.pipeline.measure.device_calibration import reference_networks
from nascli.pipeline.measure.subjects import space_subjects, subjects_of
from nascli.profiles.profiling import network_operator
from nascli.profiles.target import TargetSpec
from nascli.spaces.counts import count

# Seconds per MAC, per parameter, and per node of a program.
DEVICES = {"alpha": (4e-9, 0.0, 1e-6), "beta": (0.0, 1e-8, 1e-6), "gamma": (1e-10, 0.0, 2e-5)}
# Alike to alpha and beta in equal parts, and three times as fast.
MIXED = tuple((a + b) / 6 for a, b in zip(DEVICES["alpha"], DEVICES["beta"], strict=True))
ENTRY = 2e-5


def truth(program, device):
    counts = count(program)
    per_mac, per_weight, per_node = device
    # Each copy has an input and an output of its own.
    once = program.copies * (ENTRY + per_node * len(program.nodes))
    return once + per_mac * counts.macs + per_weight * counts.params


def add_figures(path, setup, device, operators, *, rounds=3):
    """Fill the table of any setup with what a device's truth says; six equal rounds count as settled."""
    with Store(path) as store:
        store.add_setup(setup, {})
        store.add_operators(operators)
        samples = {
            program_key(o.program): [
                Sample(i, np.full(3, truth(o.program, device)), 1e-3, 5.0 + i) for i in range(rounds)
            ]
            for o in operators
        }
        store.add_samples(setup, samples)


def add_table(path, name, device, operators, batch=4):
    setup = Setup(name, "simulated", "1", "fp32", batch, 1)
    add_figures(path, setup, device, operators)
    return setup


def fill_this_machine(path, device, space, rows=(), *, noted=True, batch=4):
    """A finished table of a space, and whole networks of it, where this machine's CPU keeps its own; nothing is measured."""
    setup = TargetSpec(batch=batch).resolve(Execution()).setup()
    networks = [space.network(row, f"{space.name} {list(row)}") for row in rows]
    models = [*space_subjects(space, batch), *map(network_operator, networks)]
    add_figures(path, setup, device, [model for model in models if model.program.output], rounds=6)
    if noted:
        keys = [program_key(network.program) for network in networks]
        with Store(path) as store:
            store.add_networks(space.digest, dict(zip(keys, rows, strict=True)))
    return setup


def whole(program):
    """The latency of a whole network where sums of operators of alpha miss a fifth, and 0.05 ms per MB of weights."""
    return 1.2 * truth(program, DEVICES["alpha"]) + 5e-11 * count(program).weight_bytes


def fill_references(path, *, batch=4, families=None, leave_out=()):
    """The reference networks on this machine's CPU, in pieces and whole; whole ones are slower than alpha says.

    Args:
        path: The store.
        batch: The batch.
        families: Only the first of so many families.
        leave_out: Names of networks of which only the whole is measured.
    """
    setup = TargetSpec(batch=batch).resolve(Execution()).setup()
    known = list(dict.fromkeys(reference.family for reference in reference_networks()))[:families]
    networks = [reference.network for reference in reference_networks() if reference.family in known]
    pieces = {
        model.program.canonical: model
        for network in networks
        if network.name not in leave_out
        for model in subjects_of(network, batch).models
        if model.program.output
    }
    add_figures(path, setup, DEVICES["alpha"], list(pieces.values()), rounds=6)
    add_whole(path, setup, networks)
    return setup


def add_whole(path, setup, networks):
    """Whole networks, measured by the truth of `whole`."""
    operators = [network_operator(network) for network in networks]
    with Store(path) as store:
        store.add_setup(setup, {})
        store.add_operators(operators)
        samples = {
            program_key(o.program): [Sample(i, np.full(3, whole(o.program)), 1e-3, 5.0 + i) for i in range(6)]
            for o in operators
        }
        store.add_samples(setup, samples)


def add_networks(path, name, device, space, rows, *, noted=True, batch=4):
    networks = [space.network(row, f"{space.name} {list(row)}") for row in rows]
    setup = add_table(path, name, device, [network_operator(network) for network in networks], batch)
    if noted:
        with Store(path) as store:
            keys = [program_key(network.program) for network in networks]
            store.add_networks(space.digest, dict(zip(keys, rows, strict=True)))
    return setup
