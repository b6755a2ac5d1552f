_wmigrate() {
    local context state line
    local -a verbs common
    verbs=(
{verbs}
    )
    common=(
{common}
    )
    _arguments -C "$common[@]" '1:verb:->verb' '*::argument:->argument'
    case "$state" in
        verb) _describe verb verbs ;;
        argument) case "$line[1]" in
{cases}
        esac ;;
    esac
}
compdef _wmigrate wmigrate
