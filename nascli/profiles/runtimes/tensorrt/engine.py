"""Building, reading and inspecting TensorRT engines: one code path for TensorRT 10 and 11.

Networks are strongly typed: what an ONNX model is written in is what the engine computes in, so fp16 means an
fp16 model and int8 one with QuantizeLinear and DequantizeLinear. TF32 is off unless it is asked for.
"""

from __future__ import annotations

import json
from typing import Any

from nascli.errors import DeviceError, ModelRefusedError
from nascli.profiles.cuda.base import means_lost_card
from nascli.profiles.runtimes.base import TimingCache

WORKSPACE_BYTES = 1 << 30
# Kernels are timed this often while an engine is built; the API's default of 1 picks by chance.
TIMING_ITERATIONS = 8
ATTEMPTS = 3


class Messages:
    """Collects what TensorRT complains about, since its functions only return None."""

    def __init__(self, trt: Any) -> None:
        complaints: list[str] = []
        warnings: list[str] = []

        class Log(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, msg: str) -> None:
                if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                    complaints.append(msg)
                elif severity == trt.ILogger.Severity.WARNING:
                    warnings.append(msg)

        self._complaints, self._warnings = complaints, warnings
        self.logger = Log()

    def take(self) -> str:
        """All complaints since the last call, as one line; where there is none, the last warnings, since CUDA that
        cannot be initialised is but a warning."""
        text = "; ".join(self._complaints or self._warnings[-3:]) or "TensorRT does not say why"
        self._complaints.clear()
        self._warnings.clear()
        return " ".join(text.split())


def failure(what: str, text: str) -> DeviceError:
    """What a complaint of TensorRT means: this model, or the card."""
    if means_lost_card(text):
        return DeviceError(
            f"the card failed: {text}",
            "What was measured is kept. Look at nvidia-smi, and run the same command again.",
        )
    return ModelRefusedError(f"TensorRT cannot {what}: {text}")


def build(trt: Any, messages: Messages, model: bytes, *, tf32: bool, cache: TimingCache) -> bytes:
    """An engine for an ONNX model, as bytes.

    Args:
        trt: the TensorRT module.
        messages: where its complaints go.
        model: the ONNX model.
        tf32: whether fp32 convolutions may round their inputs to TF32.
        cache: what earlier builds found out about kernels; what this one finds out is added.

    Raises:
        ModelRefusedError: TensorRT cannot read it, or has no kernel for it, in several attempts.
        DeviceError: the card failed.
    """
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            builder = trt.Builder(messages.logger)
        except TypeError as error:
            # What the bindings make of a builder that could not be: CUDA or the driver, and never the model.
            raise DeviceError(
                f"TensorRT cannot start: {messages.take()}",
                "Its CUDA and the driver's may not fit: nascli doctor says which.",
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
        # A cache of another card or version does not fit, and is begun anew.
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
    """The layers of an engine by name; what was fused carries the names of all its parts.

    Raises:
        DeviceError: an answer that is no document.
    """
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        layers = json.loads(text)["Layers"]
    except (ValueError, KeyError, TypeError) as error:
        raise DeviceError(f"TensorRT's inspector gives no list of layers: {error}") from error
    return [layer if isinstance(layer, str) else str(layer.get("Name", layer)) for layer in layers]
