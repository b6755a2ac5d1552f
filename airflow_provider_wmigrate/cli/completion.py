"""Shell completion, written out from the table of verbs: no process is started while somebody presses Tab."""

from __future__ import annotations

from collections.abc import Iterator

from .arguments import COMMON, WMIGRATE, Argument, Verb
from .call import Answer, Call
from .patterns import template
from .verbs import VERBS, options

_HOW = {
    "bash": '# eval "$(wmigrate completion bash)"',
    "zsh": '# eval "$(wmigrate completion zsh)"',
    "fish": "# wmigrate completion fish | source",
}


def completion(call: Call) -> Answer:
    """The script for one shell."""
    shell = call.arguments.shell
    text = f"{_HOW[shell]}\n{ {'bash': _bash, 'zsh': _zsh, 'fish': _fish}[shell]() }".rstrip()
    return Answer({"shell": shell, "script": text}, lambda screen: screen.text(text))


def _flags(arguments: Iterator[Argument] | tuple[Argument, ...]) -> list[str]:
    return [flag for argument in arguments for flag in argument.flags]


def _words(verb: Verb) -> list[str]:
    """What may follow the verb."""
    choices = [choice for a in verb.arguments if not a.is_option for choice in a.choices]
    return [*choices, *_flags(options(verb, WMIGRATE)), "--help"]


def _bash() -> str:
    cases = "\n".join(f'        {verb.name}) words="{" ".join(_words(verb))}" ;;' for verb in VERBS)
    values = "\n".join(
        f'        {flag}) COMPREPLY=($(compgen -W "{" ".join(a.choices)}" -- "$cur")); return ;;'
        for a in {a.flags: a for verb in VERBS for a in verb.arguments if a.is_option and a.choices}.values()
        for flag in a.flags
    )
    texts = "|".join(sorted({f for v in VERBS for a in options(v, WMIGRATE) if _takes_text(a) for f in a.flags}))
    first = " ".join([*(verb.name for verb in VERBS), *_flags((*COMMON, *WMIGRATE)), "--help", "--version"])
    verbs = " ".join(verb.name for verb in VERBS)
    return template("completion.bash", verbs=verbs, cases=cases, values=values, texts=texts, first=first)


def _takes_text(argument: Argument) -> bool:
    return argument.kind != "flag" and not argument.choices and not argument.completes


def _zsh() -> str:
    verbs = "\n".join(f"        {_quoted(f'{verb.name}:{verb.help}')}" for verb in VERBS)
    cases = "\n".join(f"        {verb.name}) _arguments {_zsh_arguments(verb)} ;;" for verb in VERBS)
    common = "\n".join(f"        {_zsh_argument(argument)}" for argument in (*COMMON, *WMIGRATE))
    return template("completion.zsh", verbs=verbs, cases=cases, common=common)


def _zsh_arguments(verb: Verb) -> str:
    positional = [a for a in verb.arguments if not a.is_option]
    said = ['"$common[@]"', *(_zsh_argument(argument) for argument in verb.arguments if argument.is_option)]
    said += [_quoted(f"{i}:{a.name}:({' '.join(a.choices)})") for i, a in enumerate(positional, 1)]
    return " ".join(said)


def _zsh_argument(argument: Argument) -> str:
    help_text = argument.help.replace("[", "(").replace("]", ")").replace(":", "\\:")
    value = ""
    if argument.kind != "flag":
        places = {"folder": "_files -/", "file": "_files"}
        what = places.get(argument.completes) or (f"({' '.join(argument.choices)})" if argument.choices else "")
        value = f":{argument.metavar}:{what}"
    star = "*" if argument.kind == "list" else ""
    return " ".join(_quoted(f"{star}{flag}[{help_text}]{value}") for flag in argument.flags)


def _fish() -> str:
    verbs = " ".join(verb.name for verb in VERBS)
    lines = ["complete -c wmigrate -f"]
    for verb in VERBS:
        lines.append(
            f"complete -c wmigrate -n 'not __fish_seen_subcommand_from {verbs}' -a {verb.name} -d {_quoted(verb.help)}"
        )
        when = f"complete -c wmigrate -n '__fish_seen_subcommand_from {verb.name}'"
        for argument in verb.arguments:
            if not argument.is_option:
                lines += [f"{when} -a {_quoted(' '.join(argument.choices))}"] if argument.choices else []
            else:
                lines.append(f"{when} {_fish_option(argument)}")
    lines += [f"complete -c wmigrate {_fish_option(argument)}" for argument in (*COMMON, *WMIGRATE)]
    return "\n".join(lines)


def _fish_option(argument: Argument) -> str:
    flags = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in argument.flags)
    value = "" if argument.kind == "flag" else " -r -F" if argument.completes == "file" else " -r"
    if argument.choices:
        value += f" -a {_quoted(' '.join(argument.choices))}"
    if argument.completes == "folder":
        value += " -a '(__fish_complete_directories)'"
    return f"{flags}{value} -d {_quoted(argument.help)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
