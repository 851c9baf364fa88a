"""Photographs: the data sets' pairs, and the crop-twice pairs of 4.1."""

from e2ent2lib.data.crops import Crops, CropTwice, crop_twice, overlap, training_images
from e2ent2lib.data.pairs import (
    DATASETS,
    DataSet,
    Pair,
    dataset,
    embedded_photographs,
    fingerprint,
    photographs,
)

__all__ = [
    "DATASETS",
    "CropTwice",
    "Crops",
    "DataSet",
    "Pair",
    "crop_twice",
    "dataset",
    "embedded_photographs",
    "fingerprint",
    "overlap",
    "photographs",
    "training_images",
]
