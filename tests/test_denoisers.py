"""lib.models.denoisers: the networks, the median layer, the noise, and restoring stored images."""

import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import photographs, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import save_file
from scipy import ndimage, stats
from torch import nn
from torch.nn import functional as F

from lib.data.counter_rng import image_keys
from lib.models import denoisers
from lib.models.denoisers import median_cnn
from lib.models.denoisers.autoencoder import Autoencoder
from lib.models.denoisers.base import parameter_counts
from lib.models.denoisers.dae import DAE, ablation_variants, depth_variants
from lib.models.denoisers.median_cnn import MedianCNN, MedianLayer
from lib.models.denoisers.noise import corrupt, impulse_noise
from lib.models.denoisers.reference import Identity, Median3
from lib.models.inference import batch_for
from lib.params.files import read_json, write_json

PAPER = Path(__file__).parents[1] / "results" / "printed"
NAMES = (*denoisers.TRAINED, *denoisers.REFERENCES)
KERAS = {
    nn.Conv2d: "Convolution 2-D",
    nn.MaxPool2d: "MaxPooling 2-D",
    nn.Upsample: "UpSampling 2-D",
}


def keys(count: int, seed: int = 0) -> torch.Tensor:
    return image_keys(seed, "test", "toy", ["train"] * count, list(range(count)))


# ---- networks


@pytest.mark.parametrize(
    ("table", "channels", "total"),
    [("01_autoencoder_gray", 1, 7009), ("02_autoencoder_rgb", 3, 8163)],
)
def test_autoencoder_is_that_of_the_tables_layer_by_layer(table, channels, total):
    model, found = Autoencoder(channels), []
    x = torch.zeros(1, channels, 224, 224)
    for layer in model.layers:
        x = layer(x)
        if type(layer) in KERAS:
            weights = parameter_counts(layer)["trainable"]
            found.append([KERAS[type(layer)], *x.shape[2:], x.shape[1], weights])
    printed = pd.read_csv(PAPER / f"table_{table}_layers.csv")
    layers = printed[(printed["row_kind"] == "layer") & (printed["layer_type"] != "Input")]
    columns = ["layer_type", "output_height", "output_width", "output_channels", "parameters"]
    assert found == layers[columns].values.tolist()
    assert parameter_counts(model) == {"trainable": total, "non_trainable": 0}


class Slow:
    """The networks as the paper draws them, from their weights by name, float64."""

    def __init__(self, model):
        self.of = model.state_dict()

    def conv(self, x, name):
        weight = self.of[f"{name}.weight"]
        return F.conv2d(x, weight, self.of[f"{name}.bias"], padding=weight.shape[2] // 2)

    def norm(self, x, name):
        parts = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(self.of[f"{name}.{part}"] for part in parts))

    def block(self, x, name, between, second):
        inner = between(self.norm(self.conv(x, f"{name}.body.0"), f"{name}.body.1"))
        return x + self.norm(self.conv(inner, f"{name}.body.3"), f"{name}.body.{second}")

    def autoencoder(self, x):
        for layer in (0, 3, 6):
            x = F.max_pool2d(self.conv(x, f"layers.{layer}").relu(), 2)
        for layer in (9, 12, 15):
            x = doubled(self.conv(x, f"layers.{layer}").relu())
        return self.conv(x, "layers.18").sigmoid()

    def dae(self, x):
        leaky, skips = (lambda values: F.leaky_relu(values, 0.1)), []
        for level in range(4):
            name = f"encoder.{level}"
            x = leaky(self.norm(self.conv(x, f"{name}.0"), f"{name}.1"))
            x = x * self.conv(x, f"{name}.3.gate.0").sigmoid()
            skips.append(leaky(self.block(x, f"{name}.4", leaky, 4)))
            x = F.max_pool2d(skips[-1], 2)
        for level in range(4):
            name = f"decoder.{level}"
            x = leaky(self.norm(self.conv(doubled(x), f"{name}.1"), f"{name}.2")) + skips.pop()
        return self.conv(x, "output.0").sigmoid()

    def noise2noise(self, x):
        first = x = F.prelu(self.conv(x, "first.0"), self.of["first.1.weight"])
        for block in range(16):
            slope = self.of[f"body.{block}.body.2.weight"]
            x = self.block(x, f"body.{block}", lambda values, s=slope: F.prelu(values, s), 4)
        return self.conv(first + self.norm(self.conv(x, "body.16"), "body.17"), "output")

    def median_cnn(self, x):
        x = self.conv(median(median(x, 5), 5), "layers.2").relu()
        for block in range(16):
            x = self.block(x, f"layers.{4 + block + min(block, 8)}", torch.relu, 4).relu()
            x = median(x, 3) if block < 8 else x
        return self.conv(x, "layers.28")


