"""Predictions at the end of stage 2, against the whole network."""

import pytest
import torch
import torchvision
from conftest import refused
from test_incremental import bare, network, some_candidates, some_images
from torch import nn

from lib.attack import AnyLabelChange, Misclassification, TrueLabelChange
from lib.attack.differential_evolution import paint
from lib.attack.incremental import Incremental, Tap
from lib.models.classifiers import Classifier

LABELS = {
    Misclassification: torch.tensor([[2], [0]]),
    AnyLabelChange: torch.tensor([[[0, 1, 0, 0, 1]], [[1, 1, 0, 0, 0]]]),
    TrueLabelChange: torch.tensor([[[0, 1, 0, 0, 1]], [[0, 0, 0, 0, 0]]]),
}
# On whole maps before the tap, where windows would cover them; and on windows to the tap.
CASES = [
    ("resnet50", 28, Misclassification, 2), ("densenet121", 28, AnyLabelChange, 1),
    ("resnet18", 112, TrueLabelChange, 1), ("densenet121", 112, Misclassification, 2),
]  # fmt: skip


def tapped(model):
    """The module whose output is tapped."""
    model = model.network if type(model) is Classifier else model
    if isinstance(model, torchvision.models.ResNet):
        return model.layer2
    return model.features.transition1


def made(model, images, pixels, batch=3):
    with torch.inference_mode():
        engine = Incremental(
            model, *images.shape[1:3], pixels, 1, next(model.parameters()).dtype, len(images)
        )
        tap = Tap(engine, batch)
        tap.enter(torch.arange(len(images)), images)
    return tap


def reference(model, images, slots, candidates, criterion, labels, at=None):
    """Predictions with a hook in the whole network, on whole images."""
    held, clean = [], []
    hook = tapped(model).register_forward_hook(lambda module, given, out: held.append(out))
    dtype = next(model.parameters()).dtype
    for slot, image in enumerate(images.split(1)):
        points = [image] if at is None else [image, paint(image, at[slot].view(1, 1, -1))]
        gradients = []
        for point in reversed(points):  # the clean image comes last
            objective, _ = criterion(model(point.to(dtype) / 255), labels[slot])
            gradients.append(torch.autograd.grad(objective.sum(), held[-1])[0])
        clean.append((objective.item(), held[-1].detach(), sum(gradients) / len(gradients)))
    found = []
    for slot, genes in zip(slots.tolist(), candidates, strict=True):
        objective, before, gradient = clean[slot]
        with torch.no_grad():
            model(paint(images[slot : slot + 1], genes.view(1, 1, -1)).to(dtype) / 255)
        found.append(objective + ((held[-1] - before) * gradient).sum().item())
    hook.remove()
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "size", "kind", "pixels", "dtype"),
    [*((*case, torch.float64) for case in CASES), (*CASES[0], torch.float32)],
)
def test_predictions_equal_a_dense_reference(name, size, kind, pixels, dtype):
    ours = name in ("resnet50", "densenet121")
    model = (network(name, size) if ours else bare(name)).to(dtype)
    images, labels, criterion = some_images(3, size), LABELS[kind], kind()
    slots, candidates = some_candidates(images, pixels, 7, 3)
    candidates[0, :2] = 0
    candidates[1, :2] = size - 1
    if pixels > 1:  # side by side, and one on the other
        candidates[2, 5:7] = (candidates[2, :2] + 1).clamp(max=size - 1)
        candidates[3, 5:7] = candidates[3, :2]
    tap = made(model, images, pixels)
    for at in (None, candidates[[4, 5]]):
        with torch.inference_mode():
            for slot in range(2):
                tap.aim(slot, criterion, labels[slot], None if at is None else at[slot])
            found = tap.predict(slots, candidates).double()
        expected = reference(model, images, slots, candidates, criterion, labels, at)
        scale = max(1, expected.abs().max())
        assert (found - expected).abs().max() <= (1e-5 if dtype == torch.float32 else 1e-9) * scale
        assert len(expected.unique()) == len(expected)


@pytest.mark.parametrize("architecture", ["resnet50", "densenet121"])
def test_predictions_do_not_depend_on_company(architecture):
    """Bit for bit: neither on the candidates beside one nor on the images in other slots."""
    model, images = network(architecture, 28, dtype=torch.float32), some_images(3, 28)
    slots, candidates = some_candidates(images, 1, 20, 3)
    tap, criterion = made(model, images, 1, 8), Misclassification()
    with torch.inference_mode():
        for slot in range(2):
            tap.aim(slot, criterion, torch.tensor([slot]), candidates[slot])
        together = tap.predict(slots, candidates)
        order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
        assert torch.equal(tap.predict(slots[order], candidates[order]), together[order])
        assert torch.equal(tap.predict(slots[7:8], candidates[7:8]), together[7:8])
        one = made(model, images[1:], 1, 8)
        one.aim(0, criterion, torch.tensor([1]), candidates[1])
        mine = slots == 1
        assert torch.equal(one.predict(slots[mine] - 1, candidates[mine]), together[mine])


def test_a_criterion_without_a_gradient_is_refused():
    def criterion(logits, labels):
        return logits.argmax(1).float(), logits.argmax(1) != labels

    tap = made(network("resnet50", 28, dtype=torch.float32), some_images(1, 28), 1)
    with torch.inference_mode(), refused():
        tap.aim(0, criterion, torch.tensor([0]))


def test_parameters_of_the_model_get_no_gradient():
    model = nn.Sequential(bare("resnet18"))
    tap = made(model, some_images(3, 32), 1)
    with torch.inference_mode():
        tap.aim(1, Misclassification(), torch.tensor([3]))
    assert all(parameter.grad is None for parameter in model.parameters())
