"""Networks that the field's papers compare."""

from __future__ import annotations

from cropzoo import BackboneSpec

PUBLISHED = (
    BackboneSpec(
        name="tsvit",
        build="cropzoo_plugins.backbones.tsvit:TSViT",
        convert="cropzoo_plugins.backbones.tsvit_published:convert",
        published={"output_order": "published"},
        summary="Vision transformer over time, then space, with a token for every class",
        source="Tarasiou et al. 2023, arXiv:2301.04944",
        license="Apache-2.0",
        dates="doy",
        size_multiple=2,
        parameters=1.7,
        use="The best published scores here on Germany and T31TFM; wants a GPU or small sizes, and many patches.",
        deviations=(
            "Outputs lie in their patch's own square; output_order=published is for published weights.",
            "Padded dates are left out of the attention.",
            "Days of the year are exact; the published code is off by one on 19 of them.",
            "Positions are resized for images of another size.",
        ),
    ),
    BackboneSpec(
        name="unet3d",
        build="cropzoo_plugins.backbones.unet3d:UNet3D",
        convert="cropzoo_plugins.backbones.unet3d:convert",
        published={"padding": "published"},
        summary="U-Net with three-dimensional convolutions over time and space",
        source="Rustowicz et al. 2019; as in Tarasiou et al. 2022, arXiv:2104.04310",
        license="Apache-2.0",
        dates="none",
        fixed_length=True,
        size_multiple=4,
        parameters=6.2,
        use="A strong plain baseline where all series have about the same number of dates; it takes padding for blank "
        "images, and is costly on long series.",
        deviations=(
            "The last convolution and the sum over time behind it are swapped: sums first, then a convolution of "
            "images as the head; the same logits.",
            "Dropout stands before the last convolution, not between it and the sum over time; its default is 0, as "
            "configured by the paper.",
            "The bias of the sum over time is part of the head's bias: one parameter less.",
        ),
    ),
    BackboneSpec(
        name="unet3df",
        build="cropzoo_plugins.backbones.unet3df:UNet3Df",
        convert="cropzoo_plugins.backbones.unet3df:convert",
        published={"padding": "published"},
        summary="UNet3D with 128 dense features before the classes, made for contrastive pre-training",
        source="Tarasiou et al. 2022, arXiv:2104.04310",
        license="Apache-2.0",
        dates="none",
        fixed_length=True,
        size_multiple=4,
        parameters=7.2,
        use="UNet3D for contrastive pre-training, or where features of every pixel are wanted; it too suits series of "
        "about the same number of dates.",
        deviations=(
            "The last convolution and the sum over time behind it are swapped: sums first, then a convolution of "
            "images; the same embedding.",
        ),
    ),
    BackboneSpec(
        name="unet2d-clstm",
        build="cropzoo_plugins.backbones.unet2d_clstm:UNet2DCLSTM",
        convert="cropzoo_plugins.backbones.unet2d_clstm:convert",
        published={"padding": "published"},
        summary="U-Net on every date, then a convolutional LSTM over time",
        source="Tarasiou et al. 2022, arXiv:2104.04310",
        license="Apache-2.0",
        dates="none",
        size_multiple=4,
        parameters=2.3,
        use="For contrastive pre-training as its paper does it, with series of any length; slow to train.",
        deviations=(
            "Padded dates are left out of the recurrence, of its mean and of all batch statistics.",
            "Running statistics of the recurrence move once in a training step, not twice.",
            "Any number of dates; those after the last with statistics of its own use that one's.",
        ),
    ),
    BackboneSpec(
        name="biconvgru",
        build="cropzoo_plugins.backbones.biconvgru:BiConvGRU",
        convert="cropzoo_plugins.backbones.biconvgru:convert",
        published={"padding": "published"},
        summary="Convolutional GRUs over time, forwards and backwards",
        source="Russwurm and Koerner 2018, arXiv:1802.02080; as in Tarasiou et al. 2022, arXiv:2104.04310",
        license="Apache-2.0",
        dates="none",
        parameters=4.5,
        use="The classic recurrent baseline to compare with; costs much computation for its scores.",
        deviations=(
            "Padding is what the loader says, anywhere in the series, not dates of zeros at its end.",
            "The convolution on each date is a two-dimensional one; published weights fit.",
        ),
    ),
    BackboneSpec(
        name="fpn-convlstm",
        build="cropzoo_plugins.backbones.fpn_convlstm:FPNConvLSTM",
        convert="cropzoo_plugins.backbones.fpn_convlstm:convert",
        published={"padding": "published"},
        summary="Pyramid of dilated convolutions on every date, then a convolutional LSTM",
        source="Martinez et al. 2021; as in Garnot and Landrieu 2021, arXiv:2107.07933",
        license="Apache-2.0",
        dates="none",
        parameters=1.2,
        use="A light recurrent baseline that sees wide surroundings in each date; U-TAE scores higher at its size.",
        deviations=(
            "Padded dates are left out of the recurrence; the published one goes on over them.",
            "A date that is not padding is data even if its image is all zero; the published code blanks it.",
        ),
    ),
    BackboneSpec(
        name="utae",
        build="cropzoo_plugins.backbones.utae:UTAE",
        convert="cropzoo_plugins.backbones.utae:convert",
        published={"padding": "published"},
        summary="U-Net whose scales share one temporal attention, computed at the lowest",
        source="Garnot and Landrieu 2021, arXiv:2107.07933",
        license="Apache-2.0",
        dates="days",
        size_multiple=8,
        parameters=1.1,
        use="Near the best published scores at a small size, and it reads real dates; wants large images and many "
        "epochs: published logits pass a batch norm and a ReLU, and grow slowly.",
        deviations=(
            "Padded dates have no part in the norm before the attention; padding=published is for published weights.",
            "Maps with a side of one pixel are padded by repetition; the published code cannot reflect them.",
            "A date counts as padding by its own image alone; the published code asks again before every block.",
            "Keys and values of the attention are never made; the numbers are equal to 1e-5.",
        ),
    ),
    BackboneSpec(
        name="vistaformer",
        build="cropzoo_plugins.backbones.vistaformer:VistaFormer",
        convert="cropzoo_plugins.backbones.vistaformer:convert",
        published={"padding": "published"},
        summary="Three stages of gated strided convolutions and attention within dates, with a light head",
        source="MacDonald et al. 2024, arXiv:2409.08461",
        license="Apache-2.0",
        dates="none",
        size_multiple=8,
        parameters=1.3,
        use="Few operations a pixel, no dates to prepare: a first choice where a CPU must do; trained quickest on one "
        "with dropout=0.",
        deviations=(
            "Padded dates are left out, also of the first norm's statistics; padding=published takes them for data.",
            "A series of fewer than four dates has its last date repeated.",
            "Stochastic depth skips a layer's change; published, it drops the shortcut too.",
            "Images of any size; length tells for how many dates the head's kernels are made.",
            "The head reduces time before it resizes; both are linear, so the numbers are the same, and a series of "
            "60 dates of 32 x 32 px takes 3.0 GFLOPs where the published order of steps takes 3.7.",
        ),
    ),
)
