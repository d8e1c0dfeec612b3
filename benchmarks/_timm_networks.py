"""Networks that the benchmark of any network reads: names of timm by family, and the classics that onnx ships."""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

# Families by kind. No network was chosen by whether it works; all are small enough for one core.
CONVOLUTIONAL = {
    "ResNet": "resnet18 resnet26 resnetv2_18 resnext26ts seresnext26d_32x4d res2net50_14w_8s resnest14d skresnet18",
    "MobileNet": "mobilenetv1_100 mobilenetv2_100 mobilenetv3_small_100 mobilenetv3_large_100 mobilenetv4_conv_small",
    "MnasNet and FBNet": "mnasnet_100 semnasnet_100 spnasnet_100 fbnetc_100 fbnetv3_b hardcorenas_a",
    "EfficientNet": "efficientnet_b0 efficientnet_lite0 tf_efficientnet_b0 tf_efficientnetv2_b0 mixnet_s tinynet_c",
    "LCNet and HGNet": "lcnet_100 hgnetv2_b0",
    "GhostNet": "ghostnet_100 ghostnetv2_100 repghostnet_100",
    "ReXNet": "rexnet_100",
    "RegNet": "regnetx_002 regnety_002 regnetz_b16 nf_regnet_b0 gernet_s",
    "DenseNet": "densenet121",
    "DLA": "dla34 dla46_c",
    "HRNet": "hrnet_w18_small",
    "VGG": "vgg11 vgg11_bn",
    "Inception and Xception": "inception_v3 inception_v4 xception41",
    "MobileOne and RepVGG": "mobileone_s0 repvgg_a0",
    "CSPNet and DarkNet": "cspresnet50 cspdarknet53 darknet17",
    "SelecSLS": "selecsls42b",
    "VoVNet": "ese_vovnet19b_dw",
    "ConvNeXt": "convnext_atto convnextv2_atto convnext_pico",
    "FasterNet and StarNet": "fasternet_t0 starnet_s1",
    "RepViT": "repvit_m0_9",
}
OTHERS = {
    "ViT": "vit_tiny_patch16_224 deit_tiny_patch16_224 eva02_tiny_patch14_224",
    "Swin": "swin_tiny_patch4_window7_224",
    "MLP": "mixer_s32_224 resmlp_12_224 gmixer_12_224",
    "MetaFormer": "poolformer_s12 poolformerv2_s12 convformer_s18",
    "LeViT and EfficientFormer": "levit_128s efficientformer_l1 efficientformerv2_s0",
    "MobileViT": "mobilevit_xxs mobilevitv2_050 edgenext_xx_small mobilenetv4_hybrid_medium",
    "EfficientViT": "efficientvit_b0 efficientvit_m0",
    "FastViT": "fastvit_t8",
    "PVT and Twins": "pvt_v2_b0 twins_svt_small",
    "XCiT and CaiT": "xcit_nano_12_p16_224 cait_xxs24_224",
    "CoaT and CoAtNet": "coat_tiny coatnet_nano_rw_224",
    "MaxViT": "maxvit_nano_rw_256",
    "CrossViT": "crossvit_tiny_240",
    "ConViT, PiT, and Visformer": "convit_tiny pit_ti_224 visformer_tiny",
    "MViT and GCViT": "mvitv2_tiny gcvit_xxtiny",
    "TinyViT": "tiny_vit_5m_224",
    "NesT": "nest_tiny",
    "ResNet with attention": "botnet26t_256 eca_resnet33ts",
}
CLASSICS = (
    "bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet", "vgg19",
    "zfnet512",
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A network of the benchmark.

    Attributes:
        name: Its name.
        family: Its family.
        kind: 'convolutional', 'other', or 'classic'.
        file: The ONNX model; None where it could not be exported.
        reason: Why there is no file.
    """

    name: str
    family: str
    kind: str
    file: Path | None
    reason: str = ""


def subjects(folder: Path, quick: bool) -> list[Subject]:
    """Export all networks that the folder lacks; a smoke test takes one classic, and needs no timm."""
    found = []
    for kind, families in (("convolutional", CONVOLUTIONAL), ("other", OTHERS)) if not quick else ():
        for family, names in families.items():
            found += [_exported(name, family, kind, folder) for name in names.split()]
    for name in CLASSICS if not quick else ("squeezenet",):
        found.append(Subject(f"onnx/{name}", "classics of onnx", "classic", _classic(name, folder)))
    return found


def _exported(name: str, family: str, kind: str, folder: Path) -> Subject:
    import timm
    import torch

    file, refusal = folder / f"{name}.onnx", folder / f"{name}.refused"
    if refusal.exists():
        return Subject(name, family, kind, None, refusal.read_text())
    if not file.exists():
        torch.manual_seed(0)
        model = timm.create_model(name).eval()
        example = torch.randn(1, *model.default_cfg["input_size"])
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                torch.onnx.export(
                    model, (example,), str(file), dynamo=True, external_data=False, verbose=False
                )
        except Exception as error:
            file.unlink(missing_ok=True)
            reason = str(error).splitlines()[0].partition("\x1b")[0].strip()
            refusal.write_text(f"torch.onnx.export: {type(error).__name__}: {reason}")
            return Subject(name, family, kind, None, refusal.read_text())
    return Subject(name, family, kind, file)


def _classic(name: str, folder: Path) -> Path:
    """Write one of onnx's light models with constant weights: as they are, each run would compute them anew."""
    import onnx

    from nascli.profiles.onnx.folding import fold_constants
    from nascli.profiles.onnx.model_files import load_model

    file = folder / f"onnx-{name}.onnx"
    if not file.exists():
        light = Path(onnx.__file__).parent / "backend/test/data/light" / f"light_{name}.onnx"
        onnx.save(fold_constants(load_model(light)).proto, str(file))
    return file
