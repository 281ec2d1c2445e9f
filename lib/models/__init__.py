"""Networks: classifiers, denoisers, and their training.

A denoiser, from training to restored images:

    from lib.models import DAE, fit_denoiser, restore

    denoiser = DAE(channels=3)
    fit_denoiser(denoiser, images, validation_images, epochs=10)
    restored = restore(denoiser, attacked)  # uint8 (N, H, W, C)
"""

from lib.models.classifier_training import fit_classifier
from lib.models.classifiers import Classifier, classify, logits
from lib.models.denoiser_training import fit_denoiser
from lib.models.denoisers import (
    DAE,
    Autoencoder,
    Denoiser,
    Identity,
    Median3,
    MedianCNN,
    SRResNet,
    corrupt,
    impulse_noise,
    restore,
)

__all__ = [
    "DAE", "Autoencoder", "Classifier", "Denoiser", "Identity", "Median3", "MedianCNN",
    "SRResNet", "classify", "corrupt", "fit_classifier", "fit_denoiser", "impulse_noise",
    "logits", "restore",
]  # fmt: skip
