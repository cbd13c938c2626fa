"""Everything this package raises on purpose.

::

    TlfeaturesError
    ├── ParameterError      an option has a value it can't have (also a ValueError)
    ├── SourceError         the images: none found, none readable
    │   └── ImageError      one image can't be read
    ├── EngineError         what computes the forward pass is not installed, or fails
    ├── WeightsError        weights can't be obtained, or are not the expected ones
    ├── OutputError         a file can't be written (also an OSError)
    ├── StoreError          the embeddings file
    │   ├── FormatError     not such a file, a newer version, or damaged
    │   ├── SpecError       it was made with other settings
    │   └── BusyError       another process is writing it, or a benchmark's folder
    ├── StoppedError        it was asked to stop, and did
    ├── ClusterError        the scheduler, or the workers
    ├── DatasetError        labels, classes, splits
    └── ModelError          a model file can't be written, read or used

A message says what was found, what was expected, and what mends it. The command line turns
`ParameterError` into exit code 2 and every other one into exit code 1.
"""


class TlfeaturesError(Exception):
    """Base of every error this package raises on purpose."""


class ParameterError(TlfeaturesError, ValueError):
    """An option has a value that it can't have."""


class SourceError(TlfeaturesError):
    """The folder of images can't be used."""


class ImageError(SourceError):
    """One image can't be read; the message is the reason."""


class EngineError(TlfeaturesError):
    """What computes the forward pass is not installed, or fails."""


class WeightsError(TlfeaturesError):
    """Weights can't be obtained or are not the expected ones."""


class OutputError(TlfeaturesError, OSError):
    """A file can't be written; what was there before stays."""


class StoreError(TlfeaturesError):
    """The embeddings file can't be used."""


class FormatError(StoreError):
    """Not an embeddings file, one of a newer version, or a damaged one."""


class SpecError(StoreError):
    """The embeddings file was made with other settings than those asked for."""


class BusyError(StoreError):
    """Another process is writing the embeddings file, or the folder of a benchmark."""


class StoppedError(TlfeaturesError):
    """It was asked to stop, and did; what was done is kept, and the same call goes on."""


class ClusterError(TlfeaturesError):
    """The scheduler can't be reached, or its workers can't do the work."""


class DatasetError(TlfeaturesError):
    """Labels, classes or splits don't allow what was asked for."""


class ModelError(TlfeaturesError):
    """A model file can't be written, read or used."""