def doubled(x):
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def median(x, edge):
    return torch.from_numpy(ndimage.median_filter(x.numpy(), (1, 1, edge, edge), mode="mirror"))


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", denoisers.TRAINED)
def test_networks_are_those_of_the_paper_layer_by_layer(name, channels):
    torch.manual_seed(0)
    model = denoisers.build(name, channels).double().eval()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):  # that do something
            for value in (part.weight, part.bias, part.running_mean, part.running_var):
                value.uniform_(0.5, 1.5)
            part.bias.sub_(0.9), part.running_mean.sub_(1)
        if isinstance(part, nn.Conv2d):  # or the image is lost on the way
            part.weight.mul_(2)
        if isinstance(part, nn.PReLU):
            part.weight.uniform_(-0.5, 0.5)
    images = torch.rand(2, channels, 16, 16, dtype=torch.float64)
    expected = getattr(Slow(model), name)(images)
    assert (expected[0] - expected[1]).std() > 1e-3
    torch.testing.assert_close(model(images), expected)


@pytest.mark.parametrize(("channels", "trainable"), [(1, 3_024_545), (3, 3_025_699)])
def test_size_of_the_proposed_dae(channels, trainable):
    expected = {"trainable": trainable, "non_trainable": 3_840}
    assert parameter_counts(denoisers.build("dae", channels)) == expected


def test_each_ablation_variant_adds_its_module_to_the_last():
    sizes = {name: parameter_counts(build()) for name, build in ablation_variants(1).items()}
    trainable = {name: size["trainable"] for name, size in sizes.items()}
    assert list(sizes) == [
        "original", "depth_kernels", "bn_leakyrelu", "attention", "residual", "proposed",
    ]  # fmt: skip
    assert trainable["original"] == 7_009
    assert trainable["bn_leakyrelu"] - trainable["depth_kernels"] == 2 * 2 * 480  # scale and shift
    gates = sum(width * (width + 1) for width in (32, 64, 128, 256))
    assert trainable["attention"] - trainable["bn_leakyrelu"] == gates
    blocks = sum(2 * width * (9 * width + 1 + 2) for width in (32, 64, 128, 256))
    assert trainable["residual"] - trainable["attention"] == blocks
    assert trainable["proposed"] == trainable["residual"] == 3_024_545  # skips have no weights
    assert sizes["depth_kernels"]["non_trainable"] == 0


def test_skips_change_the_output_and_nothing_else():
    torch.manual_seed(0)
    with_skips, without = DAE(1).eval(), DAE(1, skips=False).eval()
    without.load_state_dict(with_skips.state_dict())
    x = torch.rand(1, 1, 32, 32)
    assert (with_skips(x) - without(x)).abs().max() > 1e-3


