"""From a PASTIS folder to batches: which patches, which dates, which labels, and nothing read twice."""

from shapeft_tune.data.batches import Batch, evaluation_batches, prefetched, training_batches
from shapeft_tune.data.check import FolderReport, check_folder
from shapeft_tune.data.datasets import open_dataset
from shapeft_tune.data.facts import class_pixels_of
from shapeft_tune.data.folder import Folder, Patch
from shapeft_tune.data.normalisation import Normalisation, normalisation_for, write_statistics
from shapeft_tune.data.pastis import CLASS_NAMES, NUM_CLASSES, VOID, PastisFolder
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
    "Split",
    "Splits",
    "check_folder",
    "class_pixels_of",
    "evaluation_batches",
    "generate_sample",
    "normalisation_for",
    "open_dataset",
    "open_splits",
    "prefetched",
    "problems_with",
    "training_batches",
    "write_statistics",
]
