"""The command that tells how things stand."""

from typing import Any

import click

from reconciler.cli.console import ERROR, OK
from reconciler.cli.ending import emit
from reconciler.cli.options import output_format, verbosity
from reconciler.config.setup import Session
from reconciler.host import kernel_message
from reconciler.passes import enforce as loop
from reconciler.passes.silence import silent
from reconciler.report import text


@click.command()
@click.option("--protection", is_flag=True, help="List what is protected, and why.")
@output_format
@verbosity
@click.pass_obj
def status(session: Session, protection: bool, form: str) -> int:
    """Tell what is stored, what is exempt, and whether each backend holds it.

    Also which sources see nothing of the kernel, and whether it prints its message at all.
    """
    backends, sources = session.backends(()), session.sources(())
    with session.store(write=False) as store:
        counts = store.counts(session.now)
        protected = session.protection(store)
        if protection:
            emit(
                form,
                lambda: {"protection": text.exemptions_json(protected)},
                text.exemptions_text(protected),
            )
            return OK
        invalid = session.refused(store)
        wish = session.wish(store, (), write=False, force=True)
        outcomes = list(loop.enforce(backends, wish, check=True))
        wanted = wish.whole()
    message = kernel_message.look(kernel_message.HERE)
    states: list[dict[str, Any]] = [
        {"backend": o.backend, "state": o.state.value, "error": o.error or None} for o in outcomes
    ]
    value: dict[str, Any] = {
        "database": str(session.config.treason.database),
        "bans": {
            "permanent": counts.permanent,
            "temporary": counts.temporary,
            "invalid": len(invalid),
        },
        "offences": counts.offences,
        "last_offence": text.iso(counts.last_offence),
        "whitelisted": len(session.whitelist),
        "protected": len(protected),
        "desired": len(wanted.banned),
        "sources": list(counts.sources),
        "silent": silent(sources),
        "kernel_message": message.value,
        "backends": states,
    }
    emit(form, lambda: value, _lines(value, message))
    return ERROR if any(outcome.error for outcome in outcomes) else OK


def _lines(value: dict[str, Any], message: kernel_message.State) -> list[str]:
    bans = value["bans"]
    invalid = f", {bans['invalid']} that are no networks" if bans["invalid"] else ""
    return [
        f"database   {value['database']}",
        f"bans       {bans['permanent']} permanent, {bans['temporary']} with an end{invalid}",
        f"offences   {value['offences']}, the last {value['last_offence'] or 'never'}",
        f"exempt     {value['whitelisted']} whitelisted, {value['protected']} protected",
        f"desired    {value['desired']} networks to drop",
        f"read       {', '.join(value['sources']) or 'no source yet'}",
        *(f"silent     {line}" for line in text.silence_text(value["silent"])),
        f"message    {kernel_message.advice(message) or message.value}",
        *(f"{each['backend']:<10} {each['error'] or each['state']}" for each in value["backends"]),
    ]
