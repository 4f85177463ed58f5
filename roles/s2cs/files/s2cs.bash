# bash completion for s2cs
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

_s2cs()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} words
    case $previous in
        --role) words="producer consumer" ;;
        --secret-file|--config|--output|--page)
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return ;;
        *)
            if [ "$COMP_CWORD" -eq 1 ]; then
                words="--help --version"
                words+=" $("${COMP_WORDS[0]}" --help 2>/dev/null | sed -n 's/^    \([a-z][a-z]*\) .*/\1/p')"
            elif [[ $current == -* ]]; then
                words=$("${COMP_WORDS[0]}" "${COMP_WORDS[1]}" --help 2>/dev/null | grep -o -- '--[a-z][a-z-]*')
            else
                words=$("${COMP_WORDS[0]}" info --json 2>/dev/null | sed -n 's/^ *"uid": "\([0-9a-f-]*\)".*/\1/p')
            fi ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _s2cs s2cs
