"""Built-in objectives. The specs hold strings only, so that listing them does not import torch."""

from __future__ import annotations

from collections.abc import Sequence

from cropzoo import ObjectiveSpec, hookimpl


@hookimpl
def cropzoo_objectives() -> Sequence[ObjectiveSpec]:
    return [
        ObjectiveSpec(
            name="boundary",
            build="cropzoo_plugins.objectives.boundary:Boundary",
            summary="Boundary detection: predicts which pixels lie on a boundary between classes or parcels",
            source="Tarasiou et al. 2022, arXiv:2104.04310 (definition of the boundary)",
            license="Apache-2.0",
            needs_labels=True,
        ),
        ObjectiveSpec(
            name="cscl",
            build="cropzoo_plugins.objectives.cscl:CSCL",
            summary="Context-self contrastive loss: compares each pixel with the pixels of a window around it",
            source="Tarasiou et al. 2022, arXiv:2104.04310",
            license="Apache-2.0",
            needs_labels=True,
            renamed_options={"normalise": "normalize"},
        ),
        ObjectiveSpec(
            name="forest",
            build="cropzoo_plugins.objectives.forest:Forest",
            summary="Random forest on frozen features, fitted once by scikit-learn",
            source="Breiman 2001, doi:10.1023/A:1010933404324",
            license="Apache-2.0",
            needs_labels=True,
            fitted=True,
        ),
        ObjectiveSpec(
            name="knn",
            build="cropzoo_plugins.objectives.knn:KNN",
            summary="Vote of the nearest training pixels in the space of frozen features",
            source="Cover and Hart 1967, doi:10.1109/TIT.1967.1053964",
            license="Apache-2.0",
            needs_labels=True,
            fitted=True,
        ),
        ObjectiveSpec(
            name="logistic",
            build="cropzoo_plugins.objectives.logistic:Logistic",
            summary="Logistic regression on standardized frozen features, fitted once by scikit-learn",
            source="Cox 1958, doi:10.1111/j.2517-6161.1958.tb00292.x",
            license="Apache-2.0",
            needs_labels=True,
            fitted=True,
        ),
        ObjectiveSpec(
            name="mtm",
            build="cropzoo_plugins.objectives.mtm:MaskedTime",
            summary="Masked time modeling: reconstructs the reflectance of hidden dates and patches; needs no labels",
            source="Yuan and Lin 2021, doi:10.1109/JSTARS.2020.3036602; Tseng et al. 2023, arXiv:2304.14065",
            license="Apache-2.0",
            needs_labels=False,
        ),
        ObjectiveSpec(
            name="segmentation",
            build="cropzoo_plugins.objectives.segmentation:Segmentation",
            summary="Semantic segmentation: cross-entropy, focal or dice loss, or sums of them",
            source="Lin et al. 2017, arXiv:1708.02002 (focal); Milletari et al. 2016, arXiv:1606.04797 (dice)",
            license="Apache-2.0",
            needs_labels=True,
        ),
        ObjectiveSpec(
            name="supcon",
            build="cropzoo_plugins.objectives.supcon:SupCon",
            summary="Supervised contrastive loss over pixels sampled equally from the classes of a batch",
            source="Khosla et al. 2020, arXiv:2004.11362",
            license="Apache-2.0",
            needs_labels=True,
        ),
    ]
