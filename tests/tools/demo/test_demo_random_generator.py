"""Training and testing draw from disjoint sets."""

from hypothesis import given
from hypothesis import strategies as st

from vidfeat.tools.demo.random_generator import BANDS, RandomGenerator

NUMBERS = st.floats(-1e3, 1e3)


@given(st.integers(0, 2**32), NUMBERS, st.floats(1e-3, 1e3))
def test_numbers_come_from_the_bands_of_the_split(key: int, low: float, width: float) -> None:
    for split, parity in (("train", 0), ("test", 1)):
        rng = RandomGenerator(split, key)  # type: ignore[arg-type]
        for _ in range(5):
            share = (rng.uniform(low, low + width) - low) / width * BANDS
            assert -1e-6 <= share <= BANDS + 1e-6
            inside = abs(share - round(share)) > 1e-6  # at the edge of a band rounding may go either way
            assert not inside or int(share) % 2 == parity


def test_the_key_decides_and_nothing_else() -> None:
    def draws(rng: RandomGenerator) -> list[object]:
        return [rng.uniform(0, 1), rng.sign(), rng.bernoulli(0.5), rng.noise(2, 3).tolist()]

    assert draws(RandomGenerator("train", 3, 4)) == draws(RandomGenerator("train", 3, 4))
    assert draws(RandomGenerator("train", 3, 4)) != draws(RandomGenerator("train", 3, 5))
    assert draws(RandomGenerator("train", 3, 4)) != draws(RandomGenerator("train", 4, 4))


def test_all_bands_and_all_named_values_are_drawn() -> None:
    rng = RandomGenerator("test", 0)
    assert {int(rng.uniform(0, BANDS)) for _ in range(200)} == set(range(1, BANDS, 2))
    assert {rng.choice({"train": "ab", "test": "cd"}) for _ in range(50)} == set("cd")
    assert {rng.sign() for _ in range(50)} == {-1, 1}
