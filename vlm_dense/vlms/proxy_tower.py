"""Two encoders: one says which cells belong together, the other what they are (ProxyCLIP, arXiv:2408.04883).

Shapes: B pictures, L = h w cells of the proxy's grid, C its channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS, build_part
from vlm_dense.vlms.open_clip_tower import OpenClipTower
from vlm_dense.vlms.tower import ImageTower


def proxy_attention(map_BChw: Tensor, beta: float = 1.2, gamma: float = 3.0) -> Tensor:
    """softmax over cells j of (f_i f_j - beta m) gamma, where that is not negative, with unit vectors f of the cells.

    m is the mean of f_i f_j over all pairs of a picture. A cell that no cell passes for, as in a picture of one colour,
    attends to itself; the formula alone leaves its row undefined.

    Args:
        map_BChw: The proxy's map.
        beta: Shifts the similarities; higher leaves fewer pairs.
        gamma: Sharpens them.

    Returns:
        (B, L, L), rows add up to 1.
    """
    cells_BLC = F.normalize(map_BChw.flatten(2).transpose(1, 2), dim=-1)
    similarity_BLL = cells_BLC @ cells_BLC.transpose(1, 2)
    mean_B11 = similarity_BLL.mean(dim=(1, 2), keepdim=True)
    similarity_BLL = (similarity_BLL - beta * mean_B11) * gamma
    similarity_BLL = similarity_BLL.masked_fill(similarity_BLL < 0, float('-inf'))
    alone_BL = (similarity_BLL == float('-inf')).all(dim=-1)
    diagonal_BL = similarity_BLL.diagonal(dim1=1, dim2=2)
    diagonal_BL.masked_fill_(alone_BL, 0)
    return similarity_BLL.softmax(dim=-1)


@MODELS.register_module()
class ProxyTower(ImageTower):
    """A CLIP transformer whose last attention between cells comes from a second encoder, on that encoder's grid.

    Pictures come in as the CLIP tower wants them and are normalised anew for the proxy. Whole pictures are embedded by
    the CLIP tower alone.

    Args:
        tower: An `OpenClipTower` of a plain vision transformer, or its config; its ``readout`` is not used.
        proxy: An `ImageTower` with a pyramid, or its config; the last map counts.
        beta: As in `proxy_attention`.
        gamma: As in `proxy_attention`.

    Raises:
        ConfigError: If ``tower`` is no `OpenClipTower`, or ``proxy`` has no pyramid.
    """

    scale_3: Tensor
    shift_3: Tensor

    def __init__(
        self, tower: dict | OpenClipTower, proxy: dict | ImageTower, beta: float = 1.2, gamma: float = 3.0
    ) -> None:
        super().__init__()
        clip: ImageTower = build_part(tower)
        if not isinstance(clip, OpenClipTower):
            raise ConfigError(f'ProxyTower: {type(clip).__name__} has no values to mix. Give an OpenClipTower.')
        self.tower: OpenClipTower = clip
        self.proxy: ImageTower = build_part(proxy)
        if type(self.proxy).pyramid is ImageTower.pyramid:
            raise ConfigError(f'ProxyTower: {type(self.proxy).__name__} has no pyramid. Give another proxy.')
        self.beta, self.gamma = beta, gamma
        self.embed_dim, self.input_size = clip.embed_dim, clip.input_size
        self.mean, self.std = clip.mean, clip.std
        own_mean, own_std = torch.tensor(clip.mean), torch.tensor(clip.std)
        proxy_mean, proxy_std = torch.tensor(self.proxy.mean), torch.tensor(self.proxy.std)
        self.register_buffer('scale_3', own_std / proxy_std, persistent=False)
        self.register_buffer('shift_3', (own_mean - proxy_mean) / proxy_std, persistent=False)

    @property
    def fingerprint(self) -> str:
        """Both towers and the two constants."""
        return f'{self.tower.fingerprint}:proxy-{self.proxy.fingerprint}:beta{self.beta}:gamma{self.gamma}'

    def embed_images(self, images_B3HW: Tensor) -> Tensor:
        """As the CLIP tower's."""
        return self.tower.embed_images(images_B3HW)

    def embed_dense(self, images_B3HW: Tensor) -> Tensor:
        """Every cell of the proxy's grid to (B, D, h, w), unit length along D."""
        map_BChw = self.proxy.pyramid(images_B3HW * self.scale_3[:, None, None] + self.shift_3[:, None, None])[-1]
        grid = (map_BChw.shape[2], map_BChw.shape[3])
        return self.tower.embed_mixed(images_B3HW, proxy_attention(map_BChw, self.beta, self.gamma), grid)
