"""Networks of known figures, for tests of their pages."""

from nascli.report.breakdown_summary import NetworkFigures, PieceFigures


def piece(
    number,
    name,
    seconds,
    *,
    key=None,
    kind=None,
    macs=1e6,
    moved=1e5,
    least=None,
    is_compute_bound=True,
    own=None,
):
    """A piece with an interval of a tenth and two nodes of the runtime."""
    return PieceFigures(
        number=number,
        name=name,
        kind=kind or name,
        operator=f"op {name}",
        key=key or f"{name}-{number}",
        output="8x4x4",
        seconds=seconds,
        half_width=seconds / 10,
        macs=macs,
        bytes=moved,
        least_seconds=seconds / 2 if least is None else least,
        is_compute_bound=is_compute_bound,
        runtime_seconds=own,
        nodes=((f"n{number}", "Conv", seconds * 0.75), (f"n{number}.act", "Relu", seconds / 4))
        if own
        else (),
    )


def network(pieces, *, name="net", outside=0.0, note=""):
    """A network of pieces and what it takes outside of them."""
    seconds = sum(p.seconds for p in pieces) + outside
    own = [p.runtime_seconds for p in pieces if p.runtime_seconds is not None]
    return NetworkFigures(
        name=name,
        seconds=seconds,
        low=seconds * 0.99,
        high=seconds * 1.01,
        outside=outside,
        outside_half_width=1e-5,
        pieces=tuple(pieces),
        peak_macs=1e10,
        copies=((1e6, 8e10), (1e8, 2e10)),
        peak_source="measured",
        runtime="ort-cpu",
        runtime_total=sum(own) if own else None,
        runtime_note=note,
        batch=1,
        provenance=(("device", "cpu-x"), ("runtime", "ort-cpu 1.0")),
    )


def repeating(name="net"):
    """Four attentions, of which three are equal, and a slow pooling."""
    return network(
        [
            piece(0, "conv 3x3", 1e-3, own=1.1e-3),
            piece(1, "attention", 2e-3, key="a", own=2e-3),
            piece(2, "pool", 0.5e-3, macs=0.0, least=0.05e-3, is_compute_bound=False, own=0.4e-3),
            piece(3, "attention", 2e-3, key="a", own=2e-3),
            piece(4, "attention", 2e-3, key="a", own=2e-3),
            piece(5, "attention", 1.5e-3, key="b", own=1.4e-3),
        ],
        name=name,
        outside=1e-3,
    )
