"""Which images are attacked, and images rebuilt from the rows of attack tables."""

import numpy as np
import pandas as pd
from conftest import refused

from lib.attack import attack_table, locate, rebuild, select


def test_selection_takes_correct_images_test_first_and_nests(images):
    data = images("derma", 300)
    correct = np.random.default_rng(0).random(300) < 0.8
    small = select(data, correct, attack_table.PARTS, 3, seed=0)
    large = select(data, correct, attack_table.PARTS, 20, seed=0)
    assert correct[large].all() and set(small) <= set(large)
    for category in range(7):
        chosen = [i for i in large if data.category[i] == category]
        assert len(chosen) == min(20, (correct & (data.category == category)).sum())
        parts = [data.part[i] for i in chosen]
        assert parts == sorted(parts, key=attack_table.PARTS.index)
    only = select(data, correct, ("test",), 0, seed=0)
    assert sorted(only) == np.flatnonzero(correct & (data.part == "test")).tolist()
    assert set(select(data, correct, ("test",), 5, seed=1)) != set(
        select(data, correct, ("test",), 5, seed=0)
    )


def test_two_classifiers_get_the_same_images_where_both_are_right(images):
    data = images("derma", 300)
    rng = np.random.default_rng(0)
    one, two = rng.random(300) < 0.9, rng.random(300) < 0.9
    a, b = (set(select(data, correct, ("test",), 5, seed=0)) for correct in (one, two))
    assert a != b
    for i in a - b:  # an image that only the first classifier is given
        rivals = [k for k in b if data.category[k] == data.category[i]]
        assert not two[i] or len(rivals) == 5
    assert len(a & b) > len(a) / 2


def test_chest_attacks_the_five_categories(images):
    data = images("chest", 600)
    chosen = select(data, np.ones(600, bool), ("test",), 0, seed=0)
    assert set(data.category[chosen]) <= set(range(5)) and (data.labels[chosen].sum(1) <= 1).all()


def table(rows, cols, values, **more):
    return pd.DataFrame({"rows": rows, "cols": cols, "values": values} | more)


def test_pixels_are_written_in_their_order():
    clean = np.zeros((2, 3, 4, 1), np.uint8)
    found = rebuild(clean, table([[1, 1], []], [[2, 2], []], [[[7], [9]], []]))
    assert found[0, 1, 2] == 9 and found.sum() == 9 and not clean.any()
    assert rebuild(clean[:0], table([], [], [])).shape == (0, 3, 4, 1)


def test_tables_of_other_images_are_refused(images):
    data = images("derma", 4)
    found = table(
        [[20]] * 4, [[1]] * 4, [[[1, 2, 3]]] * 4, split=list(data.split), index=list(data.index)
    )
    assert locate(data, found.iloc[[3, 1]]).index.tolist() == [3, 1]
    for clean in (data.images[:3], data.images[:, :5, :5]):
        with refused():
            rebuild(clean, found)
    with refused():
        locate(data.take(slice(0, 2)), found)
