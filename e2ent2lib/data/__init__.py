"""Photographs: the data sets' pairs, and what a training cuts out of them."""

from e2ent2lib.data.pairs import DATASETS, DataSet, Pair, dataset, embedded_photographs, fingerprint, photographs
from e2ent2lib.data.training import CropTwice, training_images

__all__ = ["DATASETS", "CropTwice", "DataSet", "Pair", "dataset", "embedded_photographs"]
__all__ += ["fingerprint", "photographs", "training_images"]
