"""The figures of a data sheet that the roofline model needs."""

from __future__ import annotations

from dataclasses import dataclass

from nascli.errors import DeviceError, Remedy


@dataclass(frozen=True)
class Hardware:
    """Figures of a data sheet, in SI units.

    Attributes:
        key: Name of the device.
        peak: Pairs of a precision and its operations per second, where a multiply-add counts as two.
        bandwidth: Bytes per second of device memory.
        processors: Number of streaming multiprocessors.
    """

    key: str
    peak: tuple[tuple[str, float], ...]
    bandwidth: float
    processors: int

    def peak_of(self, precision: str) -> float:
        """Return the operations per second at a precision.

        Raises:
            DeviceError: The data sheet has no figure for the precision.
        """
        known = dict(self.peak)
        if precision not in known:
            raise DeviceError(
                f"the data sheet of {self.key} gives no peak for {precision}; it has {', '.join(known)}.",
                "Choose one of these.",
                Remedy(arguments={"precision": None}),
            )
        return known[precision]


def hardware(key: str, peak: tuple[tuple[str, float], ...], bandwidth: float, processors: int) -> Hardware:
    """Return the figures of a device, after checking them; see `Hardware`.

    Raises:
        DeviceError: A figure is not above 0.
    """
    if bandwidth <= 0 or processors < 1 or any(value <= 0 for _, value in peak):
        raise DeviceError(f"{key}: peak, bandwidth and processors must be above 0")
    return Hardware(key, peak, bandwidth, processors)
