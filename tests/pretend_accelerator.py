"""A pretend accelerator, which proves on a machine without a card that code keeps to one device and does not wait.

Inside `Accelerator`, the device "cuda" is there: its tensors lie in the memory of the host and are computed there, but
are marked as the card's. As CUDA does, an operation is refused that mixes marked and unmarked tensors, and so is
`.numpy()` of a marked one. Whatever would make the host wait for the card is counted.

The mark belongs to the storage: views, detached tensors, and what autograd saved have it too.
"""

import traceback
from contextlib import ExitStack
from unittest import mock

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CARD, HOST = torch.device("cuda", 0), torch.device("cpu")
aten = torch.ops.aten
# The host waits until their result is known.
WAITING = {
    aten._local_scalar_dense,
    aten.equal,
    aten.is_nonzero,
    aten.nonzero,
    aten.masked_select,
    aten._unique2,
}
# Here even scalars must be on one device; elsewhere a scalar of the host may meet tensors of the card.
STRICT = {aten.cat, aten.stack, aten._fused_sgd_, aten._fused_adam_, aten._fused_adamw_}
INDEXING = {aten.index, aten.index_put_, aten.index_put, aten._index_put_impl_}


class Marks:
    """The storages that are in the pretended card's memory."""

    def __init__(self):
        # A weak reference keeps the address of a storage from being used again.
        self._storages = {}

    def has(self, tensor):
        return _storage(tensor)._cdata in self._storages

    def set(self, tensor, on_card):
        storage = _storage(tensor)
        if on_card:
            self._storages[storage._cdata] = StorageWeakRef(storage)
        else:
            self._storages.pop(storage._cdata, None)
        if len(self._storages) > 20_000:
            self._storages = {key: ref for key, ref in self._storages.items() if not ref.expired()}


def _storage(tensor):
    with torch._C.DisableTorchFunction():
        return tensor.untyped_storage()


class Accelerator:
    """A context in which torch has a card.

    Attributes:
        waits: For each time that the host had to wait for the card: the operation, and the line that asked for it.
    """

    def __init__(self):
        self.marks = Marks()
        # Zeros that autograd makes where there is no gradient; it would make them on the right device.
        self.neutral = Marks()
        self.in_backward = False
        self.waits = []
        self._stack = ExitStack()

    def __enter__(self):
        self._stack.enter_context(_Operations(self))
        self._stack.enter_context(_Functions(self))
        self._stack.enter_context(
            mock.patch("torch.cuda.synchronize", lambda device=None: self.waited("synchronize"))
        )
        group = torch._C._group_tensors_by_device_and_dtype
        self._stack.enter_context(
            mock.patch(
                "torch._C._group_tensors_by_device_and_dtype", lambda *args: self.grouped(group(*args))
            )
        )
        return self

    def __exit__(self, *error):
        self._stack.close()

    def waited(self, what):
        frames = [
            f for f in traceback.extract_stack() if "/torch/" not in f.filename and f.filename != __file__
        ]
        self.waits.append(f"{what} at {frames[-1].filename}:{frames[-1].lineno}")

    def grouped(self, groups):
        """What torch's optimisers and clipping work on, by the devices that the tensors pretend to be on."""
        return {
            (CARD if self.marks.has(lists[0][0]) else HOST, dtype): (lists, indices)
            for (_, dtype), (lists, indices) in groups.items()
        }

    def copied(self, tensor, on_card, waits=True):
        """The tensor in the other memory, with a gradient that finds its way back."""
        if self.marks.has(tensor) == on_card:
            return tensor
        if waits:
            self.waited("copy to the card" if on_card else "copy to the host")
        return _Copy.apply(tensor, on_card, self)


class _Copy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor, on_card, accelerator):
        ctx.accelerator, ctx.on_card = accelerator, on_card
        copy = tensor.clone()
        accelerator.marks.set(copy, on_card)
        return copy

    @staticmethod
    def backward(ctx, gradient):
        ctx.accelerator.waited("copy of a gradient")
        copy = gradient.clone()
        ctx.accelerator.marks.set(copy, not ctx.on_card)
        return copy, None, None


