"""Building and inspecting TensorRT engines, with one code path for TensorRT 10 and 11.

Networks are strongly typed: the engine computes in the types in which the ONNX model is written. So fp16 needs an fp16
model, and int8 needs a model with QuantizeLinear and DequantizeLinear. TF32 is off unless it is requested.
"""

from __future__ import annotations

import json
from typing import Any

from nascli.errors import DeviceError, ModelRefusedError, Remedy
from nascli.profiles.cuda.base import means_lost_card
from nascli.profiles.runtimes.base import TimingCache

WORKSPACE_BYTES = 1 << 30
# How often the builder times a kernel. With the API's default of 1 the choice of kernels is largely random.
TIMING_ITERATIONS = 8
# How often a build is tried, since builds may fail by chance.
ATTEMPTS = 3


class Messages:
    """Collects the errors that TensorRT logs, since its functions only return None.

    Args:
        trt: The TensorRT module.

    Attributes:
        logger: The logger to be given to TensorRT.
    """

    def __init__(self, trt: Any) -> None:
        errors: list[str] = []
        warnings: list[str] = []

        class Log(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, msg: str) -> None:
                if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                    errors.append(msg)
                elif severity == trt.ILogger.Severity.WARNING:
                    warnings.append(msg)

        self._errors, self._warnings = errors, warnings
        self.logger = Log()

    def take(self) -> str:
        """Return and forget all errors since the last call, as one line.

        Without errors it returns the last warnings, since TensorRT only warns if CUDA cannot be initialised.
        """
        text = "; ".join(self._errors or self._warnings[-3:]) or "TensorRT does not say why"
        self._errors.clear()
        self._warnings.clear()
        return " ".join(text.split())


def failure(what: str, text: str) -> DeviceError:
    """Return the error to raise when TensorRT failed: a DeviceError if the card failed, else a ModelRefusedError.

    Args:
        what: What TensorRT could not do, such as 'build an engine'.
        text: What it logged.
    """
    if means_lost_card(text):
        return DeviceError(
            f"the card failed: {text}",
            "What was measured is kept. Look at nvidia-smi, and run the same command again.",
        )
    return ModelRefusedError(f"TensorRT cannot {what}: {text}")


def build(trt: Any, messages: Messages, model: bytes, *, tf32: bool, cache: TimingCache) -> bytes:
    """Build an engine for an ONNX model.

    Args:
        trt: The TensorRT module.
        messages: Collects the errors of TensorRT.
        model: The bytes of the ONNX model.
        tf32: Whether fp32 convolutions may round their inputs to TF32.
        cache: What earlier builds learned about kernels; what this one learns is added.

    Returns:
        The serialised engine.

    Raises:
        ModelRefusedError: TensorRT cannot read the model, or several attempts to build an engine failed.
        DeviceError: TensorRT cannot start, or the card failed.
    """
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            builder = trt.Builder(messages.logger)
        except TypeError as error:
            # The bindings raise this if CUDA or the driver fails; the model is not known to the builder yet.
            raise DeviceError(
                f"TensorRT cannot start: {messages.take()}",
                "Its CUDA and the driver's may not fit. See which.",
                Remedy(job="run_checks"),
            ) from error
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, messages.logger)
        if not parser.parse(model):
            errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
            raise ModelRefusedError(f"TensorRT cannot read the model: {'; '.join(errors) or messages.take()}")
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
        config.avg_timing_iterations = TIMING_ITERATIONS
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        (config.set_flag if tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
        known = config.create_timing_cache(cache.read())
        # A cache of another card or version is rejected, and an empty one takes its place.
        if known is None or not config.set_timing_cache(known, False):
            config.set_timing_cache(config.create_timing_cache(b""), False)
        engine = builder.build_serialized_network(network, config)
        if engine is not None:
            cache.write(bytes(memoryview(config.get_timing_cache().serialize())))
            return bytes(memoryview(engine))
        reason = messages.take()
        if means_lost_card(reason):
            break
    raise failure("build an engine", reason)


def layers_of(trt: Any, engine: Any) -> list[str]:
    """Return the names of an engine's layers; a fused layer has the names of all its parts.

    Raises:
        DeviceError: The inspector's answer is not a list of layers.
    """
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        layers = json.loads(text)["Layers"]
    except (ValueError, KeyError, TypeError) as error:
        raise DeviceError(f"TensorRT's inspector gives no list of layers: {error}") from error
    return [layer if isinstance(layer, str) else str(layer.get("Name", layer)) for layer in layers]
