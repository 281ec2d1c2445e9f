"""The cache of candidate scores."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from lib.attack.differential_evolution import gene_limits
from lib.attack.score_cache import ScoreCache, keys_of

CPU = torch.device("cpu")


@given(st.sampled_from([1, 3]), st.integers(1, 2), st.integers(0, 2**31))
def test_keys_tell_candidates_apart(channels, pixels, seed):
    limits = gene_limits(pixels, 6, 5, channels, CPU).clamp(max=7)
    generator = torch.Generator().manual_seed(seed)
    candidates = (torch.rand(1, 60, len(limits), generator=generator) * limits).long()
    pairs = list(zip(*(key[0].tolist() for key in keys_of(candidates, pixels)), strict=True))
    assert len(set(pairs)) == len(set(map(tuple, candidates[0].tolist())))


@given(st.integers(1, 3), st.integers(0, 2**31))
def test_the_cache_evaluates_each_candidate_once_and_gives_its_score_again(pixels, seed):
    generator = torch.Generator().manual_seed(seed)
    genes, members, rounds = 3 * pixels, 8, 6
    cache = ScoreCache(3, members * rounds, pixels, CPU)
    seen: dict[tuple, float] = {}
    for _ in range(rounds):
        slots = torch.randperm(3, generator=generator)[:2]
        candidates = torch.randint(0, 2, (2, members, genes), generator=generator)
        asked = []

        def evaluate(rows, chosen, slots=slots, asked=asked):
            names = [
                (int(slots[row]), *genes)
                for row, genes in zip(rows.tolist(), chosen.tolist(), strict=True)
            ]
            asked.extend(names)
            for name in names:
                seen.setdefault(name, len(seen))
            values = torch.tensor([float(seen[name]) for name in names])
            return values, values % 2 == 0

        before = set(seen)
        scores, hits = cache.scored(slots, candidates, evaluate)
        assert len(asked) == len(set(asked)) and not set(asked) & before
        for row in range(2):
            for member in range(members):
                name = (int(slots[row]), *candidates[row, member].tolist())
                assert scores[row, member] == seen[name]
                assert not hits[row, member] or (name in asked and seen[name] % 2 == 0)
        assert int(hits.sum()) == sum(seen[name] % 2 == 0 for name in asked)
    cache.clear(torch.tensor([1]))
    asked = []

    def again(rows, chosen):
        asked.append(len(rows))
        return torch.zeros(len(rows)), torch.zeros(len(rows), dtype=torch.bool)

    cache.scored(torch.tensor([1]), torch.zeros(1, 2, genes, dtype=torch.long), again)
    assert asked == [1]
