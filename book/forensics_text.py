"""Text of the page about how the printed measures may have been made."""

import pandas as pd

from lib.evidence.forensic_hypotheses import UNTRIED


def hypotheses(verdicts: pd.DataFrame) -> list[str]:
    """A sentence a hypothesis of `forensic_hypotheses.judge`."""
    sentences = []
    for row in verdicts.to_dict("records"):
        text = f"**{row['item']}** – the hypothesis that {row['hypothesis']} **{row['verdict']}**"
        if row["verdict"] != UNTRIED:
            text += (
                f". It reaches {row['reached']} of {row['values']} printed values (plain reading: "
                f"{row['plain_reached']}). The mean distance of the printed values from our means "
                f"is {row['distance']:.3g} (plain reading: {row['plain_distance']:.3g})"
            )
        if row["order"]:
            order = "the printed one" if row["order"] == "as printed" else "not the printed one"
            text += f". The order of the defenses is {order}"
        sentences.append(f"{text}.")
    return sentences


def undefended(found: dict[str, float]) -> str:
    """A sentence about `forensic_hypotheses.undefended`."""
    if found["psnr"] != found["psnr"]:
        return "**U1** was not tried: no attack succeeded."
    return (
        f"**U1** – without a defense, our attacked images have a PSNR of {found['psnr']:.1f} dB. "
        f"{found['denoisers_below']} of our {found['denoisers']} denoisers are below this, and so "
        f"are {found['printed_below']} of {found['printed']} printed values. At the paper's 224 "
        f"pixels, an attacked image has at least {found['bound']:.1f} dB; "
        f"{found['printed_below_bound']} of the {found['printed']} printed values are below that."
    )
