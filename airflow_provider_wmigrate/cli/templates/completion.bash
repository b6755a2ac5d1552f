_wmigrate() {
    local cur prev word verb="" words=""
    cur="${COMP_WORDS[COMP_CWORD]}"
    prev="${COMP_WORDS[COMP_CWORD-1]}"
    COMPREPLY=()
    case "$prev" in
        --folder) COMPREPLY=($(compgen -d -- "$cur")); return ;;
        --env-file) COMPREPLY=($(compgen -f -- "$cur")); return ;;
{values}
        {texts}) return ;;
    esac
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case " {verbs} " in *" $word "*) verb="$word"; break ;; esac
    done
    case "$verb" in
        "") words="{first}" ;;
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _wmigrate wmigrate
