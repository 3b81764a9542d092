"""Modules around a tower, or a part of one, whose frozen weights are not in their checkpoints."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from vlm_dense.errors import CheckpointError
from vlm_dense.vlms.linear_slots import plain_name
from vlm_dense.vlms.tuning import set_modes


class PartlyFrozen(BaseModule):
    """Keeps what is frozen of one of its parts in eval mode and out of its state dict.

    The weights come from where the part was built. In their place the state dict holds their SHA-256 as 32 bytes, under
    '<part>_sha256'; loading compares it. A state dict that holds the weights, as older ones do, loads too. Names are
    those of the part before it was tuned, see `plain_name`.

    Args:
        in_checkpoint: Hold the frozen weights all the same.
    """

    part_name: str

    def __init__(self, in_checkpoint: bool = False, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.in_checkpoint = in_checkpoint
        self.register_state_dict_post_hook(_leave_out)

    def _hold(self, names: set[str]) -> None:
        """Take note of what is frozen, when the part is built and tuned.

        Args:
            names: Of the part's state dict before it was tuned.
        """
        self._given = frozenset(names)
        self._frozen = frozenset(_frozen_names(self._part))
        self.frozen = not any(parameter.requires_grad for parameter in self._part.parameters())
        set_modes(self._part, self.training)

    @property
    def _part(self) -> nn.Module:
        return getattr(self, self.part_name)

    def train(self, mode: bool = True) -> Any:
        """Switch the mode; what is frozen of the part stays in eval mode."""
        super().train(mode)
        set_modes(self._part, mode)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        start, seal = f'{prefix}{self.part_name}.', f'{prefix}{self.part_name}_sha256'
        sealed = state_dict.pop(seal, None)
        own = self._part.state_dict()
        for raw in own:
            if start + plain_name(raw) in state_dict:
                state_dict[start + raw] = state_dict.pop(start + plain_name(raw))
        missing = {raw: weight for raw, weight in own.items() if start + raw not in state_dict}
        if sealed is not None and not torch.equal(sealed.cpu(), self._seal(missing)):
            raise CheckpointError(
                f'the checkpoint was trained with other frozen weights than {type(self).__name__} has here. '
                'Give the config that it was trained with, and the same file of pretrained weights.'
            )
        if not self.in_checkpoint:
            self._check_held({raw: state_dict[start + raw] for raw in self._frozen if raw not in missing}, own)
        # What a sealed checkpoint lacks, it has as it is here; what was frozen then may learn now.
        known = self._frozen if sealed is None else self._frozen | set(filter(self._is_given, missing))
        state_dict.update({start + raw: weight for raw, weight in missing.items() if raw in known})
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _check_held(self, weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
        """Refuse frozen weights of another part. The tolerance lets half precision through."""
        for name, weight in weights.items():
            mine = own[name].detach().cpu()
            same = weight.shape == mine.shape and torch.allclose(
                weight.detach().cpu().double(), mine.double(), rtol=1e-2, atol=1e-6
            )
            if not same:
                raise CheckpointError(
                    f"the checkpoint holds another '{plain_name(name)}' than the frozen one of {type(self).__name__}. "
                    'Give the pretrained weights that it was trained with, or set in_checkpoint=True to take its own.'
                )

    def _is_given(self, name: str) -> bool:
        return plain_name(name) in self._given

    def _seal(self, weights: Mapping[str, Tensor]) -> Tensor:
        """SHA-256 over those of the weights that the part had before it was tuned, as (32,) bytes."""
        digest = hashlib.sha256()
        for name in sorted(filter(self._is_given, weights), key=plain_name):
            values = weights[name].detach().cpu().contiguous()
            values = values.float() if values.is_floating_point() else values
            digest.update(f'{plain_name(name)}{tuple(values.shape)}'.encode())
            digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
        return torch.tensor(list(digest.digest()), dtype=torch.uint8)


def _leave_out(module: PartlyFrozen, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    start = f'{prefix}{module.part_name}.'
    left_out = {}
    for key in [key for key in state if key.startswith(start)]:
        raw = key.removeprefix(start)
        weight = state.pop(key)
        if raw in module._frozen and not module.in_checkpoint:
            left_out[raw] = weight
        else:
            state[start + plain_name(raw)] = weight
    if left_out:
        state[f'{prefix}{module.part_name}_sha256'] = module._seal(left_out)


def _frozen_names(part: nn.Module) -> set[str]:
    """Parameters that do not learn, and the statistics of modules without any that does."""
    names = {name for name, p in part.named_parameters(remove_duplicate=False) if not p.requires_grad}
    for prefix, module in part.named_modules(remove_duplicate=False):
        if not any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
            names |= {f'{prefix}.{name}'.lstrip('.') for name, _ in module.named_buffers(recurse=False)}
    return names & set(part.state_dict())
