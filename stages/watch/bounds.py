"""How far the truth may lie from what a limited number of validation samples showed.

- Of a whole distribution: the inequality of Dvoretzky, Kiefer and Wolfowitz, with the constant of Massart (The tight
  constant in the Dvoretzky-Kiefer-Wolfowitz inequality, 1990).
- Of one share: Chernoff's bound (A measure of asymptotic efficiency for tests of a hypothesis based on the sum of
  observations, 1952), whose exponent is the Kullback-Leibler divergence. Hoeffding (Probability inequalities for sums
  of bounded random variables, 1963, theorem 1) showed that it holds for a mean of numbers from 0 to 1 as well.

All hold for any number of samples.
"""

import math

STEPS = 60  # of a bisection: more than float64 has digits


def distribution_distance(samples: int, risk: float) -> float:
    """Returns what the distribution of `samples` is away from the true one at most, but for the `risk`."""
    return math.sqrt(math.log(2 / risk) / (2 * samples))


def largest_share(count: float, samples: int, risk: float) -> float:
    """Returns the largest true share with which `count` of `samples` are not less likely than the `risk`.

    For numbers from 0 to 1 whose sum is `count`, it is the largest true mean.
    """
    seen, limit = min(count / samples, 1.0), math.log(1 / risk) / samples
    low, high = seen, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _divergence(seen, middle) < limit else (low, middle)
    return high


def _divergence(seen: float, share: float) -> float:
    """Returns the Kullback-Leibler divergence of a coin with the share `seen` from one with `share`, in nats."""
    parts = ((seen, share), (1 - seen, 1 - share))
    return sum(part * math.log(part / max(of, 1e-300)) for part, of in parts if part > 0)
