"""`tickwarden completion`: the script with which a shell completes commands, options and names."""

import os
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ZshComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from ops.cli.commands import COMPLETE_VARIABLE, PROGRAM
from ops.terminal.exit_codes import OK

_BASH = """\
%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""
# Of --option=value only the value is completed; what is typed as the command is asked, so a path will do.
_ZSH = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local type value help
    local -a answer plain described
    answer=("${(@f)$(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT - 1)) \\
        %(complete_var)s=zsh_complete ${~words[1]} 2>/dev/null)}")
    compset -P '--*='
    for type value help in $answer; do
        case $type in
            dir) _path_files -/ ;;
            file) _path_files ;;
            plain) if [[ $help == _ ]]; then plain+=("$value"); else described+=("$value:$help"); fi ;;
        esac
    done
    (( $#described )) && _describe -V unsorted described
    (( $#plain )) && compadd -V unsorted -a plain
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then  # a file in $fpath, read at the first completion
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""

# Fish replaces the whole word, so the option comes before each value again.
_FISH = """\
function %(complete_func)s
    set -l program (commandline -opc)[1]
    set -l word (commandline -ct)
    set -l option (string match -r -- '^--[^=]+=' "$word")
    for line in (env COMP_WORDS=(commandline -cp) COMP_CWORD="$word" \\
            %(complete_var)s=fish_complete $program 2>/dev/null)
        set -l part (string split -m 1 , -- $line)
        switch $part[1]
            case dir
                for path in (__fish_complete_directories "$part[2]")
                    echo "$option$path"
                end
            case file
                for path in (__fish_complete_path "$part[2]")
                    echo "$option$path"
                end
            case plain
                echo "$option$part[2]"
        end
    end
end

complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


class _Bash(BashComplete):
    """Reads the whole line: bash parts words at colons, which names of actors and symbols contain."""

    source_template = _BASH
    _begun = ""  # what bash keeps of the word when it puts a completion in

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)[1:]
        last = words.pop() if words and not line[-1].isspace() else ""
        value = last.partition("=")[2] if last.startswith("-") else last
        if ":" in os.environ.get("COMP_WORDBREAKS", ""):
            self._begun = value[: value.rfind(":") + 1]
        return words, last

    def format_completion(self, item: CompletionItem[Any]) -> str:
        return f"{item.type},{str(item.value).removeprefix(self._begun)}"


class _Zsh(ZshComplete):
    source_template = _ZSH


class _Fish(FishComplete):
    source_template = _FISH


add_completion_class(_Bash, "bash")
add_completion_class(_Zsh, "zsh")
add_completion_class(_Fish, "fish")


@click.command(
    epilog='\b\nbash: put into ~/.bashrc     eval "$(tickwarden completion bash)"'
    '\nzsh:  put into ~/.zshrc      eval "$(tickwarden completion zsh)"   (after compinit)'
    "\nfish: run once               tickwarden completion fish > ~/.config/fish/completions/tickwarden.fish"
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the script with which a shell completes commands, options, and the names of exchanges, symbols
    and actors.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(click.get_current_context().find_root().command, {}, PROGRAM, COMPLETE_VARIABLE).source())
    return OK
