"""The trainings of the study, several at a time, each on one thread."""

import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context

import numpy as np
import torch

import nascli
from nascli.files import read_json, write_json
from nascli.supernet.data.images import load_images
from nascli.supernet.modules import load_network

RESULT = "test.json"


def end_with_parent(parent):
    """Prepare a process that trains: it takes one thread, and ends with the study even if that is killed."""
    torch.set_num_threads(1)

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def train(member, seed, folder, *, data, recipe, epochs):
    """Train a network with a seed, and return what it says about the test part; a finished one is read.

    Args:
        member: The network, a `Member`.
        seed: Seed of weights, order, and augmentation.
        folder: Folder of the training.
        data, recipe, epochs: As in `nascli.train`.
    """
    document = read_json(folder / RESULT)
    if document is not None:
        return document
    began = time.monotonic()
    architecture = member.architecture
    nascli.train(
        architecture, out=folder, data=data, recipe=recipe, epochs=epochs, batch=1, train_on="all", seed=seed
    )
    network = architecture.network
    test = load_images(data, network.input.height).test
    module = load_network(network, folder / "weights.safetensors")
    with torch.no_grad():
        images, labels = test.take(np.arange(len(test)))
        probabilities = torch.softmax(module(images).flatten(1), 1)
    upper_half = probabilities[:, network.output.channels // 2 :].sum(1)
    document = {
        "predicted": probabilities.argmax(1).tolist(),
        "defective": [round(each, 6) for each in upper_half.tolist()],
        "labels": labels.tolist(),
        "seconds": time.monotonic() - began,
    }
    write_json(folder / RESULT, document)
    return document


def train_all(members, options):
    """Train every network of the study; return the documents of each network, one for each seed."""
    jobs = {}
    for seed in range(options.seeds):
        for name, group in members.items():
            jobs[name, seed] = group[seed % len(group)], seed, options.out / "trained" / f"{name}-{seed}"
    missing = sum(not (folder / RESULT).exists() for _, _, folder in jobs.values())
    work = partial(train, data=options.data, recipe=options.recipe, epochs=options.epochs)
    documents, done, began = {}, 0, time.monotonic()
    for (name, seed), document, is_new in finished(work, jobs, options.processes):
        documents[name, seed] = document
        right = np.mean(np.array(document["predicted"]) == document["labels"])
        done += is_new
        left = (time.monotonic() - began) / max(1, done) * (missing - done) / 60
        time_left = f", about {left:.0f} min left" if done else ""
        print(f"{name}, seed {seed}: {right:.1%}; {len(documents)} of {len(jobs)}{time_left}", flush=True)
    return {name: [documents[name, seed] for seed in range(options.seeds)] for name in members}


def finished(work, jobs, processes):
    """Yield the name of each job, its result, and whether it was computed now, as soon as it is there."""
    new = {name: not (job[-1] / RESULT).exists() for name, job in jobs.items()}
    if processes == 1:
        for name, job in jobs.items():
            yield name, work(*job), new[name]
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, context, end_with_parent, (os.getpid(),)) as pool:
        futures = {pool.submit(work, *job): name for name, job in jobs.items()}
        for future in as_completed(futures):
            yield futures[future], future.result(), new[futures[future]]
