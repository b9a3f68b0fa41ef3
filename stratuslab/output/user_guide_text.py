"""Results as text, in the layout of the StratusLab user guide, to the byte."""

from __future__ import annotations

from collections.abc import Iterator

from stratuslab import results
from stratuslab.output.output_options import OutputOptions
from stratuslab.output.result_columns import TYPES
from stratuslab.output.safe_text import harmless, one_line, width, word
from stratuslab.output.table_layout import table


def lines(result: results.Result, options: OutputOptions) -> Iterator[str]:
    """The lines of a result."""
    quiet = options.quiet
    match result:
        case results.TextLine(text):
            yield text
        case results.Listing(types) if options.kind is TYPES and options.is_default:
            yield _type_line(" ", "Type", "CPU", "RAM", "SWAP")
            for kind, is_selected in types:
                mark = "*" if is_selected else " "
                yield _type_line(mark, kind.name, f"{kind.cpu} CPU", f"{kind.ram} MB", f"{kind.swap} MB")
        case results.InstanceStarted() if quiet:
            yield f"{result.id}, {result.address}"
        case results.InstanceStarted(place, network, address):
            yield f" :: Machine {place} (vm ID: {result.id})"
            yield f"     {one_line(network).title()} ip: {word(address)}"
        case results.LaunchBegins(count) if not quiet:
            yield from banner("Starting machine(s)")
            yield f" :: Starting {count} machine{'s' if count > 1 else ''}"
        case results.LaunchEnds() if not quiet:
            yield " :: Done!"
        case results.LaunchPlan(templates=templates):
            for place, template in enumerate(templates):
                yield from ("",) if place else ()
                yield from map(harmless, template.splitlines())
        case results.CloudCheck(cloud, version, user):
            release = f" (OpenNebula {one_line(version)})" if version else ""
            yield f'Cloud: {cloud}{release}. It accepts user "{one_line(user)}".'
        case results.Listing(rows, detailed, continues):
            # The details say the reason, too.
            header = options.header and not continues
            yield from table(options.selected(rows), options._replace(notes=options.notes and not detailed, header=header))
        case results.InstanceDetails():
            from stratuslab.output.instance_details_text import details_lines

            yield from details_lines(result, options.terminal)


def banner(title: str) -> list[str]:
    """The guide's box of colons around a title."""
    bar = " " + ":" * (len(title) + 6)
    return [bar, f" :: {title} ::", bar]


def _type_line(mark: str, name: str, cpu: str, ram: str, swap: str) -> str:
    shown = one_line(name)
    return f"{mark} {shown}{' ' * (10 - width(shown))} {cpu:>10} {ram:>10} {swap:>10}"
