"""Schedules: functions from the number of a step to the value of a hyperparameter, such as the learning rate.

An optimizer takes a schedule wherever it takes a learning rate.

>>> import arrax.optimizers as optim
>>> optimizer = optim.SGD(learning_rate=optim.linear_schedule(0, 0.1, steps=100))
>>> for _ in range(51):
...     optimizer.update({}, {})
>>> optimizer.learning_rate
array(0.05, dtype=float32)
"""

import math
from collections.abc import Callable
from typing import Any

import arrax.core as mx

Schedule = Callable[[Any], Any]


def exponential_decay(init: float, decay_rate: float) -> Schedule:
    """``init * decay_rate ** step``."""

    def schedule(step: Any) -> Any:
        return init * decay_rate**step

    return schedule


def step_decay(init: float, decay_rate: float, step_size: int) -> Schedule:
    """``init``, multiplied by ``decay_rate`` after every ``step_size`` steps.

    Raises:
        ValueError: ``step_size`` is not positive.
    """
    if step_size <= 0:
        raise ValueError(f"[step_decay] step_size must be positive but is {step_size}.")

    def schedule(step: Any) -> Any:
        return init * decay_rate ** (step // step_size)

    return schedule


def cosine_decay(init: float, decay_steps: int, end: float = 0.0) -> Schedule:
    """Half a period of a cosine from ``init`` to ``end`` in ``decay_steps`` steps, and ``end`` from there on.

    Raises:
        ValueError: ``decay_steps`` is not positive.
    """
    if decay_steps <= 0:
        raise ValueError(f"[cosine_decay] decay_steps must be positive but is {decay_steps}.")

    def schedule(step: Any) -> mx.array:
        angle = (math.pi / decay_steps) * mx.minimum(step, decay_steps)
        return end + 0.5 * (1.0 + mx.cos(angle)) * (init - end)

    return schedule


def linear_schedule(init: float, end: float, steps: int) -> Schedule:
    """A straight line from ``init`` to ``end`` in ``steps`` steps, and ``end`` from there on.

    Raises:
        ValueError: ``steps`` is not positive.
    """
    if steps <= 0:
        raise ValueError(f"[linear_schedule] steps must be positive but is {steps}.")

    def schedule(step: Any) -> mx.array:
        return init + mx.minimum(step, steps) * ((end - init) / steps)

    return schedule


def join_schedules(schedules: list[Schedule], boundaries: list[int]) -> Schedule:
    """One schedule after the other.

    Args:
        schedules: the schedules. Each but the first counts its steps from the boundary before it.
        boundaries: the steps at which the second and the following schedules begin.

    Raises:
        ValueError: there is no schedule, or not one boundary less than schedules.
    """
    if not schedules:
        raise ValueError("[join_schedules] there must be at least 1 schedule.")
    if len(boundaries) != len(schedules) - 1:
        raise ValueError(
            f"[join_schedules] {len(schedules)} schedules need {len(schedules) - 1} boundaries, not {len(boundaries)}."
        )

    def schedule(step: Any) -> Any:
        value = schedules[0](step)
        for boundary, following in zip(boundaries, schedules[1:], strict=True):
            value = mx.where(step < boundary, value, following(step - boundary))
        return value

    return schedule
