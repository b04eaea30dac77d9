# bash completion for recourse; written by "recourse completion bash".
_recourse() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=
	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		COMPREPLY=($(compgen -W "demo check test decide explain schema completion version help" -- "$cur"))
		return
	fi
	case "${COMP_WORDS[1]} $prev" in
	"demo --seed") return ;;
	"demo --workers") return ;;
	"check --format") COMPREPLY=($(compgen -W "text json github" -- "$cur")); return ;;
	"test --cover-min") return ;;
	"test --format") COMPREPLY=($(compgen -W "text json junit" -- "$cur")); return ;;
	"test --run") return ;;
	"decide --policies") COMPREPLY=($(compgen -d -- "$cur")); return ;;
	"explain --format") COMPREPLY=($(compgen -W "text json" -- "$cur")); return ;;
	"explain --policies") COMPREPLY=($(compgen -d -- "$cur")); return ;;
	esac
	case "${COMP_WORDS[1]}" in
	demo) words="--json --seed --workers" ;;
	check) words="--format --strict" ;;
	test) words="--cover --cover-min --format --run" ;;
	decide) words="--policies" ;;
	explain) words="--format --policies" ;;
	schema) words="policy suite" ;;
	completion) words="bash zsh fish" ;;
	version) words="" ;;
	help) words="demo check test decide explain schema completion version help" ;;
	esac
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
	case "${COMP_WORDS[1]}" in
	check|test|decide) COMPREPLY+=($(compgen -f -- "$cur")) ;;
	esac
}
complete -o filenames -F _recourse recourse
