// completion.go: gourd completion.

package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

func completionVerb() *verb {
	return &verb{
		name:     "completion",
		summary:  "Print the code by which a shell completes gourd's commands, flags and container ids",
		operands: "SHELL",
		more: "SHELL is bash, zsh or fish. The shell asks gourd itself for what may come next, so that the code\n" +
			"stays right when gourd is updated. In ~/.bashrc or ~/.zshrc it is \"source <(gourd completion bash)\";\n" +
			"for all users it goes to\n" +
			"  bash  /usr/share/bash-completion/completions/gourd\n" +
			"  zsh   /usr/share/zsh/vendor-completions/_gourd\n" +
			"  fish  /usr/share/fish/vendor_completions.d/gourd.fish",
		example: "gourd completion bash",
		min:     1, max: 1,
		operandKinds: []operand{operandShell},
		run: func(p *program, c *cli.Context) error {
			code, ok := shellCode(c.Args().First())
			if !ok {
				return &usageError{completionVerb(), fmt.Errorf("unknown shell %q (%s)", c.Args().First(), strings.Join(shells(), ", "))}
			}
			_, err := io.WriteString(p.stdout, code)
			return err
		},
	}
}

func shells() []string { return []string{"bash", "zsh", "fish"} }

func shellCode(shell string) (code string, ok bool) {
	switch shell {
	case "bash":
		return bashCode, true
	case "zsh":
		return zshCode, true
	case "fish":
		return fishCode, true
	}
	return "", false
}

// bash splits a line at "=" too, which is undone here: gourd is given the words,
// and what bash replaces is only what stands behind the "=".
const bashCode = `# bash completion for gourd
_gourd() {
    local i word candidate kind= glue= behind=
    local -a words=()
    COMPREPLY=()
    for ((i = 1; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == = && ${#words[@]} -gt 0 ]]; then
            words[${#words[@]}-1]+==
            glue=1
        elif [[ $glue ]]; then
            words[${#words[@]}-1]+=$word
            glue=
        else
            words+=("$word")
        fi
    done
    word=${words[${#words[@]}-1]}
    [[ $word == -*=* ]] && behind=${word%%=*}=
    while IFS=$'\t' read -r candidate _; do
        if [[ ! $kind ]]; then
            kind=$candidate
        else
            COMPREPLY+=("${candidate#"$behind"}")
        fi
    done < <("${COMP_WORDS[0]/#\~/$HOME}" __complete "${words[@]}" 2>/dev/null)
    case $kind in
    :files | :dirs)
        compopt -o filenames 2>/dev/null
        word=-f
        [[ $kind == :dirs ]] && word=-d
        while IFS= read -r candidate; do
            COMPREPLY+=("$candidate")
        done < <(compgen "$word" -- "${words[${#words[@]}-1]#"$behind"}")
        ;;
    esac
}
complete -F _gourd gourd
`

const zshCode = `#compdef gourd
# zsh completion for gourd
_gourd() {
    local line word
    local -a lines words_ whats
    lines=("${(@f)$("${(Q)words[1]/#\~/$HOME}" __complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    case $lines[1] in
    :files | :dirs)
        compset -P '-*='
        if [[ $lines[1] == :dirs ]]; then _files -/; else _files; fi
        return
        ;;
    esac
    for line in "${(@)lines[2,-1]}"; do
        word=${line%%$'\t'*}
        words_+=("$word")
        whats+=("$word  -- ${line#*$'\t'}")
    done
    (( ${#words_} )) && compadd -l -d whats -a words_
}
if [[ $funcstack[1] == _gourd ]]; then
    _gourd "$@"
else
    compdef _gourd gourd
fi
`

const fishCode = `# fish completion for gourd
function __gourd_complete
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    set -l lines (command $words[1] __complete $words[2..-1] "$last" 2>/dev/null)
    switch "$lines[1]"
        case :files
            __fish_complete_path "$last"
        case :dirs
            __fish_complete_directories "$last"
        case '*'
            printf '%s\n' $lines[2..-1]
    end
end
complete -c gourd -f -a '(__gourd_complete)'
`
