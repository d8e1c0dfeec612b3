"""Search spaces and what they consist of: primitives, operators, blocks, architectures, and their counts."""

from nascli.spaces.architecture import Architecture
from nascli.spaces.blocks import FixedBlock, Layer
from nascli.spaces.catalog import load_space, make_space, space_names
from nascli.spaces.counts import Counts, count
from nascli.spaces.network import Network
from nascli.spaces.operators.definition import Operator, Value
from nascli.spaces.operators.registry import operator, operator_family
from nascli.spaces.primitives import Shape
from nascli.spaces.programs import Program
from nascli.spaces.registry import space_factory
from nascli.spaces.space import Population, Space

__all__ = [
    "Architecture",
    "Counts",
    "FixedBlock",
    "Layer",
    "Network",
    "Operator",
    "Population",
    "Program",
    "Shape",
    "Space",
    "Value",
    "count",
    "load_space",
    "make_space",
    "operator",
    "operator_family",
    "space_factory",
    "space_names",
]
