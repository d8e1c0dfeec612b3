"""TensorRT: building engines, and running them."""

from nascli.profiles.runtimes.tensorrt.runtime import TensorRt

RUNTIMES = (TensorRt(),)
