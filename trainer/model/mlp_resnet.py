"""The residual MLP that the ActionHead and the reference's energy model share."""

from __future__ import annotations

from torch import Tensor, nn


class MLPResNetBlock(nn.Module):
    """LayerNorm, linear, activation, added to its input."""

    def __init__(self, width: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.ffn = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), activation())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.ffn(x)
        return out


class MLPResNet(nn.Module):
    """LayerNorm, linear, activation, residual blocks, LayerNorm, linear; the reference's names."""

    def __init__(
        self, inputs: int, width: int, outputs: int, blocks: int, activation: type[nn.Module]
    ) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(inputs)
        self.fc1 = nn.Linear(inputs, width)
        self.activation = activation()
        self.mlp_resnet_blocks = nn.ModuleList(
            MLPResNetBlock(width, activation) for _ in range(blocks)
        )
        self.layer_norm2 = nn.LayerNorm(width)
        self.fc2 = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.fc1(self.layer_norm1(x)))
        for block in self.mlp_resnet_blocks:
            x = block(x)
        out: Tensor = self.fc2(self.layer_norm2(x))
        return out
