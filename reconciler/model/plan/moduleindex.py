"""Kernel modules of several extensions: the indexes by which modprobe(8) finds them.

Each extension brings the indexes of its own modules, or none, and in an overlay only the top layer's are seen:
modules of the others, and of the host, could not be loaded by name. So there is a generated extension above all
others, with the indexes of everything that is merged. What it is made of gives it its digest, so it is made anew
where that changes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.model.content.ociread import digest_of
from reconciler.model.kind import MODULE_INDEX, Kind
from reconciler.model.plan.action import Generate, Layer, Place, Problem, Remove, Step
from reconciler.model.plan.layerorder import bottom_up
from reconciler.model.plan.overlaylimit import OPTIONS_MAX, option_length
from reconciler.model.state.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.fit.contents import Contents
    from reconciler.model.kind import ExtensionId
    from reconciler.model.state.observed import HostModules, Link, ObservedState

_FORMAT: Final = 1  # a higher one has every index made anew


@dataclass(frozen=True, slots=True)
class Due:
    """What the indexes take, and why there are none where some ought to be."""

    steps: tuple[Step, ...] = ()
    warnings: tuple[Problem, ...] = ()


def due_index(observed: ObservedState, steps: Sequence[Step]) -> Due:
    """What is to be done for the indexes after these steps.

    Nothing, as long as one of them is to place what is not in the store yet: only then it is known what is in that.
    """
    after = _after(observed, steps)
    if any(entry not in observed.store for entry in after.values()):
        return Due()
    link, contents = observed.links.get(MODULE_INDEX), {ident: observed.store[it] for ident, it in after.items()}
    if not observed.host.kernel:
        return _on_first_boot(contents)
    carriers = {ident: after[ident] for ident, it in contents.items() if observed.host.kernel in it.kernels}
    if not carriers or observed.modules is None:
        return _without(link, "no extension has modules for the kernel that runs")
    if observed.modules.state is None:
        return Due()
    if lack := _lack(observed, observed.modules, carriers):
        return Due(_without(link, lack.message).steps, (lack,))
    return Due(_made(observed, observed.modules, carriers, link))


def _after(observed: ObservedState, steps: Sequence[Step]) -> dict[ExtensionId, Entry]:
    """The system extensions that are going to be merged, with their content."""
    after = {link.ident: link.entry for link in observed.mergeable_links(Kind.SYSEXT)}
    after |= {it.ident: it.new for it in steps if isinstance(it, Place) and it.ident.kind is Kind.SYSEXT}
    gone = {it.ident for it in steps if isinstance(it, Remove)}
    return {ident: entry for ident, entry in after.items() if ident not in gone | {MODULE_INDEX}}


def _on_first_boot(contents: Mapping[ExtensionId, Contents]) -> Due:
    """Of a system that does not run, nobody knows the kernel."""
    names = sorted(ident.name for ident, it in contents.items() if it.kernels)
    if not names:
        return Due()
    message = f"indexes of the kernel modules of {', '.join(names)} are made where their kernel runs"
    hint = "enable livelayer-boot.service there, which makes them at each boot that needs others"
    return Due((), (Problem("modules.not-indexed", None, message, hint),))


def _without(link: Link | None, why: str) -> Due:
    return Due((Remove(MODULE_INDEX, link.entry, why),)) if link else Due()


def _lack(observed: ObservedState, modules: HostModules, carriers: Mapping[ExtensionId, Entry]) -> Problem | None:
    """What keeps the indexes from being made."""
    names = ", ".join(sorted(ident.name for ident in carriers))
    reason = hint = None
    present = {link.name for link in observed.mergeable_links(Kind.SYSEXT)} | {it.name for it in observed.unmanaged}
    if not modules.has_depmod:
        reason, hint = "depmod is not installed", "install kmod"
    elif obstacle := observed.obstacle(MODULE_INDEX):
        reason, hint = f"{obstacle.path} is in the way", f"remove {obstacle.path}"
    elif option_length({*present, *(it.name for it in carriers), MODULE_INDEX.name}, Kind.SYSEXT) > OPTIONS_MAX:
        reason, hint = "an overlay takes no further extension", "make one image of several"
    if reason is None:
        return None
    return Problem(
        "modules.not-indexed", None, f"kernel modules of {names} may not be found by their names: {reason}", hint
    )


def _made(
    observed: ObservedState, modules: HostModules, carriers: Mapping[ExtensionId, Entry], link: Link | None
) -> tuple[Step, ...]:
    kernel, names = observed.host.kernel, [ident.name for ident in carriers]
    layers = _layers(modules, carriers)
    entry = Entry(_digest(kernel, modules, layers))
    reason = f"modules of {', '.join(sorted(names))} for {kernel}"
    steps: list[Step] = []
    if changed := observed.changed.get(entry):
        why = f"its content was changed: {changed}"
        steps.append(Generate(MODULE_INDEX, entry, kernel, layers, why, changed=True))
    elif entry not in observed.store:
        steps.append(Generate(MODULE_INDEX, entry, kernel, layers, reason))
    if steps or link is None or link.entry != entry:
        steps.append(Place(MODULE_INDEX, link.entry if link else None, entry, reason))
    return tuple(steps)


def _layers(modules: HostModules, carriers: Mapping[ExtensionId, Entry]) -> tuple[Layer, ...]:
    found: dict[str, Layer] = {it.name: Layer(it.name, it.path) for it in modules.others}
    found |= {ident.name: Layer(ident.name, entry) for ident, entry in carriers.items()}
    return tuple(found[name] for name in bottom_up(found))


def _digest(kernel: str, modules: HostModules, layers: Sequence[Layer]) -> str:
    """What tells the indexes of one set of modules from those of another."""
    states = {str(it.path): it.state for it in modules.others}
    contents = [
        [it.name, it.content.file_name if isinstance(it.content, Entry) else states[str(it.content)]] for it in layers
    ]
    return digest_of(json.dumps([_FORMAT, kernel, modules.state, contents]).encode())
