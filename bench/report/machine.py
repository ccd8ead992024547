"""The name of a machine, which its report and plots carry: epyc-avx512-2-cpus."""

import re

# The vendor, marks, the frequency and words that every CPU's name may have.
_LEFT_OUT = r"\((r|tm|c)\)|@.*|\b(amd|intel|cpu|processor|with|gen|\d+(th|st|nd|rd)|\d+-core)\b"


def machine_name(data: dict) -> str:
    """CPU, instruction set and number of CPUs of a run, fit for a file's name."""
    machine, run = data["machine_info"], data["run"]
    brand = machine.get("cpu", {}).get("brand_raw", machine["machine"]).lower()
    isa, cpus = run["clstm"].get("isa", ""), run["cpus"]
    words = f"{re.sub(_LEFT_OUT, ' ', brand)} {isa} {cpus} {'cpu' if cpus == 1 else 'cpus'}"
    return "-".join(re.findall(r"[a-z0-9]+", words))


def plot_names(machine: str) -> tuple[str, str, str]:
    """The files of the ratios, of the overview and of the roofline, beside the report."""
    return f"{machine}-ratios.png", f"{machine}-overview.png", f"{machine}-roofline.png"
