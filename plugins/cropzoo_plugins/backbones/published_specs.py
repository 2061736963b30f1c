"""Specs of networks published for crop mapping."""

from __future__ import annotations

from cropzoo import BackboneSpec

PUBLISHED = (
    BackboneSpec(
        name="tsvit",
        build="cropzoo_plugins.backbones.tsvit:TSViT",
        convert="cropzoo_plugins.backbones.tsvit_published:convert",
        published={"output_order": "published"},
        summary="Vision transformer over time, then space, with one token per class",
        source="Tarasiou et al. 2023, arXiv:2301.04944",
        license="Apache-2.0",
        dates="doy",
        size_multiple=2,
        parameters=1.7,
        use="The highest published scores among these backbones on Germany and T31TFM; needs a GPU or small sizes, and "
        "many patches.",
        deviations=(
            "Outputs are placed in the square of their patch; output_order=published is for published weights.",
            "Padded dates are excluded from the attention.",
            "Days of the year are exact; in the published code 19 of them are off by one.",
            "Position embeddings are interpolated for images of another size.",
        ),
    ),
    BackboneSpec(
        name="unet3d",
        build="cropzoo_plugins.backbones.unet3d:UNet3D",
        convert="cropzoo_plugins.backbones.unet3d:convert",
        published={"padding": "published"},
        summary="U-Net with 3D convolutions over time and space",
        source="Rustowicz et al. 2019; as in Tarasiou et al. 2022, arXiv:2104.04310",
        license="Apache-2.0",
        dates="none",
        fixed_length=True,
        size_multiple=4,
        parameters=6.2,
        use="A strong baseline for series with about the same number of dates; it treats padding as blank images, and "
        "is expensive for long series.",
        deviations=(
            "The sum over time is computed before the last convolution, which becomes a 2D convolution in the head; "
            "the logits are the same.",
            "Dropout is applied before the last convolution instead of after it; its default is 0, as configured by "
            "the paper.",
            "The bias of the sum over time is part of the bias of the head, which saves one parameter.",
        ),
    ),
    BackboneSpec(
        name="unet3df",
        build="cropzoo_plugins.backbones.unet3df:UNet3Df",
        convert="cropzoo_plugins.backbones.unet3df:convert",
        published={"padding": "published"},
        summary="UNet3D with 128 dense features for contrastive pre-training",
        source="Tarasiou et al. 2022, arXiv:2104.04310",
        license="Apache-2.0",
        dates="none",
        fixed_length=True,
        size_multiple=4,
        parameters=7.2,
        use="UNet3D for contrastive pre-training or for features of each pixel; suited to series with about the same "
        "number of dates.",
        deviations=(
            "The sum over time is computed before the last convolution, which becomes a 2D convolution; the embedding "
            "is the same.",
        ),
    ),
    BackboneSpec(
        name="unet2d-clstm",
        build="cropzoo_plugins.backbones.unet2d_clstm:UNet2DCLSTM",
        convert="cropzoo_plugins.backbones.unet2d_clstm:convert",
        published={"padding": "published"},
        summary="U-Net on each date, then a convolutional LSTM over time",
        source="Tarasiou et al. 2022, arXiv:2104.04310",
        license="Apache-2.0",
        dates="none",
        size_multiple=4,
        parameters=2.3,
        use="For contrastive pre-training as in its paper, with series of any length; slow to train.",
        deviations=(
            "Padded dates are excluded from the recurrence, its mean and all batch statistics.",
            "Running statistics of the recurrence are updated once per training step instead of twice.",
            "Any number of dates is supported; dates beyond those with separate statistics use the last ones.",
        ),
    ),
    BackboneSpec(
        name="biconvgru",
        build="cropzoo_plugins.backbones.biconvgru:BiConvGRU",
        convert="cropzoo_plugins.backbones.biconvgru:convert",
        published={"padding": "published"},
        summary="Bidirectional convolutional GRU over time",
        source="Russwurm and Koerner 2018, arXiv:1802.02080; as in Tarasiou et al. 2022, arXiv:2104.04310",
        license="Apache-2.0",
        dates="none",
        parameters=4.5,
        use="The classic recurrent baseline; expensive for its scores.",
        deviations=(
            "Padding is defined by the loader and can be anywhere in the series, instead of zeros at its end.",
            "The convolution on each date is 2D; published weights are converted.",
        ),
    ),
    BackboneSpec(
        name="fpn-convlstm",
        build="cropzoo_plugins.backbones.fpn_convlstm:FPNConvLSTM",
        convert="cropzoo_plugins.backbones.fpn_convlstm:convert",
        published={"padding": "published"},
        summary="Pyramid of dilated convolutions on each date, then a convolutional LSTM",
        source="Martinez et al. 2021; as in Garnot and Landrieu 2021, arXiv:2107.07933",
        license="Apache-2.0",
        dates="none",
        parameters=1.2,
        use="A light recurrent baseline with a large receptive field on each date; U-TAE scores higher at this size.",
        deviations=(
            "Padded dates are skipped by the recurrence; the published code processes them.",
            "A valid date is data even if its image is all zero; the published code treats it as padding.",
        ),
    ),
    BackboneSpec(
        name="utae",
        build="cropzoo_plugins.backbones.utae:UTAE",
        convert="cropzoo_plugins.backbones.utae:convert",
        published={"padding": "published"},
        summary="U-Net whose scales share one temporal attention, computed at the lowest resolution",
        source="Garnot and Landrieu 2021, arXiv:2107.07933",
        license="Apache-2.0",
        dates="days",
        size_multiple=8,
        parameters=1.1,
        use="Near the highest published scores at a small size, and uses dates; needs large images and many epochs, "
        "because the published head applies batch norm and ReLU to the logits.",
        deviations=(
            "Padded dates are excluded from the norm before the attention; padding=published is for published weights.",
            "Maps with a side of one pixel are padded by replication; the published code fails on them.",
            "Padding is determined once from the image of a date; the published code checks again before each block.",
            "Keys and values of the attention are not computed explicitly; results are equal to 1e-5.",
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
        use="Few operations per pixel and no dates needed: the first choice for a CPU, on which it trains fastest with "
        "dropout=0.",
        deviations=(
            "Padded dates are excluded, also from the statistics of the first norm; padding=published treats them "
            "as data.",
            "The last date of a series of fewer than four dates is repeated.",
            "Stochastic depth skips only the residual branch; the published code also drops the shortcut.",
            "Images of any size are supported; length is the number of dates of the kernels in the head.",
            "The head reduces time before it resizes; both steps are linear, so the results are the same, and a series "
            "of 60 dates of 32 x 32 px takes 3.0 instead of 3.7 GFLOPs.",
        ),
    ),
    BackboneSpec(
        name="exchanger",
        build="cropzoo_plugins.backbones.exchanger:Exchanger",
        convert="cropzoo_plugins.backbones.exchanger:convert",
        summary="Latent tokens that exchange information with the dates of each pixel, then a U-Net",
        source="Cai et al. 2023, arXiv:2305.02086",
        license="Apache-2.0",
        dates="days",
        inputs=("padded",),
        size_multiple=8,
        use="The highest published score on PASTIS among these backbones; needs a GPU, because its temporal encoder "
        "processes every date of every pixel.",
        deviations=(
            "Padded dates are excluded from the statistics of the batch norms.",
            "Stochastic depth drops the branches of single pixels.",
            "The bias of the head starts at the default of PyTorch; equal biases, as in the paper, do not change a "
            "softmax.",
            "Keys of the first attention are not computed explicitly, and the U-Net reduces channels before it "
            "interpolates; results are equal to 1e-5.",
            "Dates up to ten years after the reference are encoded, instead of 1000 days.",
        ),
    ),
)
