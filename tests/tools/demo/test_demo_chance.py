"""Training and testing never draw the same."""

from hypothesis import given
from hypothesis import strategies as st

from vidfeat.tools.demo.chance import BANDS, Chance

NUMBERS = st.floats(-1e3, 1e3)


@given(st.integers(0, 2**32), NUMBERS, st.floats(1e-3, 1e3))
def test_numbers_come_from_the_bands_of_the_split(key: int, low: float, width: float) -> None:
    for split, parity in (("train", 0), ("test", 1)):
        chance = Chance(split, key)  # type: ignore[arg-type]
        for _ in range(5):
            share = (chance.between(low, low + width) - low) / width * BANDS
            assert -1e-6 <= share <= BANDS + 1e-6
            inside = abs(share - round(share)) > 1e-6  # at the edge of a band rounding may go either way
            assert not inside or int(share) % 2 == parity


def test_the_key_decides_and_nothing_else() -> None:
    def draws(chance: Chance) -> list[object]:
        return [chance.between(0, 1), chance.sign(), chance.happens(0.5), chance.noise(2, 3).tolist()]

    assert draws(Chance("train", 3, 4)) == draws(Chance("train", 3, 4))
    assert draws(Chance("train", 3, 4)) != draws(Chance("train", 3, 5))
    assert draws(Chance("train", 3, 4)) != draws(Chance("train", 4, 4))


def test_all_bands_and_all_named_things_come_up() -> None:
    chance = Chance("test", 0)
    assert {int(chance.between(0, BANDS)) for _ in range(200)} == set(range(1, BANDS, 2))
    assert {chance.one_of({"train": "ab", "test": "cd"}) for _ in range(50)} == set("cd")
    assert {chance.sign() for _ in range(50)} == {-1, 1}
