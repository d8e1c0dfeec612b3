"""Several processes that work as one under torchrun: what they tell each other, and how they share the work.

All processes run the same job with the same random streams. They share the rows of each batch and the architectures of
each population, and exchange gradients and scores. The first process alone writes files, measures, and reports; what it
decides goes to all of them (`on_first`). In a single process, every function here does what follows from there being no
others, and nothing imports torch.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from nascli.errors import LostProcessError, ProcessGroupError
from nascli.supernet.training.outcomes import outcome_of, result_of

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")
# The others wait while the first process measures, which may take days. A process that dies is noticed at once, by its
# closed connections and by torchrun.
_TIMEOUT = timedelta(days=14)
# Bytes of gradients that are exchanged at a time.
_BUCKET_BYTES = 25_000_000


@dataclass(frozen=True)
class _Group:
    """The group that this process belongs to.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
        store: Store of torchrun, through which the processes agree on who reports an error; None if the caller of
            nascli made the group.
    """

    rank: int
    size: int
    store: Any


# The group that this process joined; None before, and in a single process.
_group: _Group | None = None
# Whether a function runs that is the first process's alone.
_is_on_first = False


def processes_started() -> int:
    """Return the number of processes that torchrun started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join_process_group(device: str = "cpu") -> None:
    """Join the process group of torchrun; do nothing if this process was not started by torchrun, or has joined.

    Processes exchange what lies on cards by NCCL, and everything else by gloo. Processes that share a machine share its
    cores: each computes with its part of them, unless OMP_NUM_THREADS says otherwise.

    Args:
        device: Device on which this process trains: 'cpu', 'cuda:N', or 'mps'.

    Raises:
        ProcessGroupError: The processes of a machine cannot have a device of that kind each.
    """
    global _group
    if _group is not None or processes_started() < 2:
        return
    import torch
    import torch.distributed as dist

    if dist.is_initialized():
        _group = _Group(dist.get_rank(), dist.get_world_size(), None)
        return
    if device == "mps":
        raise ProcessGroupError(
            f"{processes_started()} processes cannot train on one device of kind mps.",
            "Start one process, or train on the CPU.",
        )
    store, rank, size = _rendezvous()
    on_cards = device.startswith("cuda")
    backend = "cpu:gloo,cuda:nccl" if on_cards else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_TIMEOUT)
    _group = _Group(rank, size, store)
    if "OMP_NUM_THREADS" not in os.environ:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", str(size)))
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // local))
    if on_cards:
        _require_own_cards(device)


def _rendezvous(timeout: timedelta = _TIMEOUT) -> tuple[Any, int, int]:
    """Return the store of torchrun, the number of this process, and the number of processes."""
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(rendezvous("env://", timeout=timeout))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        # One agent keeps one store through all restarts of its processes: without a name of its own, a restarted
        # group would find the addresses of the one that died, and wait for it.
        store = PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    return store, rank, size


def store_of_group(timeout: timedelta) -> Any:
    """Return the store through which the processes of torchrun find each other, also before this process has joined.

    Args:
        timeout: How long a process that has not joined yet looks for it.

    Returns:
        A store of torch; None if the caller of nascli made the group.
    """
    return _rendezvous(timeout)[0] if _group is None else _group.store


def _require_own_cards(device: str) -> None:
    """Refuse processes of one machine that have the same card, which NCCL cannot serve.

    Raises:
        ProcessGroupError: On all processes: two of them have the same card.
    """
    machine = os.environ.get("GROUP_RANK", platform.node())
    owners: dict[tuple[str, str], int] = {}
    for number, (theirs, card) in enumerate(on_all(lambda: [machine, device])):
        other = owners.setdefault((theirs, card), number)
        if other != number:
            raise ProcessGroupError(
                f"processes {other} and {number} both train on {card}, and each needs a card of its own.",
                "Name the kind of the device without a number, and start as many processes as the machine has cards.",
            )


def leave_process_group() -> None:
    """Leave the group at the end of a job that succeeded; NCCL warns otherwise."""
    global _group
    if _group is None or _group.store is None:
        return
    import torch.distributed as dist

    _group = None
    dist.destroy_process_group()


def world_size() -> int:
    """Return the number of processes that work together; 1 within a function that the first one runs alone."""
    return 1 if _group is None or _is_on_first else _group.size


def process_number() -> int:
    """Return the number of this process in its group, from 0."""
    return 0 if _group is None else _group.rank