class _Operations(TorchDispatchMode):
    """Hands marks on from inputs to outputs, and refuses operations on tensors of two memories."""

    def __init__(self, accelerator):
        super().__init__()
        self._accelerator = accelerator

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, accelerator = kwargs or {}, self._accelerator
        packet, marks = func.overloadpacket, accelerator.marks
        leaves = tree_leaves((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        inputs = [tensor for tensor in tensors if not accelerator.neutral.has(tensor)]
        marked = [marks.has(tensor) for tensor in inputs]
        if packet is aten.copy_:
            marked = [marks.has(tensor) for tensor in args[:2]]
            if marked[0] != marked[1] and not (args[2:3] == (True,) or kwargs.get("non_blocking")):
                accelerator.waited("copy_")
        elif packet in INDEXING:
            self._check_indices(func, args, marks)
        elif packet not in (aten.set_,):
            self._check_memories(func, packet, inputs, marked)
        if any(marked) and packet in WAITING:
            accelerator.waited(str(packet))
        if any(marked) and any(isinstance(leaf, torch.Generator) for leaf in leaves):
            raise RuntimeError(f"{func}: a generator of the host cannot fill a tensor of the card")
        known = {_storage(tensor)._cdata for tensor in tensors}
        out = func(*args, **kwargs)
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and _storage(tensor)._cdata not in known:
                marks.set(tensor, marked[0] if packet in INDEXING else any(marked))
                accelerator.neutral.set(tensor, accelerator.in_backward and packet is aten.zeros)
        return out

    @staticmethod
    def _check_memories(func, packet, inputs, marked):
        foreach = packet in STRICT or packet.__name__.startswith("_foreach")
        if foreach:
            mixed = len(set(marked)) > 1
        else:
            arrays = {mark for tensor, mark in zip(inputs, marked, strict=True) if tensor.dim() > 0}
            scalars = {mark for tensor, mark in zip(inputs, marked, strict=True) if tensor.dim() == 0}
            mixed = len(arrays) > 1 or (arrays == {False} and True in scalars)
        if mixed:
            shapes = [(tuple(t.shape), "cuda" if m else "cpu") for t, m in zip(inputs, marked, strict=True)]
            raise RuntimeError(f"{func}: expected all tensors to be on the same device, got {shapes}")

    def _check_indices(self, func, args, marks):
        on_card = marks.has(args[0])
        for index in args[1]:
            if index is None:
                continue
            if marks.has(index) and not on_card:
                raise RuntimeError(f"{func}: an index of the card into a tensor of the host")
            if on_card and not marks.has(index):
                self._accelerator.waited("copy of an index to the card")
            if on_card and index.dtype == torch.bool:
                self._accelerator.waited("indices of a mask")
        if len(args) > 2 and args[2].dim() > 0 and marks.has(args[2]) != on_card:
            raise RuntimeError(f"{func}: values and tensor are on two devices")


class _Functions(TorchFunctionMode):
    """Answers what would ask a real card, and takes its name out of arguments."""

    def __init__(self, accelerator):
        super().__init__()
        self._accelerator = accelerator

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, accelerator = dict(kwargs or {}), self._accelerator
        marks, getter = accelerator.marks, getattr(func, "__self__", None)
        if getter is torch.Tensor.device:
            return CARD if marks.has(args[0]) else HOST
        if getter is torch.Tensor.is_cuda:
            return marks.has(args[0])
        if getter is torch.Tensor.is_cpu:
            return not marks.has(args[0])
        if func in (torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.cuda):
            return self._moved(func, args, kwargs)
        if func is torch._C._nn._parse_to:
            # How `Module.to` reads its arguments.
            return func(*args, **kwargs)
        if func in (torch.Tensor.numpy, torch.Tensor.__array__) and marks.has(args[0]):
            raise TypeError(
                "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy it first."
            )
        if func is torch.Tensor.tolist and marks.has(args[0]):
            accelerator.waited("tolist")
        device = kwargs.pop("device", None)
        if device is not None:
            kwargs["device"] = HOST
        accelerator.in_backward = func is torch.Tensor.backward
        try:
            out = func(*args, **kwargs)
        finally:
            accelerator.in_backward = False
        if device is not None and isinstance(out, torch.Tensor):
            on_card = torch.device(device).type == "cuda"
            if on_card and func in (torch.tensor, torch.as_tensor):
                accelerator.waited("a tensor from values of the host")
            marks.set(out, on_card)
        return out

    def _moved(self, func, args, kwargs):
        tensor, *rest = args
        if func is not torch.Tensor.to:
            rest = [HOST if func is torch.Tensor.cpu else CARD, *rest]
        device, kept, flags = kwargs.pop("device", None), [], []
        for value in rest:
            if isinstance(value, torch.Tensor):
                device = CARD if self._accelerator.marks.has(value) else HOST
                kept.append(value.dtype)
            elif isinstance(value, (torch.device, str)):
                device = value
            elif isinstance(value, bool):
                flags.append(value)
            elif value is not None:
                kept.append(value)
        non_blocking = kwargs.pop("non_blocking", False) or flags[:1] == [True]
        copy = kwargs.get("copy", False) or flags[1:2] == [True]
        if device is not None:
            moved = self._accelerator.copied(
                tensor, torch.device(device).type == "cuda", waits=not non_blocking
            )
            if moved is not tensor:
                kwargs.pop("copy", None)
                copy = False
            tensor = moved
        if copy:
            kwargs["copy"] = True
        return torch.Tensor.to(tensor, *kept, **kwargs) if kept or kwargs else tensor
