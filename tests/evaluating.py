"""An evaluator for tests: a function of one architecture, whose errors are the test's."""

from nascli.search.base import Evaluation


class OneByOne:
    """Evaluates one architecture after the other with a function that returns a `Score`."""

    def __init__(self, function):
        self.function = function

    def evaluate(self, batch):
        for architecture in batch:
            yield Evaluation(architecture, self.function(architecture), 0.0)

    def close(self):
        pass
