"""Ranges that a constructor's annotations may name; the command line is checked against them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

from annotated_types import Ge, Gt, Le, Len, Lt

Count: TypeAlias = Annotated[int, Ge(1)]
WholeNumber: TypeAlias = Annotated[int, Ge(0)]
Positive: TypeAlias = Annotated[float, Gt(0)]
NonNegative: TypeAlias = Annotated[float, Ge(0)]
Unit: TypeAlias = Annotated[float, Ge(0), Le(1)]  # a probability, a share, a discount

Width: TypeAlias = Annotated[int, Ge(1), Le(65_536)]  # units of a layer
Widths: TypeAlias = Annotated[Sequence[Width], Len(0, 32)]
Quantiles: TypeAlias = Annotated[int, Ge(0), Le(4096)]  # 0: none
Atoms: TypeAlias = Annotated[int, Ge(1), Le(4096)]  # of a distribution over returns
Members: TypeAlias = Annotated[int, Ge(1), Le(1024)]  # networks of an ensemble
Betas: TypeAlias = Annotated[Sequence[Annotated[float, Ge(0), Lt(1)]], Len(2, 2)]
NoiseName: TypeAlias = Literal["white", "pink"]
EncoderName: TypeAlias = Literal["conv", "nature", "impala", "vae"]
Features: TypeAlias = Annotated[int, Ge(0), Le(65_536)]  # of an encoder; 0: no layer
Temperature: TypeAlias = Literal["auto"] | Positive
