"""What the roofline needs to know of a device, from its data sheet."""

from __future__ import annotations

from dataclasses import dataclass

from nascli.errors import DeviceError


@dataclass(frozen=True)
class Hardware:
    """Figures of a data sheet, in SI units.

    Attributes:
        key: the device's name.
        peak: by precision, operations a second, a multiply-add counted as two.
        bandwidth: bytes a second from device memory.
        processors: streaming multiprocessors.
    """

    key: str
    peak: tuple[tuple[str, float], ...]
    bandwidth: float
    processors: int

    def peak_of(self, precision: str) -> float:
        """Operations a second at a precision.

        Raises:
            DeviceError: the data sheet has no figure for it.
        """
        known = dict(self.peak)
        if precision not in known:
            raise DeviceError(
                f"the data sheet of {self.key} gives no peak for {precision}; it has {', '.join(known)}.",
                "Choose one of these: --precision",
            )
        return known[precision]


def hardware(key: str, peak: tuple[tuple[str, float], ...], bandwidth: float, processors: int) -> Hardware:
    """A device by its figures.

    Raises:
        DeviceError: a figure that is not above 0.
    """
    if bandwidth <= 0 or processors < 1 or any(value <= 0 for _, value in peak):
        raise DeviceError(f"{key}: peak, bandwidth and processors must be above 0")
    return Hardware(key, peak, bandwidth, processors)
