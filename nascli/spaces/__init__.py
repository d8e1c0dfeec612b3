"""What can be searched: primitives, operators, layers, spaces, architectures, and their counts."""

from nascli.spaces.architecture import Architecture
from nascli.spaces.catalog import load_space, make_space, space_factory, space_names
from nascli.spaces.counts import Counts, count
from nascli.spaces.network import Network
from nascli.spaces.operators import Operator, Value, operator, operator_family
from nascli.spaces.primitives import Program, Shape
from nascli.spaces.space import Codes, Layer, Space

__all__ = [
    "Architecture",
    "Codes",
    "Counts",
    "Layer",
    "Network",
    "Operator",
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