def test_depth_variants():
    widths = {
        depth: [level[0].out_channels for level in build().encoder]
        for depth, build in depth_variants(1).items()
    }
    assert widths == {3: [32, 64, 128], 4: [32, 64, 128, 256], 5: [32, 64, 128, 256, 256]}
    with refused(6):
        DAE(1, depth=6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_any_size_and_only_the_right_channels(name, channels):
    model = denoisers.build(name, channels).eval()
    with torch.inference_mode():
        for height, width in ((28, 28), (29, 31), (30, 33), (32, 28)):
            given = torch.rand(1, channels, height, width)
            output = model(given)
            assert output.shape == given.shape
            assert output.isfinite().all()
    with refused(channels):
        model(torch.rand(1, 4 - channels, 28, 28))
    with refused(2):
        denoisers.build(name, 2)


@pytest.mark.parametrize("name", NAMES)
def test_values_outside_the_range_are_refused(name):
    model = denoisers.build(name, 1).eval()
    stored = torch.full((1, 1, 28, 28), 255.0)
    with refused(255):
        model(stored)
    for bad in (-0.01, 1.01, float("nan")):
        image = torch.full((1, 1, 28, 28), 0.5)
        image[0, 0, 3, 4] = bad
        with refused():
            model(image)


def test_padding_repeats_the_border_and_is_cut_off():
    torch.manual_seed(0)
    model = DAE(1).eval()
    x = torch.rand(1, 1, 30, 32)
    taller = torch.cat([x, x[:, :, -1:], x[:, :, -1:]], dim=2)
    assert torch.equal(model(x), model(taller)[:, :, :30])


@pytest.mark.parametrize("name", denoisers.TRAINED)
def test_gradients_reach_every_weight(name):
    torch.manual_seed(0)
    model = denoisers.build(name, 1)
    for layer in model.modules():  # some start at zero and let nothing through to their block
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
    model(torch.rand(2, 1, 32, 32)).square().mean().backward()
    dead = [key for key, value in model.named_parameters() if not value.grad.abs().sum() > 0]
    # A bias in front of batch normalization cancels out, up to rounding.
    assert [key for key in dead if not key.endswith("bias")] == []


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_no_images_are_restored_to_none(name, channels):
    model = denoisers.build(name, channels).eval()
    assert model(torch.empty(0, channels, 8, 8)).shape == (0, channels, 8, 8)
    for shape in ((0, 8, 8, channels), (0, 8, 8))[: 4 - channels]:
        assert denoisers.restore(model, np.empty(shape, np.uint8)).shape == shape


def test_the_median_of_no_images_is_none():
    images = torch.empty(0, 64, 8, 8, requires_grad=True)
    output = MedianLayer(3)(images)
    output.sum().backward()
    assert output.shape == images.grad.shape == images.shape


def test_a_median_larger_than_the_image_is_refused():
    with refused("2 x 9"):
        MedianLayer(5)(torch.rand(1, 1, 2, 9))
    with refused("1 x 1"):
        denoisers.restore(denoisers.build("median3", 1), np.zeros((1, 1, 1, 1), np.uint8))


def test_restore_takes_functions_and_gives_what_it_was_given():
    gray = np.random.default_rng(0).integers(0, 256, (3, 9, 7), np.uint8)
    halved = denoisers.restore(lambda x: x / 2, gray)
    np.testing.assert_array_equal(halved, (gray.astype(int) + 1) // 2)
    stored = torch.from_numpy(gray)
    assert torch.equal(denoisers.restore(lambda x: x, stored, "auto"), stored)
    for wrong in (lambda x: x[:, :, 1:], lambda x: x.repeat(1, 3, 1, 1)):
        with refused():
            denoisers.restore(wrong, gray)
    for images in (gray, gray[:0]):
        with refused("'dae'"):
            denoisers.restore("dae", images)


def test_restore_leaves_mode_and_settings_as_they_were():
    model = DAE(1)
    model.output.eval()
    images = np.full((2, 16, 16, 1), 90, np.uint8)
    with torch.autocast("cpu", torch.bfloat16):
        inside = denoisers.restore(model, images)
    assert model.training and not model.output.training
    np.testing.assert_array_equal(inside, denoisers.restore(model.eval(), images))


class Small(nn.Module):
    """Memory for so many images at once."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.batches = most, []

    def forward(self, images):
        self.batches.append(len(images))
        if len(images) > self.most:
            raise RuntimeError("CUDA error: out of memory")
        return images


def test_batches_are_halved_until_memory_holds_them():
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    model = Small(3)
    with pytest.warns(UserWarning):
        restored = denoisers.restore(model, images, batch=8)
    np.testing.assert_array_equal(restored, images)
    assert model.batches == [8, 4] + [2] * 10
    with pytest.warns(UserWarning), refused():
        denoisers.restore(Small(0), images)
    with refused("mine"):  # not taken for a lack of memory
        denoisers.restore(lambda x: (_ for _ in ()).throw(RuntimeError("mine\n")), images)


def test_batches_are_smaller_where_images_are_larger():
    device = torch.device("cpu")
    assert batch_for(28, 28, device) >= batch_for(64, 64, device) > batch_for(224, 224, device) >= 1
    assert batch_for(4096, 4096, device) == 1
    model = Small(99)
    denoisers.restore(model, np.zeros((9, 224, 224, 1), np.uint8))
    assert max(model.batches) == batch_for(224, 224, device)


# ---- median


@settings(max_examples=60)
@given(
    images=arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(5, 11), st.integers(5, 11)),
        elements=st.integers(0, 6).map(float),
    ),
    kernel=st.sampled_from([1, 3, 5]),
    last=st.booleans(),
)
def test_median_layer_equals_scipy_channel_by_channel(images, kernel, last):
    layout = torch.channels_last if last else torch.contiguous_format
    output = MedianLayer(kernel)(torch.from_numpy(images).contiguous(memory_format=layout))
    expected = [
        [ndimage.median_filter(channel, kernel, mode="mirror") for channel in image]
        for image in images
    ]
    np.testing.assert_array_equal(output.numpy(), expected)


def test_median_layer_of_64_channels_in_parts(monkeypatch):
    x = torch.randn(4, 64, 12, 12, generator=torch.manual_seed(0), requires_grad=True)
    weights = torch.randn(4, 64, 12, 12)
    found = []
    for limit in (1, 3000, 2**30):  # a row at a time, some rows of an image, all at once
        monkeypatch.setattr(median_cnn, "CHUNK_VALUES", limit)
        output = MedianLayer(5)(x)
        found.append((output, *torch.autograd.grad((output * weights).sum(), x)))
    expected = ndimage.median_filter(x.detach().numpy(), (1, 1, 5, 5), mode="mirror")
    np.testing.assert_array_equal(found[0][0].detach().numpy(), expected)
    for output, gradient in found[:2]:
        assert torch.equal(output, found[2][0])
        torch.testing.assert_close(gradient, found[2][1])


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
def test_memory_of_a_median_of_many_channels_at_224_pixels_is_bounded():
    """Windows laid out beside each other would take 25 times the layer's input."""
    code = """
import resource, torch
from lib.models.denoisers.median_cnn import MedianLayer
x = torch.rand(1, 32, 224, 224).contiguous(memory_format=torch.channels_last).requires_grad_()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
MedianLayer(5)(x).sum().backward()
kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(kilobytes * 1024 / (4 * x.numel()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PAPER.parents[1], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert float(done.stdout) < 12


@pytest.mark.parametrize("kernel", [3, 5])
def test_gradient_of_the_median(kernel):
    # All values differ by more than gradcheck's step, so that no rank changes within it.
    values = torch.randperm(2 * 2 * 6 * 7, generator=torch.manual_seed(0)).double()
    x = values.view(2, 2, 6, 7).requires_grad_()
    assert torch.autograd.gradcheck(MedianLayer(kernel), x, eps=1e-3)


def test_equal_values_share_the_gradient():
    x = torch.zeros(1, 1, 7, 7, requires_grad=True)
    MedianLayer(3)(x).sum().backward()
    assert x.grad[0, 0, 3, 3].item() == pytest.approx(1)
    assert x.grad.sum().item() == pytest.approx(49)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DAE(True), lambda: DAE(3.0), lambda: DAE(2), lambda: DAE(3, depth=2.0),
        lambda: denoisers.SRResNet(3, blocks=-1), lambda: MedianCNN(3, blocks="2"),
        lambda: MedianLayer(4), lambda: MedianLayer(3.0), lambda: denoisers.build("dea", 1),
        lambda: DAE(3)(np.zeros((1, 3, 8, 8))), lambda: DAE(3)([1]),
        lambda: denoisers.restore(DAE, np.zeros((1, 8, 8, 3), np.uint8)),
        lambda: impulse_noise(torch.zeros(2, 1, 4, 4), 0.1, torch.tensor([1.0, 2.0]), 0),
    ],
)  # fmt: skip
def test_what_makes_no_denoiser_is_named(make):
    with refused():
        make()


def test_images_without_pixels_are_restored_to_none():
    assert denoisers.restore(DAE(3), np.zeros((2, 0, 8, 3), np.uint8)).shape == (2, 0, 8, 3)


def test_switched_off_medians_let_a_wrong_pixel_through():
    torch.manual_seed(0)
    active, inactive = MedianCNN(1, blocks=2).eval(), MedianCNN(1, blocks=2, median=False).eval()
    inactive.load_state_dict(active.state_dict())
    clean = torch.full((1, 1, 28, 28), 0.5)
    attacked = clean.clone()
    attacked[0, 0, 14, 14] = 1
    assert torch.equal(active(attacked), active(clean))
    assert not torch.equal(inactive(attacked), inactive(clean))


@pytest.mark.parametrize("training", [True, False])
def test_a_new_median_network_only_filters_between_its_first_and_last_layer(training):
    """Its sixteen blocks start as the identity, else the image drowns in their first output."""
    torch.manual_seed(0)
    model = MedianCNN(3).train(training)
    x = torch.rand(2, 3, 28, 28)
    expected = nn.Sequential(
        *(layer for layer in model.layers if not isinstance(layer, median_cnn.ResidualBlock))
    )(x)
    torch.testing.assert_close(model(x), expected)


# ---- noise


def test_share_of_replaced_pixels_and_their_colors():
    gray = 0.5001  # no stored value, so that every replaced value shows
    level, count, size = 0.1, 16, 64
    noisy = impulse_noise(torch.full((count, 3, size, size), gray), level, keys(count), 0)
    hit = noisy != gray
    assert (hit.all(1) == hit.any(1)).all()  # whole pixels
    replaced = hit[:, 0].sum((1, 2)).numpy()
    low, high = stats.binom.interval(1 - 1e-6, size * size, level)
    assert ((replaced >= low) & (replaced <= high)).all()
    low, high = stats.binom.interval(1 - 1e-4, count * size * size, level)
    assert low <= replaced.sum() <= high
    for channel in noisy.transpose(0, 1):
        values = channel[channel != gray].mul(255).round().long()
        counts = torch.bincount(values, minlength=256).numpy()
        assert len(counts) == 256
        assert stats.chisquare(counts).pvalue > 1e-4
    colors = noisy.permute(0, 2, 3, 1)[hit[:, 0]].numpy()
    assert np.abs(np.corrcoef(colors.T) - np.eye(3)).max() < 0.06  # channels are independent
    places = hit[:, 0].flatten(1).float().numpy()
    assert np.abs(np.corrcoef(places) - np.eye(count)).max() < 0.08  # and so are images


def test_noise_of_an_image_does_not_depend_on_the_batch():
    images = torch.rand(6, 1, 20, 24, generator=torch.manual_seed(0))
    together = impulse_noise(images, 0.3, keys(6), 7)
    for i in (0, 3, 5):
        alone = impulse_noise(images[i : i + 1], 0.3, keys(6)[i : i + 1], 7)
        assert torch.equal(alone[0], together[i])
    turned = impulse_noise(images.flip(0), 0.3, keys(6).flip(0), 7)
    assert torch.equal(turned.flip(0), together)
    assert torch.equal(impulse_noise(images, 0.3, keys(6), 7), together)
    for other in (
        impulse_noise(images, 0.3, keys(6), 8),
        impulse_noise(images, 0.3, keys(6, 1), 7),
    ):
        # Where the first noise hit, a fresh one hits in 3 of 10 pixels only.
        assert 0.2 < (other != images)[together != images].float().mean() < 0.4


def test_a_level_for_each_image():
    images = torch.full((3, 1, 64, 64), 0.5001)
    noisy = impulse_noise(images, torch.tensor([0.0, 0.5, 1.0]), keys(3), 0)
    shares = (noisy != images).float().mean((1, 2, 3))
    assert shares[0] == 0
    assert shares[1].item() == pytest.approx(0.5, abs=0.05)
    assert shares[2] == 1


def test_unfit_noise():
    images = torch.zeros(2, 1, 8, 8)
    for level in (-0.1, 1.1, float("nan")):
        with refused(level):
            impulse_noise(images, level, keys(2), 0)
    with refused(2, 3):
        impulse_noise(images, 0.1, keys(3), 0)
    with refused(300 * 300):
        impulse_noise(torch.zeros(1, 1, 300, 300), 0.1, keys(1), 0)
    for unfit in (images[0], images.byte(), images.double()):
        with refused():
            impulse_noise(unfit, 0.1, keys(len(unfit)), 0)
    stored = np.zeros((2, 8, 8, 3), np.uint8)
    for unfit in (stored / 255, stored.astype(int), stored[0], stored.transpose(0, 3, 1, 2)):
        with refused():
            corrupt(unfit, 0.1)
    for wrong in ({"seed": 1.5}, {"seed": None}, {"part": "tset"}, {"part": None}):
        with refused(*wrong.values()):
            corrupt(stored, 0.1, **wrong)


def test_noisy_copy_of_stored_images():
    images = photographs(70, 28, 3)
    noisy = corrupt(images, 0.1, 0, "val")
    assert noisy.dtype == np.uint8
    share = (noisy != images).any(3).mean()
    assert 0.095 < share < 0.105
    np.testing.assert_array_equal(noisy, corrupt(images, 0.1, 0, "val"))
    np.testing.assert_array_equal(noisy[:5], corrupt(images[:5], 0.1, 0, "val"))
    assert (corrupt(images, 0.1, 0, "test") != noisy).any()
    assert (corrupt(images, 0.1, 1, "val") != noisy).any()
    np.testing.assert_array_equal(corrupt(images, 0.1, np.int64(3)), corrupt(images, 0.1, 3))
    gray = torch.from_numpy(images[..., 0])
    np.testing.assert_array_equal(corrupt(gray, 0.1)[..., None], corrupt(images[..., :1], 0.1))


# ---- restoring


class Shift(nn.Module):
    """Adds gray levels."""

    def __init__(self, levels: float) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + self.levels / 255


@pytest.mark.parametrize("channels", [1, 3])
def test_median3_equals_scipy_on_stored_images(channels):
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 30, channels), np.uint8)
    restored = denoisers.restore(denoisers.build("median3", channels), images, "cpu", batch=2)
    expected = ndimage.median_filter(images, (1, 3, 3, 1), mode="mirror")
    np.testing.assert_array_equal(restored, expected)


def test_restored_values_are_clipped_and_rounded_to_the_nearest():
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    assert (denoisers.restore(Identity(1), images) == images).all()
    for levels, expected in ((0.49, 0), (0.51, 1), (-0.49, 0), (-0.51, -1), (300.0, 300)):
        restored = denoisers.restore(Shift(levels), images, "cpu").astype(int)
        np.testing.assert_array_equal(restored, np.clip(images.astype(int) + expected, 0, 255))


@pytest.mark.parametrize("name", denoisers.TRAINED)
def test_result_does_not_depend_on_the_batch(name):
    torch.manual_seed(0)
    model = denoisers.build(name, 3)  # in training mode, where batches would matter
    images = photographs(3, 30, 3)
    together = denoisers.restore(model, images, "cpu")
    alone = denoisers.restore(model, images, "cpu", batch=1)
    assert np.abs(together.astype(int) - alone).max() <= 1
    assert (together == alone).mean() > 0.999


def test_restoring_unfit_images():
    identity = denoisers.build("identity", 1)
    with refused("float32"):
        denoisers.restore(identity, np.zeros((1, 28, 28, 1), np.float32), "cpu")
    with refused((28, 28, 1)):
        denoisers.restore(identity, np.zeros((28, 28, 1), np.uint8), "cpu")
    with refused("Identity", (1, 3, 28, 28)):
        denoisers.restore(identity, np.zeros((1, 28, 28, 3), np.uint8), "cpu")
    with refused("Shift"):
        denoisers.restore(Shift(float("nan")), np.zeros((1, 28, 28, 1), np.uint8), "cpu")
    images = np.zeros((2, 8, 8, 3), np.uint8)
    for batch in (-1, 1.5, None):
        with refused("batch"):
            denoisers.restore(DAE(3), images, batch=batch)
    layer = nn.Conv2d(3, 3, 1)
    for unfit in (None, lambda x: {"out": x}, lambda x: (x,), lambda x: x.sum(), lambda x: x[:1],
                  nn.Conv2d(1, 1, 1), copy.deepcopy(layer).half(), layer.to("meta")):  # fmt: skip
        with refused():
            denoisers.restore(unfit, images)


# ---- loading


def stored(folder: Path, name: str, channels: int, network: str) -> None:
    state = denoisers.build(network, channels).state_dict()
    save_file(state, folder / f"{name}.safetensors")
    write_json(folder / f"{name}.json", {"name": name, "channels": channels})


def test_load(tmp_path):
    stored(tmp_path, "autoencoder", 1, "autoencoder")
    model = denoisers.load("autoencoder", tmp_path, 1)
    assert isinstance(model, Autoencoder)
    assert not model.training
    about = read_json(tmp_path / "autoencoder.json")
    write_json(tmp_path / "autoencoder.json", about | {"weights_md5": "0" * 32})
    with refused(tmp_path / "autoencoder.safetensors"):
        denoisers.load("autoencoder", tmp_path, 1)


def test_references_are_loaded_beside_trained_denoisers(tmp_path):
    stored(tmp_path, "dae", 3, "dae")
    found = denoisers.load_all(["identity", "median3", "dae"], tmp_path, 3, "auto")
    assert [type(model) for model in found.values()] == [Identity, Median3, DAE]
    assert not any(model.training for model in found.values())


def test_what_cannot_be_loaded(tmp_path):
    with refused(tmp_path / "dae.json"):
        denoisers.load("dae", tmp_path, 1)
    with refused("'autoencode'", "'autoencoder'"):
        denoisers.load("autoencode", tmp_path, 1)
    stored(tmp_path, "autoencoder", 1, "autoencoder")
    with refused(1, 3):
        denoisers.load("autoencoder", tmp_path, 3)
    (tmp_path / "autoencoder.json").rename(tmp_path / "dae.json")
    with refused("'autoencoder'", "'dae'"):
        denoisers.load("dae", tmp_path, 1)
    stored(tmp_path, "dae", 1, "autoencoder")
    with refused(tmp_path / "dae.safetensors"):
        denoisers.load("dae", tmp_path, 1)
    weights = tmp_path / "dae.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with refused(weights):
        denoisers.load("dae", tmp_path, 1)
    weights.unlink()
    with refused(weights):
        denoisers.load("dae", tmp_path, 1)
