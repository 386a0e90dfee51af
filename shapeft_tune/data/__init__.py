"""From a PASTIS folder to batches: which patches, which dates, which labels, and nothing read twice."""

from shapeft_tune.data.batches import Batch, Samples, evaluation_batches, prefetched, training_batches
from shapeft_tune.data.check import FolderReport, check_folder
from shapeft_tune.data.datasets import open_dataset
from shapeft_tune.data.facts import class_pixels_of
from shapeft_tune.data.folder import Folder, Patch
from shapeft_tune.data.normalisation import (
    Normalisation,
    fold_statistics,
    normalisation_for,
    write_statistics,
)
from shapeft_tune.data.pastis import CLASS_NAMES, NUM_CLASSES, VOID, PastisFolder
from shapeft_tune.data.resident import samples_on
from shapeft_tune.data.sample import generate_sample
from shapeft_tune.data.splits import Sample, Split, Splits, open_splits, problems_with

__all__ = [
    "CLASS_NAMES",
    "NUM_CLASSES",
    "VOID",
    "Batch",
    "Folder",
    "FolderReport",
    "Normalisation",
    "PastisFolder",
    "Patch",
    "Sample",
    "Samples",
    "Split",
    "Splits",
    "check_folder",
    "class_pixels_of",
    "evaluation_batches",
    "fold_statistics",
    "generate_sample",
    "normalisation_for",
    "open_dataset",
    "open_splits",
    "prefetched",
    "problems_with",
    "samples_on",
    "training_batches",
    "write_statistics",
]
