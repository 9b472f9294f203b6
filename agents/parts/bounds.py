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
Rate: TypeAlias = Annotated[float, Ge(1e-6), Le(1)]  # at which a target follows
Epsilon: TypeAlias = Annotated[float, Ge(1e-20), Le(1)]  # of Adam, in float32
Multiple: TypeAlias = Annotated[float, Ge(0), Le(1000)]
Few: TypeAlias = Annotated[int, Ge(1), Le(1000)]  # steps ahead, or what belongs to one update
Deviation: TypeAlias = Annotated[float, Ge(0), Le(10)]  # where 1 is the scale of what is spread
LogStd: TypeAlias = Annotated[float, Ge(-20), Le(2)]  # beyond it a policy clips its own
Return: TypeAlias = Annotated[float, Ge(-1e9), Le(1e9)]
Coefficient: TypeAlias = Annotated[float, Ge(0), Le(1e6)]  # of a part of a loss

Width: TypeAlias = Annotated[int, Ge(1), Le(65_536)]  # units of a layer
Widths: TypeAlias = Annotated[Sequence[Width], Len(0, 32)]
Quantiles: TypeAlias = Annotated[int, Ge(0), Le(4096)]  # 0: none
Atoms: TypeAlias = Annotated[int, Ge(1), Le(4096)]  # of a distribution over returns
Members: TypeAlias = Annotated[int, Ge(1), Le(1024)]  # networks of an ensemble
Betas: TypeAlias = Annotated[Sequence[Annotated[float, Ge(0), Lt(1)]], Len(2, 2)]
NoiseName: TypeAlias = Literal["white", "pink"]
EncoderName: TypeAlias = Literal["conv", "nature", "impala", "vae"]
Features: TypeAlias = Annotated[int, Ge(0), Le(65_536)]  # of an encoder; 0: no layer
Scale: TypeAlias = Annotated[float, Gt(0), Le(1e6)]
Temperature: TypeAlias = Literal["auto"] | Scale
