"""What this pack asks of ComfyUI-GGUF, written anew for machines that cannot fetch it. Not a test itself.

Same names, arguments and behaviour: packed weights are tensors of a class of their own with the shape of what they
stand for, layers unpack them when they are called, and the patcher adds LoRAs to what is unpacked.
"""

from __future__ import annotations

from typing import Any

import comfy.lora
import comfy.model_patcher
import comfy.ops
import comfy.utils
import gguf
import torch
from torch import Tensor

PLAIN = (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16)


class GGMLTensor(Tensor):
    """Packed numbers; `shape` is that of the weight."""

    def __new__(cls, data: Tensor, **_: Any) -> GGMLTensor:
        return super().__new__(cls, data)

    def __init__(self, data: Tensor, *, tensor_type: Any, tensor_shape: torch.Size) -> None:
        super().__init__()
        self.tensor_type, self.tensor_shape, self.patches = tensor_type, tensor_shape, []

    def to(self, *args: Any, **kwargs: Any) -> GGMLTensor:
        """Keeps what it stands for."""
        new = super().to(*args, **kwargs)
        new.tensor_type, new.tensor_shape, new.patches = self.tensor_type, self.tensor_shape, list(self.patches)
        return new

    def clone(self, *_: Any, **__: Any) -> GGMLTensor:
        """Itself, as there."""
        return self

    def detach(self) -> GGMLTensor:
        """Itself, as there."""
        return self

    @property
    def shape(self) -> torch.Size:
        """Of the weight."""
        return self.tensor_shape


def gguf_sd_loader(path: str) -> dict[str, Tensor]:
    """All tensors of a file, plain ones in the same class."""
    reader = gguf.GGUFReader(path)
    architecture = reader.get_field("general.architecture").contents()
    if architecture not in {"flux", "sd1", "sdxl", "wan"}:
        raise ValueError(f"Unexpected architecture type in GGUF file: {architecture!r}")
    found = {}
    for tensor in reader.tensors:
        shape = torch.Size(int(size) for size in reversed(tensor.shape))
        original = reader.get_field(f"comfy.gguf.orig_shape.{tensor.name}")
        shape = shape if original is None else torch.Size(original.contents())
        data = torch.from_numpy(tensor.data.copy())
        data = data.view(*shape) if tensor.tensor_type in PLAIN else data
        found[tensor.name] = GGMLTensor(data, tensor_type=tensor.tensor_type, tensor_shape=shape)
    return found


class GGMLOps(comfy.ops.manual_cast):
    """Linear layers that unpack."""

    class Linear(comfy.ops.manual_cast.Linear):
        """See `GGMLOps`."""

        def __init__(self, in_features: int, out_features: int, bias: bool = True, **_: Any) -> None:
            torch.nn.Module.__init__(self)
            self.in_features, self.out_features, self.weight, self.bias = in_features, out_features, None, None

        def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
            for name in ("weight", "bias"):
                if prefix + name in state:
                    setattr(self, name, torch.nn.Parameter(state[prefix + name], requires_grad=False))

        def forward_comfy_cast_weights(self, x: Tensor) -> Tensor:
            """Unpacks, patches, multiplies."""
            if not isinstance(self.weight, GGMLTensor):
                return super().forward_comfy_cast_weights(x)
            packed = self.weight.as_subclass(Tensor).numpy()
            weight = torch.from_numpy(gguf.quants.dequantize(packed, self.weight.tensor_type)).view(self.weight.shape)
            for patches, key in self.weight.patches:
                weight = comfy.lora.calculate_weight(patches, weight, key)
            bias = None if self.bias is None else self.bias.to(x)
            return torch.nn.functional.linear(x, weight.to(x), bias)


class GGUFModelPatcher(comfy.model_patcher.ModelPatcher):
    """Hands LoRAs to packed weights instead of adding them."""

    def patch_weight_to_device(self, key: str, device_to: Any = None, inplace_update: bool = False) -> None:
        """See the class."""
        weight = comfy.utils.get_attr(self.model, key)
        if key not in self.patches:
            return
        if not isinstance(weight, GGMLTensor):
            super().patch_weight_to_device(key, device_to, inplace_update)
            return
        patched = weight.to(device_to)
        patched.patches = [(self.patches[key], key)]
        comfy.utils.set_attr_param(self.model, key, patched)

    def unpatch_model(self, device_to: Any = None, unpatch_weights: bool = True) -> None:
        """Takes the LoRAs away again."""
        for weight in self.model.parameters():
            if unpatch_weights and isinstance(weight, GGMLTensor):
                weight.patches = []
        super().unpatch_model(device_to, unpatch_weights)

    def load(self, *args: Any, force_patch_weights: bool = False, **kwargs: Any) -> None:
        """Always patches."""
        super().load(*args, force_patch_weights=True, **kwargs)

    def clone(self, *args: Any, **kwargs: Any) -> GGUFModelPatcher:
        """Of any patcher one of this class."""
        before, self.__class__ = self.__class__, GGUFModelPatcher
        new = super().clone(*args, **kwargs)
        new.__class__, self.__class__ = GGUFModelPatcher, before
        return new


class UnetLoaderGGUF:
    """The node by which the pack is known."""
