"""The controls of a benchmark as plain data: what simple rules reach on the same folds."""

from __future__ import annotations

from dataclasses import dataclass, field

LARGEST, COLOURS, FILE, PERMUTED = "largest class", "colours", "file properties", "permuted labels"

#: What each control does, and what follows if the best head is not better.
MEANINGS = {
    LARGEST: (
        "Always predicts the class with most images. A head that is not better has learned nothing "
        "useful."
    ),
    COLOURS: (
        "Sees only how often each colour is in an image, and no shapes. If the best head is not "
        "better, the colours alone give the same answer."
    ),
    FILE: (
        "Sees only the size, width, height, JPEG quality and format of the file, and not the "
        "image. If this tells the classes, their images were made in different ways."
    ),
    PERMUTED: (
        "A head on the best embedding, trained on shuffled labels. It can only guess. If it does "
        "better, tested images have leaked into the training images."
    ),
}


#: Attributes of a control that a model file keeps.
MODEL_FACTS = ("name", "about", "score", "interval", "beaten", "reason", "classes")


@dataclass(frozen=True)
class Control:
    """A simple rule that a good head must beat, on the folds of the first repeat.

    Attributes
    ----------
    name : {"largest class", "colours", "file properties", "permuted labels"}
    about : str
        What the control knows of the images.
    score : float or None
        Its accuracy over all tested images; None if it was not computed.
    interval : [float, float] or None
        95 % interval of the accuracy. None for the largest class, which learns nothing.
    balanced_accuracy : float or None
    images : int
        Number of tested images. With very many images, a sample is tested.
    beaten : bool or None
        Whether the best head is surely better on the same images. For permuted labels: whether
        they are at the level of guessing, too. None if the control was not computed.
    reason : str or None
        Why the control was not computed.
    classes : list of str
        Classes that the properties of their files tell from the other classes (see
        `tlfeatures.benchmarking.shortcut`). Only for file properties.
    evidence : list of str
        What differs, in a sentence for each of these classes.
    head : str
        Key of the entry of the best head, with which the control was compared.
    key : str
        Hash of everything else that the numbers depend on.
    """

    name: str
    about: str
    score: float | None = None
    interval: list[float] | None = None
    balanced_accuracy: float | None = None
    images: int = 0
    beaten: bool | None = None
    reason: str | None = None
    classes: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    head: str = ""
    key: str = ""

    def is_surely_above(self, share: float) -> bool:
        """Whether the accuracy is above a share by twice what the 95 % interval leaves open.

        By chance, this happens in fewer than 1 of 10,000 benchmarks.
        """
        if self.score is None or self.interval is None:
            return False
        return self.score - 2 * (self.score - self.interval[0]) > share
