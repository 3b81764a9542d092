"""States of prompts that were read before, as long as the weights stay what they were."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor

from vlm_dense.models.grounding import PromptTokens
from vlm_dense.text.prompt_packing import Prompt


class PromptCache:
    """The states of the prompts that were asked for last.

    What is kept goes as soon as a parameter was written to in place, as optimizers do. Writing through
    ``parameter.data`` leaves no trace: whoever does so calls `clear`.

    Args:
        size: Prompts kept at most.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._kept: OrderedDict[Prompt, PromptTokens] = OrderedDict()
        self._stamp: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """Keep nothing."""
        self._kept.clear()

    def get(
        self, prompts: Sequence[Prompt], encode: Callable[[Prompt], PromptTokens], parameters: Sequence[Tensor]
    ) -> list[PromptTokens]:
        """States of each prompt, from before or by ``encode``, which is a function of the parameters."""
        # Tensors made in inference mode count no versions, and nothing can train them.
        stamp = tuple(0 if one.is_inference() else one._version for one in parameters)
        if stamp != self._stamp:
            self.clear()
            self._stamp = stamp
        found = [self._one(prompt, encode) for prompt in prompts]
        while len(self._kept) > self.size:
            self._kept.popitem(last=False)
        return found

    def _one(self, prompt: Prompt, encode: Callable[[Prompt], PromptTokens]) -> PromptTokens:
        if prompt not in self._kept:
            self._kept[prompt] = encode(prompt)
        self._kept.move_to_end(prompt)
        return self._kept[prompt]
