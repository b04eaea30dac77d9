# bash completion for recourse; written by "recourse completion bash".
_recourse() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=
	COMPREPLY=()
	if [ "$cur" = "=" ]; then # for bash NAME=VALUE is three words
		cur= prev+="="
	elif [ "$prev" = "=" ]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}=
	fi
	case $prev in --*) prev=${prev%=} ;; esac
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
	"explain provider=") COMPREPLY=($(compgen -W "caldav eas entra ews gmail gmail_2026 gmail_imap gmail_smtp google google_calendar google_oauth http icloud imap microsoft microsoft_graph nylas nylas_v2 nylas_v3 oauth2 outlook_imap outlook_smtp rick slack smtp warpflow yahoo_imap zoho" -- "$cur")); return ;;
	"explain method=") COMPREPLY=($(compgen -W "GET POST PUT PATCH DELETE HEAD REPORT PROPFIND" -- "$cur")); return ;;
	"explain protocol=") COMPREPLY=($(compgen -W "http smtp imap" -- "$cur")); return ;;
	"explain imap_status=") COMPREPLY=($(compgen -W "OK NO BAD BYE PREAUTH" -- "$cur")); return ;;
	"explain idempotent=") COMPREPLY=($(compgen -W "true false" -- "$cur")); return ;;
	"explain sent=") COMPREPLY=($(compgen -W "true false" -- "$cur")); return ;;
	"explain network=") COMPREPLY=($(compgen -W "timeout dns connect reset eof tls canceled other" -- "$cur")); return ;;
	"explain "*=) return ;;
	esac
	case "${COMP_WORDS[1]}" in
	demo) words="--json --seed --workers" ;;
	check) words="--format --strict" ;;
	test) words="--cover --cover-min --format --run" ;;
	decide) words="--policies" ;;
	explain) words="--format --policies provider= operation= method= protocol= url= idempotency_key= status= imap_status= body= network_error= now= attempt= elapsed= idempotent= sent= type= code= codes= message= network= retry_after=" ;;
	schema) words="policy suite" ;;
	completion) words="bash zsh fish" ;;
	version) words="" ;;
	help) words="demo check test decide explain schema completion version help" ;;
	esac
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
	case "${COMPREPLY[*]}" in *=) compopt -o nospace 2>/dev/null ;; esac
	case "${COMP_WORDS[1]}" in
	check|test|decide) COMPREPLY+=($(compgen -f -- "$cur")) ;;
	esac
}
complete -o filenames -F _recourse recourse
