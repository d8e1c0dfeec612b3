"""Small trainings, and one that is killed, for tests of training and of what goes on with it."""

import numpy as np
import torch

from nascli.progress import Silent
from nascli.supernet.separate import Supernet
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer

RECIPE = Recipe(epochs=2, batch=64)


def random_paths(space):
    return lambda step: space.sample(1, np.random.default_rng([7, step]))[0].tolist()


def supernet_trainer(space, images, recipe=RECIPE):
    torch.manual_seed(0)
    return Trainer(Supernet(space), images.train, recipe, seed=3, path_of_step=random_paths(space))


class Killed(Silent):
    """A progress display that interrupts the training after some steps, as a signal does."""

    def __init__(self, after):
        self.left = after

    def advance(self, steps=1, note=""):
        self.left -= steps if note else 0
        if self.left <= 0:
            raise KeyboardInterrupt
