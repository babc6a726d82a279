"""Click models made of the layers of FuxiCTR, which a peer's own environment runs.

FuxiCTR's wheel has the base model, its training loop and the layers, and leaves the models to its
repository. They are put together here as described there. This module imports PyTorch and FuxiCTR
and nothing of kerasrec.
"""

import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.layers import (
    CrossNetV2,
    FactorizationMachine,
    FeatureEmbedding,
    InnerProductInteraction,
    LogisticRegression,
    MLP_Block,
)
from fuxictr.pytorch.models import BaseModel
from torch import nn

LABEL = "label"


def feature_map(ids: Mapping[str, int], numbers: tuple[str, ...] = ()) -> FeatureMap:
    """Describe a table to FuxiCTR.

    Args:
        ids: number of rows of the table of each categorical column; row 0 is padding.
        numbers: names of the numeric columns.
    """
    found = FeatureMap("rows", tempfile.gettempdir())
    for name in numbers:
        found.features[name] = {"source": "", "type": "numeric"}
    for name, rows in ids.items():
        found.features[name] = {
            "source": "",
            "type": "categorical",
            "padding_idx": 0,
            "vocab_size": rows,
        }
    found.labels = [LABEL]
    found.num_fields = found.get_num_fields()
    return found


class Batches:
    """Batches of rows in memory, in a new order in each epoch if they are shuffled."""

    def __init__(self, columns: Mapping[str, np.ndarray], size: int, *, shuffle: bool) -> None:
        self.columns = {name: torch.from_numpy(values) for name, values in columns.items()}
        self.rows, self.size, self.shuffle = len(columns[LABEL]), size, shuffle

    def __len__(self) -> int:
        return -(-self.rows // self.size)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        order = torch.randperm(self.rows) if self.shuffle else torch.arange(self.rows)
        for part in order.split(self.size):
            yield {name: values[part] for name, values in self.columns.items()}


class Model(BaseModel):
    """What the models share: Adam, binary cross-entropy, and the largest AUC of validation."""

    def __init__(self, table: FeatureMap, folder: str, **options: Any) -> None:
        options = {"monitor": "AUC", "metrics": ["AUC", "logloss"], **options}
        super().__init__(table, model_root=folder, verbose=0, **options)

    def ready(self, rate: float = 1e-3) -> None:
        """Make the optimizer and set the first weights, once all layers are there."""
        self.compile("adam", "binary_crossentropy", rate)
        self.reset_parameters()
        self.model_to_device()

    def forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the probabilities of the rows, `(batch, 1)`."""
        return {"y_pred": self.output_activation(self.logits(self.get_inputs(inputs)))}


class FlatColumns(nn.Module):
    """Vectors of the ids and, as they are, the numbers, side by side."""

    def __init__(self, table: FeatureMap, dim: int) -> None:
        super().__init__()
        self.numbers = [n for n, one in table.features.items() if one["type"] == "numeric"]
        ids = [name for name in table.features if name not in self.numbers]
        self.embedding_layer = FeatureEmbedding(table, dim, required_feature_columns=ids)
        self.width = len(ids) * dim + len(self.numbers)

    def forward(self, rows: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the columns, `(batch, width)`."""
        x = self.embedding_layer(rows, flatten_emb=True)
        numbers = [rows[name].unsqueeze(-1) for name in self.numbers]
        return torch.cat([x, *numbers], dim=-1) if numbers else x


class LR(Model):
    """Logistic regression."""

    def __init__(self, table: FeatureMap, folder: str, **options: Any) -> None:
        super().__init__(table, folder, **options)
        self.linear = LogisticRegression(table)
        self.ready()

    def logits(self, rows: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.linear(rows)


class FM(Model):
    """Factorization machine."""

    def __init__(self, table: FeatureMap, folder: str, *, dim: int = 10, **options: Any) -> None:
        super().__init__(table, folder, **options)
        self.embedding_layer = FeatureEmbedding(table, dim)
        self.machine = FactorizationMachine(table)
        self.ready()

    def logits(self, rows: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.machine(rows, self.embedding_layer(rows))


class DNN(Model):
    """Hidden layers over embedded columns."""

    def __init__(
        self,
        table: FeatureMap,
        folder: str,
        *,
        dim: int = 10,
        hidden: list[int],
        dropout: float = 0.0,
        batch_norm: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(table, folder, **options)
        self.columns = FlatColumns(table, dim)
        self.mlp = MLP_Block(
            self.columns.width,
            hidden_units=hidden,
            output_dim=1,
            dropout_rates=dropout,
            batch_norm=batch_norm,
        )
        self.ready()

    def logits(self, rows: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.mlp(self.columns(rows))


class DeepFM(Model):
    """Factorization machine beside hidden layers."""

    def __init__(
        self,
        table: FeatureMap,
        folder: str,
        *,
        dim: int = 10,
        hidden: list[int],
        dropout: float = 0.0,
        batch_norm: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(table, folder, **options)
        self.embedding_layer = FeatureEmbedding(table, dim)
        self.machine = FactorizationMachine(table)
        self.mlp = MLP_Block(
            table.num_fields * dim,
            hidden_units=hidden,
            output_dim=1,
            dropout_rates=dropout,
            batch_norm=batch_norm,
        )
        self.ready()

    def logits(self, rows: dict[str, torch.Tensor]) -> torch.Tensor:
        vectors = self.embedding_layer(rows)
        return self.machine(rows, vectors) + self.mlp(vectors.flatten(1))


class DCNv2(Model):
    """Cross layers beside hidden layers."""

    def __init__(
        self,
        table: FeatureMap,
        folder: str,
        *,
        dim: int = 10,
        hidden: list[int],
        crosses: int,
        dropout: float = 0.0,
        batch_norm: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(table, folder, **options)
        self.columns = FlatColumns(table, dim)
        width = self.columns.width
        self.cross = CrossNetV2(width, crosses)
        self.mlp = MLP_Block(
            width, hidden_units=hidden, dropout_rates=dropout, batch_norm=batch_norm
        )
        self.last = nn.Linear(width + hidden[-1], 1)
        self.ready()

    def logits(self, rows: dict[str, torch.Tensor]) -> torch.Tensor:
        x = self.columns(rows)
        return self.last(torch.cat([self.cross(x), self.mlp(x)], dim=-1))


class DLRM(Model):
    """Dot products of all pairs of vectors, and hidden layers below and above them."""

    def __init__(
        self,
        table: FeatureMap,
        folder: str,
        *,
        dim: int = 10,
        bottom: list[int],
        hidden: list[int],
        **options: Any,
    ) -> None:
        super().__init__(table, folder, **options)
        self.numbers = [n for n, one in table.features.items() if one["type"] == "numeric"]
        ids = [name for name in table.features if name not in self.numbers]
        self.embedding_layer = FeatureEmbedding(table, dim, required_feature_columns=ids)
        vectors = len(ids) + bool(self.numbers)
        self.bottom = None
        if self.numbers:
            self.bottom = MLP_Block(len(self.numbers), hidden_units=[*bottom, dim])
        self.pairs = InnerProductInteraction(vectors, output="inner_product")
        width = vectors * (vectors - 1) // 2 + (dim if self.numbers else 0)
        self.mlp = MLP_Block(width, hidden_units=hidden, output_dim=1)
        self.ready()

    def logits(self, rows: dict[str, torch.Tensor]) -> torch.Tensor:
        vectors = self.embedding_layer(rows)
        if self.bottom is None:
            return self.mlp(self.pairs(vectors))
        numbers = self.bottom(torch.stack([rows[name].float() for name in self.numbers], dim=-1))
        vectors = torch.cat([numbers.unsqueeze(1), vectors], dim=1)
        return self.mlp(torch.cat([numbers, self.pairs(vectors)], dim=-1))


class FinalMLP(Model):
    """Two gated streams of hidden layers, fused by a bilinear form."""

    def __init__(
        self,
        table: FeatureMap,
        folder: str,
        *,
        dim: int = 10,
        streams: tuple[list[int], list[int]],
        gates: tuple[list[str], list[str]],
        gate_hidden: list[int],
        heads: int,
        dropout: float = 0.0,
        batch_norm: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(table, folder, **options)
        width = table.num_fields * dim
        self.heads = heads
        self.embedding_layer = FeatureEmbedding(table, dim)
        self.streams = nn.ModuleList(
            MLP_Block(width, hidden_units=one, dropout_rates=dropout, batch_norm=batch_norm)
            for one in streams
        )
        self.sides = nn.ModuleList(
            FeatureEmbedding(table, dim, required_feature_columns=names) for names in gates
        )
        self.gates = nn.ModuleList(
            MLP_Block(
                dim * len(names),
                hidden_units=gate_hidden,
                output_dim=width,
                output_activation="Sigmoid",
            )
            for names in gates
        )
        last = [one[-1] for one in streams]
        self.linear = nn.ModuleList(nn.Linear(size, 1) for size in last)
        products = torch.empty(last[0] * last[1] // heads, 1)
        self.products = nn.Parameter(nn.init.xavier_normal_(products))
        self.ready()

    def logits(self, rows: dict[str, torch.Tensor]) -> torch.Tensor:
        x = self.embedding_layer(rows, flatten_emb=True)
        one, other = (
            stream(x * 2 * gate(side(rows, flatten_emb=True)))
            for stream, gate, side in zip(self.streams, self.gates, self.sides, strict=True)
        )
        linear = self.linear[0](one) + self.linear[1](other)
        first, second = (part.view(len(x), self.heads, -1) for part in (one, other))
        weights = self.products.view(self.heads, first.shape[-1], second.shape[-1])
        fused = torch.einsum("bki,kij,bkj->b", first, weights, second)
        return linear + fused.unsqueeze(-1)