def is_first_process() -> bool:
    """Tell whether this process is the one that writes files and reports progress."""
    return process_number() == 0


def wait_for_all() -> None:
    """Wait until every process is here, for instance before they read a file that the first one wrote."""
    if world_size() > 1:
        on_all(lambda: None)


@contextmanager
def collective() -> Iterator[None]:
    """Turn the failure of an exchange inside the context, which means that a process is gone, into a domain error."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise LostProcessError(
            f"another process ended, so that process {process_number()} cannot go on: {reason}",
            "Read what the other process said; where it said nothing, it was killed, for instance for want of memory.",
        ) from error


def on_first(function: Callable[[], T]) -> T:
    """Run a function on the first process alone, and return its result on all processes.

    All processes call this at the same point. Within the function, the first process is by itself: whatever it calls
    here works as in a single process.

    Args:
        function: Function whose result is a JSON value: dictionaries with text as keys, lists, numbers, text, booleans,
            and None.

    Returns:
        The result, on all processes; tuples in it become lists.

    Raises:
        NascliError: The function raised it; it is raised on all processes.
        ProcessGroupError: On the others, if the function raised anything else on the first process.
    """
    global _is_on_first
    if world_size() == 1:
        return function()
    if not is_first_process():
        result: T = result_of(_broadcast(""))
        return result
    _is_on_first = True
    try:
        outcome, failure = outcome_of(function, process_number())
    finally:
        _is_on_first = False
    if failure is None:
        own: T = result_of(_broadcast(outcome))
        return own
    try:
        _broadcast(outcome)
    except LostProcessError:
        # This process's own failure says more.
        raise failure from None
    raise failure


def on_all(function: Callable[[], T]) -> list[T]:
    """Run a function on every process, and return the results of all processes on each of them.

    All processes call this at the same point.

    Args:
        function: Function whose result is a JSON value, as in `on_first`.

    Returns:
        The results in the order of the processes.

    Raises:
        NascliError: The function raised it on a process; the error of the first such process is raised on all.
        ProcessGroupError: On the others, if the function raised anything else on a process.
    """
    if world_size() == 1:
        return [function()]
    outcome, failure = outcome_of(function, process_number())
    try:
        texts = _gather(outcome)
    except LostProcessError:
        if failure is not None:
            raise failure from None
        raise
    if failure is not None:
        raise failure
    return [result_of(text) for text in texts]


def together(function: Callable[[], T]) -> T:
    """Run a function on every process, and return each one's own result, if it succeeds on all of them.

    All processes call this at the same point.

    Args:
        function: Function that may fail on some processes, for instance because a file is missing there.

    Raises:
        NascliError: The function raised it on a process; the error of the first such process is raised on all.
        ProcessGroupError: On the others, if the function raised anything else on a process.
    """
    results: list[T] = []
    on_all(lambda: results.append(function()))
    return results[0]


def _broadcast(text: str) -> str:
    """Return the text of the first process on all processes."""
    import torch
    import torch.distributed as dist

    data = torch.frombuffer(bytearray(text.encode() + b"\n"), dtype=torch.uint8)
    with collective():
        size = torch.tensor([len(data)])
        dist.broadcast(size, 0)
        if not is_first_process():
            data = torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(data, 0)
    return data.numpy().tobytes().decode()


def _gather(text: str) -> list[str]:
    """Return the texts of all processes, in their order."""
    import torch
    import torch.distributed as dist

    data = torch.frombuffer(bytearray(text.encode() + b"\n"), dtype=torch.uint8)
    with collective():
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(world_size())]
        dist.all_gather(sizes, torch.tensor([len(data)]))
        largest = max(int(size) for size in sizes)
        padded = torch.zeros(largest, dtype=torch.uint8)
        padded[: len(data)] = data
        rows = [torch.empty(largest, dtype=torch.uint8) for _ in sizes]
        dist.all_gather(rows, padded)
    return [row[: int(size)].numpy().tobytes().decode() for row, size in zip(rows, sizes, strict=True)]


def require_same(what: str, value: str) -> None:
    """Check that all processes have the same value, such as the digest of their data.

    Args:
        what: What the value is of, for the message: 'data'.
        value: The value of this process.

    Raises:
        ProcessGroupError: On all processes: one of them has another value.
    """
    if world_size() == 1:
        return
    found = on_all(lambda: [platform.node(), value])
    other = next((number for number, (_, theirs) in enumerate(found) if theirs != found[0][1]), None)
    if other is None:
        return
    raise ProcessGroupError(
        f"the processes have different {what}: process 0 on {found[0][0]} has {found[0][1]}, and process {other} on "
        f"{found[other][0]} has {found[other][1]}.",
        "Give all processes the same files, for instance in a folder that all machines share.",
    )


def rows_of_this_process(batch: int) -> slice:
    """Return the rows of a batch that this process takes.

    Args:
        batch: Number of rows of the batch.
    """
    return slice(None) if world_size() == 1 else slice(process_number(), batch, world_size())


def loss_weight(batch: int) -> float:
    """Return the factor of this process's mean loss over its rows, with which the mean over processes is the batch's.

    It is 1 where all processes have equally many rows.

    Args:
        batch: Number of rows of the batch.
    """
    own = len(range(batch)[rows_of_this_process(batch)])
    return own * world_size() / batch


def require_rows(batch: int) -> None:
    """Refuse a batch in which a process would have no rows.

    Args:
        batch: Number of rows of the smallest part of a step that is computed at a time.

    Raises:
        ProcessGroupError: There are more processes than rows.
    """
    if batch < world_size():
        raise ProcessGroupError(
            f"{world_size()} processes cannot share {batch} images that are computed at a time.",
            "Start fewer processes, or train with larger batches in fewer parts.",
        )


def shares(items: Sequence[T]) -> list[Sequence[T]]:
    """Return the parts of a sorted list that the processes take: consecutive entries, equally many up to one.

    Args:
        items: The entries.
    """
    size, count = world_size(), len(items)
    return [items[number * count // size : (number + 1) * count // size] for number in range(size)]


def compute_shares(items: Sequence[Any], compute: Callable[[Sequence[Any]], Sequence[T]]) -> list[T]:
    """Compute something for each entry of a sorted list, each process for its share, and return all results everywhere.

    All processes call this at the same point with the same list.

    Args:
        items: The entries.
        compute: Function from several entries to a JSON value for each of them; it is not called without entries.

    Raises:
        NascliError: `compute` raised it on a process.
    """
    own = shares(items)[process_number() if world_size() > 1 else 0]
    parts = on_all(lambda: list(compute(own)) if len(own) else [])
    return [result for part in parts for result in part]


def average_gradients(parameters: Sequence[Tensor]) -> None:
    """Average gradients over all processes, in place.

    Args:
        parameters: Parameters that the step used, all on one device. All processes follow the same path of a supernet,
            so these are the same everywhere.
    """
    if world_size() == 1:
        return
    import torch
    import torch.distributed as dist

    gradients = [p.grad for p in parameters if p.grad is not None]
    exchanges = []
    with torch.no_grad(), collective():
        for bucket in _buckets(gradients):
            flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
            exchanges.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
        for bucket, flat, exchange in exchanges:
            exchange.wait()
            flat /= world_size()
            parts = torch.split(flat, [gradient.numel() for gradient in bucket])
            torch._foreach_copy_(
                bucket, [part.view_as(gradient) for part, gradient in zip(parts, bucket, strict=True)]
            )


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield consecutive tensors of one type, together of at most so many bytes as are exchanged at a time."""
    bucket: list[Tensor] = []
    filled = 0
    for tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        if bucket and (filled + size > _BUCKET_BYTES or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, filled = [], 0
        bucket.append(tensor)
        filled += size
    if bucket:
        yield bucket


def add_up(tensor: Tensor) -> Tensor:
    """Add up a tensor over all processes, in place; return it.

    Args:
        tensor: A tensor of the same shape on all processes.
    """
    if world_size() > 1:
        import torch.distributed as dist

        with collective():
            dist.all_reduce(tensor)
    return tensor


def share_buffers(module: nn.Module) -> None:
    """Give all processes the buffers of the first one, in place: normalisation statistics that each collected itself.

    Args:
        module: A module with the same buffers on all processes.
    """
    if world_size() == 1:
        return
    import torch
    import torch.distributed as dist

    with torch.no_grad(), collective():
        for bucket in _buckets([buffer for buffer in module.buffers() if buffer.is_floating_point()]):
            flat = torch.cat([buffer.reshape(-1) for buffer in bucket])
            dist.broadcast(flat, 0)
            parts = torch.split(flat, [buffer.numel() for buffer in bucket])
            torch._foreach_copy_(bucket, [p.view_as(buffer) for p, buffer in zip(parts, bucket, strict=True)])
